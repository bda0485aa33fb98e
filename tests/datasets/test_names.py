"""Resolution and listing of data set names."""

import numpy as np
import pytest
from support.data import write_images

from zoo import datasets
from zoo.datasets import list_datasets, load_dataset
from zoo.errors import InputError


def test_a_name_without_a_separator_is_not_a_path(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", 12)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"write \./photos"):
        load_dataset("photos")
    assert load_dataset("./photos")[0].name == "photos"
    np.save(tmp_path / "odd.npy", np.zeros((12, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match=r"write \./odd\.npy"):
        load_dataset("odd.npy")


def test_prepared_sets_are_listed(tmp_path, monkeypatch):
    feature = '{"featuresDict": {"features": {"image": {}}}}'
    for name, text in [
        ("birds/1.0.0", feature),
        ("emnist/letters/3.0.0", feature),
        ("words/1.0.0", '{"featuresDict": {"features": {"text": {}}}}'),
        ("broken/1.0.0", "{"),
    ]:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "features.json").write_text(text)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert list_datasets() == [*datasets.BUNDLED, "birds", "emnist/letters"]


@pytest.mark.parametrize("home", [False, True], ids=["no home", "no such user"])
def test_a_path_that_cannot_be_resolved_is_refused(tmp_path, monkeypatch, home):
    def fail(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", fail)
    with pytest.raises(InputError, match=r"Cannot use this path .*~nosuch/x"):
        load_dataset("~nosuch/x" if home else "~/~nosuch/x")


def test_a_deleted_working_directory_and_a_long_name(tmp_path, monkeypatch):
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    with pytest.raises(InputError, match=r"Cannot use this path .*\./photos"):
        load_dataset("./photos")
    with pytest.raises(InputError, match="Cannot use this path"):
        load_dataset(f"/tmp/{'x' * 5000}")
