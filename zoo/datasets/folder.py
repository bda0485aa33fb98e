"""A folder of images: all in one folder, one subfolder per class, or such folders per split."""

import functools
import hashlib
import os
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zoo.datasets import assembly
from zoo.datasets.assembly import Contents, assemble
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError

MAX_PIXELS = 64 * 10**6

_SPLITS = {  # in any case
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_RUN_FILE = "run.json"  # marks a folder of `zoo train`, whose pictures are no data
_DARK = 65535 // 4  # 16-bit values up to this use a quarter of the range
_NAMED_FILES = 3  # for each reason in an error


def load(folder, size, binarize, skip_damaged=False):
    """Loads a folder. Reads every file, so damaged files are reported before training."""
    files, ignored = _find_files(folder)
    if skip_damaged and (reasons := _unreadable(files, size)):
        if len(reasons) == len(files):
            raise InputError(f"No image in {folder} can be read: {_listed(folder, reasons)}")
        files = [file for file in files if file not in reasons]
        ignored.append(f"{len(reasons)} left out that cannot be read: {_listed(folder, reasons)}")
    groups, class_names, layout = _group(folder, files)
    name = folder.resolve().name

    def images(source, index):
        group, labels = groups[source]
        labels = None if labels is None else labels[index]
        return FileImages(group[index], decode, shape), labels

    def read(source, index):
        unread, labels = images(source, index)
        return unread[:], labels

    def stream(split, source, index, about):
        streamed = ArraySplit(name, split, *images(source, index), levels, **about)
        _ = streamed.fingerprint  # reads every file
        return streamed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of files that it can read
        try:
            shape, levels, changes = _probe(folder, files, size)
            decode = functools.partial(_decode, shape=shape, size=size, levels=levels)
            contents = Contents(
                name,
                str(folder),
                {split: len(group) for split, (group, _) in groups.items()},
                shape,
                levels,
                read,
                stream,
                {split: labels for split, (_, labels) in groups.items() if labels is not None},
                notes=(f"{len(files)} files in {folder}", *ignored, *layout, *changes),
                num_classes=len(class_names),
                class_names=class_names,
            )
            splits = assemble(contents, size, binarize)
        except _UnreadableError:
            raise _damage(folder, _unreadable(files, size)) from None
    if skip_damaged:
        for split in splits:
            split.source["skip_damaged"] = True
    return splits


class FileImages:
    """Images that are read from their files when they are indexed, like an array.

    Args:
      files: Path [n] array.
      decode: function from a Path to uint8 [*shape].
      shape: (height, width, channels).
    """

    def __init__(self, files, decode, shape):
        self._files, self._decode, self.shape = files, decode, (len(files), *shape)

    def __len__(self):
        return len(self._files)

    def __getitem__(self, index):
        """Reads uint8 [b, *shape] of a slice, in threads, or of int [b]."""
        files = self._files[index]
        images = np.empty((len(files), *self.shape[1:]), np.uint8)
        each = _each(files, self._decode) if isinstance(index, slice) else map(self._decode, files)
        for i, image in enumerate(each):
            images[i] = image
        return images


class _UnreadableError(Exception):
    """Raised at the first file that cannot be read."""


def _find_files(folder):
    """Finds the files that are not hidden, also behind symbolic links.

    Returns:
      (list of Path of the images, notes on what was ignored).
    """
    images, others, runs = [], 0, []

    def visit(here, above):
        nonlocal others
        status = here.stat()
        if (key := (status.st_dev, status.st_ino)) in above:  # a link to a folder above it
            return
        for path in sorted(here.iterdir()):
            if path.name.startswith("."):
                continue
            if not path.is_dir():
                if path.suffix.lower() in _SUFFIXES:
                    images.append(path)
                else:
                    others += 1
            elif (path / _RUN_FILE).exists():
                runs.append(path.relative_to(folder).as_posix())
            else:
                visit(path, above | {key})

    try:
        visit(folder, frozenset())
    except PermissionError as error:
        raise InputError(f"No permission to read this folder. Received: {error.filename}") from None
    count = f"{others} other file{'s' * (others != 1)}"
    if not images:
        raise InputError(
            f"There are no images ({', '.join(s[1:] for s in _SUFFIXES)}) in this folder, but "
            f"{count}. Received: {folder}"
        )
    notes = [f"{count} ignored"] if others else []
    notes += [f"ignored, because it is a run: {run}" for run in runs]
    return images, notes


def _group(folder, files):
    """Sorts files by split and class, and shuffles them.

    Returns:
      ({split: (Path [n] array, int32 [n] or None)}, class names, notes).
    """
    places = [file.relative_to(folder).parts[:-1] for file in files]
    wrapper, places = _unwrap(places)
    notes = [f"all images are in the subfolder {'/'.join(wrapper)}"] if wrapper else []
    tops = {place[0] if place else "" for place in places}
    split_of = {top: _SPLITS[top.lower()] for top in sorted(tops) if top.lower() in _SPLITS}
    splits = ["train"] * len(files)
    named = {*split_of.values()}
    if len(named) > 1 and ("train" in named or len(split_of) == len(tops)):
        if stray := sorted(tops - {*split_of}):
            raise InputError(
                f"Beside the folders {', '.join(split_of)} there must be no other images. "
                f"Received: images in {folder.joinpath(*wrapper, stray[0])}"
            )
        notes.append(
            "splits: " + ", ".join(f"{split_of[top]} in the folder {top}" for top in split_of)
        )
        splits = [split_of[place[0]] for place in places]
        _, places = _unwrap([place[1:] for place in places])
    classes = [place[0] if place else None for place in places]
    class_names = sorted({*classes} - {None})
    if class_names and None in classes:
        flat, deep = (files[classes.index(name)].parent for name in (None, class_names[0]))
        raise InputError(
            f"Images must be either all in one folder per split, or all in one subfolder per "
            f"class. Received: {flat} with images of its own and in {deep.relative_to(folder)}"
        )
    number = {name: k for k, name in enumerate(class_names)}
    shuffled = sorted(range(len(files)), key=lambda i: _shuffling_key(folder, files[i]))
    groups = {}
    for split in (split for split in Splits._fields if split in splits):
        members = [i for i in shuffled if splits[i] == split]
        labels = np.array([number[classes[i]] for i in members], np.int32) if number else None
        groups[split] = np.array([files[i] for i in members], object), labels
    return groups, tuple(class_names), notes


def _unwrap(places):
    """Returns (the names of the folders that all images are in, the rest of each place)."""
    shared = os.path.commonprefix(places)  # noqa: RUF071 (of tuples of names)
    return shared, [place[len(shared) :] for place in places]


def _shuffling_key(folder, file):
    """Returns a random key that depends on one file only: new files leave the others in order."""
    return hashlib.sha256(os.fsencode(file.relative_to(folder).as_posix())).digest()


def _probe(folder, files, size):
    """Reads the headers, so that no image is decoded that is too large or has another size.

    Returns:
      (shape, levels, notes).
    """
    headers = list(_each(files, _header))
    sizes = Counter((height, width) for height, width, _, _ in headers)
    modes = Counter(mode for _, _, mode, _ in headers)
    if len(sizes) > 1 and size is None:
        side = min(map(min, sizes))
        examples = {header[:2]: file for header, file in zip(headers, files, strict=True)}
        raise InputError(
            f"Images must have one size, or be cut and resized: add --size {side} (size={side}). "
            f"Received: {len(sizes)} sizes, such as "
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
        notes.append(f"{grey} grey files among colour files, read as colour")
    if any(mode.startswith("I") for mode in modes):
        deep = [f for f, (*_, mode, _) in zip(files, headers, strict=True) if mode[0] == "I"]
        lows, highs = zip(*_each(deep, _extrema), strict=True)
        notes.append(f"16-bit images, values {min(lows)} to {max(highs)}, reduced to 8 bits")
        if max(highs) <= _DARK:
            notes.append(
                f"nearly black, because few of the 16 bits are used: multiply the pixels by "
                f"{65535 // max(*highs, 1)}, or give them as float arrays from 0 to 1"
            )
    return (height, width, channels), 2 if set(modes) == {"1"} and not resized else 256, notes


def _header(path):
    """Reads (height, width, mode, has_alpha) of the upright image."""
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # Where a PNG has no EXIF up front, Pillow would decode it all to look for some.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        if exif.get(ExifTags.Base.Orientation, 1) >= 5:  # turned by 90 degrees
            width, height = height, width
        return height, width, image.mode, image.has_transparency_data


def _extrema(path):
    """Reads (lowest, highest) value of a grey image."""
    with Image.open(path) as image:
        return image.getextrema()


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
            image = assembly.square(image, size)
        x = np.asarray(image).reshape(image.height, image.width, shape[-1])
        if x.shape != shape:
            raise ValueError("another shape than in its header")
        return x // 255 if levels == 2 else x


def _each(files, read):
    """Yields `read(file)` of each file, in order, read in threads."""
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(files), 256):  # results that are ready early are held in memory
            try:
                yield from pool.map(read, files[i : i + 256])
            except Exception as error:  # Pillow's readers raise anything on a damaged file
                raise _UnreadableError from error


def _unreadable(files, size):
    """Reads all files and returns {file: reason} of those that fail."""

    def reason(file):
        try:
            height, width, *_ = _header(file)
            shape = (height, width, 3) if size is None else (size, size, 3)
            _decode(file, shape, size, levels=256)
        except PermissionError:
            return "no permission"
        except FileNotFoundError:
            return "broken link"
        except UnidentifiedImageError:
            return "not an image"
        except Image.DecompressionBombError:
            return f"over {MAX_PIXELS // 10**6} million pixels"
        except Exception:  # Pillow's readers raise anything on a damaged file
            return "damaged"

    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `load`
        reasons = zip(files, pool.map(reason, files), strict=True)
        return {file: why for file, why in reasons if why}


def _damage(folder, reasons):
    """Returns an InputError that names the files that cannot be read."""
    if not reasons:
        return InputError(f"Files changed while they were read: try again. Received: {folder}")
    one = len(reasons) == 1
    return InputError(
        f"{len(reasons)} image{'s' * (not one)} in {folder} cannot be read. Fix or remove "
        f"{'it' if one else 'them'}, or add --skip-damaged (skip_damaged=True): "
        f"{_listed(folder, reasons)}"
    )


def _listed(folder, reasons):
    """Lists files by reason, a few of each, and writes a file of all where some are left out."""
    names_of, details = {}, []
    for file, why in reasons.items():
        names_of.setdefault(why, []).append(str(file.relative_to(folder)))
    for why, names in names_of.items():
        more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
        details.append(f"{why}: {', '.join(names[:_NAMED_FILES])}{more}")
    text = "; ".join(details)
    if any(len(names) > _NAMED_FILES for names in names_of.values()):
        with tempfile.NamedTemporaryFile(
            "w", prefix="zoo-unreadable-", suffix=".txt", delete=False, errors="surrogateescape"
        ) as file:
            file.writelines(f"{why}: {name}\n" for why, names in names_of.items() for name in names)
        text += f". All of them: {file.name}"
    return text
