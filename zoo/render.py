"""Writes images as PNG files: one grid, or one file per image."""

import math
import os
from pathlib import Path

import numpy as np

__all__ = ["grid", "save_grid", "save_images"]

_SIDE = 800  # approximate width of a grid in pixels
_PAPER = 255
_MOST_CLASSES = 16  # with columns of their own


def grid(images: np.ndarray, num_classes: int = 0, columns: int | None = None) -> np.ndarray:
    """Arranges images in rows, enlarged by an integer factor, with a white gap between them.

    Args:
      images: float32 [n, height, width, channels], in [0, 1]; 1 or 3 channels.
      num_classes: int. If the images show each class in turn and there are few classes, each column
        shows one class.
      columns: int, images per row. Default: a grid that is about square.

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


def save_grid(
    path: str | os.PathLike,
    images: np.ndarray,
    num_classes: int = 0,
    columns: int | None = None,
) -> None:
    """Writes the grid of images to a PNG file, or a JPEG by its suffix; arguments as `grid`."""
    _save(path, grid(images, num_classes, columns))


def save_images(folder: str | os.PathLike, images: np.ndarray, first: int = 0) -> None:
    """Writes each image to its own PNG file, named by its index: 000000.png, 000001.png, …

    Args:
      folder: path; created if it does not exist.
      images: as for `grid`.
      first: int, index of the first image.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(to_bytes(images), start=first):
        _save(Path(folder) / f"{k:06}.png", image[..., 0] if image.shape[-1] == 1 else image)


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Converts images, float32 in [0, 1], to uint8 in 0 to 255, of the same shape.

    Raises:
      ValueError: if the shape is not [n, height, width, 1 or 3].
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected [n, height, width, 1 or 3]. Received: shape={images.shape}")
    return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def _save(path, pixels):
    from PIL import Image

    kind = "jpeg" if Path(path).suffix.lower() in (".jpg", ".jpeg") else "png"
    Image.fromarray(pixels).save(path, format=kind, optimize=True)
