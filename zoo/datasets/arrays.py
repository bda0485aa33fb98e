"""Arrays of a .npz or .npy, never unpickled."""

import numpy as np

from zoo.datasets import order, splits
from zoo.errors import InputError

_KEYS = {  # of images; those of the labels have `labels` for `images` and `y` for `x`
    "all": ("images", "x"),
    "train": ("train_images", "x_train"),
    "validation": ("validation_images", "val_images", "x_validation", "x_val"),
    "test": ("test_images", "x_test"),
}


def load(path, size, binarize):
    """Loads a file that holds all images in one array, or an array a split."""
    stored = _stored(path)
    found = {split: [key for key in some if key in stored] for split, some in _KEYS.items()}
    keys = {split: some[0] for split, some in found.items() if some}
    if keys.keys() != {"all"} and ("all" in keys or "train" not in keys):
        raise InputError(
            f"A .npz must hold either `images` (or `x`), or `train_images` (or `x_train`) and "
            f"perhaps validation_ and test_ ones. "
            f"Received: {path} with {', '.join(sorted(stored)) or 'nothing'}"
        )
    if "all" in keys:
        keys["train"] = keys.pop("all")
    images = {split: _checked_images(path, key, stored[key]) for split, key in keys.items()}
    if len({x.shape[1:] for x in images.values()}) > 1:
        raise InputError(
            "All images must be of one shape. "
            f"Received: {path} with {', '.join(f'{keys[s]} {x.shape}' for s, x in images.items())}"
        )
    levels = 2 if all(((x == 0) | (x == 1)).all() for x in images.values()) else 256
    label_keys = {
        split: key.replace("images", "labels").replace("x", "y") for split, key in keys.items()
    }
    parts, num_classes = {}, 0
    for split, x in images.items():
        y = stored.get(label_keys[split]) if label_keys["train"] in stored else None
        if y is not None:
            y = _checked_labels(path, label_keys[split], y, len(x))
            num_classes = max(num_classes, int(y.max()) + 1)
        if x.dtype.kind in "bf":
            x = np.rint(x * np.float32(levels - 1))
        parts[split] = (x.astype(np.uint8), y)
    if num_classes > len(images["train"]):
        raise InputError(
            f"Labels must be classes 0, 1, 2, ... Received: labels up to {num_classes - 1} in "
            f"{path}"
        )
    notes = [f"{', '.join(keys.values())} in {path}"]
    if levels == 256 and any(x.dtype.kind == "f" for x in images.values()):
        notes.append("floats rounded to 256 levels")
    if unused := sorted(set(stored) - set(keys.values()) - set(label_keys.values())):
        notes.append(f"ignored: {', '.join(unused)}")
    parts = _with_held_out(path, parts)
    return splits.finish(path.stem, parts, levels, size, binarize, notes, num_classes=num_classes)


def _stored(path):
    if not path.is_file():
        raise InputError(f"There is no such file. Received: {path}")
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            return {"images": stored} if isinstance(stored, np.ndarray) else dict(stored)
    except Exception as error:  # what is damaged raises anything
        if "Object arrays" in str(error):
            raise InputError(
                f"Arrays of Python objects are not read, because unpickling them can run any "
                f"code: save images of one size as one uint8 array. Received: {path}"
            ) from error
        raise InputError(
            f"Not a file of NumPy arrays: damaged, or a pickle ({type(error).__name__}). "
            f"Received: {path}"
        ) from error


def _checked_images(path, key, images):
    """Checks and gives [n, h, w, c], its type and values unchanged."""
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"Images must be [n, height, width] or [n, height, width, 1 or 3]. Received: {key} "
            f"{list(images.shape)} in {path}"
        )
    if images.dtype.kind not in "buif":
        raise InputError(
            f"Images must be uint8, bool or float. Received: {key} {images.dtype} in {path}"
        )
    low, high = images.min(), images.max()  # NaN, if there is one
    if not (low >= 0 and high <= (1 if images.dtype.kind in "bf" else 255)):
        raise InputError(
            f"Images must be integers from 0 to 255 or floats from 0 to 1. Received: {key} "
            f"{images.dtype} from {low} to {high} in {path}"
        )
    return np.ascontiguousarray(images)


def _checked_labels(path, key, labels, count):
    """Checks and gives int32 [count]."""
    if (
        labels.shape not in ((count,), (count, 1))
        or labels.dtype.kind not in "bui"
        or labels.min() < 0
    ):
        raise InputError(
            f"Labels must be {count} integers from 0, one an image. Received: {key} "
            f"{labels.dtype} {list(labels.shape)} in {path}"
        )
    return labels.reshape(count).astype(np.int32)


def _with_held_out(path, parts):
    """Holds out the splits that are missing, from a fixed shuffled order; given ones stay as is."""
    sections = splits.held_out(path, {split: len(images) for split, (images, _) in parts.items()})
    images, labels = parts["train"]
    if sections["train"] != ("train", 0, len(images)):
        index = order.random_bits("order of a file").random_raw(len(images)).argsort(kind="stable")
        parts["train"] = (images[index], None if labels is None else labels[index])
    return splits.cut(parts, sections)
