"""Whether data fit a model, and distances from the grid of the levels."""

import types

import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import InputError
from zoo.spec import check_examples, check_fit, off_grid


def split(shape=(28, 28, 1), levels=256, num_classes=10):
    return types.SimpleNamespace(name="digits", shape=shape, levels=levels, num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [0, 10])
def test_data_that_fit_are_accepted(num_classes):
    check_fit(split(), "vae", [28, 28, 1], 256, num_classes)


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (
            split(shape=(32, 32, 1)),
            r"vae expects images of shape \(28, 28, 1\)\. Received: digits with shape"
            r" \(32, 32, 1\)\. Add --size 28 \(size=28\)\.",
        ),
        (split(shape=(28, 28, 3)), r"shape \(28, 28, 3\)\. Use other data\."),
        (split(), r"levels\. Received: digits with 256 levels\. Add --binarize \(binarize=True\)"),
        (split(levels=2, num_classes=0), r"labels of 10 classes\. Received: digits with no labels"),
        (split(levels=2, num_classes=3), r"labels of 10 classes\. Received: digits with 3"),
    ],
    ids=["size", "channels", "levels", "no labels", "other labels"],
)
def test_data_that_do_not_fit_are_refused_with_advice(received, message):
    with pytest.raises(InputError, match=message):
        check_fit(received, "vae", (28, 28, 1), 2, 10)


@pytest.mark.parametrize("levels", [2, 256, 2**16])
def test_every_value_of_the_grid_is_on_it(levels):
    values = (np.arange(levels) / (levels - 1)).astype(np.float32)
    assert off_grid(values, levels) < 5e-3


@pytest.mark.parametrize(
    ("value", "levels", "distance"),
    [(0.5, 2, 0.5), (1.25, 2, 0.25), (-0.125, 2, 0.125), (0.25 / 255, 256, 0.25), (0.3, 0, 0.0)],
)
@pytest.mark.parametrize("make", [np.array, tf.constant], ids=["array", "tensor"])
def test_distances_are_in_levels(make, value, levels, distance):
    x = make([0.0, value, 1.0], "float32")
    assert float(off_grid(x, levels)) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_nan_is_on_no_grid(position):
    x = np.zeros(3, np.float32)
    x[position] = np.nan
    assert off_grid(x, 2) == np.inf


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 8, 8, 1), bool), r"bool of shape \(2, 8, 8, 1\)\. Cast it: x\.astype"),
        (np.zeros((0, 8, 8, 1), np.float32), "Received: no examples"),
        (np.full((2, 8, 8, 1), np.nan, np.float32), "Received: a value that is not finite"),
        (np.full((2, 8, 8, 1), np.inf, np.float32), "Received: a value that is not finite"),
    ],
    ids=["bool", "empty", "nan", "infinity"],
)
def test_arrays_that_are_no_examples_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        check_examples(x, "vae", (8, 8, 1), 2)
