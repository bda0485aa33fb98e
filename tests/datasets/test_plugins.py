"""Data sets of plugins, which are found by entry points and imported on use."""

import sys

import numpy as np
import pytest

from zoo import datasets
from zoo.datasets import list_datasets, load_dataset
from zoo.errors import InputError

_MODULE = """
import numpy as np
import zoo

def birds():
    images = np.arange(40, dtype=np.uint8).reshape(-1, 1, 1) * np.ones((4, 4), np.uint8)
    return zoo.Splits.from_arrays(images, np.arange(40) % 2)

def words(length=8):
    return zoo.Splits.from_text("bird and word " * 50, length=length)

def broken():
    raise RuntimeError("no\\nfile")

def wrong():
    return 7
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that installs a package with lines of entry points and a module."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def write(package, *lines):
        module = f"{package.replace('-', '_')}_data"
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(_MODULE)
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        text = "\n".join(["[zoo.datasets]", *lines, ""]).replace("MODULE", module)
        (folder / "entry_points.txt").write_text(text)
        return module

    return write


def test_a_plugin_provides_a_data_set(install):
    module = install("feathers", "birds = MODULE:birds")
    assert list_datasets() == [*datasets.BUNDLED, "birds"]
    assert datasets.summaries()["birds"] == "from the package feathers"
    assert module not in sys.modules
    splits = load_dataset("birds")
    assert splits.describe().startswith("birds: 32/4/4 images 4x4x1, 256 levels, 2 classes")
    assert splits.test.source == {"name": "birds", "size": None, "binarize": False}
    small = load_dataset("birds", size=2, binarize=True)
    assert small.train.shape == (2, 2, 1)
    assert small.train.levels == 2
    assert small.train.source == {"name": "birds", "size": 2, "binarize": True}
    np.testing.assert_array_equal(small.test.arrays()[1], splits.test.arrays()[1])


def test_options_are_passed_to_a_data_set_of_a_plugin(install):
    install("feathers", "words = MODULE:words", "birds = MODULE:birds")
    assert load_dataset("words").train.shape == (8,)
    splits = load_dataset("words", length=16)
    assert splits.train.shape == (16,)
    assert splits.train.source["length"] == 16
    assert load_dataset(**splits.train.source).train.fingerprint == splits.train.fingerprint
    for name, option in (("words", "rate"), ("birds", "length")):
        message = f"{name!r} of package feathers .* has no option {option}. Omit --{option}"
        with pytest.raises(InputError, match=message):
            load_dataset(name, **{option: 9})
    with pytest.raises(InputError, match="Only images have a size"):
        load_dataset("words", size=9)


def test_names_in_several_packages(install):
    install("feathers", "birds = MODULE:birds", "mnist = MODULE:birds")
    install("zebra-wings", "birds = MODULE:birds")
    assert list_datasets() == [
        *datasets.BUNDLED,
        "feathers:birds",
        "feathers:mnist",
        "zebra-wings:birds",
    ]
    assert len(load_dataset("mnist").train) == 55000  # the bundled one
    assert len(load_dataset("feathers:mnist").train) == 32
    assert len(load_dataset("Zebra_Wings:birds").train) == 32
    with pytest.raises(InputError, match="Write feathers:birds or zebra-wings:birds"):
        load_dataset("birds")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("birds = MODULE:broken", "RuntimeError: no file"),
        ("birds = MODULE:missing", "AttributeError"),
        ("birds = no_such_module:birds", "ModuleNotFoundError"),
        ("birds = MODULE:wrong", r"must return zoo\.Splits.*Received: int"),
        ("birds", "Expected MODULE:FUNCTION. Received: ''"),
        ("birds = MODULE", "Expected MODULE:FUNCTION"),
    ],
)
def test_errors_name_the_package(install, line, message):
    install("feathers", line)
    assert "birds" in list_datasets()
    with pytest.raises(InputError, match=rf"'birds' of package feathers .*{message}") as error:
        load_dataset("birds")
    assert "\n" not in str(error.value)


def test_plugins_can_be_disabled(install, monkeypatch):
    install("feathers", "birds = MODULE:birds")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    assert list_datasets() == [*datasets.BUNDLED]
    with pytest.raises(InputError, match=r"Unknown data set 'birds'.*ZOO_PLUGINS is empty"):
        load_dataset("birds")
