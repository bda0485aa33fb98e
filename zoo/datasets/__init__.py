"""Data sets by name, path or array: always (train, validation, test).

For example:

    train, validation, test = load_dataset("mnist_binary")
    for x in train.stream(128, seed=0): ...
"""

import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from zoo.datasets import plugins
from zoo.datasets.split import Split, Splits, check_size
from zoo.errors import InputError, check_flags

__all__ = ["Split", "Splits", "list_datasets", "load_dataset"]

BUNDLED = {
    "mnist": "handwritten digits, grey, with labels",
    "binarized_mnist": "the static binary MNIST of the likelihood literature, without labels",
    "mnist_binary": "MNIST, binarized at random at every presentation, tested on the static set",
}


def load_dataset(
    name, size: int | None = None, binarize: bool = False, skip_damaged: bool = False
) -> Splits:
    """Loads a data set.

    Args:
      name: one of
        - a name: `mnist`, `binarized_mnist`, `mnist_binary`, or one of a plugin or of TFDS;
        - a path (with a separator, or a `pathlib.Path`) of a folder of images, a .npz or a .npy;
        - data in memory: an array of images, (images, labels), a dict with the keys of a .npz, or a
          finite tf.data.Dataset, with the rules of `Splits.from_arrays`;
        - Splits, which are returned as they are.
      size: int or None; images are cut to their central square and resized to size x size.
      binarize: whether to binarize grey images at random: those of train at every presentation, the
        others once.
      skip_damaged: whether to leave out files of a folder that cannot be read, and list them in a
        note, instead of an error.

    Returns:
      Splits.

    Raises:
      InputError: if there is no such data set, or it cannot be read, resized or binarized.
    """
    check_size(size)
    check_flags(binarize=binarize, skip_damaged=skip_damaged)
    if isinstance(name, str | os.PathLike) and name != "":
        name = _resolve(name)
    for source in _SOURCES:
        if source.owns(name):
            load = importlib.import_module(source.module).load
            if not skip_damaged:
                return load(name, size, binarize)
            if not (isinstance(name, Path) and name.is_dir()):
                raise InputError(
                    "Only a folder has files to skip: leave out --skip-damaged (skip_damaged=True)."
                )
            return load(name, size, binarize, skip_damaged)
    if isinstance(name, Path):
        raise InputError(
            f"A data file must be a .npz or .npy; images must be in a folder. Received: {name}"
        )
    raise InputError(
        f"A data set must be a name, a path, an array of images, (images, labels), a dict of "
        f"arrays, a tf.data.Dataset or Splits. Received: name={name!r}"
    )


def list_datasets() -> list[str]:
    """Lists names that need no download: of bundled sets, of plugins, of sets that TFDS prepared.

    Returns:
      list of str.
    """
    return [*summaries()]


def summaries() -> dict[str, str]:
    """Returns a dict from each name of `list_datasets` to a line that describes it."""
    names = {}
    for source in _SOURCES:
        for name, summary in source.names().items():
            names.setdefault(name, summary)
    return names


class _Source(NamedTuple):
    """Where data sets come from.

    Attributes:
      module: its function `load(name, size, binarize)` returns Splits. It is imported when used:
        listing imports nothing large.
      owns: function of a name, an absolute Path or data in memory that returns whether `load` takes
        it.
      names: function that returns {name: summary} of the sets that need no download.
    """

    module: str
    owns: Callable[[object], bool]
    names: Callable[[], dict[str, str]] = dict


def _resolve(name):
    """Returns the absolute Path that a name stands for, or the name itself, a str."""
    if isinstance(name, str) and re.fullmatch(r"<.*>", name):  # of `Splits.from_arrays`
        raise InputError(f"The data were arrays in memory: give them again. Received: name={name}")
    if isinstance(name, str) and "/" not in name and os.sep not in name:
        return name
    try:
        path = Path(name).expanduser().absolute()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # no home or working directory, or too long a name
        raise InputError(f"Cannot use this path ({error}). Received: {name}") from error
    if exists:
        return path
    from zoo.datasets import tfds

    if str(name).split("/")[0] in tfds.names():  # as emnist/letters
        return str(name)
    raise InputError(f"There is no such folder or file. Received: {name}")


def _is_name(name):
    return isinstance(name, str) and name != ""


def _is_bundled(name):
    return _is_name(name) and name in BUNDLED


def _is_of_plugin(name):
    return _is_name(name) and bool(plugins.find(name))


def _prepared():
    """Reads which sets with images TFDS has prepared, without importing it."""
    root = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = Path(os.path.expanduser(root))  # noqa: PTH111 (does not fail without a home)
    names = set()
    for pattern in ("*/*/features.json", "*/*/*/features.json"):  # name[/config]/version
        for path in root.glob(pattern):
            try:
                features = json.loads(path.read_bytes())["featuresDict"]["features"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if "image" in features:
                names.add(path.parent.parent.relative_to(root).as_posix())
    return dict.fromkeys(sorted(names), "prepared by TensorFlow Datasets")


def _is_array_data(name):
    if isinstance(name, Path):
        return name.suffix.lower() in (".npz", ".npy")
    has_array = hasattr(name, "__array__") or hasattr(name, "element_spec")
    return has_array or isinstance(name, dict | tuple)


_SOURCES = (  # the first that owns a name loads it
    _Source("zoo.datasets.bundled", _is_bundled, lambda: BUNDLED),
    _Source("zoo.datasets.plugins", _is_of_plugin, lambda: plugins.summaries(BUNDLED)),
    _Source("zoo.datasets.tfds", _is_name, _prepared),
    _Source("zoo.datasets.folder", lambda name: isinstance(name, Path) and name.is_dir()),
    _Source("zoo.datasets.arrays", _is_array_data),
)
