"""Pictures of images: one grid, as a PNG."""

import math
from pathlib import Path

import numpy as np

__all__ = ["grid", "save_grid", "save_images"]

_SIDE = 800  # pixels that a picture of a grid is about wide
_PAPER = 255
_MOST_CLASSES = 16  # that are shown in columns of their own


def grid(images, num_classes=0, columns=None):
    """Lays images out in rows, enlarged by whole pixels, with a white gap between them.

    Args:
      images: float32 [n, height, width, channels], in [0, 1]; 1 or 3 channels.
      num_classes: int; of images of all classes in turn each column is of one class, if they are
        few: the grid is as square as that allows.
      columns: int, images in a row, or None for that.

    Returns:
      uint8 [rows, columns, 3] or [rows, columns].
    """
    pixels = to_bytes(images)
    n, height, width, channels = pixels.shape
    if columns is None:
        columns = math.ceil(math.sqrt(n * height / width))
        if 1 < num_classes <= _MOST_CLASSES:
            columns = num_classes * max(1, round(columns / num_classes))
        columns = min(n, columns)
    zoom = max(1, round(_SIDE / columns / width))
    gap = max(2, zoom * width // 16)
    pixels = pixels.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = height * zoom, width * zoom
    rows = math.ceil(n / columns)
    paper = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), _PAPER, np.uint8
    )
    for k, image in enumerate(pixels):
        top, left = (gap + k // columns * (height + gap), gap + k % columns * (width + gap))
        paper[top : top + height, left : left + width] = image
    return paper[..., 0] if channels == 1 else paper


def save_grid(path, images, num_classes=0, columns=None):
    """Writes the grid of images, as for `grid`, to a PNG."""
    _save(path, grid(images, num_classes, columns))


def save_images(folder, images, first=0):
    """Writes each of images, as for `grid`, to its own PNG file: 000000.png, 000001.png, …"""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(to_bytes(images), start=first):
        _save(Path(folder) / f"{k:06}.png", image[..., 0] if image.shape[-1] == 1 else image)


def to_bytes(images):
    """Returns images in [0, 1] as uint8 of 0 to 255."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected [n, height, width, 1 or 3]. Received: shape={images.shape}")
    return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def _save(path, pixels):
    from PIL import Image

    Image.fromarray(pixels).save(path, format="png", optimize=True)
