"""Makes splits of the images of any source: plans, reads, cuts, resizes and binarizes."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from zoo.datasets import order
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError
from zoo.spec import Spec

MAX_BYTES_IN_MEMORY = 2 * 2**30
MIN_IMAGES = 10


class Contents(NamedTuple):
    """The images of a source, before most of them are read.

    Attributes:
      name: str; of the data set.
      address: str; the argument of `load_dataset` that loads them again.
      counts: dict from the splits of the source, "train" among them, to numbers of images.
      spec: zoo.Spec of the images that `read` returns.
      read: function of (split of the source, slice or int array [n]) that returns
        (uint8 [n, *shape], int32 [n] or None).
      stream: function of (split, split of the source, slice or int array [n], attributes of a
        `Split`) that returns a Split which does not fit in memory; None if the images are in
        memory already.
      labels: dict from splits of the source to int32 [n], where they can be had without reading
        images.
      most: int or None; held-out parts have at most as many images.
      notes: what was read and how it was changed.
      condition: zoo.Spec of the labels, or None.
    """

    name: str
    address: str
    counts: Mapping
    spec: Spec
    read: Callable
    stream: Callable | None = None
    labels: Mapping = {}
    most: int | None = None
    notes: tuple = ()
    condition: Spec | None = None

    @classmethod
    def of_arrays(cls, name, address, parts, levels, **about):
        """Makes the contents of {split: (uint8 [n, h, w, c], int32 [n] or None)}."""

        def read(split, index):
            images, labels = parts[split]
            return images[index], None if labels is None else labels[index]

        counts = {split: len(images) for split, (images, _) in parts.items()}
        labels = {split: y for split, (_, y) in parts.items() if y is not None}
        spec = Spec(parts["train"][0].shape[1:], levels)
        return cls(name, address, counts, spec, read, labels=labels, **about)


def assemble(contents, size=None, binarize=False):
    """Makes the splits of what a source has, in the requested form.

    Args:
      contents: Contents.
      size: int or None, as in `load_dataset`.
      binarize: bool, as in `load_dataset`.

    Returns:
      Splits.

    Raises:
      InputError: if there are too few images, or they cannot be resized or binarized.
    """
    sections, notes = _plan(contents)
    notes = [*contents.notes, *notes]
    spec = contents.spec
    resized = size is not None and spec.shape[:2] != (size, size)
    if resized and spec.levels == 2:
        raise InputError(
            f"{contents.name} is binary, and resizing would make it grey: resize grey images and "
            f"binarize them, as in --data mnist --size {size} --binarize (data='mnist', "
            f"size={size}, binarize=True). Received: size={size}"
        )
    if binarize:
        _check_binarize(contents, spec.shape[2])
        spec = dataclasses.replace(spec, levels=2)
        notes.append("binarized at random: train in every epoch, other splits once")
    if resized:
        height, width, channels = spec.shape
        spec = dataclasses.replace(spec, shape=(size, size, channels))
        notes.append(f"resized from {height}x{width} to {size}x{size}")
    large = contents.stream is not None and _is_large(contents, binarize)
    if large:
        notes.append("streamed from disk: too large for memory")
    about = {"condition": contents.condition, "notes": notes}
    splits = []
    for key, (source, index) in sections.items():
        if large:
            splits.append(contents.stream(key, source, index, about))
            continue
        images, labels = contents.read(source, index)
        if resized:
            images = np.stack([resize(image, size) for image in images])
        if binarize and key != "train":
            images = order.binarize_once(images, key)
        redrawn = binarize and key == "train"
        splits.append(
            ArraySplit(contents.name, key, images, spec, labels, redrawn=redrawn, **about)
        )
    for split in splits:
        split.source = {"name": contents.address, "size": size, "binarize": binarize}
    return Splits(*splits)


def of_examples(name, spec, condition, parts, notes=()):
    """Makes the splits of `Splits.from_examples`, of {split: examples or None}."""
    stored = {}
    for split, part in parts.items():
        if part is not None:
            x, y = part if condition is not None else (part, None)
            spec.check(x, f"{name} ({split})")
            if condition is not None:
                condition.check(y, f"{name} ({split})")
                if len(x) != len(y) and condition.kind != "domain":
                    raise InputError(
                        f"Expected as many conditions as examples. Received: {len(y)} and {len(x)}"
                        f" in {split} of {name}"
                    )
                y = condition.store(y)
            stored[split] = (spec.store(x), y)
    x, y = (
        None if k and condition is None else _cut(name, {s: pair[k] for s, pair in stored.items()})
        for k in range(2)
    )
    splits = []
    for split in Splits._fields:
        conditions = None if y is None else y[split]
        splits.append(ArraySplit(name, split, x[split], spec, conditions, condition, notes=notes))
        splits[-1].source = {"name": f"<{name}>", "size": None, "binarize": False}
    return Splits(*splits)


def _cut(name, arrays):
    """Returns {split: array} of all splits. Missing splits are held out from train."""
    counts = {split: len(array) for split, array in arrays.items()}
    train = np.arange(counts["train"])
    if len(arrays) < len(Splits._fields):  # one array often lies sorted
        bits = order.random_bits("order of a file").random_raw(len(train))
        train = bits.argsort(kind="stable")
    sections = held_out(name, counts)
    return {
        split: arrays[source][train[first:last] if source == "train" else slice(first, last)]
        for split, (source, first, last) in sections.items()
    }


def held_out(name, counts, most=None):
    """Plans the splits: each that is missing is a tenth of train, or `most` images, from its end.

    Args:
      name: str; for the error.
      counts: dict from the splits that exist to numbers of images.
      most: int or None.

    Returns:
      {split: (split to take it from, first, last)}.
    """
    total = end = counts.get("train", 0)
    if total < MIN_IMAGES:
        raise InputError(
            f"At least {MIN_IMAGES} examples are needed in the train split. Received: {total} in "
            f"{name} with {', '.join(f'{key} ({count})' for key, count in counts.items())}"
        )
    sections = {}
    for key in ("test", "validation"):
        if counts.get(key):
            sections[key] = (key, 0, counts[key])
        else:
            first = end - min(total // 10, most or total)
            sections[key], end = ("train", first, end), first
    sections["train"] = ("train", 0, end)
    return {key: sections[key] for key in Splits._fields}


def _plan(contents):
    """Chooses the examples of each split.

    Returns:
      ({split: (split of the source, slice or int array [n])}, notes).
    """
    sections = held_out(contents.address, contents.counts, contents.most)
    plan = {key: (source, slice(*ends)) for key, (source, *ends) in sections.items()}
    missing = [key for key in ("validation", "test") if sections[key][0] == "train"]
    notes = [f"{' and '.join(missing)} held out from train"] if missing else []
    if contents.labels:
        labels, kept = contents.labels["train"], sections["train"][2]
        _check_classes(contents, labels, kept)
        if len(np.setdiff1d(labels, labels[:kept])):
            firsts = np.unique(labels, return_index=True)[1]
            reordered = np.append(firsts, np.setdiff1d(np.arange(len(labels)), firsts))
            for key, (source, index) in plan.items():
                plan[key] = (source, reordered[index] if source == "train" else index)
            notes.append(f"rare classes: one {contents.spec.noun} of each class is kept in train")
    return plan, notes


def _check_classes(contents, labels, kept):
    """Refuses classes that no training image can have."""
    for key, others in contents.labels.items():
        if len(lost := np.setdiff1d(others, labels)):
            names = contents.condition.names
            name = names[lost[0]] if names else lost[0]
            raise InputError(
                f"Each class must have training {contents.spec.noun}s. Received: class {name} in "
                f"{key} only, in {contents.address}"
            )
    if (classes := len(np.unique(labels))) > kept:
        raise InputError(
            f"Each class must have training {contents.spec.noun}s. Received: {classes} classes and "
            f"{kept} training {contents.spec.noun}s in {contents.address}"
        )


def _is_large(contents, binarize):
    """Returns whether the images are read again at every presentation; binarized ones cannot be."""
    count = sum(contents.counts.get(split, 0) for split in Splits._fields)
    spec = contents.spec
    bytes_per_value = 1 if spec.levels <= 256 else 2
    large = count * math.prod(spec.shape) * bytes_per_value > MAX_BYTES_IN_MEMORY
    if large and binarize:
        raise InputError(
            f"Images are binarized in memory, and {contents.address} is larger than "
            f"{MAX_BYTES_IN_MEMORY / 2**30:g} GiB: add --size N (size=N) with a smaller N. "
            f"Received: binarize=True"
        )
    return large


def _check_binarize(contents, channels):
    if contents.spec.levels == 2:
        raise InputError(f"{contents.name} is already binary. Omit --binarize (binarize=True).")
    if channels != 1:
        raise InputError(
            f"Only grey images can be binarized; {contents.name} has {channels} channels. "
            f"Received: binarize=True"
        )


def resize(image, size):
    """Maps uint8 [h, w, c] to [size, size, c]."""
    grey = image.shape[-1] == 1
    resized = np.asarray(square(Image.fromarray(image[..., 0] if grey else image), size))
    return resized[..., None] if grey else resized


def square(image, size):
    """Cuts a PIL image to its central square and resizes it, antialiased."""
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
