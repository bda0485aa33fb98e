"""Examples of any kind with conditions, and the folders a and b as two domains."""

import numpy as np
import pytest
from support.data import concatenate, take, write_images

import zoo
from zoo.datasets import pairs
from zoo.errors import InputError

IMAGE = zoo.Spec((2, 2, 1), levels=256)
DOMAIN = zoo.Spec((2, 2, 1), levels=256, kind="domain")
TEXT = zoo.Spec((5,), 7, "tokens")


def flat(values):
    """Returns constant images whose pixels are value / 255, float32 [n, 2, 2, 1]."""
    values = np.float32(values)[:, None, None, None] / np.float32(255)
    return np.broadcast_to(values, (len(values), 2, 2, 1)).astype(np.float32)


def test_every_example_of_tokens_is_in_one_split():
    tokens = np.random.default_rng(0).integers(0, 7, (100, 5)).astype(np.int64)
    splits = zoo.Splits.from_examples(TEXT, tokens, name="words", notes=("made up",))
    assert [len(split) for split in splits] == [80, 10, 10]
    assert splits.describe() == "words: 80/10/10 texts of 5 tokens out of 7\n  made up"
    parts = [concatenate(split.batches(7)) for split in splits]
    assert all(part.dtype == np.int32 for part in parts)
    rows = sorted(map(tuple, np.concatenate(parts)))
    assert rows == sorted(map(tuple, tokens))
    again = zoo.Splits.from_examples(TEXT, tokens)
    assert [s.fingerprint for s in again] == [s.fingerprint for s in splits]
    assert len({split.fingerprint for split in splits}) == 3
    assert zoo.load_dataset(splits) is splits


def test_given_splits_keep_their_order():
    parts = [np.full((n, 5), k) for k, n in enumerate((12, 3, 4))]
    splits = zoo.Splits.from_examples(TEXT, *parts)
    for part, split in zip(parts, splits, strict=True):
        np.testing.assert_array_equal(concatenate(split.batches(5)), part)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (TEXT, np.full((20, 5), 7)),
            r"arrays \(train\) expects integers .* from 0 to 6.*from 7 to 7",
        ),
        ((TEXT, np.zeros((9, 5), int)), "At least 10 examples .*Received: 9"),
        ((IMAGE, (flat(range(20)), flat(range(19))), None, None), "19 and 20 in train of arrays"),
    ],
)
def test_invalid_examples_are_refused(arguments, message):
    condition = IMAGE if arguments[0] is IMAGE else None
    with pytest.raises(InputError, match=message):
        zoo.Splits.from_examples(*arguments, condition=condition)


def test_only_images_are_resized():
    splits = zoo.Splits.from_examples(TEXT, np.zeros((20, 5), int))
    with pytest.raises(InputError, match="Only images have a size"):
        zoo.load_dataset(splits, size=8)


def test_pairs_stay_together():
    a, b = flat(range(100)), flat(range(100, 200))
    splits = zoo.Splits.from_examples(IMAGE, (b, a), condition=IMAGE)
    for split in splits:
        for x, y in (
            *take(split.batches(7, condition=True), 99),
            *take(split.stream(4, 0, 0, True), 9),
        ):
            np.testing.assert_allclose(255 * (x - y), 100.0, atol=1e-3)


def test_two_domains_have_independent_sizes_and_orders():
    a, b = flat(range(40)), flat(range(40, 240))
    splits = zoo.Splits.from_examples(IMAGE, (b, a), condition=DOMAIN)
    assert [len(split) for split in splits] == [160, 20, 20]
    batches = take(splits.train.stream(16, 3, 0, True), 30)
    targets, sources = (
        np.concatenate(part)[:, 0, 0, 0] * 255 for part in zip(*batches, strict=True)
    )
    values, counts = np.unique(np.rint(sources), return_counts=True)
    assert len(values) == 32  # the training part of a
    assert counts.tolist() == [15] * 32
    assert abs(np.corrcoef(targets[:160], sources[:160])[0, 1]) < 0.3
    later = take(splits.train.stream(16, 3, 20, True), 10)
    for (x, y), (p, q) in zip(later, batches[20:], strict=True):
        assert np.array_equal(x, p)
        assert np.array_equal(y, q)


@pytest.fixture
def folder(tmp_path):
    for name, count, seed in (("a", 30, 1), ("b", 40, 2)):
        write_images(tmp_path / "faces" / name, count, size=(4, 4), seed=seed)
    return tmp_path / "faces"


def test_the_folders_a_and_b_are_two_domains(folder):
    assert pairs.is_pair(folder)
    splits = zoo.load_dataset(folder)
    assert [len(split) for split in splits] == [32, 4, 4]
    assert splits.train.condition == zoo.Spec((4, 4, 1), 256, "domain")
    x, y = splits.train.take(99, condition=True)
    assert x.shape == y.shape == (32, 4, 4, 1)
    assert len(np.unique(y, axis=0)) == 24
    assert splits.train.source["name"] == str(folder)
    assert "two unpaired domains" in splits.describe()


def test_pairs_have_equal_names(folder):
    with pytest.raises(InputError, match=r"10 without a partner, such as 030\.png"):
        zoo.load_dataset(folder, paired=True)
    for k in range(30, 40):
        (folder / "b" / f"{k:03}.png").unlink()
    splits = zoo.load_dataset(folder, paired=True)
    assert splits.train.condition == splits.train.spec
    x, y = splits.train.take(99, condition=True)
    a, b = (zoo.load_dataset(folder / name).train for name in ("a", "b"))
    np.testing.assert_array_equal(x, b.take(99)[0])
    np.testing.assert_array_equal(y, a.take(99)[0])
