"""Loads a text file or a folder of texts as windows of characters or bytes."""

import json

import numpy as np

from zoo.datasets import layout
from zoo.datasets.assembly import MIN_IMAGES
from zoo.datasets.split import ArraySplit, Splits, WindowSplit
from zoo.errors import InputError
from zoo.spec import Spec

LENGTH = 256
TEST, VALIDATION = 10, 5  # percent of a text without given splits
MOST_UNKNOWN = 0.01  # largest share of the characters of a split that may be missing from train
_SHOWN = 10  # unknown characters listed in a note


def load(source, length, bytes):
    """Loads a Path of a .txt, or the `layout.Listing` of a folder of them."""
    if isinstance(source, layout.Listing):
        path = source.folder
        parts, notes = _of_folder(source)
    else:
        path = source
        parts, notes = {"train": [path]}, [f"text in {path}"]
    texts = {}
    for split, files in parts.items():
        contents = [_read(file, bytes) for file in files]
        texts[split] = (b"\n" if bytes else "\n").join(contents)
    name = path.resolve().name if path.is_dir() else path.stem
    splits = from_memory(texts, length or LENGTH, name, str(path), notes)
    for split in splits:
        split.source = {"name": str(path), "length": split.shape[0], "bytes": bytes}
    return splits


def _of_folder(listing):
    """Returns ({split: list of Path}, notes). Names of folders or files can name the splits."""
    folder, files = listing.folder, listing.files
    wrapper, places = layout.unwrap([file.relative_to(folder).parts[:-1] for file in files])
    places = [(*place, file.stem) for place, file in zip(places, files, strict=True)]
    splits, _, notes = layout.name_splits(folder.joinpath(*wrapper), places, "texts")
    parts = {}
    for file, split in zip(files, splits, strict=True):
        parts.setdefault(split, []).append(file)
    joined = "file" if len(files) == 1 else "files, joined by a newline in order of name"
    return parts, [f"{len(files)} {joined}, in {folder}", *listing.notes, *notes]


def _read(path, as_bytes):
    """Reads a file as bytes, or as UTF-8 text without a byte order mark."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read the file: {error.strerror}. Received: {path}") from error
    if as_bytes:
        return content
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Text must be UTF-8. Convert it, or add --bytes (bytes=True). Received: byte"
            f" 0x{content[error.start]:02x} at position {error.start:,}, in line {line:,} of {path}"
        ) from None


def from_memory(parts, length, name, address, notes):
    """Creates the splits of {split: str or bytes, or None}, as `Splits.from_text`."""
    texts = {split: text for split, text in parts.items() if text is not None}
    types = {type(text) for text in texts.values()}
    if "train" not in texts:
        raise InputError(f"A training text is required. Received: {address} with {[*texts]}")
    if types not in ({str}, {bytes}):
        received = ", ".join(f"{key}: {type(text).__name__}" for key, text in parts.items())
        raise InputError(f"The splits must be all str or all bytes. Received: {received}")
    texts, cuts = _cut(texts)
    minimum = {"train": (MIN_IMAGES + 1) * length - 1, "validation": length, "test": length}
    for split, count in minimum.items():
        if len(texts[split]) < count:
            raise InputError(
                f"The {split} split must have at least {count:,} tokens for windows of {length}."
                f" Use a longer text, or a smaller --length (length={length}). Received:"
                f" {len(texts[split]):,} tokens in {split} of {address}"
            )
    if types == {str}:
        names, tokens, changes = _as_characters(texts, address)
        spec = Spec((length,), len(names), "tokens", names)
    else:
        tokens, changes = {key: np.frombuffer(text, np.uint8) for key, text in texts.items()}, []
        spec = Spec((length,), 256, "tokens")
    parts = {}
    for split in ("validation", "test"):
        remainder = len(tokens[split]) % length
        parts[split] = tokens[split][: len(tokens[split]) - remainder].reshape(-1, length)
        if remainder:
            changes.append(f"the last {remainder} tokens of {split} dropped")
    notes = (*notes, *cuts, *changes, "train: windows are shifted in every epoch")
    splits = [WindowSplit(name, "train", tokens["train"], spec, notes)]
    splits += [ArraySplit(name, key, windows, spec, notes=notes) for key, windows in parts.items()]
    for split in splits:
        split.source = {"name": address}
    return Splits(*splits)


def _cut(texts):
    """Cuts missing splits from the end of train. Returns ({split: text}, notes)."""
    texts, train, percent = dict(texts), texts["train"], 100
    cuts = []
    for split, share in (("test", TEST), ("validation", VALIDATION)):
        if split not in texts:
            first = len(train) * (percent - share) // 100
            texts[split] = train[first : len(train) * percent // 100]
            percent -= share
            cuts.insert(0, f"the next {share} % {split}")
    texts["train"] = train[: len(train) * percent // 100]
    if cuts:
        cuts = [f"the first {percent} % of the text are train, " + ", ".join(cuts)]
    return texts, cuts


def _as_characters(texts, address):
    """Returns (characters, {split: tokens [n]}, notes)."""
    codes = {key: np.frombuffer(text.encode("utf-32-le"), "<u4") for key, text in texts.items()}
    vocabulary, counts = np.unique(codes["train"], return_counts=True)
    rarest = int(counts.argmin())
    names = tuple(map(chr, vocabulary))
    spec = Spec((1,), len(names), "tokens")  # decides the dtype of stored tokens
    tokens, notes = {}, []
    for split, part in codes.items():
        index = np.searchsorted(vocabulary, part).clip(max=len(vocabulary) - 1)
        is_unknown = vocabulary[index] != part
        if unknown := int(is_unknown.sum()):
            missing = [chr(code) for code in np.unique(part[is_unknown])]
            listed = " ".join(map(json.dumps, missing[:_SHOWN]))
            listed += f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            if unknown > MOST_UNKNOWN * len(part):
                raise InputError(
                    f"At most {MOST_UNKNOWN:.0%} of the characters of {split} may be missing from"
                    f" train. Use texts in one language, or add --bytes (bytes=True). Received:"
                    f" {unknown / len(part):.1%} in {address}: {listed}"
                )
            notes.append(
                f"{unknown} characters of {split} that are not in train ({listed}) replaced by the"
                f" rarest, {json.dumps(names[rarest])}"
            )
        tokens[split] = spec.store(np.where(is_unknown, rarest, index))
    return names, tokens, notes
