"""`zoo data`: lists data sets and describes one."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zoo import datasets
from zoo.commands.data import command
from zoo.errors import InputError


def run(*arguments):
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.npz"
    images = np.random.default_rng(0).integers(0, 256, (100, 6, 8, 3), np.uint8)
    np.savez(path, images=images, labels=np.arange(100) % 4)
    return str(path)


def test_without_a_name_it_lists_local_data_sets(tmp_path, monkeypatch):
    (tmp_path / "birds" / "1.0.0").mkdir(parents=True)
    features = {"featuresDict": {"features": {"image": {}}}}
    (tmp_path / "birds" / "1.0.0" / "features.json").write_text(json.dumps(features))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    lines = run().output.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [*datasets.BUNDLED, "birds"]
    assert [row["name"] for row in json.loads(run("--json").output)] == [*datasets.BUNDLED, "birds"]


def test_a_data_set_is_described(small):
    result = run(small)
    assert result.exit_code == 0
    assert result.output.startswith("small: 80/10/10 images 6x8x3, 256 levels, 4 classes")
    for split in datasets.load_dataset(small):
        assert f"{len(split)}" in result.output
        assert split.fingerprint in result.output


def test_json_contains_the_description(small):
    fields = json.loads(run(small, "--size", "4", "--json").output)
    assert fields["spec"] == {"kind": "image", "shape": [4, 4, 3], "levels": 256}
    assert fields["condition"]["levels"] == 4
    splits = datasets.load_dataset(small, size=4)
    assert fields["splits"] == {
        s.split: {"count": len(s), "fingerprint": s.fingerprint} for s in splits
    }


def test_binarize_and_class_names():
    output = run("mnist", "--binarize").output
    assert "28x28x1, 2 levels, 10 classes" in output
    assert "classes: 0, 1, 2" in output


def test_a_grid_of_training_images_is_written(small, tmp_path):
    output = tmp_path / "grid.png"
    run(small, "-o", str(output))
    with Image.open(output) as image:
        assert image.mode == "RGB"
        assert min(image.size) > 100


def test_missing_folders_of_the_output_are_created(small, tmp_path):
    run(small, "-o", str(tmp_path / "new" / "folder" / "grid.png"))
    assert (tmp_path / "new" / "folder" / "grid.png").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("precious.npy", r"-o must end in \.png\. Received: .*precious\.npy"),
        ("precious", r"-o must end in \.png\. Received: .*precious"),
        ("precious.npy/grid.png", r"Cannot write .*npy/grid\.png: File exists .* with -o"),
        ("taken.png", r"Cannot write .*taken\.png: Is a directory\. .* with -o"),
    ],
)
def test_an_invalid_output_is_refused(small, tmp_path, name, message):
    precious = tmp_path / "precious.npy"
    precious.write_bytes(b"mine")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(InputError, match=message):
        run(small, "-o", str(tmp_path / name))
    assert precious.read_bytes() == b"mine"
    assert {p.name for p in tmp_path.iterdir()} == {"precious.npy", "taken.png", "small.npz"}


@pytest.mark.parametrize("arguments", [["--size", "8"], ["--binarize"], ["-o", "x.png"]])
def test_options_require_a_name(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "require the NAME of a data set" in result.output


def test_invalid_names_and_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file or folder"):
        run(str(tmp_path / "missing"))
    assert run("mnist", "--size", "0").exit_code == 2


def test_a_user_without_a_home_has_data_sets(monkeypatch):
    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    result = run()
    assert result.exit_code == 0
    assert "mnist_binary" in result.output


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from zoo.commands.data import command; "
        "command(standalone_mode=False, args=[]); "
        "print({'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules), file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stderr.strip() == "set()"
