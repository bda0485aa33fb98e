"""A folder of images: flat, with a subfolder a class, or with such folders for train and test."""

import functools
import glob
import hashlib
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import ExifTags, Image, ImageOps

from zoo.datasets import Split, splits
from zoo.errors import InputError

MAX_PIXELS = 64 * 10**6

_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def load(folder, size, binarize):
    """Loads a folder, reading every file, so that what is damaged is known before training."""
    files, others = _found(folder)
    groups, class_names = _grouped(folder, files)
    sections = splits.held_out(folder, {key: len(group) for key, (group, _) in groups.items()})
    shape, levels, changes = _probe(folder, files, size)
    name, notes = folder.resolve().name, [f"{len(files)} files in {folder}", *others, *changes]
    classes = dict(num_classes=len(class_names), class_names=class_names)
    read = functools.partial(_decode, shape=shape, size=size, levels=levels)
    if splits.is_large(folder, len(files), shape, binarize):
        notes.append("read from the files at every presentation: too large for memory")
        return tuple(
            FileSplit(name, key, folder, *part, read, shape, levels, notes=notes, **classes)
            for key, part in splits.cut(groups, sections).items()
        )
    image = np.dtype((np.uint8, shape))
    groups = {
        key: (np.fromiter(_each(folder, group, read), image), labels)
        for key, (group, labels) in groups.items()
    }
    parts = splits.cut(groups, sections)
    return splits.finish(name, parts, levels, size, binarize, notes, **classes)


class FileSplit(splits.ArraySplit):
    """A split too large for memory, in files that are read at every presentation."""

    def __init__(self, name, split, folder, files, labels, read, shape, levels, **about):
        Split.__init__(self, name, split, len(files), shape, levels, **about)
        self._files, self._labels, self._read, self._afresh = files, labels, read, False
        self._fingerprint = splits.fingerprint(_each(folder, files, read), labels, shape, levels)

    @property
    def fingerprint(self):
        return self._fingerprint

    arrays = Split.arrays  # too large

    def _reader(self, presented=False):
        import tensorflow as tf

        def read(index):
            return np.stack([self._read(self._files[i]) for i in index])

        def images(index):
            x = tf.numpy_function(read, [index], tf.uint8, stateful=False)
            return tf.ensure_shape(x, (None, *self.shape))

        return images


def _found(folder):
    """Finds what is not hidden: (images, a note of the other files if there are any)."""
    names = glob.glob("**", root_dir=folder, recursive=True)  # noqa: PTH207 (follows links)
    found = [path for path in map(folder.joinpath, names) if not path.is_dir()]
    files = [path for path in found if path.suffix.lower() in _SUFFIXES]
    others = f"{len(found) - len(files)} other file{'s' * (len(found) - len(files) != 1)}"
    if not files:
        raise InputError(
            f"There are no images ({', '.join(s[1:] for s in _SUFFIXES)}) in this folder, but "
            f"{others}. Received: {folder}"
        )
    return files, [f"{others} ignored"] if len(found) > len(files) else []


def _grouped(folder, files):
    """Sorts files by split and class, and shuffles them.

    Returns:
      ({"train" and other splits there are: (files, int32 [n] or None)}, class names).
    """
    places = {file: file.relative_to(folder).parts[:-1] for file in files}
    tops = {place[0] if place else "." for place in places.values()}
    depth = 1 if "train" in tops and len(tops & set(_SPLITS)) > 1 else 0
    if depth and (stray := sorted(tops - set(_SPLITS))):
        raise InputError(
            f"Beside the folders train, validation and test there must be no other images. "
            f"Received: images in {folder / stray[0]}"
        )
    classes = {file: place[depth] for file, place in places.items() if len(place) > depth}
    class_names = sorted(set(classes.values()))
    if classes and len(classes) < len(files):
        raise InputError(
            f"Images must lie either all in the folder itself or all in a subfolder a class. "
            f"Received: {folder} with images of its own and in {class_names[0]}"
        )
    groups = {}
    for file in sorted(files, key=functools.partial(_shuffling_key, folder)):
        groups.setdefault(_SPLITS[places[file][0]] if depth else "train", []).append(file)
    if len(class_names) < 2:  # one class says nothing
        return {split: (group, None) for split, group in groups.items()}, ()
    trained = {classes[file] for file in groups["train"]}
    if lost := [file for file in files if classes[file] not in trained]:
        raise InputError(
            f"Each class must have training images. Received: {classes[lost[0]]} in "
            f"{places[lost[0]][0]} of {folder} alone"
        )
    for split, group in groups.items():
        labels = [class_names.index(classes[file]) for file in group]
        groups[split] = (group, np.array(labels, np.int32))
    return groups, class_names


def _shuffling_key(folder, file):
    """Sorts files at random, where one that comes or goes leaves the others in their order."""
    return hashlib.sha256(os.fsencode(file.relative_to(folder).as_posix())).digest()


def _probe(folder, files, size):
    """Reads the headers, so that nothing is decoded that is too large or does not fit.

    Returns:
      (shape, levels, notes).
    """
    headers = list(_each(folder, files, _header))
    sizes = Counter((height, width) for height, width, _, _ in headers)
    modes = Counter(mode for _, _, mode, _ in headers)
    if len(sizes) > 1 and size is None:
        examples = {header[:2]: file for header, file in zip(headers, files, strict=True)}
        raise InputError(
            f"Images must be of one size, or be cut and resized with --size N (as --size "
            f"{min(map(min, sizes))}). Received: {len(sizes)} sizes, as "
            + " and ".join(
                f"{examples[s].relative_to(folder)} {s[0]}x{s[1]} ({n} file{'s' * (n != 1)})"
                for s, n in sizes.most_common(2)
            )
        )
    height, width = next(iter(sizes)) if size is None else (size, size)
    resized = set(sizes) != {(height, width)}
    grey = sum(n for mode, n in modes.items() if Image.getmodebase(mode) == "L")
    channels = 1 if grey == len(files) else 3
    notes = []
    if resized:
        old = f"{len(sizes)} sizes" if len(sizes) > 1 else "{}x{}".format(*next(iter(sizes)))
        notes.append(f"cut to squares and resized to {size}x{size} from {old}")
    if transparent := sum(has_alpha for *_, has_alpha in headers):
        notes.append(f"alpha composited on white in {transparent} files")
    if channels == 3 and grey:
        notes.append(f"{grey} grey files among colour ones read as colour")
    if any(mode.startswith("I") for mode in modes):
        notes.append("16-bit images reduced to 8 bits")
    return (height, width, channels), 2 if set(modes) == {"1"} and not resized else 256, notes


def _header(path):
    """Reads (height, width, mode, has alpha) of the upright image."""
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError("too large")
        # Where a PNG has no EXIF up front, Pillow would decode it all to look for some.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        if exif.get(ExifTags.Base.Orientation, 1) >= 5:  # turned by 90 degrees
            width, height = height, width
        return height, width, image.mode, image.has_transparency_data


def _decode(path, shape, size, levels):
    """Reads the first frame, upright, 8-bit, on white: uint8 [*shape]."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow itself would clip
            grey = np.clip(np.asarray(image, np.float64) / 257.0, 0, 255)
            image = Image.fromarray(np.rint(grey).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if shape[-1] == 1 else "RGB")
        if size is not None and image.size != (size, size):
            image = splits.square(image, size)
        x = np.asarray(image).reshape(image.height, image.width, shape[-1])
        if x.shape != shape:
            raise ValueError("not of the shape that its header says")
        return x // 255 if levels == 2 else x


def _each(folder, files, read):
    """Gives what `read` makes of each file, in order, and in the end names those it cannot read."""
    bad = []

    def attempt(file):
        try:
            return read(file)
        except Exception:  # Pillow's readers raise anything on a damaged file
            bad.append(file)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        for i in range(0, len(files), 256):  # what is read ahead is held in memory
            yield from (x for x in pool.map(attempt, files[i : i + 256]) if x is not None)
    if bad:
        some = ", ".join(sorted(str(file.relative_to(folder)) for file in bad)[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise InputError(
            f"{len(bad)} image{'s' * (len(bad) != 1)} in {folder} cannot be read (damaged, not an "
            f"image, or over {MAX_PIXELS // 10**6} million pixels): mend or remove {some}{more}"
        )
