"""A folder of images: all in one folder, one subfolder per class, or such folders per split.

The header of every file is read before a pixel is decoded, so too many pixels are refused at once.
The content of a file, not its name, says its format. An example is made of the first frame:

* turned upright as its EXIF orientation says, if that precedes the pixels;
* 16 bits are reduced to 8: grey by rounding, or with `stretch` from the lowest to the highest value
  of all files; colour by its upper 8 bits;
* alpha, a transparent colour and a transparent palette entry are composited on white;
* grey stays grey if all files are grey. A palette is colour. CMYK becomes RGB by the plain formula,
  without colour profiles.
"""

import contextlib
import functools
import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zoo.datasets import assembly, layout
from zoo.datasets.layout import UnreadableError, read_each
from zoo.errors import InputError
from zoo.spec import Spec

MAX_PIXELS = 64 * 10**6

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")  # Pillow reads others by running programs
_DARK = 65535 // 4  # 16-bit values up to this use a quarter of the range


class _Header(NamedTuple):
    """What a file says of its image.

    Attributes:
      height: of the upright image.
      width: of the upright image.
      mode: of PIL.
      is_grey: bool.
      bits: 1, 8 or 16, per channel.
      has_alpha: bool; whether anything can be transparent.
      is_animated: bool.
    """

    height: int
    width: int
    mode: str
    is_grey: bool
    bits: int
    has_alpha: bool
    is_animated: bool


def load(listing, size, binarize, skip_damaged, stretch):
    """Loads a `layout.Listing`. Reads every file, so damaged files are reported before training."""
    folder, files, notes = listing.folder, listing.files, listing.notes
    if skip_damaged:
        files, left_out = layout.leave_out(folder, files, "images", _unreadable(files, size))
        notes = [*notes, *left_out]
    grouped = layout.group(folder, files, "images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of files that it can read
        try:
            spec, window, changes = _probe(folder, files, size, stretch)
            decode = functools.partial(_decode, spec=spec, size=size, window=window)
            splits = layout.load(
                folder, grouped, spec, decode, notes, changes, size=size, binarize=binarize
            )
        except UnreadableError:
            raise layout.damage(folder, "images", _unreadable(files, size)) from None
    for split in splits:
        split.source |= {"skip_damaged": True} if skip_damaged else {}
        split.source |= {"stretch": True} if stretch else {}
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
        files = layout.scan(path, "images").files
    elif path.is_file():
        files = [path]
    else:
        raise InputError(f"No such file or folder. Received: {path}")
    height, width, _ = spec.shape
    size = height if height == width else None
    try:
        decoded = [_decode(file, spec, size) for file in files]
    except Exception:  # Pillow's readers raise anything on a damaged file
        if reasons := _unreadable(files, size):
            place = path if path.is_dir() else path.parent
            raise layout.damage(place, "images", reasons) from None
        raise InputError(f"Expected images of shape {spec.shape}. Received: {path}") from None
    return spec.scale(np.stack(decoded)).numpy()


def _probe(folder, files, size, stretch):
    """Reads the headers, so that no image is decoded that is too large or has another size.

    Returns:
      (Spec, (lowest, highest) 16-bit value that becomes (0, 255), notes).
    """
    headers = list(read_each(files, _header))
    sizes = Counter((header.height, header.width) for header in headers)
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
    grey = sum(header.is_grey for header in headers)
    channels = 1 if grey == len(files) else 3
    notes = []
    if resized:
        old = f"{len(sizes)} sizes" if len(sizes) > 1 else "{}x{}".format(*next(iter(sizes)))
        notes.append(f"cut to squares and resized to {size}x{size} from {old}")
    if count := sum(header.has_alpha for header in headers):
        notes.append(f"alpha composited on white in {count} files")
    if channels == 3 and grey:
        notes.append(f"{grey} grey files among colour files, read as colour")
    if count := sum(header.mode == "CMYK" for header in headers):
        notes.append(f"{count} CMYK files converted to RGB")
    if count := sum(header.is_animated for header in headers):
        notes.append(f"the first frame of {count} animations")
    is_deep = [header.bits == 16 for header in headers]
    deep = [f for f, header in zip(files, headers, strict=True) if header.mode[0] == "I"]
    if count := sum(is_deep) - len(deep):
        notes.append(f"the upper 8 of 16 bits in {count} files")
    window = 0, 65535
    if deep:
        lows, highs = zip(*read_each(deep, _extrema), strict=True)
        low, high = min(lows), max(highs)
        if stretch and len(deep) == len(files) and low < high:
            window = low, high
        to = f"stretched from {low} and {high} to 0 and 255" if stretch else "reduced to 8 bits"
        notes.append(f"16-bit images, values {low} to {high}, {to}")
        if high <= _DARK and not stretch:
            notes.append(
                "nearly black, because few of the 16 bits are used: add --stretch (stretch=True)"
            )
    if stretch and window == (0, 65535):
        raise InputError(
            "Only 16-bit grey images of two values or more can be stretched. Omit --stretch"
            f" (stretch=True). Received: {len(deep)} such files of {len(files)} in {folder}"
        )
    is_binary = {header.bits for header in headers} == {1} and not resized
    return Spec((height, width, channels), 2 if is_binary else 256), window, notes


@contextlib.contextmanager
def _opened(path):
    """Yields a PIL image of a known format, its header read; refuses too many pixels."""
    with Image.open(path, formats=_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        yield image


def _header(path):
    """Reads the _Header of a file."""
    with _opened(path) as image:
        width, height = image.size
        if _has_early_exif(image) and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
            width, height = height, width  # turned by 90 degrees
        raw = str(image.tile[0][3] if image.tile else "")  # Pillow reads LA of 16 bits as RGBA
        is_grey = Image.getmodebase(image.mode) == "L" or raw.startswith("LA;16")
        is_deep = ";16" in raw or image.mode[0] == "I"
        return _Header(
            height,
            width,
            image.mode,
            is_grey,
            1 if image.mode == "1" else 16 if is_deep else 8,
            image.has_transparency_data,
            image.format != "MPO" and getattr(image, "is_animated", False),
        )


def _has_early_exif(image):
    """Returns whether EXIF precedes the pixels: to look for another, Pillow decodes the image."""
    return image.format != "PNG" or "exif" in image.info


def _extrema(path):
    """Reads (lowest, highest) value of a grey image."""
    with _opened(path) as image:
        return image.getextrema()


def _decode(path, spec, size, window=(0, 65535)):
    """Reads a file as the head of this module says: uint8 [*spec.shape], as of `Spec.store`."""
    with _opened(path) as image:
        if _has_early_exif(image):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow itself would clip
            low, high = window
            deep = np.asarray(image)
            grey = np.clip((deep.astype(np.float32) - low) * np.float32(255 / (high - low)), 0, 255)
            grey = np.rint(grey).astype(np.uint8)
            if image.has_transparency_data:
                grey[deep == image.info["transparency"]] = 255
            image = Image.fromarray(grey)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if spec.shape[-1] == 1 else "RGB")
        if size is not None and image.size != (size, size):
            image = assembly.square(image, size)
        x = np.asarray(image).reshape(image.height, image.width, spec.shape[-1])
        if x.shape != spec.shape:
            raise ValueError("another shape than in its header")
        return x // 255 if spec.levels == 2 else x


def _unreadable(files, size):
    """Reads all files and returns {file: reason} of those that fail."""

    def read(file):
        height, width, *_ = _header(file)
        shape = (height, width, 3) if size is None else (size, size, 3)
        _decode(file, Spec(shape, 256), size)

    def damage(error):
        if isinstance(error, UnidentifiedImageError):
            return "not an image"
        if isinstance(error, Image.DecompressionBombError):
            return f"over {MAX_PIXELS // 10**6} million pixels"
        return "damaged"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `load`
        return layout.reasons(files, read, damage)
