"""A folder of images: all in one folder, one subfolder per class, or such folders per split."""

import functools
import warnings
from collections import Counter

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zoo.datasets import assembly, layout
from zoo.datasets.layout import UnreadableError, read_each
from zoo.errors import InputError
from zoo.spec import Spec

MAX_PIXELS = 64 * 10**6

_DARK = 65535 // 4  # 16-bit values up to this use a quarter of the range


def load(folder, size, binarize, skip_damaged):
    """Loads a folder. Reads every file, so damaged files are reported before training."""
    files, notes = layout.find(folder, "images")
    if skip_damaged:
        files, left_out = layout.leave_out(folder, files, "images", _unreadable(files, size))
        notes += left_out
    grouped = layout.group(folder, files, "images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of files that it can read
        try:
            shape, levels, changes = _probe(folder, files, size)
            decode = functools.partial(_decode, shape=shape, size=size, levels=levels)
            spec = Spec(shape, levels)
            splits = layout.load(
                folder, grouped, spec, decode, notes, changes, size=size, binarize=binarize
            )
        except UnreadableError:
            raise layout.damage(folder, "images", _unreadable(files, size)) from None
    if skip_damaged:
        for split in splits:
            split.source["skip_damaged"] = True
    return splits


def read_images(path, spec):
    """Reads an image, or all images of a folder in the order of their names.

    Args:
      path: Path of a file or folder.
      spec: Spec of the images; they are cut to a square and resized if it has another size.

    Returns:
      float32 [n, *spec.shape] array.

    Raises:
      InputError: if there is no image, or one cannot be read or has another shape.
    """
    if path.is_dir():
        files, _ = layout.find(path, "images")
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"There is no such folder or file. Received: {path}")
    height, width, _ = spec.shape
    size = height if height == width else None
    try:
        decoded = [_decode(file, spec.shape, size, spec.levels) for file in files]
    except Exception:  # Pillow's readers raise anything on a damaged file
        if reasons := _unreadable(files, size):
            place = path if path.is_dir() else path.parent
            raise layout.damage(place, "images", reasons) from None
        raise InputError(f"Expected images of shape {spec.shape}. Received: {path}") from None
    return spec.scale(np.stack(decoded)).numpy()


def _probe(folder, files, size):
    """Reads the headers, so that no image is decoded that is too large or has another size.

    Returns:
      (shape, levels, notes).
    """
    headers = list(read_each(files, _header))
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
        lows, highs = zip(*read_each(deep, _extrema), strict=True)
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

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `load`
        return layout.reasons(files, reason)
