"""Texts as windows of characters or bytes: splits, vocabulary, and offsets per epoch."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from support.data import concatenate, take

import zoo
from zoo.commands.data import command
from zoo.datasets import load_dataset
from zoo.datasets.split import WindowSplit
from zoo.errors import InputError
from zoo.render import to_text

TEXT = "".join(chr(97 + k * k % 17) for k in range(2000))


def write(path, text=TEXT, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def text_of(split):
    return "".join(to_text(x, split.spec) for x in concatenate(split.batches(7)))


def test_a_file_is_cut_into_contiguous_splits(tmp_path):
    splits = load_dataset(write(tmp_path / "book.txt"), length=16)
    spec = splits.train.spec
    assert spec == zoo.Spec((16,), len(set(TEXT)), "tokens", tuple(sorted(set(TEXT))))
    assert all(split.spec == spec for split in splits)
    assert next(iter(splits.train.batches(3))).dtype == np.int32
    # 1700, 100 and 200 characters; with any offset below 16, 105 windows fit into train
    assert [len(split) for split in splits] == [105, 6, 12]
    for split, first in zip(splits, (0, 1700, 1800), strict=True):
        assert text_of(split) == TEXT[first : first + 16 * len(split)]
    description = splits.describe()
    assert description.startswith("book: 105/6/12 texts of 16 tokens out of 9\n")
    for note in (
        f"text in {tmp_path / 'book.txt'}",
        "the first 85 % of the text are train, the next 5 % validation, the next 10 % test",
        "the last 4 tokens of validation dropped",
        "train: windows are shifted in every epoch",
    ):
        assert note in description
    source = {"name": str(tmp_path / "book.txt"), "length": 16, "bytes": False}
    assert [split.source for split in splits] == [source] * 3
    again = load_dataset(**source)
    assert [split.fingerprint for split in again] == [split.fingerprint for split in splits]


def test_tiny_shakespeare_has_the_usual_sizes():
    train, validation, test = zoo.Splits.from_text("ab" * 557_697, length=1)
    assert (len(test), len(validation), len(train)) == (111_540, 55_770, 948_084)


def test_a_stream_has_every_window_once_per_epoch_and_shifts_them():
    length, count = 8, 12
    tokens = np.arange(length * count + length - 1, dtype=np.uint8)
    split = WindowSplit("count", "train", tokens, zoo.Spec((length,), 256, "tokens"))
    assert len(split) == count
    epochs = concatenate(split.stream(6, seed=3).take(4 * length)).reshape(-1, count, length)
    assert np.all(np.diff(epochs, axis=2) == 1)
    firsts = np.sort(epochs[..., 0])
    offsets = firsts[:, 0]
    assert np.array_equal(firsts, offsets[:, None] + length * np.arange(count))
    assert sorted(offsets[:length]) == sorted(offsets[length : 2 * length]) == [*range(length)]
    other = concatenate(split.stream(count, seed=4).take(length)).reshape(-1, count, length)
    assert not np.array_equal(other.min((1, 2)), offsets[:length])
    orders = {tuple(epoch[:, 0] - epoch.min()) for epoch in epochs}
    assert len(orders) == len(epochs)


@pytest.mark.parametrize("first_step", [1, 7, 40])
def test_a_stream_can_start_at_a_later_step(first_step):
    train = zoo.Splits.from_text(TEXT, length=32).train  # 52 windows: batches straddle epochs
    full = take(train.stream(10, seed=5), first_step + 3)
    late = take(train.stream(10, seed=5, first_step=first_step), 3)
    np.testing.assert_array_equal(np.stack(late), np.stack(full[first_step:]))


def test_fingerprints_depend_on_all_tokens_and_on_the_windows():
    def fingerprint(text, length=16):
        return zoo.Splits.from_text(text, "b" * 99, "b" * 99, length=length).train.fingerprint

    text = "ab" * 100
    assert fingerprint(text) == fingerprint(text)
    train = zoo.Splits.from_text(text, "b" * 99, "b" * 99, length=16).train
    fixed = zoo.Splits.from_examples(train.spec, *(concatenate(train.batches(9)),) * 3).train
    np.testing.assert_array_equal(concatenate(fixed.batches(9)), concatenate(train.batches(9)))
    prints = {fingerprint(text), fingerprint(text[:-1] + "a"), fingerprint(text.replace("a", "c"))}
    assert len(prints | {fingerprint(text, 8), fixed.fingerprint}) == 5


def test_bytes_are_256_tokens(tmp_path):
    path = write(tmp_path / "bytes.txt", bytes(range(256)) * 8)
    splits = load_dataset(path, length=16, bytes=True)
    assert splits.train.spec == zoo.Spec((16,), 256, "tokens")
    assert np.array_equal(concatenate(splits.train.batches(5)).reshape(-1)[:256], np.arange(256))
    assert splits.train.source["bytes"] is True
    train = zoo.Splits.from_text(bytes(range(256)) * 8, length=16).train
    assert train.fingerprint == splits.train.fingerprint


def test_text_that_is_not_utf8_is_refused_with_the_position(tmp_path):
    path = write(tmp_path / "x.txt", b"one\ntwo \xe9t\xe9")
    with pytest.raises(InputError, match=r"UTF-8\. .*bytes=True.*0xe9 at position 8, in line 2"):
        load_dataset(path)


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = write(tmp_path / "x.txt", TEXT, "utf-8-sig")
    assert "\ufeff" not in load_dataset(path, length=16).train.spec.names


def test_unknown_characters_are_replaced_by_the_rarest_and_reported():
    train = "ab" * 400 + "c"
    splits = zoo.Splits.from_text(train, "a" * 200, "a" * 99 + "é" + "b" * 100, length=10)
    assert splits.train.spec.names == ("a", "b", "c")
    assert text_of(splits.test) == "a" * 99 + "c" + "b" * 100
    note = '1 characters of test that are not in train ("\\u00e9") replaced by the rarest, "c"'
    assert note in splits.test.notes
    with pytest.raises(InputError, match=r"At most 1% .* of validation .*Received: 1\.5% in"):
        zoo.Splits.from_text(train, "é" * 3 + "a" * 197, length=10)


def test_files_of_a_folder_are_joined_in_order_of_name(tmp_path):
    for name, text in (("b", TEXT[1000:]), ("a", TEXT[:1000]), ("c/d", "a" * 999)):
        write(tmp_path / f"{name}.txt", text)
    (tmp_path / "readme.md").write_text("other")
    splits = load_dataset(tmp_path, length=10)
    joined = TEXT[:1000] + "\n" + TEXT[1000:] + "\n" + "a" * 999
    assert text_of(splits.train) == joined[: 10 * len(splits.train)]
    assert "3 files, joined by a newline in order of name" in splits.describe()
    assert "1 other file ignored" in splits.describe()


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train/x", "dev/y", "test/z")])
def test_files_and_folders_named_after_splits(tmp_path, names):
    for name, text in zip(names, (TEXT, "a" * 50, "b" * 60), strict=True):
        write(tmp_path / f"{name}.txt", text)
    splits = load_dataset(tmp_path, length=10)
    assert [len(split) for split in splits] == [199, 5, 6]
    assert text_of(splits.test) == "b" * 60
    assert f"train in {names[0].split('/')[0]}" in splits.describe()


def test_a_missing_validation_split_is_cut_from_the_end_of_train(tmp_path):
    write(tmp_path / "train.txt")
    write(tmp_path / "test.txt", "a" * 60)
    splits = load_dataset(tmp_path, length=10)
    assert text_of(splits.validation) == TEXT[1900:]
    assert "the first 95 % of the text are train, the next 5 % validation" in splits.describe()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda p: write(p / "x.txt", "short"), {}, "train split must have at least 2,815 tokens"),
        (lambda p: write(p / "x.txt", ""), {}, "Received: 0 tokens in train of .*x\\.txt"),
        (
            lambda p: write(p / "x.txt"),
            {"length": 150},
            r"validation split must have at least 150 tokens.*Received: 100 tokens",
        ),
        (lambda p: write(p / "x.txt"), {"size": 8}, r"Only images have a size. Omit size=8"),
        (lambda p: write(p / "x.txt"), {"binarize": True}, "Only images can be binarized"),
        (lambda p: write(p / "x.txt"), {"rate": 8000}, "Only sounds have a rate.*Received: a text"),
        (lambda p: "mnist", {"length": 8}, "Only texts and sounds have a length.*length=8"),
        (lambda p: "mnist", {"bytes": True}, r"Only texts can be read as bytes. .*bytes=True"),
        (lambda p: write(p / "x.txt"), {"length": 0}, "length must be a positive integer"),
        (lambda p: write(p / "x.txt"), {"bytes": 1}, "bytes must be True or False"),
        (
            lambda p: write(p / "val.txt") and write(p / "test.txt").parent,
            {},
            "A training text is required",
        ),
        (lambda p: p / "nowhere.txt", {}, "No such file or folder"),
    ],
)
def test_invalid_texts_are_refused(tmp_path, make, options, message):
    with pytest.raises(InputError, match=message) as error:
        load_dataset(make(tmp_path), **options)
    assert "\n" not in str(error.value)


def test_splits_of_different_types_are_refused():
    with pytest.raises(InputError, match=r"all str or all bytes\. Received: train: str, .*bytes"):
        zoo.Splits.from_text(TEXT, b"bytes")


def test_zoo_data_describes_a_text(tmp_path):
    path = str(write(tmp_path / "book.txt"))

    def run(*arguments):
        return CliRunner().invoke(command, [path, *arguments], catch_exceptions=False).output

    assert "book: 105/6/12 texts of 16 tokens out of 9" in run("--length", "16")
    facts = json.loads(run("--length", "16", "--bytes", "--json"))
    assert facts["spec"] == {"kind": "tokens", "shape": [16], "levels": 256}
    run("--length", "16", "-o", str(tmp_path / "x.txt"))
    assert (tmp_path / "x.txt").read_text().startswith(f"--- 0 ---\n{TEXT[:16]}\n--- 1 ---\n")
    with pytest.raises(InputError, match=r"-o must end in \.txt\. Received: x\.png"):
        run("--length", "16", "-o", "x.png")
