"""Images in arrays: of a .npz or .npy, which is never unpickled, or in memory."""

import os
import zipfile
from pathlib import Path

import numpy as np

from zoo.datasets import assembly, order
from zoo.datasets.assembly import Contents, assemble
from zoo.datasets.split import Splits
from zoo.errors import InputError
from zoo.spec import Spec

_KEYS = {  # of images; those of the labels have `labels` for `images` and `y` for `x`
    "all": ("images", "x"),
    "train": ("train_images", "x_train"),
    "validation": ("validation_images", "val_images", "x_validation", "x_val"),
    "test": ("test_images", "x_test"),
}


def load(data, size, binarize):
    """Loads a Path of a file, or data in memory: as `load_dataset`."""
    if isinstance(data, Splits):
        return rework(data, size, binarize)
    if isinstance(data, Path):
        parts, notes = _by_key(_read_file(data), data)
        return assemble(_contents(data.stem, str(data), data, parts, None, notes), size, binarize)
    if isinstance(data, dict):
        stored = {str(key): _as_array(key, value) for key, value in data.items()}
        parts, notes = _by_key(stored, "a dict")
        contents = _contents("arrays", "<arrays>", "a dict", parts, None, notes)
        return assemble(contents, size, binarize)
    if not isinstance(data, tuple):
        data = (data,)
    elif len(data) != 2:
        raise InputError(
            f"A tuple must be (images, labels); use zoo.Splits.from_arrays for several splits. "
            f"Received: a tuple of {len(data)}"
        )
    return Splits.from_arrays(*data, size=size, binarize=binarize)


def from_memory(parts, name, levels, size, binarize):
    """Makes the splits of `Splits.from_arrays`.

    Args:
      parts: {split: (images or tf.data.Dataset or None, labels or None)}.
      name: as `Splits.from_arrays`.
      levels: as `Splits.from_arrays`.
      size: as `Splits.from_arrays`.
      binarize: as `Splits.from_arrays`.

    Returns:
      Splits.
    """
    arrays = {}
    for split, (images, labels) in parts.items():
        label_key = "labels" if split == "train" else f"{split}_labels"
        if images is None:
            if split == "train" or labels is not None:
                raise InputError(f"Images of {split} are required. Received: {split}=None")
            continue
        if hasattr(images, "element_spec"):
            if labels is not None:
                raise InputError(
                    f"A tf.data.Dataset contains its own labels. Omit {label_key}, and pass a "
                    f"Dataset of (image, label) if there are labels. Received: {label_key} and a "
                    f"Dataset for {split}"
                )
            images, labels = _read_dataset(split, images)
        images = _as_array(split, images)
        labels = labels if labels is None else _as_array(label_key, labels)
        arrays[split] = (split, images, label_key, labels)
    labelled = [split for split, (*_, labels) in arrays.items() if labels is not None]
    if labelled and "train" not in labelled:
        raise InputError(f"Labels of {labelled[0]} require labels of train. Received: labels=None")
    return assemble(_contents(name, f"<{name}>", "arrays", arrays, levels), size, binarize)


def rework(splits, size, binarize):
    """Returns splits resized or binarized.

    Raises:
      InputError: if they do not fit in memory.
    """
    train = splits.train
    if train.spec.kind != "image" and (binarize or size is not None):
        raise InputError(
            f"Only images have a size and can be binarized. Received: {train.name} with"
            f" {train.spec}, size={size}, binarize={binarize}"
        )
    if not binarize and (size is None or train.shape[:2] == (size, size)):
        return splits
    contents = Contents.of_arrays(
        train.name,
        train.source["name"],
        {split.split: split.arrays() for split in splits},
        train.levels,
        notes=train.notes,
        condition=train.condition,
    )
    return assemble(contents, size, binarize)


def _contents(name, address, where, parts, levels=None, notes=()):
    """Checks arrays and makes their Contents, in a shuffled order if parts are to be held out.

    Args:
      name: as of Contents.
      address: as of Contents.
      where: path or str; for errors.
      parts: {split: (key, images, key of the labels, labels or None)}.
      levels: 2, 256 or None.
      notes: notes on the reading.
    """
    if levels not in (None, 2, 256):
        raise InputError(f"levels must be 2, 256 or None. Received: levels={levels!r}")
    parts = {
        split: (key, _checked_images(where, key, images), *labels)
        for split, (key, images, *labels) in parts.items()
    }
    if len({images.shape[1:] for _, images, *_ in parts.values()}) > 1:
        shapes = ", ".join(f"{key} {images.shape}" for key, images, *_ in parts.values())
        raise InputError(f"All images must have one shape. Received: {where} with {shapes}")
    is_binary = all(((x == 0) | (x == 1)).all() for _, x, *_ in parts.values())
    if levels == 2 and not is_binary:
        raise InputError(
            f"Images of 2 levels must be 0 or 1. Omit levels, and use binarize for grey "
            f"images. Received: levels=2 with other values in {where}"
        )
    notes = [f"{', '.join(key for key, *_ in parts.values())} in {where}", *notes]
    is_black = all(x.dtype.kind in "ui" and not x.any() for _, x, *_ in parts.values())
    if levels is None and is_black:
        notes.append("all values are 0: taken as 256 levels; binary images have dtype bool")
    levels = levels or (2 if is_binary and not is_black else 256)
    if levels == 256 and any(images.dtype.kind == "f" for _, images, *_ in parts.values()):
        notes.append("floats rounded to 256 levels")
    labels, condition, label_notes = _classes(where, parts)
    arrays = {
        split: (_as_levels(images, levels), labels.get(split))
        for split, (_, images, *_) in parts.items()
    }
    if len(arrays) < len(Splits._fields):  # one array often lies class by class
        images, y = arrays["train"]
        index = order.random_bits("order of a file").random_raw(len(images)).argsort(kind="stable")
        arrays["train"] = (images[index], None if y is None else y[index])
    return Contents.of_arrays(
        name,
        address,
        arrays,
        levels,
        notes=(*notes, *label_notes),
        condition=condition,
    )


def _by_key(stored, where):
    """Sorts arrays by their keys.

    Returns:
      ({split: (key, images, key of the labels, labels or None)}, notes).
    """
    present = {split: [key for key in keys if key in stored] for split, keys in _KEYS.items()}
    keys = {split: some[0] for split, some in present.items() if some}
    if keys.keys() != {"all"} and ("all" in keys or "train" not in keys):
        raise InputError(
            f"A .npz must hold either `images` (or `x`), or `train_images` (or `x_train`) and "
            f"optionally validation_ and test_ arrays. "
            f"Received: {where} with {', '.join(sorted(stored)) or 'nothing'}"
        )
    if "all" in keys:
        keys["train"] = keys.pop("all")
    label_keys = {
        split: key.replace("images", "labels").replace("x", "y") for split, key in keys.items()
    }
    labelled = label_keys["train"] in stored
    parts = {}
    for split, key in keys.items():
        label_key = label_keys[split]
        labels = stored.get(label_key) if labelled else None
        parts[split] = (key, stored[key], label_key, labels)
    unused = sorted(set(stored) - set(keys.values()) - set(label_keys.values()))
    return parts, [f"ignored: {', '.join(unused)}"] if unused else []


def _read_file(path):
    if not path.is_file():
        raise InputError(f"No such file. Received: {path}")
    try:
        _check_memory(path)
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            return {"images": stored} if isinstance(stored, np.ndarray) else dict(stored)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"No permission to read this file. Received: {path}") from error
    except Exception as error:  # a damaged file can raise anything
        if "Object arrays" in str(error):
            raise InputError(
                f"Arrays of Python objects are not read, because unpickling them can run any "
                f"code: save images of one size as one uint8 array. Received: {path}"
            ) from error
        raise InputError(
            f"Not a file of NumPy arrays: damaged, or a pickle ({type(error).__name__}). "
            f"Received: {path}"
        ) from error


def _check_memory(path):
    """Refuses a compressed file, by its header, that would fill the memory."""
    if not zipfile.is_zipfile(path) or not hasattr(os, "sysconf"):  # Windows has no sysconf
        return
    with zipfile.ZipFile(path) as stored:
        size = sum(info.file_size for info in stored.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise InputError(
            f"The arrays of this file have {size / 2**30:,.1f} GiB, and the memory"
            f" {memory / 2**30:,.1f} GiB: save images as files in a folder. Received: {path}"
        )


def _as_array(key, value):
    try:
        return np.asarray(value)
    except Exception as error:  # of the other library, or because the rows differ in length
        raise InputError(
            f"{key} must be an array or a tf.data.Dataset. Received: {type(value).__name__}"
        ) from error


def _read_dataset(split, dataset):
    """Reads a finite tf.data.Dataset of images or (image, label): (array, array or None)."""
    elements = dataset.element_spec
    x, y = elements if isinstance(elements, tuple) and len(elements) == 2 else (elements, None)
    if any(spec is not None and not hasattr(spec, "shape") for spec in (x, y)):
        raise InputError(
            f"A tf.data.Dataset must have images or (image, label) as elements. "
            f"Received: {split} with elements {elements}"
        )
    if x.shape.rank is None or not 2 <= x.shape.rank <= 4:
        raise InputError(
            f"Images of a tf.data.Dataset must be [height, width], [height, width, 1 or 3] or "
            f"batches of these. Received: {split} with elements {elements}"
        )
    if y is not None and y.shape.rank is not None:
        batched = y.shape.rank > 0
    else:
        batched = x.shape.rank == 4 or (x.shape.rank == 3 and x.shape[-1] not in (1, 3))
    if dataset.cardinality() == -1:  # tf.data.INFINITE_CARDINALITY
        raise InputError(f"A tf.data.Dataset must be finite. Received: {split}, which repeats")
    images, labels, size = [], [], 0
    for element in dataset.as_numpy_iterator():
        x, label = element if y is not None else (element, None)
        size += x.nbytes
        if size > assembly.MAX_BYTES_IN_MEMORY:
            raise InputError(
                f"A tf.data.Dataset is read into memory, and must be finite and smaller than "
                f"{assembly.MAX_BYTES_IN_MEMORY / 2**30:g} GiB: give uint8 images, or save them as "
                f"files in a folder. Received: {split}"
            )
        images.append(x if batched else x[None])
        labels.append(label if batched else np.atleast_1d(label))
    shapes = {x.shape[1:] for x in images}
    if len(shapes) != 1:
        raise InputError(
            f"All images must have one shape. Received: {split} with "
            f"{', '.join(map(str, sorted(shapes))) or 'no images'}"
        )
    return np.concatenate(images), None if y is None else np.concatenate(labels)


def _checked_images(where, key, images):
    """Checks images and returns them as [n, h, w, c], with dtype and values unchanged."""
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"Images must be [n, height, width] or [n, height, width, 1 or 3]. Received: {key} "
            f"{list(images.shape)} in {where}"
        )
    if images.dtype.kind not in "buif":
        raise InputError(
            f"Images must be uint8, bool or float. Received: {key} {images.dtype} in {where}"
        )
    low, high = images.min(), images.max()  # NaN, if there is one
    if not (low >= 0 and high <= (1 if images.dtype.kind in "bf" else 255)):
        raise InputError(
            f"Images must be integers from 0 to 255 or floats from 0 to 1. Received: {key} "
            f"{images.dtype} from {low} to {high} in {where}"
        )
    return np.ascontiguousarray(images)


def _as_levels(images, levels):
    """Maps checked images to uint8 from 0 to levels - 1."""
    if images.dtype.kind in "bf":
        images = np.rint(images * np.float32(levels - 1))
    return images.astype(np.uint8)


def _classes(where, parts):
    """Checks labels and numbers the classes from 0 without gaps.

    Returns:
      ({split: int32 [n]}, Spec of the labels or None, notes).
    """
    labels = {
        split: _checked_labels(where, key, y, len(images))
        for split, (_, images, key, y) in parts.items()
        if y is not None
    }
    if not labels:
        return {}, None, []
    highest, count = max(int(y.max()) for y in labels.values()), len(parts["train"][1])
    if highest >= count:
        raise InputError(
            f"Labels must be classes 0, 1, 2, ... Received: labels up to {highest} in {where}"
        )
    classes = np.unique(np.concatenate([*labels.values()]))
    if highest == len(classes) - 1:
        return labels, Spec((), len(classes), "label"), []
    names = tuple(str(number) for number in classes)
    labels = {split: np.searchsorted(classes, y).astype(np.int32) for split, y in labels.items()}
    spec = Spec((), len(classes), "label", names)
    return labels, spec, [f"labels {', '.join(names)} renumbered from 0"]


def _checked_labels(where, key, labels, count):
    """Checks labels and returns int32 [count]."""
    if (
        labels.shape not in ((count,), (count, 1))
        or labels.dtype.kind not in "bui"
        or labels.min() < 0
    ):
        raise InputError(
            f"Labels must be {count} integers from 0, one per image. Received: {key} "
            f"{labels.dtype} {list(labels.shape)} in {where}"
        )
    return labels.reshape(count).astype(np.int32)
