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
from zoo.datasets.split import Split, Splits, check_count, check_size
from zoo.errors import InputError, check_flags

__all__ = ["Split", "Splits", "list_datasets", "load_dataset"]

BUNDLED = {
    "mnist": "handwritten digits, grey, with labels",
    "binarized_mnist": "the static binary MNIST of the likelihood literature, without labels",
    "mnist_binary": "MNIST, binarized at random at every presentation, tested on the static set",
}


OPTIONS = {
    "size": "Only images have a size",
    "binarize": "Only images can be binarized",
    "paired": "Only a folder with the folders a and b has pairs",
    "skip_damaged": "Only a folder of images or sounds has files to skip",
    "length": "Only texts and sounds have a length",
    "bytes": "Only texts can be read as bytes",
    "rate": "Only sounds have a rate",
}
"""The options of `load_dataset`, and what each is for."""


def load_dataset(
    name,
    size: int | None = None,
    binarize: bool = False,
    skip_damaged: bool = False,
    *,
    paired: bool = False,
    length: int | None = None,
    bytes: bool = False,
    rate: int | None = None,
) -> Splits:
    """Loads a data set.

    Args:
      name: one of
        - a name: `mnist`, `binarized_mnist`, `mnist_binary`, or one of a plugin or of TFDS;
        - a path (with a separator, or a `pathlib.Path`) of a folder of images, of sounds (.wav) or
          of texts (.txt), a .npz, a .npy or a .txt;
        - data in memory: an array of images, (images, labels), a dict with the keys of a .npz, or a
          finite tf.data.Dataset, with the rules of `Splits.from_arrays`;
        - Splits, which are returned as they are.
      size: int or None; images are cut to their central square and resized to size x size.
      binarize: whether to binarize grey images at random: those of train at every presentation, the
        others once.
      skip_damaged: whether to leave out files of a folder that cannot be read, and list them in a
        note, instead of an error.
      paired: whether the images in the folders a and b of a folder are pairs of equal names, of b
        given a. Default: they are two domains, each with an order of its own.
      length: int or None; the tokens of an example of text (default: 256), or the samples that
        sounds are cut or padded to (default: as they are, if all have one length).
      bytes: whether the tokens of a text are its bytes instead of its characters.
      rate: int or None; samples per second that sounds are resampled to. Default: the most
        frequent rate of the files.

    Returns:
      Splits.

    Raises:
      InputError: if there is no such data set, it cannot be read, or an option does not apply.
    """
    check_size(size)
    check_flags(binarize=binarize, skip_damaged=skip_damaged, paired=paired, bytes=bytes)
    check_count(length=length, rate=rate)
    values = {
        "size": size,
        "binarize": binarize,
        "skip_damaged": skip_damaged,
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
                        f"{OPTIONS[option]}: leave out --{option.replace('_', '-')}"
                        f" ({option}={value}). Received: {source.kind}"
                    )
            load = importlib.import_module(source.module).load
            return load(name, **{option: values[option] for option in source.options})
    if isinstance(name, Path):
        raise InputError(
            f"A data file must be a .npz or .npy, or a .txt; images must be in a folder. Received: "
            f"{name}"
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
      module: its function `load(name, **options)` returns Splits. It is imported when used:
        listing imports nothing large.
      kind: str; what it loads, for errors.
      owns: function of a name, an absolute Path or data in memory that returns whether `load` takes
        it.
      names: function that returns {name: summary} of the sets that need no download.
      options: the options of `load_dataset` that it takes.
    """

    module: str
    kind: str
    owns: Callable[[object], bool]
    names: Callable[[], dict[str, str]] = dict
    options: tuple[str, ...] = ("size", "binarize")


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


def _is_folder_of(kind):
    def owns(name):
        from zoo.datasets import layout

        return isinstance(name, Path) and name.is_dir() and layout.kind(name) == kind

    return owns


def _is_pair(name):
    from zoo.datasets import pairs

    return isinstance(name, Path) and name.is_dir() and pairs.is_pair(name)


def _is_text(name):
    return isinstance(name, Path) and name.suffix.lower() == ".txt" and name.is_file()


_FOLDER, _TEXT, _SOUND = (
    ("size", "binarize", "skip_damaged"),
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
