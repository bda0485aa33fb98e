"""Loads images of two domains from the folders a and b, paired by name or unpaired."""

import os

from zoo.datasets import folder as images
from zoo.datasets import layout
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError
from zoo.spec import Spec

DOMAINS = ("a", "b")


def is_pair(folder) -> bool:
    """Returns whether the subfolders of a folder are a and b."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_dir()} == {*DOMAINS}
    except OSError:  # reported later, when the folder is read
        return False


def load(folder, size, binarize, skip_damaged, stretch, paired):
    """Loads images of b, each with an image of a as its condition.

    If `paired`, the condition is the image of the same name. Otherwise, a and b are shuffled
    independently, and each split of a is held out independently.
    """
    listings = [layout.scan(folder / name, "images") for name in DOMAINS]
    if paired:
        _check_names(listings)
    a, b = (images.load(each, size, binarize, skip_damaged, stretch) for each in listings)
    name, kind = folder.resolve().name, "image" if paired else "domain"
    notes = [
        f"{key}: {note}"
        for key, part in zip(DOMAINS, (a, b), strict=True)
        for note in part.train.notes
    ]
    notes.append(
        "paired by name: images of b, given images of a"
        if paired
        else "two unpaired domains: images of b, and images of a"
    )
    splits = []
    for source, target in zip(a, b, strict=True):
        condition = Spec(source.shape, source.levels, kind)
        (x, _), (y, _) = target.arrays(), source.arrays()
        splits.append(ArraySplit(name, target.split, x, target.spec, y, condition, notes=notes))
        splits[-1].source = {**target.source, "name": str(folder), "paired": paired}
    return Splits(*splits)


def _check_names(listings):
    """Raises InputError if an image has no partner."""
    names = [
        {file.relative_to(listing.folder).as_posix() for file in listing.files}
        for listing in listings
    ]
    if unpaired := sorted(names[0] ^ names[1]):
        raise InputError(
            "Paired images must have equal names in the folders a and b. Received:"
            f" {len(unpaired)} without a partner, such as {unpaired[0]}"
        )
