"""Batches, endless streams and fingerprints: exact order and noise."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.data import concatenate, take, write_npz

from zoo.datasets import load_dataset
from zoo.datasets.order import seed_for, shuffled
from zoo.datasets.split import ArraySplit
from zoo.errors import InputError
from zoo.spec import Spec


def grey_split(count, shape=(4, 5, 1), labels=False):
    """Returns a split in memory whose image k is k everywhere."""
    images = np.broadcast_to(np.arange(count).reshape(-1, 1, 1, 1), (count, *shape))
    labels = np.arange(count, dtype=np.int32) if labels else None
    images = np.ascontiguousarray(images, np.uint8)
    label = None if labels is None else Spec((), count, "label")
    return ArraySplit("grey", "train", images, Spec(shape), labels, label)


def test_batches_return_every_example_once_in_order():
    train = grey_split(23, labels=True)
    batches = take(train.batches(10, condition=True), 9)
    assert [len(x) for x, _ in batches] == [10, 10, 3]
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    np.testing.assert_array_equal(x[:, 0, 0, 0], np.arange(23, dtype=np.float32) / np.float32(255))
    np.testing.assert_array_equal(y, np.arange(23))
    assert train.batches(10).element_spec.shape.as_list() == [None, 4, 5, 1]
    assert int(train.batches(10).cardinality()) == 3


@pytest.mark.parametrize("count", [1, 7, 100])
def test_each_epoch_of_a_stream_is_a_permutation(count):
    x = concatenate(grey_split(count).stream(5, seed=1).take(count))[:, 0, 0, 0]
    epochs = np.rint(x * 255).astype(int).reshape(5, count)
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    if count == 100:
        assert len({tuple(epoch) for epoch in epochs}) == 5


def test_orders_of_epochs_and_seeds_are_independent():
    # TensorFlow's index shuffle with its default rounds correlates by 0.8 here, and with the
    # epoch as a key it repeats after 256 epochs.
    count = 55000
    index = tf.range(count, dtype=tf.int64)

    def order(seed, epoch):
        rounds = tf.fill([count], tf.constant(epoch, tf.int64))
        return shuffled(index, count, seed_for(seed, "order"), rounds).numpy()

    first = order(0, 0)
    assert len(np.unique(first)) == count
    for other in (index.numpy(), order(0, 1), order(0, 2), order(0, 256), order(1, 0)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / np.sqrt(count)
    for lag in (1, 2, 64, 128):
        assert abs(np.corrcoef(first[lag:], first[:-lag])[0, 1]) < 5 / np.sqrt(count)
    digits = (first * 10 // count).reshape(-1, 50)  # batches of a set that is sorted by class
    expected = 5.0
    counts = np.stack([(digits == k).sum(1) for k in range(10)])
    assert 0.9 < ((counts - expected) ** 2 / expected).sum(0).mean() / 9 < 1.1


@pytest.mark.parametrize("first_step", [1, 429, 430, 5000])
def test_a_stream_can_start_at_a_later_step(mnist_binary, first_step):
    train = mnist_binary[0]  # 429.7 batches per epoch
    ahead = 4
    earlier = train.stream(128, seed=5, first_step=first_step - 1, condition=True)
    later = train.stream(128, seed=5, first_step=first_step, condition=True)
    for (x, y), (x2, y2) in zip(take(earlier.skip(1), ahead), take(later, ahead), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_first_step_equals_skipping(mnist_binary):
    train = mnist_binary[0]
    (x,) = take(train.stream(128, seed=5).skip(440), 1)
    (x2,) = take(train.stream(128, seed=5, first_step=440), 1)
    np.testing.assert_array_equal(x, x2)


def test_a_stream_does_not_depend_on_the_batch_size(mnist_binary):
    train = mnist_binary[0]
    np.testing.assert_array_equal(
        concatenate(train.stream(64, seed=1).take(4)),
        concatenate(train.stream(256, seed=1).take(1)),
    )


def test_a_stream_does_not_depend_on_global_seeds():
    train = grey_split(50)
    tf.random.set_seed(1)
    x = concatenate(train.stream(8, seed=0).take(3))
    tf.random.set_seed(2)
    np.testing.assert_array_equal(concatenate(train.stream(8, seed=0).take(3)), x)
    assert (concatenate(train.stream(8, seed=1).take(3)) != x).any()


def test_a_stream_has_static_shapes_and_no_end(mnist):
    stream = mnist[0].stream(16, seed=0, condition=True)
    x, y = stream.element_spec
    assert x == tf.TensorSpec((16, 28, 28, 1), tf.float32)
    assert y == tf.TensorSpec((16,), tf.int32)
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_streams_share_one_copy_of_the_images():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    train = grey_split(100, (1000, 1000, 1))
    take(train.stream(1, seed=0), 1)
    before = resident()
    streams = [train.stream(1, seed) for seed in range(5)]
    for stream in streams:
        take(stream, 1)
    assert resident() - before < train.arrays()[0].nbytes


@pytest.mark.parametrize(
    ("batch_size", "first_step"), [(0, 0), (8, -1)], ids=["batch_size", "first_step"]
)
def test_streams_refuse_invalid_arguments(batch_size, first_step):
    with pytest.raises(InputError, match="must be at least"):
        grey_split(20).stream(batch_size, 0, first_step)


def test_fingerprints_are_equal_between_processes(mnist_binary):
    code = (
        "import sys; from zoo.datasets import load_dataset; "
        "print(*(s.fingerprint for s in load_dataset('mnist_binary'))); "
        "print('tensorflow' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    *fingerprints, with_tensorflow = process.stdout.split()
    assert fingerprints == [split.fingerprint for split in mnist_binary]
    assert with_tensorflow == "False"


def test_fingerprints_depend_on_data_labels_and_binarization(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6), np.uint8)
    changed = images.copy()
    changed[:, 2, 2] ^= 1
    labels = np.arange(40) % 2
    fingerprints = {
        key: load_dataset(write_npz(tmp_path / f"{key}.npz", **arrays), **options)[0].fingerprint
        for key, arrays, options in [
            ("plain", {"images": images}, {}),
            ("copy", {"images": images}, {}),
            ("changed", {"images": changed}, {}),
            ("reshaped", {"images": images.reshape(40, 4, 9)}, {}),
            ("labelled", {"images": images, "labels": labels}, {}),
            ("relabelled", {"images": images, "labels": 1 - labels}, {}),
            ("binarized", {"images": images}, {"binarize": True}),
        ]
    }
    assert fingerprints.pop("copy") == fingerprints["plain"]
    assert len(set(fingerprints.values())) == 6


def test_splits_have_names(tmp_path):
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=np.ones((20, 4, 5), np.uint8)))
    assert splits._fields == ("train", "validation", "test")
    assert splits == (splits.train, splits.validation, splits.test)
    assert [split.split for split in splits] == [*splits._fields]
    assert splits.describe() == (
        f"x: 16/2/2 images 4x5x1, 2 levels, no labels\n  images in {tmp_path / 'x.npz'}\n"
        f"  validation and test held out from train"
    )
