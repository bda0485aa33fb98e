"""Arrays in files and in memory."""

import io
import itertools
import json
import os
import pickle

import numpy as np
import pytest
import tensorflow as tf
from support.data import take, write_npz

import zoo
from zoo.datasets import Splits, load_dataset
from zoo.errors import InputError


def test_a_file_with_all_splits(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"x_train": 20, "x_val": 5, "x_test": 6}
    arrays = {key: rng.integers(0, 256, (n, 4, 5, 3), np.uint8) for key, n in parts.items()}
    arrays |= {key.replace("x", "y"): np.arange(n)[:, None] % 3 for key, n in parts.items()}
    splits = load_dataset(write_npz(tmp_path / "mine.npz", other=np.zeros(3), **arrays))
    for split, key in zip(splits, parts, strict=True):
        images, labels = split.arrays()
        np.testing.assert_array_equal(images, arrays[key])
        np.testing.assert_array_equal(labels, arrays[key.replace("x", "y")][:, 0])
    assert splits[0].name == "mine"
    assert splits[0].num_classes == 3
    assert "ignored: other" in splits.describe()


def test_one_array_is_split_with_its_labels(tmp_path):
    images = np.broadcast_to(np.arange(50).reshape(-1, 1, 1), (50, 3, 3)).astype(np.uint8)
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images, labels=np.arange(50) // 5))
    assert [len(split) for split in splits] == [40, 5, 5]
    values = np.concatenate([split.arrays()[0][:, 0, 0, 0] for split in splits])
    assert sorted(values) == list(range(50))
    assert list(values) != list(range(50))
    for split in splits:
        x, y = split.arrays()
        np.testing.assert_array_equal(x[:, 0, 0, 0] // 5, y)
    np.save(tmp_path / "x.npy", images)
    np.testing.assert_array_equal(
        load_dataset(tmp_path / "x.npy")[2].arrays()[0], splits[2].arrays()[0]
    )


@pytest.mark.parametrize(
    ("images", "levels", "values"),
    [
        (np.array([0, 255], np.uint8), 256, {0, 255}),
        (np.array([0, 1], np.uint8), 2, {0, 1}),
        (np.array([False, True]), 2, {0, 1}),
        (np.array([0.0, 1.0]), 2, {0, 1}),
        (np.array([0.0, 0.5, 1.0], np.float32), 256, {0, 128, 255}),
        (np.array([3, 255], np.int64), 256, {3, 255}),
    ],
    ids=["uint8", "0 and 1", "bool", "float 0 and 1", "float", "int64"],
)
def test_types_of_arrays(tmp_path, images, levels, values):
    images = np.resize(images, (60, 2, 2))
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images))
    assert splits[0].levels == levels
    assert set(np.unique(splits[0].arrays()[0])) == values
    assert ("floats rounded" in splits.describe()) == (images.dtype.kind == "f" and levels == 256)


_IMAGES = np.zeros((20, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("images", "levels"),
    [
        (_IMAGES, 256),
        (_IMAGES.astype(np.int64), 256),
        (_IMAGES.astype(bool), 2),
        (_IMAGES.astype(np.float32), 2),
        (_IMAGES + np.uint8(1), 2),
    ],
    ids=["uint8", "int64", "bool", "float", "ones"],
)
def test_black_integer_images_have_256_levels(images, levels):
    splits = load_dataset(images)
    assert splits.train.levels == levels
    assert ("all values are 0: taken as 256 levels" in splits.describe()) == (levels == 256)
    assert Splits.from_arrays(images, levels=2).train.levels == 2
    if levels == 256:
        assert load_dataset(images, size=2).train.shape == (2, 2, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.full((20, 4, 4), 1.5)}, "floats from 0 to 1.*from 1.5 to 1.5"),
        ({"images": np.full((20, 4, 4), np.nan)}, "from nan to nan"),
        ({"images": np.full((20, 4, 4), -1, np.int16)}, "from -1 to -1"),
        ({"images": np.full((20, 4, 4), 256)}, "from 256 to 256"),
        ({"images": np.full((20, 4, 4), "a")}, "must be uint8, bool or float"),
        ({"images": np.zeros((20, 16))}, r"images \[20, 16\]"),
        ({"images": np.zeros((20, 4, 4, 4))}, "1 or 3"),
        ({"images": _IMAGES[:9]}, "At least 10 examples"),
        ({"images": _IMAGES[:0]}, r"\[0, 4, 4, 1\]"),
        ({"pictures": _IMAGES}, "with pictures"),
        ({"test_images": _IMAGES}, "with test_images"),
        ({"images": _IMAGES, "test_images": _IMAGES}, "either"),
        ({"images": _IMAGES, "labels": np.zeros(19, int)}, "must be 20 integers"),
        ({"images": _IMAGES, "labels": np.full(20, -1)}, "must be 20 integers"),
        ({"images": _IMAGES, "labels": np.zeros(20)}, "must be 20 integers"),
        ({"images": _IMAGES, "labels": np.full(20, 1000)}, "up to 1000"),
        ({"x_train": _IMAGES, "x_test": _IMAGES[:, :3]}, "one shape"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset(write_npz(tmp_path / "x.npz", **arrays))
    assert "\n" not in str(error.value)
    assert "x.npz" in str(error.value)


class _Bomb:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickled_objects_are_never_read(tmp_path, name):
    bomb = np.array([_Bomb()] * 20, dtype=object)
    (np.save if name == "x.npy" else np.savez)(tmp_path / name, bomb)
    with pytest.raises(InputError, match=f"Arrays of Python objects are not read.*{name}"):
        load_dataset(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InputError, match=f"Not a file of NumPy arrays.*{name}"):
        load_dataset(tmp_path / name)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("keep", [0, 3, 60, 200, 2000])
def test_the_error_for_a_damaged_file_names_it(tmp_path, name, keep):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16), np.uint8)
    content = io.BytesIO()
    (np.save if name == "x.npy" else np.savez_compressed)(content, images)
    (tmp_path / name).write_bytes(content.getvalue()[:keep])
    with pytest.raises(InputError, match=name) as error:
        load_dataset(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "x.npz", images=np.zeros((100, 28, 28), np.uint8))
    assert len(load_dataset(path).train) == 80
    monkeypatch.setattr("os.sysconf", lambda name: 200)  # 40,000 bytes
    with pytest.raises(InputError, match=r"The arrays of this file have 0\.0 GiB, and the memory"):
        load_dataset(path)


def test_a_flipped_bit_in_a_npz_is_detected(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(
        path, images=np.random.default_rng(0).integers(0, 256, (20, 9, 9), np.uint8)
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged.*x\.npz"):
        load_dataset(path)


@pytest.mark.parametrize(
    "name",
    ["x.npz", "./x.npy", "x.txt"],
)
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="No such file or folder"):
        load_dataset(tmp_path / name)


def test_an_unsupported_file_type_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"must be a \.npz, \.npy or \.txt"):
        load_dataset(tmp_path / "x.csv")


def test_fingerprints_do_not_change(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 5), np.uint8)
    path = write_npz(tmp_path / "x.npz", images=images, labels=np.arange(50) % 5)
    assert [split.fingerprint for split in load_dataset(path)] == [
        "6f6fb0e1caec70d1148f8cdf8db4ae52926983c1068902619be4b9930c8d43f9",
        "b7c84db579bac2565ab436980af705b4fc48034ffa8cc601783de8ac9c15ab9a",
        "ad7a28242e8ecbdefb0b4a63413a15f6b801eebe93dd643209a3a6155ebc1214",
    ]


def test_labels_with_gaps_are_renumbered(tmp_path):
    labels = np.array([1, 3, 8])[np.arange(60) % 3]
    images = np.zeros((60, 4, 4), np.uint8)
    images[:] = labels.reshape(-1, 1, 1)
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images, labels=labels))
    assert splits[0].num_classes == 3
    assert splits[0].class_names == ("1", "3", "8")
    assert "labels 1, 3, 8 renumbered from 0" in splits.describe()
    for split in splits:
        x, y = split.arrays()
        np.testing.assert_array_equal(np.array([1, 3, 8])[y], x[:, 0, 0, 0])


def test_a_class_in_test_only_is_refused(tmp_path):
    arrays = {"x_train": _IMAGES, "y_train": np.arange(20) % 2}
    arrays |= {"x_test": _IMAGES, "y_test": np.arange(20) % 3}
    with pytest.raises(InputError, match=r"class 2 in test only, in .*x\.npz"):
        load_dataset(write_npz(tmp_path / "x.npz", **arrays))


def test_a_rare_class_keeps_a_training_image(tmp_path):
    labels = np.r_[np.zeros(60, int), 1:41]
    splits = load_dataset(
        write_npz(tmp_path / "x.npz", images=np.zeros((100, 4, 4)), labels=labels)
    )
    assert [len(split) for split in splits] == [80, 10, 10]
    assert set(splits.train.arrays()[1]) == set(range(41))


# In memory


def _grey(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 1), np.uint8)


def test_arrays_in_memory_and_in_a_file_give_equal_splits(tmp_path):
    images, labels = _grey(50), np.arange(50) % 5
    stored = load_dataset(write_npz(tmp_path / "x.npz", images=images, labels=labels))
    fingerprints = [split.fingerprint for split in stored]
    for splits in (
        zoo.Splits.from_arrays(images, labels),
        load_dataset((images, labels)),
        load_dataset({"x": images, "y": labels}),
        load_dataset((images[..., 0].tolist(), labels.tolist())),
        load_dataset(tf.data.Dataset.from_tensor_slices((images, labels))),
    ):
        assert isinstance(splits, Splits)
        assert [split.fingerprint for split in splits] == fingerprints
    plain = load_dataset(images)
    assert plain.train.num_classes == 0
    np.testing.assert_array_equal(plain.test.arrays()[0], stored.test.arrays()[0])


def test_given_splits_in_memory_are_unchanged():
    parts = [_grey(count, count) for count in (20, 5, 6)]
    train, validation, test = parts
    splits = Splits.from_arrays(train, validation=validation, test=test, name="mine")
    for split, images in zip(splits, parts, strict=True):
        np.testing.assert_array_equal(split.arrays()[0], images)
    splits = Splits.from_arrays(
        train, np.arange(20) % 2, test=test, test_labels=np.arange(6) % 2, name="mine"
    )
    assert [len(split) for split in splits] == [18, 2, 6]
    np.testing.assert_array_equal(splits.test.arrays()[1], np.arange(6) % 2)
    assert splits.describe().startswith("mine: 18/2/6 images 4x5x1, 256 levels, 2 classes")


def test_arrays_in_memory_are_resized_and_binarized():
    splits = Splits.from_arrays(np.full((40, 8, 10), 64, np.uint8), size=4, binarize=True)
    assert splits.train.shape == (4, 4, 1)
    assert [split.levels for split in splits] == [2, 2, 2]
    (one,), (other,) = (take(splits.train.stream(32, 0, first_step=k), 1) for k in (0, 1))
    assert set(np.unique(one)) == {0.0, 1.0}
    assert (one != other).any()
    assert splits.train.source == {"name": "<arrays>", "size": 4, "binarize": True}


@pytest.mark.parametrize(
    ("images", "levels", "values"),
    [
        (np.array([0.0, 1.0]), None, {0, 1}),
        (np.array([0.0, 1.0]), 256, {0, 255}),
        (np.array([0, 1], np.uint8), 2, {0, 1}),
        (np.array([0, 1], np.uint8), 256, {0, 1}),
    ],
)
def test_levels_can_be_given(images, levels, values):
    splits = Splits.from_arrays(np.resize(images, (60, 2, 2)), levels=levels)
    assert splits.train.levels == (levels or 2)
    assert set(np.unique(splits.train.arrays()[0])) == values


def test_the_source_of_arrays_in_memory_cannot_be_loaded():
    splits = Splits.from_arrays(_grey(20), name="mnist")
    source = json.loads(json.dumps(splits.train.source))
    assert source == {"name": "<mnist>", "size": None, "binarize": False}
    with pytest.raises(InputError, match=r"were arrays in memory. Pass them again.*<mnist>"):
        load_dataset(**source)


def test_splits_are_returned_unchanged():
    splits = Splits.from_arrays(_grey(20))
    assert load_dataset(splits) is splits
    small = load_dataset(splits, size=2, binarize=True)
    assert small.train.shape == (2, 2, 1)
    assert small.train.levels == 2
    assert [len(split) for split in small] == [len(split) for split in splits]
    redrawn = load_dataset("mnist_binary")
    assert load_dataset(redrawn, size=28) is redrawn
    with pytest.raises(InputError, match="already binary"):
        load_dataset(redrawn, binarize=True)


_DATASET = tf.data.Dataset.from_tensor_slices


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: _DATASET((x, y)),
        lambda x, y: _DATASET((x, y)).batch(7),
        lambda x, y: _DATASET((x[..., 0], y)),
        lambda x, y: _DATASET((x[..., 0], y)).batch(10, drop_remainder=True),
        lambda x, y: _DATASET((x, y[:, None])).batch(7),
        lambda x, y: _DATASET((x / np.float32(255), y)).batch(7).prefetch(1),
        lambda x, y: _DATASET(x),
        lambda x, y: _DATASET(x).batch(7),
        lambda x, y: _DATASET(x[..., 0]),
        lambda x, y: _DATASET(x[..., 0]).batch(7),
    ],
)
def test_tf_data_is_read_into_memory(make):
    images, labels = _grey(30), np.arange(30) % 3
    dataset = make(images, labels)
    splits = Splits.from_arrays(dataset, validation=dataset.take(1), test=dataset)
    np.testing.assert_array_equal(splits.train.arrays()[0], images)
    y = splits.test.arrays()[1]
    assert (y is None) == (not isinstance(dataset.element_spec, tuple))
    if y is not None:
        np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": _grey(9)}, "At least 10 examples"),
        ({"train": None}, "Images of train are required"),
        (
            {"train": _grey(20), "test": _grey(3), "test_labels": np.zeros(3, int)},
            "Labels of test require labels of train",
        ),
        (
            {"train": _DATASET(_grey(20)), "test": _DATASET((_grey(3), np.zeros(3, int)))},
            "Labels of test require labels of train",
        ),
        ({"train": _grey(20), "size": 0}, "size=0"),
        ({"train": _grey(20), "labels": np.zeros(19, int)}, r"20 integers.*labels int64 \[19\]"),
        (
            {"train": _grey(20), "labels": np.zeros(20, int), "test_labels": np.zeros(20, int)},
            "Images of test are required",
        ),
        ({"train": np.full((20, 4, 4), 2.0)}, "floats from 0 to 1.*train float64 from 2.0"),
        ({"train": _grey(20), "test": _grey(20)[:, :3]}, r"one shape.*test \(20, 3, 5, 1\)"),
        ({"train": _grey(20), "levels": 2}, "must be 0 or 1.*levels=2"),
        ({"train": _grey(20), "levels": 7}, "levels=7"),
        ({"train": [[[1, 2], [3]]] * 20}, "train must be an array or a tf.data.Dataset.*list"),
        ({"train": _DATASET(_grey(20)).repeat()}, "must be finite.*train"),
        ({"train": _DATASET(_grey(20)), "labels": np.zeros(20)}, "contains its own labels"),
        ({"train": _DATASET({"image": _grey(20)})}, "must have images or .image, label. as elem"),
        ({"train": _DATASET(np.zeros(20))}, "must be .height, width"),
        ({"train": _DATASET(_grey(20)).take(0)}, "no images"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        Splits.from_arrays(**arguments)
    assert "\n" not in str(error.value)


def test_tf_data_larger_than_memory_is_refused(monkeypatch):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 1000)
    endless = tf.data.Dataset.from_generator(
        lambda: itertools.repeat(np.zeros((4, 4, 1), np.uint8)),
        output_signature=tf.TensorSpec((4, 4, 1), tf.uint8),
    )
    with pytest.raises(InputError, match="must be finite and smaller"):
        Splits.from_arrays(endless)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 2, 3), r"must be \(images, labels\).*a tuple of 3"),
        ({"pictures": _IMAGES}, "a dict with pictures"),
        (7, "name=7"),
        ([_IMAGES], "A data set must be"),
    ],
)
def test_unsupported_data_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data)
