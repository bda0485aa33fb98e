"""Data: what is in the bundled sets, exact order and noise, and one clear line for bad input."""

import collections
import functools
import io
import itertools
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import datasets
from zoo.datasets import describe, list_datasets, load_dataset
from zoo.datasets.order import seed_for, shuffled
from zoo.datasets.splits import held_out, in_memory
from zoo.errors import InputError

PREPARED = Path(__file__).parents[2] / "shared" / "tfds"
needs_fashion_mnist = pytest.mark.skipif(
    not (PREPARED / "fashion_mnist").is_dir(),
    reason="needs fashion_mnist, prepared by TFDS in ../shared/tfds",
)


@pytest.fixture(scope="module")
def mnist():
    return load_dataset("mnist")


@pytest.fixture(scope="module")
def mnist_binary():
    return load_dataset("mnist_binary")


def take(dataset, count):
    return [
        tf.nest.map_structure(lambda t: t.numpy(), batch)
        for batch in itertools.islice(dataset, count)
    ]


def everything(dataset):
    return np.concatenate([x.numpy() for x in dataset])


def write_images(folder, count, size=(8, 6), mode="L", suffix=".png", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "1": ()}[mode]
    for k in range(count):
        pixels = rng.integers(0, 256, (*size, *channels), dtype=np.uint8)
        image = Image.fromarray(pixels)
        (image.convert("1") if mode == "1" else image).save(folder / f"{k:03}{suffix}")
    return folder


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def grey_set(count, shape=(4, 5, 1), labels=False):
    """A set in memory whose image k is k everywhere."""
    images = np.broadcast_to(np.arange(count).reshape(-1, 1, 1, 1), (count, *shape))
    labels = np.arange(count, dtype=np.int32) if labels else None
    part = (np.ascontiguousarray(images, np.uint8), labels)
    return in_memory("grey", dict.fromkeys(("train", "validation", "test"), part), 256)


# Bundled sets


def test_mnist(mnist):
    train, validation, test = mnist
    assert [len(split) for split in mnist] == [55000, 5000, 10000]
    assert [split.split for split in mnist] == ["train", "validation", "test"]
    assert train.shape == (28, 28, 1)
    assert (train.levels, train.num_classes) == (256, 10)
    assert train.class_names == tuple("0123456789")
    with np.load(Path(datasets.__file__).parents[1] / "data" / "mnist.npz") as stored:
        np.testing.assert_array_equal(
            validation.arrays()[0][..., 0], stored["train_images"][55000:]
        )
        np.testing.assert_array_equal(test.arrays()[1], stored["test_labels"])
    assert describe(mnist) == "mnist: 55000/5000/10000 images 28x28x1, 256 levels, 10 classes"


def test_static_binary_mnist_is_the_one_of_the_literature():
    splits = load_dataset("binarized_mnist")
    assert [int(split.arrays()[0].sum()) for split in splits] == [5118041, 1028036, 1038896]
    assert [len(split) for split in splits] == [50000, 10000, 10000]
    assert splits[0].levels == 2
    assert splits[0].num_classes == 0
    with pytest.raises(InputError, match="no labels"):
        splits[0].stream(8, seed=0, labels=True)


def test_mnist_binary_is_tested_on_the_static_set(mnist_binary):
    train, validation, test = mnist_binary
    assert [len(split) for split in mnist_binary] == [55000, 5000, 10000]
    assert train.levels == validation.levels == test.levels == 2
    static = load_dataset("binarized_mnist")[2]
    np.testing.assert_array_equal(test.arrays()[0], static.arrays()[0])


def test_static_test_images_are_mnist_s_in_order_of_their_labels(mnist, mnist_binary):
    binary, labels = mnist_binary[2].arrays()
    grey, grey_labels = mnist[2].arrays()
    order = np.argsort(grey_labels, kind="stable")
    np.testing.assert_array_equal(labels, grey_labels[order])

    def impossible(grey):
        wrong = ((grey == 0) & (binary == 1)) | ((grey == 255) & (binary == 0))
        return int(wrong.any(axis=(1, 2, 3)).sum())

    assert impossible(grey[order]) == 0
    assert impossible(np.roll(grey[order], 1, axis=0)) > 9000


def test_validation_of_mnist_binary_is_one_draw_of_held_out_images(mnist, mnist_binary):
    grey = mnist[1].arrays()[0]
    drawn, labels = load_dataset("mnist_binary")[1].arrays()
    np.testing.assert_array_equal(drawn, mnist_binary[1].arrays()[0])
    np.testing.assert_array_equal(labels, mnist[1].arrays()[1])
    assert not drawn[grey == 0].any()
    assert drawn[grey == 255].all()
    p = grey / 255.0
    assert abs(drawn.sum() - p.sum()) < 5 * np.sqrt((p * (1 - p)).sum())


def test_train_of_mnist_binary_is_drawn_afresh(mnist, mnist_binary):
    train = mnist_binary[0]
    n, batch = len(train), 1000
    (first, label), (again, _) = (
        take(train.stream(batch, 3, first_step=step, labels=True), 1)[0] for step in (0, n // batch)
    )
    assert set(np.unique(first)) == {0.0, 1.0}
    grey, grey_label = take(mnist[0].stream(batch, 3, labels=True), 1)[0]
    np.testing.assert_array_equal(label, grey_label)  # the order is no matter of the noise
    assert not first[grey == 0].any()
    assert first[grey == 1].all()
    assert abs(first.sum() - grey.sum()) < 5 * np.sqrt((grey * (1 - grey)).sum())
    images = collections.Counter(x.tobytes() for x in first)
    assert not any(x.tobytes() in images for x in again)
    other = take(train.stream(batch, 4), 1)[0]
    assert abs(np.corrcoef((first - grey).ravel(), other.ravel())[0, 1]) < 0.02


def test_batches_of_mnist_binary_are_one_fixed_draw(mnist_binary):
    train = mnist_binary[0]
    np.testing.assert_array_equal(
        everything(train.batches(5000).take(2)), everything(train.batches(100).take(100))
    )


# Batches and streams


def test_batches_give_every_example_once_in_order_on_the_grid():
    train = grey_set(23, labels=True)[0]
    batches = take(train.batches(10, labels=True), 9)
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
    x = everything(grey_set(count)[0].stream(5, seed=1).take(count))[:, 0, 0, 0]
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
def test_a_stream_entered_later_is_the_same_stream(mnist_binary, first_step):
    train = mnist_binary[0]  # 429.7 batches an epoch
    ahead = 4
    whole = train.stream(128, seed=5, first_step=first_step - 1, labels=True)
    entered = train.stream(128, seed=5, first_step=first_step, labels=True)
    for (x, y), (x2, y2) in zip(take(whole.skip(1), ahead), take(entered, ahead), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_a_stream_from_the_start_reaches_the_same_place(mnist_binary):
    train = mnist_binary[0]
    (x,) = take(train.stream(128, seed=5).skip(440), 1)
    (x2,) = take(train.stream(128, seed=5, first_step=440), 1)
    np.testing.assert_array_equal(x, x2)


def test_a_stream_does_not_depend_on_the_batch_size(mnist_binary):
    train = mnist_binary[0]
    np.testing.assert_array_equal(
        everything(train.stream(64, seed=1).take(4)), everything(train.stream(256, seed=1).take(1))
    )


def test_a_stream_does_not_depend_on_global_seeds():
    train = grey_set(50)[0]
    tf.random.set_seed(1)
    x = everything(train.stream(8, seed=0).take(3))
    tf.random.set_seed(2)
    np.testing.assert_array_equal(everything(train.stream(8, seed=0).take(3)), x)
    assert (everything(train.stream(8, seed=1).take(3)) != x).any()


def test_a_stream_has_static_shapes_and_no_end(mnist):
    stream = mnist[0].stream(16, seed=0, labels=True)
    x, y = stream.element_spec
    assert x == tf.TensorSpec((16, 28, 28, 1), tf.float32)
    assert y == tf.TensorSpec((16,), tf.int32)
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_streams_share_one_copy_of_the_images():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    train = grey_set(100, (1000, 1000, 1))[0]
    take(train.stream(1, seed=0), 1)
    before = resident()
    streams = [train.stream(1, seed) for seed in range(5)]
    for stream in streams:
        take(stream, 1)
    assert resident() - before < train.arrays()[0].nbytes


@pytest.mark.parametrize(
    ("batch_size", "first_step"), [(0, 0), (8, -1)], ids=["batch_size", "first_step"]
)
def test_streams_refuse_bad_numbers(batch_size, first_step):
    with pytest.raises(InputError, match="must be at least"):
        grey_set(20)[0].stream(batch_size, 0, first_step)


# Fingerprints


def test_fingerprints_are_equal_between_processes(mnist_binary):
    code = (
        "import sys; from zoo.datasets import load_dataset; "
        "print(*(s.fingerprint for s in load_dataset('mnist_binary'))); "
        "print('tensorflow' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *fingerprints, with_tensorflow = said.stdout.split()
    assert fingerprints == [split.fingerprint for split in mnist_binary]
    assert with_tensorflow == "False"


def test_fingerprints_tell_data_labels_and_presentation_apart(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6), np.uint8)
    changed = images.copy()
    changed[:, 2, 2] ^= 1
    labels = np.arange(40) % 2
    found = {
        key: load_dataset(write_npz(tmp_path / f"{key}.npz", **arrays), **options)[0].fingerprint
        for key, arrays, options in [
            ("plain", {"images": images}, {}),
            ("copy", {"images": images}, {}),
            ("changed", {"images": changed}, {}),
            ("reshaped", {"images": images.reshape(40, 4, 9)}, {}),
            ("labelled", {"images": images, "labels": labels}, {}),
            ("relabelled", {"images": images, "labels": 1 - labels}, {}),
            ("afresh", {"images": images}, {"binarize": True}),
        ]
    }
    assert found.pop("copy") == found["plain"]
    assert len(set(found.values())) == 6


# Sizes and binarization


def test_size_cuts_the_central_square(tmp_path):
    images = np.zeros((20, 4, 16), np.uint8)
    images[:, :, 2:14] = 200  # the square, and as much of its surroundings as the filter sees
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images), size=2)
    x, _ = splits[0].arrays()
    np.testing.assert_array_equal(x, np.full((16, 2, 2, 1), 200))
    assert "resized from 4x16 to 2x2" in describe(splits)


def test_resizing_is_antialiased(tmp_path):
    checkers = np.indices((32, 32)).sum(0) % 2 * 255
    images = np.repeat(checkers[None].astype(np.uint8), 20, axis=0)
    x, _ = load_dataset(write_npz(tmp_path / "x.npz", images=images), size=8)[0].arrays()
    assert abs(x.astype(int) - 127).max() < 20


def test_binarize_draws_the_rest_once(tmp_path):
    images = np.full((1000, 8, 8), 64, np.uint8)
    splits = load_dataset(write_npz(tmp_path / "x.npz", images=images), binarize=True)
    assert [split.levels for split in splits] == [2, 2, 2]
    for split in splits:
        x = everything(split.batches(300))
        assert set(np.unique(x)) == {0.0, 1.0}
        assert abs(x.mean() - 64 / 255) < 0.02
        np.testing.assert_array_equal(x, split.arrays()[0])
    assert (splits[1].arrays()[0] != splits[2].arrays()[0]).any()
    n = len(splits[0])
    first, again = (take(splits[0].stream(n, 0, first_step=k), 1)[0] for k in (0, 1))
    assert 0.3 < (first != again).mean() < 0.45  # 2 p (1 - p) = 0.376


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mnist_binary", {"binarize": True}, "binary already"),
        ("binarized_mnist", {"binarize": True}, "binary already"),
        ("binarized_mnist", {"size": 32}, "--data mnist --size 32 --binarize"),
        ("mnist_binary", {"size": 32}, "--data mnist --size 32 --binarize"),
        ("mnist", {"size": 0}, "size=0"),
        ("mnist", {"size": 3.5}, "size=3.5"),
        ("", {}, "name=''"),
        (None, {}, "name=None"),
    ],
)
def test_options_that_cannot_be_had_are_refused(name, options, said):
    with pytest.raises(InputError) as error:
        load_dataset(name, **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_colour_is_not_binarized(tmp_path):
    images = np.full((20, 4, 4, 3), 64, np.uint8)
    with pytest.raises(InputError, match="Only grey images"):
        load_dataset(write_npz(tmp_path / "x.npz", images=images), binarize=True)


# Folders of images


def test_a_flat_folder(tmp_path):
    write_images(tmp_path / "grey", 30)
    (tmp_path / "grey" / "notes.txt").write_text("seven")
    (tmp_path / "grey" / ".hidden.png").write_text("not an image")
    splits = load_dataset(tmp_path / "grey")
    assert [len(split) for split in splits] == [24, 3, 3]
    assert splits[0].shape == (8, 6, 1)
    assert (splits[0].levels, splits[0].num_classes, splits[0].class_names) == (256, 0, ())
    assert splits[0].name == "grey"
    stored = {np.asarray(Image.open(f)).tobytes() for f in (tmp_path / "grey").glob("[0-9]*.png")}
    assert {x.tobytes() for split in splits for x in split.arrays()[0]} == stored
    said = describe(splits)
    assert said.startswith("grey: 24/3/3 images 8x6x1, 256 levels, no labels")
    assert "30 files" in said
    assert "1 other file ignored" in said


def test_a_folder_is_split_the_same_way_wherever_it_lies(tmp_path):
    one, two = (load_dataset(write_images(tmp_path / name, 30)) for name in ("a", "b"))
    assert [s.fingerprint for s in one] == [s.fingerprint for s in two]


def test_a_subfolder_a_class(tmp_path):
    for value, name in enumerate(["cats", "dogs", "ants"]):
        folder = tmp_path / name / "deeper" if name == "ants" else tmp_path / name
        folder.mkdir(parents=True)
        for k in range(20):
            Image.new("RGB", (5, 5), (value, k, 0)).save(folder / f"{k}.png")
    splits = load_dataset(str(tmp_path))
    assert splits[0].class_names == ("ants", "cats", "dogs")
    assert splits[0].num_classes == 3
    values = {"cats": 0, "dogs": 1, "ants": 2}
    for split in splits:
        images, labels = split.arrays()
        named = [values[split.class_names[y]] for y in labels]
        np.testing.assert_array_equal(images[:, 0, 0, 0], named)
    assert set(splits[0].arrays()[1]) == {0, 1, 2}
    assert "3 classes" in describe(splits)


def test_folders_named_as_the_splits(tmp_path):
    for split, count in (("train", 30), ("val", 4), ("test", 6)):
        for name in ("a", "b"):
            write_images(tmp_path / split / name, count, seed=len(split))
    splits = load_dataset(tmp_path)
    assert [len(split) for split in splits] == [60, 8, 12]
    assert splits[2].class_names == ("a", "b")
    assert sorted(splits[1].arrays()[1]) == [0] * 4 + [1] * 4


def test_validation_is_held_out_where_there_is_none(tmp_path):
    write_images(tmp_path / "train", 30)
    write_images(tmp_path / "test", 7, seed=1)
    assert [len(split) for split in load_dataset(tmp_path)] == [27, 3, 7]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
def test_every_format(tmp_path, suffix):
    write_images(tmp_path / "x", 10, mode="RGB", suffix=suffix)
    assert load_dataset(tmp_path / "x")[0].shape == (8, 6, 3)


def test_grey_among_colour_is_colour_and_bits_are_binary(tmp_path):
    write_images(tmp_path / "mixed", 10, mode="RGB")
    Image.new("L", (6, 8), 77).save(tmp_path / "mixed" / "grey.png")
    splits = load_dataset(tmp_path / "mixed")
    assert splits[0].shape == (8, 6, 3)
    assert "1 grey files among colour ones" in describe(splits)
    write_images(tmp_path / "bits", 10, mode="1")
    train = load_dataset(tmp_path / "bits")[0]
    assert train.levels == 2
    assert set(np.unique(train.arrays()[0])) == {0, 1}


def test_alpha_lies_on_white_and_images_are_upright(tmp_path):
    for k in range(10):
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / f"{k}.png")
    splits = load_dataset(tmp_path)
    assert splits[0].shape == (4, 4, 3)
    assert (splits[0].arrays()[0] == 255).all()
    assert "alpha composited on white in 10 files" in describe(splits)
    turned = tmp_path / "turned"
    turned.mkdir()
    image = Image.new("L", (6, 4))
    image.paste(255, (0, 0, 3, 4))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the left half comes to the top
    for k in range(10):
        image.save(turned / f"{k}.png", exif=exif)
    train = load_dataset(turned)[0]
    assert train.shape == (6, 4, 1)
    np.testing.assert_array_equal(train.arrays()[0][0, :, 0, 0], [255] * 3 + [0] * 3)


def test_sixteen_bits_become_eight(tmp_path):
    for k in range(10):
        pixels = np.full((3, 3), 257 * 100, np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    assert (load_dataset(tmp_path)[0].arrays()[0] == 100).all()


def test_mixed_sizes_need_a_size(tmp_path):
    write_images(tmp_path, 20, size=(8, 6))
    Image.new("L", (12, 10)).save(tmp_path / "odd.png")
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path)
    for part in ("--size 6", "8x6 (20 files)", "odd.png 10x12 (1 file)"):
        assert part in str(error.value)
    splits = load_dataset(tmp_path, size=6)
    assert splits[0].shape == (6, 6, 1)
    assert sum(map(len, splits)) == 21
    assert "cut to squares and resized to 6x6 from 2 sizes" in describe(splits)


def _png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + b"\0\0\0\7IDAT"


@pytest.mark.parametrize("side", [9000, 20000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side):
    write_images(tmp_path, 12)
    (tmp_path / "bomb.png").write_bytes(_png_header(side, side))
    start = time.monotonic()
    with pytest.raises(InputError, match=r"64 million pixels.*bomb\.png"):
        load_dataset(tmp_path, size=8)
    assert time.monotonic() - start < 2


def test_unreadable_files_are_named_before_training(tmp_path):
    write_images(tmp_path, 12)
    for k in range(5):
        (tmp_path / f"bad{k}.png").write_text("not an image")
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path)
    assert "5 images" in str(error.value)
    assert "bad0.png, bad1.png, bad2.png and 2 more" in str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_one_damaged_file_is_named(tmp_path, suffix):
    write_images(tmp_path, 12, size=(40, 40), suffix=suffix)
    path = tmp_path / f"007{suffix}"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=f"1 image in .* cannot be read .*007{suffix}"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "There is no such folder or file"),
        (lambda p: p, "There are no images .* 0 other files"),
        (lambda p: write_images(p, 9), "At least 10 images .* Received: 9"),
        (lambda p: write_images(p, 12, suffix=".tiff"), "There are no images .* 12 other files"),
        (lambda p: write_images(write_images(p, 9) / "a", 9).parent, "images of its own and in a"),
        (
            lambda p: write_images(write_images(p / "train", 12).parent / "test" / "b", 2).parents[
                1
            ],
            "images of its own and in b",
        ),
        (
            lambda p: (
                write_images(write_images(p / "train", 12).parent / "test", 2).parent / "test"
            ),
            "At least 10",
        ),
    ],
    ids=["missing", "empty", "few", "tiff", "mixed layout", "mixed splits", "few test"],
)
def test_folders_that_cannot_be_used(tmp_path, make, said):
    with pytest.raises(InputError, match=said) as error:
        load_dataset(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_class_without_training_images_is_refused(tmp_path):
    write_images(tmp_path / "train" / "a", 12)
    write_images(tmp_path / "train" / "b", 12)
    write_images(tmp_path / "test" / "c", 12)
    with pytest.raises(InputError, match="c in test"):
        load_dataset(tmp_path)


def test_a_folder_larger_than_memory_gives_the_same(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_images(tmp_path / name, 20, mode="RGB", seed=ord(name))
    small = load_dataset(tmp_path)
    monkeypatch.setattr("zoo.datasets.splits.MAX_BYTES_IN_MEMORY", 1000)
    large = load_dataset(tmp_path)
    assert "too large for memory" in describe(large)
    assert [s.fingerprint for s in large] == [s.fingerprint for s in small]
    pairs = zip(
        take(small[0].stream(6, 3, first_step=4, labels=True), 3),
        take(large[0].stream(6, 3, first_step=4, labels=True), 3),
        strict=True,
    )
    for (x, y), (x2, y2) in pairs:
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    np.testing.assert_array_equal(everything(small[2].batches(3)), everything(large[2].batches(3)))
    with pytest.raises(InputError, match="too large"):
        large[0].arrays()


# Arrays in files


def test_arrays_with_all_their_splits(tmp_path):
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
    assert "ignored: other" in describe(splits)


def test_one_array_is_split_and_keeps_its_labels(tmp_path):
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
    assert ("floats rounded" in describe(splits)) == (images.dtype.kind == "f" and levels == 256)


_IMAGES = np.zeros((20, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": np.full((20, 4, 4), 1.5)}, "floats from 0 to 1.*from 1.5 to 1.5"),
        ({"images": np.full((20, 4, 4), np.nan)}, "from nan to nan"),
        ({"images": np.full((20, 4, 4), -1, np.int16)}, "from -1 to -1"),
        ({"images": np.full((20, 4, 4), 256)}, "from 256 to 256"),
        ({"images": np.full((20, 4, 4), "a")}, "must be uint8, bool or float"),
        ({"images": np.zeros((20, 16))}, r"images \[20, 16\]"),
        ({"images": np.zeros((20, 4, 4, 4))}, "1 or 3"),
        ({"images": _IMAGES[:9]}, "At least 10 images"),
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
def test_arrays_that_cannot_be_used(tmp_path, arrays, said):
    with pytest.raises(InputError, match=said) as error:
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
def test_damaged_files_are_named(tmp_path, name, keep):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16), np.uint8)
    whole = io.BytesIO()
    (np.save if name == "x.npy" else np.savez_compressed)(whole, images)
    (tmp_path / name).write_bytes(whole.getvalue()[:keep])
    with pytest.raises(InputError, match=name) as error:
        load_dataset(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_in_a_zip_is_seen(tmp_path):
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
    ("name", "said"),
    [("x.npz", "There is no such"), ("./x.npy", "There is no such"), ("x.txt", "There is no such")],
)
def test_missing_files(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        load_dataset(tmp_path / name)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"must be a \.npz or \.npy"):
        load_dataset(tmp_path / "x.csv")


# TFDS


@pytest.mark.parametrize(
    ("name", "said"),
    [("minst", "mnist"), ("fashon_mnist", "fashion_mnist"), ("qqqqqqqq", "zoo data")],
)
def test_unknown_names_suggest_the_nearest(name, said):
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        load_dataset(name)
    assert said in str(error.value)
    assert f"name={name}" in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 10


def test_a_bare_word_is_a_name_not_a_folder(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", 12)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"write \./photos"):
        load_dataset("photos")
    assert load_dataset("./photos")[0].name == "photos"
    np.save(tmp_path / "odd.npy", np.zeros((12, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match=r"write \./odd\.npy"):
        load_dataset("odd.npy")


def test_no_network_is_said_at_once(tmp_path, monkeypatch, caplog):
    def unreachable(*args, **settings):
        raise socket.gaierror("no network")

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        load_dataset("cifar10")
    assert time.monotonic() - start < 10
    for part in ("cifar10", "cannot be reached", "TFDS_DATA_DIR", "--data PATH"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert not caplog.records


def test_a_network_that_hangs_is_given_up(tmp_path, monkeypatch):
    over = threading.Event()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **settings: over.wait(30) and [])
    monkeypatch.setattr("zoo.datasets.tfds._PROBE_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(InputError, match="does not answer"):
        load_dataset("cifar10")
    over.set()
    assert time.monotonic() - start < 5


def test_sets_without_images_are_refused_before_any_download(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"must have an `image` feature.*sentence"):
        load_dataset("glue")


def test_sections_hold_out_what_is_missing():
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


@pytest.fixture
def fashion_mnist(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    return lambda **options: load_dataset("fashion_mnist", **options)


@pytest.fixture(scope="module")
def kept_fashion_mnist():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(PREPARED))
        return load_dataset("fashion_mnist")


@needs_fashion_mnist
def test_fashion_mnist(kept_fashion_mnist):
    train, validation, test = kept_fashion_mnist
    assert [len(split) for split in kept_fashion_mnist] == [55000, 5000, 10000]
    assert train.shape == (28, 28, 1)
    assert train.class_names[9] == "Ankle boot"
    x, y = take(test.batches(10000, labels=True), 1)[0]
    assert np.bincount(y).tolist() == [1000] * 10
    assert abs(x.mean() - 0.2868) < 0.001
    counts = np.bincount(train.arrays()[1]) + np.bincount(validation.arrays()[1])
    assert counts.tolist() == [6000] * 10


@needs_fashion_mnist
def test_a_set_larger_than_memory_streams(fashion_mnist, kept_fashion_mnist, monkeypatch):
    monkeypatch.setattr("zoo.datasets.splits.MAX_BYTES_IN_MEMORY", 10**6)
    monkeypatch.setattr("zoo.datasets.tfds._WINDOW", 512)
    splits = fashion_mnist()
    train, validation, _ = splits
    assert "streamed" in describe(splits)
    assert [len(split) for split in splits] == [55000, 5000, 10000]
    assert len(train.fingerprint) == 64
    assert train.fingerprint != validation.fingerprint
    kept = kept_fashion_mnist[1]
    x = everything(validation.batches(999))
    np.testing.assert_array_equal(x, everything(kept.batches(999)))
    with pytest.raises(InputError, match="too large"):
        train.arrays()

    n, batch = len(validation), 50
    epochs = take(validation.stream(batch, seed=0, labels=True), 2 * n // batch)
    images = np.concatenate([x for x, _ in epochs])
    labels = np.concatenate([y for _, y in epochs])
    by_image = collections.Counter(x.tobytes() for x in x)
    for epoch in (images[:n], images[n:]):
        assert collections.Counter(x.tobytes() for x in epoch) == by_image
    assert (images[:n] != images[n:]).any(axis=(1, 2, 3)).mean() > 0.9
    label_of = {x.tobytes(): y for x, y in zip(x, kept.arrays()[1], strict=True)}
    assert [label_of[x.tobytes()] for x in images[:n]] == list(labels[:n])

    tf.random.set_seed(7)
    for step in (1, 99, 100, 133):
        (entered,) = take(validation.stream(batch, seed=0, first_step=step), 1)
        np.testing.assert_array_equal(entered, epochs[step][0])
    (other,) = take(validation.stream(batch, seed=1), 1)
    assert (other != epochs[0][0]).any()


@needs_fashion_mnist
def test_a_streamed_set_is_resized_but_not_binarized(fashion_mnist, monkeypatch):
    monkeypatch.setattr("zoo.datasets.splits.MAX_BYTES_IN_MEMORY", 10**6)
    train = fashion_mnist(size=14)[0]
    assert train.shape == (14, 14, 1)
    (x,) = take(train.stream(4, seed=0), 1)
    assert x.shape == (4, 14, 14, 1)
    with pytest.raises(InputError, match="larger than"):
        fashion_mnist(binarize=True)
