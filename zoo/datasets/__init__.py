"""A dataset by name, folder or file: always (train, validation, test).

    train, validation, test = load_dataset("mnist_binary")
    for x in train.stream(128, seed=0): ...

Order and noise are stateless. Position p of the endless stream of a training set of N images is

    epoch = p // N,   image = permutation(p % N; seed, epoch),   noise = draw(p; seed),

so that a stream entered at any step goes on as one that was never left.
"""

import json
import operator
import os
from pathlib import Path

from zoo.errors import InputError

__all__ = ["Split", "describe", "list_datasets", "load_dataset"]

BUNDLED = {
    "mnist": "handwritten digits, grey, with labels",
    "binarized_mnist": "the static binary MNIST of the likelihood literature, without labels",
    "mnist_binary": "MNIST drawn afresh as binary at every presentation, tested on the static set",
}


def load_dataset(name, size=None, binarize=False):
    """Loads a dataset.

    Args:
      name: `mnist`, `binarized_mnist`, `mnist_binary`, a TFDS name, or the path (what has a
        separator, or is a `pathlib.Path`) of a folder of images, a `.npz` or a `.npy`.
      size: int or None; images are cut to their central square and resized to size x size.
      binarize: whether to draw grey images as binary ones: those for training afresh at every
        presentation, the others once.

    Returns:
      (train, validation, test), each a `Split`.

    Raises:
      InputError: if there is no such dataset, or it cannot be read or made what was asked for.
    """
    if size is not None and not (isinstance(size, int) and 1 <= size <= 4096):
        raise InputError(f"A size must be an integer from 1 to 4096. Received: size={size!r}")
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise InputError(f"A dataset must be a name or a path. Received: name={name!r}")
    found = _find(name)
    splits = _load(found, size, binarize)
    for split in splits:
        split.source = {"name": str(found), "size": size, "binarize": binarize}
    return splits


def _find(name):
    """Returns the absolute Path that a name stands for, or the name itself, a str."""
    from zoo.datasets import tfds

    if isinstance(name, str) and "/" not in name and os.sep not in name:
        return name
    path = Path(name).expanduser().absolute()
    if path.exists():
        return path
    if str(name).split("/")[0] in tfds.names():  # as emnist/letters
        return str(name)
    raise InputError(f"There is no such folder or file. Received: {name}")


def _load(found, size, binarize):
    from zoo.datasets import arrays, bundled, folder, tfds

    if found in BUNDLED:
        return bundled.load(found, size, binarize)
    if isinstance(found, str):
        return tfds.load(found, size, binarize)
    if found.is_dir():
        return folder.load(found, size, binarize)
    if found.suffix.lower() in (".npz", ".npy"):
        return arrays.load(found, size, binarize)
    raise InputError(
        f"A data file must be a .npz or .npy; images must lie in a folder. Received: {found}"
    )


def list_datasets():
    """Lists the names that need no download: the bundled sets, then what TFDS has prepared.

    Returns:
      list of str.
    """
    root = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    found = set()
    for pattern in ("*/*/features.json", "*/*/*/features.json"):  # name[/config]/version
        for path in root.glob(pattern):
            try:
                has_image = "image" in json.loads(path.read_bytes())["featuresDict"]["features"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            name = path.parent.parent.relative_to(root).as_posix()
            if has_image and name not in BUNDLED:
                found.add(name)
    return [*BUNDLED, *sorted(found)]


def describe(splits):
    """Says what was found, in a line, and what was done to it, in a line each.

    Args:
      splits: (train, validation, test), as of `load_dataset`.

    Returns:
      str.
    """
    train = splits[0]
    counts = "/".join(str(len(split)) for split in splits)
    line = f"{train.name}: {counts} images {'x'.join(map(str, train.shape))}, {train.levels} levels"
    if train.num_classes:
        line += f", {train.num_classes} class{'es' if train.num_classes > 1 else ''}"
    else:
        line += ", no labels"
    return "\n  ".join([line, *train.notes])


class Split:
    """One part of a dataset. Abstract: `load_dataset` makes them.

    Attributes:
      name: str; of the dataset.
      split: "train", "validation" or "test".
      shape: (height, width, channels).
      levels: 2 (binary) or 256.
      num_classes: int; 0 if the dataset has no labels.
      class_names: tuple of str; () if there are none.
      notes: tuple of str; what was found and done, for people.
      source: dict of the arguments of `load_dataset` that give it, a path made absolute.
    """

    def __init__(self, name, split, count, shape, levels, num_classes, class_names, notes):
        self.name = name
        self.split = split
        self.shape = tuple(shape)
        self.levels = levels
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.notes = tuple(notes)
        self._count = count

    def __len__(self):
        return self._count

    @property
    def fingerprint(self):
        """sha256 in hex of the images, the labels and how they are presented."""
        raise NotImplementedError

    def batches(self, batch_size, labels=False):
        """Gives every example once, in order; the last batch may be short.

        Args:
          batch_size: int.
          labels: whether to give labels too.

        Returns:
          finite tf.data.Dataset of float32 [b, *shape], on the grid i / (levels - 1), or with
          labels of (that, int32 [b]). Images that are drawn afresh in training are one fixed draw.

        Raises:
          InputError: if labels are asked for and there are none.
        """
        raise NotImplementedError

    def stream(self, batch_size, seed, first_step=0, labels=False):
        """Gives full batches without end, in an order that is a pure function of (seed, position).

        Args:
          batch_size: int.
          seed: int.
          first_step: int; number of the first batch: as `stream(...).skip(first_step)`, at no cost.
          labels: whether to give labels too.

        Returns:
          endless tf.data.Dataset of float32 [batch_size, *shape], or with labels of
          (that, int32 [batch_size]).

        Raises:
          InputError: if labels are asked for and there are none.
        """
        raise NotImplementedError

    def take(self, number, labels=False):
        """Takes the first images of a fixed shuffled order: those of some sets lie class by class.

        Args:
          number: int; less is taken of a smaller split.
          labels: whether to take labels too.

        Returns:
          (float32 [n, *shape], int32 [n] or None) arrays of what `batches` gives.
        """
        import numpy as np

        from zoo.datasets import order

        chosen = order.random_bits("pictures").random_raw(len(self)).argsort(kind="stable")[:number]
        found, size = {}, 64
        batches = self.batches(size, labels).as_numpy_iterator()
        for first, batch in zip(range(0, len(self), size), batches, strict=True):
            x, y = batch if labels else (batch, None)
            for k in chosen[(chosen >= first) & (chosen < first + size)]:
                found[k] = x[k - first], y if y is None else y[k - first]
        x, y = zip(*(found[k] for k in chosen), strict=True)
        return np.stack(x), np.stack(y) if labels else None

    def arrays(self):
        """Gives what `batches` gives, before it is scaled, at once.

        Returns:
          (uint8 [n, *shape] from 0 to levels - 1, int32 [n] or None where there are no labels).

        Raises:
          InputError: if the dataset is too large for memory.
        """
        raise InputError(
            f"{self.name} is too large to be had at once: use batches() or stream(), or a smaller "
            f"size."
        )

    def _check(self, labels, has_labels, batch_size, first_step=0):
        for key, value, least in (("batch_size", batch_size, 1), ("first_step", first_step, 0)):
            if operator.index(value) < least:
                raise InputError(f"{key} must be at least {least}. Received: {key}={value}")
        if labels and not has_labels:
            raise InputError(
                f"The {self.split} split of {self.name} has no labels: train without them, or give "
                f"a labelled dataset. Received: labels=True"
            )

    def _scaled(self, images):
        """Maps uint8 [b, *shape] to float32 on the grid."""
        import tensorflow as tf

        x = tf.cast(images, tf.float32)
        return x if self.levels == 2 else x / 255.0
