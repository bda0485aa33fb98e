"""The bundled data sets agree with the literature and with the fingerprints in cards."""

import collections
from pathlib import Path

import numpy as np
import pytest
from support.data import concatenate, take

from zoo import datasets
from zoo.datasets import load_dataset
from zoo.errors import InputError

FINGERPRINTS = {  # as in published cards
    "mnist": [
        "f775e1aa2d8b3c91a85433fb0ce7358566e4cd47fef12574174f51227bac4579",
        "f4e736321acde79d923ba0a51f7a3052f2148655c4fe4327c4a3e2fb29d6a119",
        "2add30af45a72b67f446b13ae4e3677266cf14b83830c5d4d946b40bbb09c16f",
    ],
    "mnist_binary": [
        "6d293a13cf4b5153d19ca1a0461bfebf7099896a126fc1f914f9f04fed402d61",
        "6efa53264e79669c9f6d5b01e3ac46c85c80678d6f260917ef7225ebb7a251a4",
        "a4625fbbbd29d9751254f42eb60619af0129be2e8ebb77bc088ce99cff88526d",
    ],
    "binarized_mnist": [
        "6c708d1bbb81f06879c1f02a4f5195be8dd9b3b0b643af79faf7e32d426879cc",
        "76e7adec69ee4318c8b7fd848e2b2488938e4047485d30724ea22a2927f82e4f",
        "8c78543aad5293d44220c717f9389654ab37e76b818ac889c14b8fddaad30ca4",
    ],
}


def test_mnist(mnist):
    train, validation, test = mnist
    assert [len(split) for split in mnist] == [55000, 5000, 10000]
    assert [split.split for split in mnist] == ["train", "validation", "test"]
    assert train.shape == (28, 28, 1)
    assert (train.levels, train.num_classes) == (256, 10)
    assert train.class_names == tuple("0123456789")
    with np.load(Path(datasets.__file__).parent / "files" / "mnist.npz") as stored:
        np.testing.assert_array_equal(
            validation.arrays()[0][..., 0], stored["train_images"][55000:]
        )
        np.testing.assert_array_equal(test.arrays()[1], stored["test_labels"])
    assert mnist.describe() == "mnist: 55000/5000/10000 images 28x28x1, 256 levels, 10 classes"


def test_static_binary_mnist_agrees_with_the_literature():
    splits = load_dataset("binarized_mnist")
    assert [int(split.arrays()[0].sum()) for split in splits] == [5118041, 1028036, 1038896]
    assert [len(split) for split in splits] == [50000, 10000, 10000]
    assert splits[0].levels == 2
    assert splits[0].num_classes == 0
    with pytest.raises(InputError, match="no labels"):
        splits[0].stream(8, seed=0, condition=True)


def test_mnist_binary_is_tested_on_the_static_set(mnist_binary):
    train, validation, test = mnist_binary
    assert [len(split) for split in mnist_binary] == [55000, 5000, 10000]
    assert train.levels == validation.levels == test.levels == 2
    static = load_dataset("binarized_mnist")[2]
    np.testing.assert_array_equal(test.arrays()[0], static.arrays()[0])


def test_static_test_images_are_those_of_mnist_sorted_by_label(mnist, mnist_binary):
    binary, labels = mnist_binary[2].arrays()
    grey, grey_labels = mnist[2].arrays()
    order = np.argsort(grey_labels, kind="stable")
    np.testing.assert_array_equal(labels, grey_labels[order])

    def impossible(grey):
        wrong = ((grey == 0) & (binary == 1)) | ((grey == 255) & (binary == 0))
        return int(wrong.any(axis=(1, 2, 3)).sum())

    assert impossible(grey[order]) == 0
    assert impossible(np.roll(grey[order], 1, axis=0)) > 9000


def test_validation_of_mnist_binary_is_binarized_once(mnist, mnist_binary):
    grey = mnist[1].arrays()[0]
    drawn, labels = load_dataset("mnist_binary")[1].arrays()
    np.testing.assert_array_equal(drawn, mnist_binary[1].arrays()[0])
    np.testing.assert_array_equal(labels, mnist[1].arrays()[1])
    assert not drawn[grey == 0].any()
    assert drawn[grey == 255].all()
    p = grey / 255.0
    assert abs(drawn.sum() - p.sum()) < 5 * np.sqrt((p * (1 - p)).sum())


def test_train_of_mnist_binary_is_binarized_again_in_every_epoch(mnist, mnist_binary):
    train = mnist_binary[0]
    n, batch = len(train), 1000
    (first, label), (again, _) = (
        take(train.stream(batch, 3, first_step=step, condition=True), 1)[0]
        for step in (0, n // batch)
    )
    assert set(np.unique(first)) == {0.0, 1.0}
    grey, grey_label = take(mnist[0].stream(batch, 3, condition=True), 1)[0]
    np.testing.assert_array_equal(label, grey_label)  # the order is independent of the noise
    assert not first[grey == 0].any()
    assert first[grey == 1].all()
    assert abs(first.sum() - grey.sum()) < 5 * np.sqrt((grey * (1 - grey)).sum())
    images = collections.Counter(x.tobytes() for x in first)
    assert not any(x.tobytes() in images for x in again)
    other = take(train.stream(batch, 4), 1)[0]
    assert abs(np.corrcoef((first - grey).ravel(), other.ravel())[0, 1]) < 0.02


def test_batches_of_mnist_binary_are_binarized_once(mnist_binary):
    train = mnist_binary[0]
    np.testing.assert_array_equal(
        concatenate(train.batches(5000).take(2)), concatenate(train.batches(100).take(100))
    )


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_do_not_change(name):
    assert [split.fingerprint for split in load_dataset(name)] == FINGERPRINTS[name]


def test_the_source_of_a_split_loads_it_again(mnist_binary):
    again = load_dataset(**load_dataset("mnist", size=14, binarize=True)[0].source)
    assert again.train.shape == (14, 14, 1)
    assert again.train.levels == 2
    assert mnist_binary[2].source == {"name": "mnist_binary", "size": None, "binarize": False}
