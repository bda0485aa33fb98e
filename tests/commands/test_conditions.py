"""Models that are conditional on images, from a folder of pairs to samples."""

import json

import numpy as np
import pytest
from PIL import Image
from support.data import write_images
from support.shell import TESTS, assert_refused, here

import zoo

SHADOW = f"{TESTS / 'support' / 'toys.py'}:Shadow"
SWAP = f"{TESTS / 'support' / 'toys.py'}:Swap"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the pairs ./pairs, and the runs of a model of them, with and without pairs."""
    place = tmp_path_factory.mktemp("pairs")
    for name, seed in (("a", 1), ("b", 2)):
        write_images(place / "pairs" / name, 300, size=(8, 8), mode="1", seed=seed)
    for model, run, more in ((SHADOW, "shadow", ["--paired"]), (SWAP, "swap", [])):
        train = ["train", model, "--data", "./pairs", "--epochs", 2, "--batch-size", 16]
        result = here(*train, *more, "--run", run, cwd=place)
        assert result.returncode == 0, result.stderr
        assert sorted(path.suffix for path in (place / run / "samples").iterdir()) == [".png"] * 2
    return place


@pytest.mark.parametrize(("run", "kind"), [("shadow", "image"), ("swap", "domain")])
def test_the_condition_is_recorded(place, run, kind):
    card = json.loads((place / run / "saved_model" / "card.json").read_text())
    assert card["condition"] == {"kind": kind, "shape": [8, 8, 1], "levels": 2}
    assert card["recipe"]["data"]["paired"] == (kind == "image")


def test_conditions_are_test_images_or_images_of_a_path(place, tmp_path):
    arguments = ["sample", "./shadow", "-n", 40, "--seed", 3]
    here(*arguments, "-o", tmp_path / "test.npz", cwd=place)
    one = place / "pairs" / "a" / "000.png"
    here(*arguments, "--condition", one, "-o", tmp_path / "one.npz", cwd=place)
    conditions = zoo.load_dataset(place / "pairs", paired=True).test.take(256, condition=True)[1]
    with Image.open(one) as image:
        alone = np.asarray(image, np.float32)[None, :, :, None]
    model = zoo.load(place / "shadow")
    for name, images in (("test", conditions), ("one", alone)):
        with np.load(tmp_path / f"{name}.npz") as file:
            expected = images[np.arange(40) % len(images)]
            np.testing.assert_array_equal(file["condition"], expected)
            np.testing.assert_array_equal(file["images"], model.sample(40, 3, expected))


def test_a_model_of_two_domains_receives_images_of_the_other(place, tmp_path):
    here("sample", "./swap", "-n", 5, "-o", tmp_path / "x.npz", cwd=place)
    conditions = zoo.load_dataset(place / "pairs").test.take(256, condition=True)[1]
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_array_equal(file["condition"], conditions[:5])


def test_invalid_conditions_are_refused(place, tmp_path):
    sample = ["sample", "./shadow", "--condition"]
    assert_refused(here(*sample, tmp_path / "none.png", cwd=place), 2, "No such file or folder")
    (tmp_path / "torn.png").write_bytes(b"torn")
    assert_refused(here(*sample, tmp_path / "torn.png", cwd=place), 2, "cannot be read", "torn.png")
    assert_refused(here("sample", "vae", "--condition", "x.png", cwd=place), 2, "Omit --condition")
    assert_refused(here("sample", "./shadow", "--label", 1, cwd=place), 2, "Omit --label")


def test_data_without_a_condition_are_refused(place, tmp_path):
    write_images(tmp_path / "photos", 30, size=(8, 8), mode="1")
    result = here("train", SHADOW, "--data", tmp_path / "photos", cwd=tmp_path)
    assert_refused(result, 2, "Shadow requires data with conditions")


def test_evaluation_uses_the_conditions(place):
    result = here("evaluate", "./shadow", "--metrics", "likelihood,speed", cwd=place)
    assert result.returncode == 0, result.stderr
    card = json.loads((place / "shadow" / "saved_model" / "card.json").read_text())
    assert {score["metric"] for score in card["scores"]} >= {"log_likelihood", "ms_per_image"}
