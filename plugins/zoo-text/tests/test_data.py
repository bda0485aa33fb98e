"""The tiny Shakespeare data set."""

import hashlib

from zoo_text.data import parts, tinyshakespeare


def test_the_splits_are_the_complete_text_in_order():
    text = "".join(parts())
    digest = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    assert [len(part) for part in parts()] == [948_084, 55_770, 111_540]


def test_texts_are_contiguous_parts_of_the_splits():
    splits = tinyshakespeare()
    spec = splits.train.spec
    assert (spec.kind, spec.shape, spec.levels) == ("tokens", (256,), 65)
    assert [len(split) for split in splits] == [3702, 217, 435]
    for split, part in zip(splits, parts(), strict=True):
        for x, first in ((split.arrays()[0][0], 0), (split.arrays()[0][-1], len(split) - 1)):
            text = "".join(spec.names[token] for token in x)
            assert text == part[256 * first : 256 * (first + 1)]
