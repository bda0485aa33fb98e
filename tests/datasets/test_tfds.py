"""TensorFlow Datasets: a prepared set, and errors without a network."""

import collections
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from support.data import concatenate, take

from zoo.datasets import load_dataset
from zoo.datasets.tfds import RecordSplit
from zoo.errors import InputError


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("minst", "mnist"), ("fashon_mnist", "fashion_mnist"), ("qqqqqqqq", "list_datasets()")],
)
def test_the_error_for_an_unknown_name_suggests_the_closest(name, suggestion):
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        load_dataset(name)
    assert suggestion in str(error.value)
    assert f"Unknown data set {name!r}" in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 10


def test_a_missing_network_is_reported_at_once(tmp_path, monkeypatch, caplog):
    def unreachable(*args, **settings):
        raise socket.gaierror("no network")

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        load_dataset("cifar10")
    assert time.monotonic() - start < 10
    for part in ("cifar10", "cannot be reached", "TFDS_DATA_DIR", "with data=PATH"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert not caplog.records


def test_a_network_that_hangs_is_reported_within_seconds(tmp_path, monkeypatch):
    end = threading.Event()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **settings: end.wait(30) and [])
    monkeypatch.setattr("zoo.datasets.tfds._PROBE_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(InputError, match="does not answer"):
        load_dataset("cifar10")
    end.set()
    assert time.monotonic() - start < 5


def test_sets_without_images_are_refused_before_any_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"must have an 8-bit `image` feature.*sentence"):
        load_dataset("glue")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Returns the facts of a prepared set: fashion_mnist in TFDS_DATA_DIR, or else a small one."""
    root = os.environ.get("TFDS_DATA_DIR")
    if root and Path(root, "fashion_mnist").is_dir():
        return SimpleNamespace(
            root=root,
            name="fashion_mnist",
            counts=[55000, 5000, 10000],
            last_class="Ankle boot",
            labels={"train": [6000] * 10, "test": [1000] * 10},
            mean=0.2868,
        )
    root = tmp_path_factory.mktemp("tfds")
    images = np.random.default_rng(0).integers(0, 256, (2400, 28, 28, 1), np.uint8)
    images //= (np.arange(2400) % 5 + 1).astype(np.uint8).reshape(-1, 1, 1, 1)
    parts = {"train": range(2000), "test": range(2000, 2400)}
    with tfds.core.registered.skip_registration():  # it must be loaded from its files

        class Shades(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                names = ["light", "grey", "dim", "dark", "night"]
                label = tfds.features.ClassLabel(names=names)
                image = tfds.features.Image(shape=(28, 28, 1))
                features = tfds.features.FeaturesDict({"image": image, "label": label})
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, download_manager):
                return {key: self._generate_examples(part) for key, part in parts.items()}

            def _generate_examples(self, part):
                for k in part:
                    yield k, {"image": images[k], "label": k % 5}

        Shades(data_dir=root).download_and_prepare()
    return SimpleNamespace(
        root=str(root),
        name="shades",
        counts=[1800, 200, 400],
        last_class="night",
        labels={"train": [400] * 5, "test": [80] * 5},
        mean=images[2000:].mean() / 255,
    )


@pytest.fixture
def load(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", prepared.root)
    return lambda **options: load_dataset(prepared.name, **options)


@pytest.fixture(scope="module")
def in_memory(prepared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", prepared.root)
        return load_dataset(prepared.name)


def test_a_prepared_set(prepared, in_memory):
    train, validation, test = in_memory
    assert [len(split) for split in in_memory] == prepared.counts
    assert train.shape == (28, 28, 1)
    assert train.class_names[-1] == prepared.last_class
    assert train.source == {"name": prepared.name, "size": None, "binarize": False}
    assert "validation held out from train" in in_memory.describe()
    x, y = take(test.batches(len(test), condition=True), 1)[0]
    assert np.bincount(y).tolist() == prepared.labels["test"]
    assert abs(x.mean() - prepared.mean) < 0.001
    counts = np.bincount(train.arrays()[1]) + np.bincount(validation.arrays()[1])
    assert counts.tolist() == prepared.labels["train"]


def test_a_set_larger_than_memory_is_streamed(prepared, load, in_memory, monkeypatch):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 10**5)
    n = prepared.counts[1]
    monkeypatch.setattr("zoo.datasets.tfds._WINDOW", n // 10 + 12)  # the last one is short
    splits = load()
    train, validation, _ = splits
    assert "streamed" in splits.describe()
    assert [len(split) for split in splits] == prepared.counts
    assert len(train.fingerprint) == 64
    assert train.fingerprint != validation.fingerprint
    x = concatenate(validation.batches(999))
    np.testing.assert_array_equal(x, concatenate(in_memory.validation.batches(999)))
    with pytest.raises(InputError, match="does not fit in memory"):
        train.arrays()

    batch = n // 100
    epochs = take(validation.stream(batch, seed=0, condition=True), 2 * n // batch)
    images = np.concatenate([x for x, _ in epochs])
    labels = np.concatenate([y for _, y in epochs])
    by_image = collections.Counter(x.tobytes() for x in x)
    for epoch in (images[:n], images[n:]):
        assert collections.Counter(x.tobytes() for x in epoch) == by_image
    assert (images[:n] != images[n:]).any(axis=(1, 2, 3)).mean() > 0.9
    label_of = {x.tobytes(): y for x, y in zip(x, in_memory.validation.arrays()[1], strict=True)}
    assert [label_of[x.tobytes()] for x in images[:n]] == list(labels[:n])

    tf.random.set_seed(7)
    for step in (1, 99, 100, 133):
        (later,) = take(validation.stream(batch, seed=0, first_step=step), 1)
        np.testing.assert_array_equal(later, epochs[step][0])
    (other,) = take(validation.stream(batch, seed=1), 1)
    assert (other != epochs[0][0]).any()


def test_a_streamed_set_without_labels_in_a_split_is_refused(load, monkeypatch):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 10**5)
    test, records = load().test, RecordSplit._records
    monkeypatch.setattr(
        RecordSplit, "_records", lambda split: records(split).map(lambda r: {**r, "label": -1})
    )
    with pytest.raises(InputError, match=r"The test split of .* has no labels"):
        test.batches(1, condition=True)


def test_a_streamed_set_is_resized_but_not_binarized(load, monkeypatch):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 10**5)
    train = load(size=14)[0]
    assert train.shape == (14, 14, 1)
    (x,) = take(train.stream(4, seed=0), 1)
    assert x.shape == (4, 14, 14, 1)
    with pytest.raises(InputError, match="larger than"):
        load(binarize=True)
