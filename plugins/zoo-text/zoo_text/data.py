"""The text of tiny Shakespeare as a data set.

1,115,394 characters of plays by Shakespeare, which are in the public domain, as selected for
char-rnn (Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015).
"""

import bz2
from pathlib import Path

import zoo

__all__ = ["parts", "tinyshakespeare"]

LENGTH = 256  # characters of a text
TEST = 111_540  # characters at the end, which nanoGPT calls its validation part


def parts() -> tuple[str, str, str]:
    """Returns the characters to train on, of validation and of the test, in their order."""
    path = Path(__file__).with_name("tinyshakespeare.txt.bz2")
    text = bz2.decompress(path.read_bytes()).decode("ascii")
    train, test = len(text) * 85 // 100, len(text) - TEST
    return text[:train], text[train:test], text[test:]


def tinyshakespeare() -> zoo.Splits:
    """Returns texts of 256 characters; those of train start elsewhere in every epoch."""
    notes = ("train is the first 85 % of the text, validation the next 5 %, test the rest",)
    return zoo.Splits.from_text(*parts(), length=LENGTH, name="tinyshakespeare", notes=notes)
