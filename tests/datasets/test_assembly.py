"""Held-out splits, sizes and binarization, which are the same for every source."""

import functools

import numpy as np
import pytest
from support.data import concatenate, take, write_npz

from zoo.datasets import load_dataset
from zoo.datasets.assembly import held_out
from zoo.errors import InputError


def test_size_crops_the_central_square(tmp_path):
    images = np.zeros((20, 4, 16), np.uint8)
    images[:, :, 2:14] = 200  # the square and the support of the filter around it
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images), size=2)
    x, _ = splits[0].arrays()
    np.testing.assert_array_equal(x, np.full((16, 2, 2, 1), 200))
    assert "resized from 4x16 to 2x2" in splits.describe()


def test_resizing_is_antialiased(tmp_path):
    checkers = np.indices((32, 32)).sum(0) % 2 * 255
    images = np.repeat(checkers[None].astype(np.uint8), 20, axis=0)
    x, _ = load_dataset(write_npz(tmp_path / "x.npz", images=images), size=8)[0].arrays()
    assert abs(x.astype(int) - 127).max() < 20


def test_binarize_repeats_for_train_only(tmp_path):
    images = np.full((1000, 8, 8), 64, np.uint8)
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images), binarize=True)
    assert [split.levels for split in splits] == [2, 2, 2]
    for split in splits:
        x = concatenate(split.batches(300))
        assert set(np.unique(x)) == {0.0, 1.0}
        assert abs(x.mean() - 64 / 255) < 0.02
        np.testing.assert_array_equal(x, split.arrays()[0])
    assert (splits[1].arrays()[0] != splits[2].arrays()[0]).any()
    n = len(splits[0])
    first, again = (take(splits[0].stream(n, 0, first_step=k), 1)[0] for k in (0, 1))
    assert 0.3 < (first != again).mean() < 0.45  # 2 p (1 - p) = 0.376


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnist_binary", {"binarize": True}, "Omit binarize=True"),
        ("binarized_mnist", {"binarize": True}, "Omit binarize=True"),
        ("binarized_mnist", {"size": 32}, "data='mnist', size=32, binarize=True"),
        ("mnist_binary", {"size": 32}, "data='mnist', size=32, binarize=True"),
        ("mnist", {"size": 0}, "size=0"),
        ("mnist", {"size": 3.5}, "size=3.5"),
        ("", {}, "name=''"),
        (None, {}, "name=None"),
    ],
)
def test_invalid_options_are_refused(name, options, message):
    with pytest.raises(InputError) as error:
        load_dataset(name, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_colour_is_not_binarized(tmp_path):
    images = np.full((20, 4, 4, 3), 64, np.uint8)
    with pytest.raises(InputError, match="Only grey images"):
        load_dataset(write_npz(tmp_path / "x.npz", images=images), binarize=True)


def test_missing_splits_are_held_out_from_train():
    sections = functools.partial(held_out, most=5000)
    assert sections("x", {"train": 60000, "test": 10000}) == {
        "train": ("train", 0, 55000),
        "test": ("test", 0, 10000),
        "validation": ("train", 55000, 60000),
    }
    assert sections("x", {"train": 1000}) == {
        "train": ("train", 0, 800),
        "test": ("train", 900, 1000),
        "validation": ("train", 800, 900),
    }
    assert sections("x", {"train": 1000, "validation": 7, "test": 5})["train"] == ("train", 0, 1000)
    with pytest.raises(InputError, match=r"train split.*test \(5\)"):
        sections("x", {"test": 5})
