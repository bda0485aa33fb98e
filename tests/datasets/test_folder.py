"""Folders of images: layouts, formats, and errors for damaged files."""

import os
import struct
import subprocess
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from support.data import concatenate, take, write_images

from zoo.datasets import layout, load_dataset
from zoo.errors import InputError


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
    description = splits.describe()
    assert description.startswith("grey: 24/3/3 images 8x6x1, 256 levels, no labels")
    assert "30 files" in description
    assert "1 other file ignored" in description


def test_splits_do_not_depend_on_the_location_of_the_folder(tmp_path):
    one, two = (load_dataset(write_images(tmp_path / name, 30)) for name in ("a", "b"))
    assert [s.fingerprint for s in one] == [s.fingerprint for s in two]


def test_one_subfolder_per_class(tmp_path):
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
    assert "3 classes" in splits.describe()


def test_folders_named_after_splits(tmp_path):
    for split, count in (("train", 30), ("val", 4), ("test", 6)):
        for name in ("a", "b"):
            write_images(tmp_path / split / name, count, seed=len(split))
    splits = load_dataset(tmp_path)
    assert [len(split) for split in splits] == [60, 8, 12]
    assert splits[2].class_names == ("a", "b")
    assert sorted(splits[1].arrays()[1]) == [0] * 4 + [1] * 4


def test_a_missing_validation_split_is_held_out(tmp_path):
    write_images(tmp_path / "train", 30)
    write_images(tmp_path / "test", 7, seed=1)
    assert [len(split) for split in load_dataset(tmp_path)] == [27, 3, 7]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
def test_every_format(tmp_path, suffix):
    write_images(tmp_path / "x", 10, mode="RGB", suffix=suffix)
    assert load_dataset(tmp_path / "x")[0].shape == (8, 6, 3)


def test_mixed_grey_and_colour_is_colour_and_1_bit_is_binary(tmp_path):
    write_images(tmp_path / "mixed", 10, mode="RGB")
    Image.new("L", (6, 8), 77).save(tmp_path / "mixed" / "grey.png")
    splits = load_dataset(tmp_path / "mixed")
    assert splits[0].shape == (8, 6, 3)
    assert "1 grey files among colour files" in splits.describe()
    write_images(tmp_path / "bits", 10, mode="1")
    train = load_dataset(tmp_path / "bits")[0]
    assert train.levels == 2
    assert set(np.unique(train.arrays()[0])) == {0, 1}


def test_alpha_is_composited_on_white_and_exif_rotation_is_applied(tmp_path):
    for k in range(10):
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / f"{k}.png")
    splits = load_dataset(tmp_path)
    assert splits[0].shape == (4, 4, 3)
    assert (splits[0].arrays()[0] == 255).all()
    assert "alpha composited on white in 10 files" in splits.describe()
    rotated = tmp_path / "rotated"
    rotated.mkdir()
    image = Image.new("L", (6, 4))
    image.paste(255, (0, 0, 3, 4))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: the left half becomes the top
    for k in range(10):
        image.save(rotated / f"{k}.png", exif=exif)
    train = load_dataset(rotated)[0]
    assert train.shape == (6, 4, 1)
    np.testing.assert_array_equal(train.arrays()[0][0, :, 0, 0], [255] * 3 + [0] * 3)


def test_sixteen_bits_become_eight(tmp_path):
    for k in range(10):
        pixels = np.full((3, 3), 257 * 100, np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    assert (load_dataset(tmp_path)[0].arrays()[0] == 100).all()


def test_mixed_sizes_require_a_size(tmp_path):
    write_images(tmp_path, 20, size=(8, 6))
    Image.new("L", (12, 10)).save(tmp_path / "odd.png")
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path)
    for part in ("add size=6.", "8x6 (20 files)", "odd.png 10x12 (1 file)"):
        assert part in str(error.value)
    splits = load_dataset(tmp_path, size=6)
    assert splits[0].shape == (6, 6, 1)
    assert sum(map(len, splits)) == 21
    assert "cut to squares and resized to 6x6 from 2 sizes" in splits.describe()


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


def test_unreadable_files_are_reported_before_training(tmp_path):
    write_images(tmp_path, 12)
    for k in range(5):
        (tmp_path / f"bad{k}.png").write_text("not an image")
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path)
    assert "5 images" in str(error.value)
    assert "not an image: bad0.png, bad1.png, bad2.png and 2 more" in str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_one_damaged_file_is_reported(tmp_path, suffix):
    write_images(tmp_path, 12, size=(40, 40), suffix=suffix)
    path = tmp_path / f"007{suffix}"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=f"1 image in .* cannot be read.*damaged: 007{suffix}"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing", "No such file or folder"),
        (lambda p: p, "There are no images .* 0 other files"),
        (lambda p: write_images(p, 9), "At least 10 examples .* Received: 9"),
        (lambda p: write_images(p, 12, suffix=".tiff"), "There are no images .* 12 other files"),
        (lambda p: write_images(write_images(p, 9) / "a", 9).parent, "images of its own and in a"),
        (
            lambda p: write_images(write_images(p / "train", 12).parent / "test" / "b", 2).parents[
                1
            ],
            "/train with images of its own and in test/b",
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
def test_invalid_folders_are_refused(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset(make(tmp_path))
    assert "\n" not in str(error.value)


def test_a_class_without_training_images_is_refused(tmp_path):
    write_images(tmp_path / "train" / "a", 12)
    write_images(tmp_path / "train" / "b", 12)
    write_images(tmp_path / "test" / "c", 12)
    with pytest.raises(InputError, match="c in test"):
        load_dataset(tmp_path)


def test_a_folder_larger_than_memory_gives_equal_splits(tmp_path, monkeypatch):
    for name in ("c", "d"):
        write_images(tmp_path / name, 20, mode="RGB", seed=ord(name))
    small = load_dataset(tmp_path)
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", 1000)
    large = load_dataset(tmp_path)
    assert "too large for memory" in large.describe()
    assert [s.fingerprint for s in large] == [s.fingerprint for s in small]
    pairs = zip(
        take(small[0].stream(6, 3, first_step=4, condition=True), 3),
        take(large[0].stream(6, 3, first_step=4, condition=True), 3),
        strict=True,
    )
    for (x, y), (x2, y2) in pairs:
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    np.testing.assert_array_equal(
        concatenate(small[2].batches(3)), concatenate(large[2].batches(3))
    )
    with pytest.raises(InputError, match="does not fit in memory"):
        large[0].arrays()


def test_fingerprints_do_not_change(tmp_path):
    for k, name in enumerate("abc"):
        write_images(tmp_path / name, 20, mode="RGB", seed=k)
    assert [split.fingerprint for split in load_dataset(tmp_path)] == [
        "b8d42c8434181f864d5b2782ab105b0185ede5e37af3725be5406eb293b794e7",
        "8d18716d42168bafda251679ca8757c48ea12ba94ce5ee762a797d9f113f00d2",
        "cd53e491f41641deeca011818c060f76b84116775a07fc68d7a93807470fdda1",
    ]


@pytest.mark.parametrize("names", [("Train", "Valid", "TEST"), ("training", "dev", "testing")])
def test_usual_names_of_splits_in_any_case(tmp_path, names):
    for folder, count in zip(names, (30, 4, 6), strict=True):
        for name in ("c", "d"):
            write_images(tmp_path / folder / name, count, seed=count)
    splits = load_dataset(tmp_path)
    assert [len(split) for split in splits] == [60, 8, 12]
    assert splits[0].class_names == ("c", "d")
    for split, folder in zip(splits._fields, names, strict=True):
        assert f"{split} in the folder {folder}" in splits.describe()


def test_folders_train_and_valid_are_splits(tmp_path):
    write_images(tmp_path / "train", 30)
    write_images(tmp_path / "valid", 5, seed=1)
    splits = load_dataset(tmp_path)
    assert [len(split) for split in splits] == [27, 5, 3]
    assert splits[0].num_classes == 0


def test_a_single_folder_named_after_a_split_is_a_class(tmp_path):
    for name in ("car", "plane", "train"):
        write_images(tmp_path / name, 12)
    assert load_dataset(tmp_path)[0].class_names == ("car", "plane", "train")


def test_splits_without_train_are_refused(tmp_path):
    write_images(tmp_path / "valid", 30)
    write_images(tmp_path / "test", 30)
    with pytest.raises(InputError, match=r"needed in the train split.*validation \(30\), test"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("wrapper", ["train", "photos/all", "photos/train"])
def test_a_wrapped_folder_keeps_its_labels(tmp_path, wrapper):
    for name in ("cat", "dog"):
        write_images(tmp_path / wrapper / name, 20)
    splits = load_dataset(tmp_path)
    assert splits[0].class_names == ("cat", "dog")
    assert f"all images are in the subfolder {wrapper}" in splits.describe()


def test_wrapper_folders_around_and_within_splits(tmp_path):
    for split, count in (("train", 20), ("test", 5)):
        for name in ("cat", "dog"):
            write_images(tmp_path / "data" / split / "images" / name, count)
    splits = load_dataset(tmp_path)
    assert [len(split) for split in splits] == [36, 4, 10]
    assert splits[2].class_names == ("cat", "dog")


def test_a_flat_split_among_splits_with_classes_is_refused(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, 20)
    write_images(tmp_path / "test", 5)
    with pytest.raises(InputError, match=r"/test with images of its own and in train/cat"):
        load_dataset(tmp_path)


def test_a_rare_class_keeps_a_training_image(tmp_path):
    write_images(tmp_path / "common", 60, seed=1)
    for k in range(40):  # each of these classes alone would be held out with a chance of 1 in 5
        write_images(tmp_path / f"rare{k}", 1, seed=k + 2)
    splits = load_dataset(tmp_path)
    assert set(splits.train.arrays()[1]) == set(range(41))
    assert [len(split) for split in splits] == [80, 10, 10]
    images = np.concatenate([split.arrays()[0] for split in splits])
    assert len({x.tobytes() for x in images}) == 100
    assert "one image of each class is kept in train" in splits.describe()


def test_more_classes_than_training_images_are_refused(tmp_path):
    for k in range(20):
        write_images(tmp_path / f"{k}", 1)
    with pytest.raises(InputError, match="20 classes and 16 training images"):
        load_dataset(tmp_path)


def test_links_are_followed_once(tmp_path):
    write_images(tmp_path / "photos" / "cat", 12)
    write_images(tmp_path / "other", 12)
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "other")
    (tmp_path / "photos" / "cat" / "loop").symlink_to(tmp_path / "photos")
    splits = load_dataset(tmp_path / "photos")
    assert sum(map(len, splits)) == 24
    assert splits[0].class_names == ("cat", "dog")


def test_a_run_in_the_folder_is_ignored(tmp_path):
    write_images(tmp_path / "cat", 12)
    write_images(tmp_path / "dog", 12)
    write_images(tmp_path / "runs" / "vae" / "samples", 3)
    (tmp_path / "runs" / "vae" / "run.json").write_text("{}")
    splits = load_dataset(tmp_path)
    assert splits[0].class_names == ("cat", "dog")
    assert "ignored, because it is a run: runs/vae" in splits.describe()


@pytest.mark.parametrize("limit", [2**31, 1000], ids=["in memory", "streamed"])
def test_all_unreadable_files_are_reported_at_once(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", limit)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = write_images(tmp_path / "photos", 30, size=(40, 40))
    for k in range(5):  # its header is valid
        path = folder / f"{k:03}.png"
        path.write_bytes(path.read_bytes()[:-300])
    (folder / "text.png").write_text("not an image")
    (folder / "link.png").symlink_to(folder / "missing.png")
    (folder / "secret.png").write_bytes((folder / "010.png").read_bytes())
    opened = Image.open

    def refuse(path, **options):
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, **options)

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(InputError, match=r"8 images in .* cannot be read") as error:
        load_dataset(folder)
    for part in (
        "damaged: 000.png, 001.png, 002.png and 2 more",
        "not an image: text.png",
        "broken link: link.png",
        "no permission: secret.png",
    ):
        assert part in str(error.value)
    (listed,) = tmp_path.glob("zoo-unreadable-*.txt")
    assert str(listed) in str(error.value)
    lines = listed.read_text().splitlines()
    assert len(lines) == 8
    assert "damaged: 004.png" in lines


@pytest.mark.parametrize("limit", [2**31, 1000], ids=["in memory", "streamed"])
def test_skip_damaged_skips_damaged_files(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("zoo.datasets.assembly.MAX_BYTES_IN_MEMORY", limit)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = write_images(tmp_path / "photos", 30, size=(40, 40))
    valid = load_dataset(folder)
    cut = (folder / "000.png").read_bytes()[:-300]
    for k in range(4):  # its header is valid
        (folder / f"cut{k}.png").write_bytes(cut)
    (folder / "text.png").write_text("not an image")
    with pytest.raises(InputError, match=r"or add skip_damaged=True"):
        load_dataset(folder)
    splits = load_dataset(folder, skip_damaged=True)
    assert [s.fingerprint for s in splits] == [s.fingerprint for s in valid]
    assert splits.train.source["skip_damaged"]
    for part in ("5 left out", "damaged: cut0.png, cut1.png, cut2.png and 1 more", ": text.png"):
        assert part in splits.describe()
    assert [s.fingerprint for s in load_dataset(**splits.train.source)] == [
        s.fingerprint for s in valid
    ]


def test_skip_damaged_requires_valid_files_and_a_folder(tmp_path):
    for k in range(12):
        (tmp_path / f"{k}.png").write_text("not an image")
    with pytest.raises(InputError, match=r"No image in .* can be read: not an image: 0\.png"):
        load_dataset(tmp_path, skip_damaged=True)
    with pytest.raises(InputError, match=r"Omit skip_damaged=True"):
        load_dataset("mnist", skip_damaged=True)


def test_the_range_of_16_bit_images_is_reported_and_can_be_stretched(tmp_path):
    pixels = np.linspace(7, 4095, 64, dtype=np.uint16).reshape(8, 8)
    for k in range(10):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    description = load_dataset(tmp_path).describe()
    assert "16-bit images, values 7 to 4095, reduced to 8 bits" in description
    assert "nearly black" in description
    assert "add --stretch (stretch=True)" in description
    splits = load_dataset(tmp_path, stretch=True)
    assert "16-bit images, values 7 to 4095, stretched from 7 and 4095" in splits.describe()
    assert "nearly black" not in splits.describe()
    expected = np.rint((pixels - 7.0) * 255 / 4088)[..., None]
    np.testing.assert_array_equal(splits.train.arrays()[0][0], expected)
    again = load_dataset(**splits.train.source)  # as a resume does
    assert again.train.fingerprint == splits.train.fingerprint
    Image.new("L", (8, 8)).save(tmp_path / "shallow.png")
    with pytest.raises(InputError, match=r"Omit stretch=True\. Received: 10 such files of 11"):
        load_dataset(tmp_path, stretch=True)


def test_sixteen_bits_that_are_used_are_not_called_dark(tmp_path):
    for k in range(10):
        Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / f"{k}.png")
    description = load_dataset(tmp_path).describe()
    assert "values 0 to 65535, reduced to 8 bits" in description
    assert "nearly black" not in description


def _png(color, rows, extra=b""):
    """A PNG of 16 bits; color is its type: 0 grey, 2 RGB, 4 grey with alpha."""
    height, width = rows.shape[:2]

    def chunk(name, data):
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    pixels = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))
        + (chunk(b"tRNS", extra) if extra else b"")
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


GREY = np.array([[0, 257 * 9], [257 * 200, 65535]])
CLEAR = np.stack([GREY, np.array([[65535, 0], [65535, 65535]])], axis=-1)


@pytest.mark.parametrize(
    ("content", "expected", "note"),
    [
        (_png(0, GREY, struct.pack(">H", 257 * 9)), [0, 255, 200, 255], "alpha composited"),
        (_png(4, CLEAR), [0, 255, 200, 255], "alpha composited"),
        (_png(2, np.stack([GREY + 5] * 3, -1) % 65536), [[0] * 3, [9] * 3, [200] * 3, [0] * 3],
         "the upper 8 of 16 bits in 10 files"),
    ],
    ids=["transparent value", "alpha", "colour"],
)  # fmt: skip
def test_sixteen_bits_with_alpha_and_colour(tmp_path, content, expected, note):
    for k in range(10):
        (tmp_path / f"{k}.png").write_bytes(content)
    splits = load_dataset(tmp_path)
    np.testing.assert_array_equal(splits.train.arrays()[0][0].reshape(4, -1).squeeze(), expected)
    assert note in splits.describe()


def test_palettes_cmyk_and_animations(tmp_path):
    colours = Image.new("P", (2, 1))
    colours.putpalette([10, 20, 30, 40, 50, 60])
    colours.putpixel((1, 0), 1)
    cmyk = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("lime", "blue")]
    for k in range(10):
        colours.save(tmp_path / f"p{k}.png", transparency=1)
        cmyk.save(tmp_path / f"c{k}.jpg", quality=100)
        frames[0].save(tmp_path / f"a{k}.webp", save_all=True, append_images=frames, lossless=True)
    splits = load_dataset(tmp_path)
    found = {tuple(map(tuple, x[0])) for split in splits for x in split.arrays()[0].astype(int)}
    assert ((10, 20, 30), (255, 255, 255)) in found
    assert ((0, 255, 0),) * 2 in found
    assert any(np.allclose(pixel, [(255, 0, 0)] * 2, atol=3) for pixel in found)
    for note in ("10 CMYK files converted to RGB", "the first frame of 10 animations"):
        assert note in splits.describe()
    assert "alpha composited on white in 10 files" in splits.describe()


def test_the_content_of_a_file_says_its_format(tmp_path):
    for k in range(10):
        Image.new("RGB", (4, 4), (k, 0, 0)).save(tmp_path / f"{k}.png", format="webp")
    assert load_dataset(tmp_path).train.shape == (4, 4, 3)
    (tmp_path / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    with pytest.raises(InputError, match=r"not an image: program\.png"):
        load_dataset(tmp_path)


def test_special_files_and_endless_folders(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "photos", 12)
    os.mkfifo(folder / "pipe.png")
    (folder / "null.png").symlink_to(os.devnull)
    (folder / "self.png").symlink_to(folder / "self.png")
    splits = load_dataset(folder, skip_damaged=True)
    assert sum(map(len, splits)) == 12
    assert "2 pipes, sockets or devices ignored" in splits.describe()
    assert "1 left out that cannot be read: broken link: self.png" in splits.describe()
    deep = folder
    for _ in range(1100):  # more than Python's calls can be nested
        deep = deep / "d"
        deep.mkdir()
    try:
        assert sum(map(len, load_dataset(folder, skip_damaged=True))) == 12
        monkeypatch.setattr("zoo.datasets.layout.MAX_ENTRIES", 500)
        with pytest.raises(InputError, match="more than 500 files and folders: use the folder of"):
            load_dataset(folder)
    finally:
        subprocess.run(["rm", "-r", folder / "d"], check=True)  # pytest cannot: it nests calls
    for system in ("/", "/proc/self", "/dev"):
        with pytest.raises(InputError, match=f"system files, in /.*Received: {system}$"):
            load_dataset(system + "/" * (system != "/"))


def test_a_folder_is_walked_once(tmp_path, monkeypatch):
    write_images(tmp_path / "photos", 12)
    (tmp_path / "photos" / "notes.txt").write_text("")
    walked = []
    walk = layout._walk
    monkeypatch.setattr(layout, "_walk", lambda folder: walked.append(folder) or walk(folder))
    load_dataset(tmp_path / "photos")
    with pytest.raises(InputError, match="There are no images"):
        load_dataset(write_images(tmp_path / "scans", 12, suffix=".tiff"))
    assert walked == [tmp_path / "photos", tmp_path / "scans"]


def test_a_folder_without_permission_is_reported(tmp_path, monkeypatch):
    write_images(tmp_path / "cat", 12)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match="No permission to read this folder"):
        load_dataset(tmp_path)
