"""Loads data sets by name, by path or from arrays, as (train, validation, test).

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
from zoo.datasets.split import Split, Splits, check_count, check_size
from zoo.errors import InputError, check_flags

__all__ = ["Split", "Splits", "list_datasets", "load_dataset"]

BUNDLED = {
    "mnist": "handwritten digits, grey, with labels",
    "binarized_mnist": "static binary MNIST of the likelihood literature, without labels",
    "mnist_binary": "MNIST, re-binarized at random every epoch, tested on static binary MNIST",
}


OPTIONS = {
    "size": "Only images have a size",
    "binarize": "Only images can be binarized",
    "paired": "Only a folder with the folders a and b has pairs",
    "skip_damaged": "Only a folder of images or sounds has files to skip",
    "stretch": "Only a folder of images can have 16 bits to stretch",
    "length": "Only texts and sounds have a length",
    "bytes": "Only texts can be read as bytes",
    "rate": "Only sounds have a rate",
}
"""The options of `load_dataset` and the data to which each applies."""


def load_dataset(
    name,
    size: int | None = None,
    binarize: bool = False,
    skip_damaged: bool = False,
    *,
    stretch: bool = False,
    paired: bool = False,
    length: int | None = None,
    bytes: bool = False,
    rate: int | None = None,
) -> Splits:
    """Loads a data set.

    Args:
      name: one of
        - a name: `mnist`, `binarized_mnist`, `mnist_binary`, or a name of a plugin or of TFDS;
        - a path (a `pathlib.Path`, or a str with a separator) of a folder of images, sounds (.wav)
          or texts (.txt), or of a .npz, .npy or .txt file;
        - data in memory: an array of images, (images, labels), a dict with the keys of a .npz, or a
          finite tf.data.Dataset, with the rules of `Splits.from_arrays`;
        - Splits, which are returned unchanged.
      size: int or None; images are cropped to their central square and resized to size x size.
      binarize: whether to binarize grey images at random: training images again in every epoch,
        others once.
      skip_damaged: whether to skip files that cannot be read and list them in a note. By default,
        they raise an error.
      stretch: whether to stretch the 16-bit grey images of a folder from the lowest and highest
        value of all files to the full range.
      paired: whether images with equal names in the folders a and b are pairs, of b given a. By
        default, a and b are two domains that are shuffled independently.
      length: int or None; number of tokens per text (default: 256), or number of samples to which
        sounds are cut or padded (default: their length, which must be equal).
      bytes: whether to read text as bytes instead of characters.
      rate: int or None; samples per second that sounds are resampled to. Default: the most
        frequent rate of the files.

    Returns:
      Splits.

    Raises:
      InputError: if the data set does not exist or cannot be read, or an option does not apply.
    """
    check_size(size)
    check_flags(binarize=binarize, skip_damaged=skip_damaged, stretch=stretch)
    check_flags(paired=paired, bytes=bytes)
    check_count(length=length, rate=rate)
    values = {
        "size": size,
        "binarize": binarize,
        "skip_damaged": skip_damaged,
        "stretch": stretch,
        "paired": paired,
        "length": length,
        "bytes": bytes,
        "rate": rate,
    }
    if isinstance(name, str | os.PathLike) and name != "":
        name = _resolve(name)
    for source in _SOURCES:
        if source.owns(name):
            for option, value in values.items():
                if value and option not in source.options:
                    raise InputError(
                        f"{OPTIONS[option]}. Omit --{option.replace('_', '-')} ({option}={value})."
                        f" Received: {source.kind}"
                    )
            load = importlib.import_module(source.module).load
            return load(name, **{option: values[option] for option in source.options})
    if isinstance(name, Path):
        raise InputError(
            f"A data file must be a .npz, .npy or .txt, and images must be in a folder. Received: "
            f"{name}"
        )
    raise InputError(
        f"A data set must be a name, a path, an array of images, (images, labels), a dict of "
        f"arrays, a tf.data.Dataset or Splits. Received: name={name!r}"
    )


def list_datasets() -> list[str]:
    """Returns the names of bundled data sets, of plugins, and of sets that TFDS has prepared.

    Returns:
      list of str.
    """
    return [*summaries()]


def summaries() -> dict[str, str]:
    """Returns a dict from each name of `list_datasets` to a one-line description."""
    names = {}
    for source in _SOURCES:
        for name, summary in source.names().items():
            names.setdefault(name, summary)
    return names


def is_in_memory(name) -> bool:
    """Returns whether this is the name of arrays in memory, which cannot be loaded by it."""
    return isinstance(name, str) and re.fullmatch(r"<.*>", name) is not None


class _Source(NamedTuple):
    """A source of data sets.

    Attributes:
      module: module with a function `load(name, **options)` that returns Splits. It is imported on
        use, so that listing is fast.
      kind: str; what it loads, for errors.
      owns: function of a name, an absolute Path, a `layout.Listing` of a folder or data in memory
        that returns whether `load` accepts it.
      names: function that returns {name: summary} of the sets that require no download.
      options: the options of `load_dataset` that `load` accepts.
    """

    module: str
    kind: str
    owns: Callable[[object], bool]
    names: Callable[[], dict[str, str]] = dict
    options: tuple[str, ...] = ("size", "binarize")


def _resolve(name):
    """Returns an absolute Path or a `layout.Listing` for a name of a path, or the name, a str."""
    if is_in_memory(name):
        raise InputError(
            f"The data were arrays in memory. Pass them again, as data=…. Received: name={name}"
        )
    if isinstance(name, str) and "/" not in name and os.sep not in name:
        return name
    try:
        path = Path(name).expanduser().absolute()
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, RuntimeError) as error:  # no home or working directory, or too long a name
        raise InputError(f"Cannot use this path ({error}). Received: {name}") from error
    if is_folder:
        from zoo.datasets import layout, pairs

        return path if pairs.is_pair(path) else layout.scan(path)
    if exists:
        return path
    from zoo.datasets import tfds

    if str(name).split("/")[0] in tfds.names():  # for example emnist/letters
        return str(name)
    raise InputError(f"No such file or folder. Received: {name}")


def _is_name(name):
    return isinstance(name, str) and name != ""


def _is_bundled(name):
    return _is_name(name) and name in BUNDLED


def _is_of_plugin(name):
    return _is_name(name) and bool(plugins.find(name))


def _prepared():
    """Returns {name: summary} of the image sets that TFDS has prepared, without importing TFDS."""
    root = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = Path(os.path.expanduser(root))  # noqa: PTH111 (Path.expanduser may raise)
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


def _is_folder_of(kind):
    return lambda name: getattr(name, "kind", None) == kind


def _is_pair(name):
    return isinstance(name, Path) and name.is_dir()


def _is_text(name):
    return isinstance(name, Path) and name.suffix.lower() == ".txt" and name.is_file()


_FOLDER, _TEXT, _SOUND = (
    ("size", "binarize", "skip_damaged", "stretch"),
    ("length", "bytes"),
    ("length", "rate", "skip_damaged"),
)
_SOURCES = (  # the first that owns a name loads it
    _Source("zoo.datasets.bundled", "images", _is_bundled, lambda: BUNDLED),
    _Source(
        "zoo.datasets.plugins",
        "a data set of a plugin",
        _is_of_plugin,
        lambda: plugins.summaries(BUNDLED),
        ("size", "binarize", "length", "bytes", "rate"),
    ),
    _Source("zoo.datasets.tfds", "images", _is_name, _prepared),
    _Source("zoo.datasets.pairs", "two domains", _is_pair, options=(*_FOLDER, "paired")),
    _Source("zoo.datasets.folder", "images", _is_folder_of("images"), options=_FOLDER),
    _Source("zoo.datasets.audio", "sounds", _is_folder_of("sounds"), options=_SOUND),
    _Source("zoo.datasets.text", "texts", _is_folder_of("texts"), options=_TEXT),
    _Source("zoo.datasets.text", "a text", _is_text, options=_TEXT),
    _Source("zoo.datasets.arrays", "arrays", _is_array_data),
)
