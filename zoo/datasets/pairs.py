"""Images of two domains: the folders a and b, with pairs of equal names or without."""

from zoo.datasets import folder as images
from zoo.datasets import layout
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError
from zoo.spec import Spec

DOMAINS = ("a", "b")


def is_pair(folder) -> bool:
    """Returns whether the folders in a folder are a and b."""
    try:
        return {path.name for path in folder.iterdir() if path.is_dir()} == {*DOMAINS}
    except PermissionError:  # reported when the folder is read
        return False


def load(folder, size, binarize, skip_damaged, paired):
    """Loads the folders a and b: images of b, each with an image of a.

    With `paired` it is the one of the same name. Otherwise the images of a have an order of their
    own, and each split of a is held out by itself.
    """
    a, b = (images.load(folder / name, size, binarize, skip_damaged) for name in DOMAINS)
    if paired:
        _check_names(folder)
    name, kind = folder.resolve().name, "image" if paired else "domain"
    notes = [
        f"{key}: {note}"
        for key, part in zip(DOMAINS, (a, b), strict=True)
        for note in part.train.notes
    ]
    notes.append(
        "pairs of equal names: images of b, given those of a"
        if paired
        else "two domains without pairs: images of b, and those of a beside them"
    )
    splits = []
    for given, target in zip(a, b, strict=True):
        condition = Spec(given.shape, given.levels, kind)
        (x, _), (y, _) = target.arrays(), given.arrays()
        splits.append(ArraySplit(name, target.split, x, target.spec, y, condition, notes=notes))
        splits[-1].source = {**target.source, "name": str(folder), "paired": paired}
    return Splits(*splits)


def _check_names(folder):
    """Refuses pairs of which one is missing."""
    names = [
        {file.relative_to(place).as_posix() for file in layout.find(place, "images")[0]}
        for place in (folder / name for name in DOMAINS)
    ]
    if alone := sorted(names[0] ^ names[1]):
        raise InputError(
            "Paired images must have equal names in the folders a and b. Received:"
            f" {len(alone)} without a partner, such as {alone[0]}"
        )
