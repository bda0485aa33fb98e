"""The tiny Shakespeare data set.

1,115,394 characters of plays by Shakespeare, which are in the public domain, as selected for
char-rnn (Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015).
"""

import bz2
from pathlib import Path

import zoo

__all__ = ["parts", "tinyshakespeare"]

LENGTH = 256  # characters per text
TEST = 111_540  # characters at the end, which are the validation split of nanoGPT


def parts() -> tuple[str, str, str]:
    """Returns the training, validation and test text, which are contiguous."""
    path = Path(__file__).with_name("tinyshakespeare.txt.bz2")
    text = bz2.decompress(path.read_bytes()).decode("ascii")
    train, test = len(text) * 85 // 100, len(text) - TEST
    return text[:train], text[train:test], text[test:]


def tinyshakespeare() -> zoo.Splits:
    """Returns splits of texts of 256 characters. Training texts are shifted in every epoch."""
    notes = ("train is the first 85 % of the text, validation the next 5 %, test the last 10 %",)
    return zoo.Splits.from_text(*parts(), length=LENGTH, name="tinyshakespeare", notes=notes)
