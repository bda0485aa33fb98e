"""Writes examples as files: pictures of images, texts, and sound."""

import math
import os
import wave
from pathlib import Path

import numpy as np

from zoo.errors import InputError

__all__ = [
    "SUFFIXES",
    "grid",
    "save",
    "save_grid",
    "save_one",
    "spectrograms",
    "to_text",
    "to_tokens",
]

SUFFIXES = {"image": ".png", "tokens": ".txt", "audio": ".wav"}
"""Of the file of examples of each kind."""

BYTES = 256  # levels of tokens that are bytes, if they have no names

_WINDOW = 256  # samples of a spectrum
_MOST_TIMES = 256  # of a spectrogram, about
_RANGE = 80.0  # decibels from black to white

_PAUSE = 0.2  # seconds of silence after each sound
_SIDE = 800  # approximate width of a grid in pixels
_PAPER = 255
_MOST_CLASSES = 16  # with columns of their own


def save(path: str | os.PathLike, examples: np.ndarray, spec, condition=None) -> None:
    """Writes examples to one file: a picture, a text or sound, one after the other.

    Beside a sound, x.wav, the spectrograms are written to x.spectrogram.png.

    Args:
      path: path, which should end in `SUFFIXES[spec.kind]`, or in .jpg.
      examples: [n, *spec.shape] array, as of the spec.
      spec: zoo.Spec of the examples.
      condition: zoo.Spec of what they are conditional on, in turn; or None.
    """
    if spec.kind == "tokens":
        texts = (f"--- {k} ---\n{to_text(tokens, spec)}\n" for k, tokens in enumerate(examples))
        Path(path).write_text("".join(texts), "utf-8")
        return
    num_classes = condition.levels if condition is not None and condition.kind == "label" else 0
    if spec.kind == "audio":
        pause = np.zeros((round(_PAUSE * spec.rate), spec.shape[1]))
        _save_sound(
            path, np.concatenate([part for x in examples for part in (x, pause)]), spec.rate
        )
        pictures = spectrograms(examples)
        save_grid(Path(path).with_suffix(".spectrogram.png"), pictures, num_classes)
    else:
        save_grid(path, examples, num_classes)


def save_one(path: str | os.PathLike, example: np.ndarray, spec) -> None:
    """Writes one example, [*spec.shape], to a file, without a frame or a heading."""
    if spec.kind == "tokens":
        Path(path).write_text(to_text(example, spec), "utf-8")
    elif spec.kind == "audio":
        _save_sound(path, example, spec.rate)
    else:
        _save(path, to_bytes(example[None])[0].squeeze(-1 if spec.shape[-1] == 1 else ()))


def to_text(tokens: np.ndarray, spec) -> str:
    """Returns the text of tokens, int32 [length].

    Tokens without names are bytes of UTF-8 if there are 256; else their numbers are returned.
    """
    if spec.names:
        return "".join(spec.names[k] for k in tokens)
    if spec.levels == BYTES:
        return bytes(tokens.tolist()).decode("utf-8", "replace")
    return " ".join(map(str, tokens))


def to_tokens(text: str, spec) -> np.ndarray:
    """Returns the tokens, int32 [n], of a text: undoes `to_text`.

    Raises:
      InputError: if a character is none of the spec's names.
    """
    if spec.levels == BYTES and not spec.names:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    names = spec.names or [str(k) for k in range(spec.levels)]
    number = {name: k for k, name in enumerate(names)}
    parts = text if spec.names else text.split()
    if unknown := next((part for part in parts if part not in number), None):
        raise InputError(
            f"A text may have {spec.levels} characters: {''.join(spec.names)!r}. Received:"
            f" {unknown!r} in {text!r}"
            if spec.names
            else f"Tokens must be numbers from 0 to {spec.levels - 1}. Received: {unknown!r}"
        )
    return np.array([number[part] for part in parts], np.int32)


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


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Converts images, float32 in [0, 1], to uint8 in 0 to 255, of the same shape.

    Raises:
      ValueError: if the shape is not [n, height, width, 1 or 3].
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"Expected [n, height, width, 1 or 3]. Received: shape={images.shape}")
    return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def spectrograms(sounds: np.ndarray) -> np.ndarray:
    """Computes how loud each frequency is over time, by a short-time Fourier transform.

    Args:
      sounds: float32 [n, samples, channels].

    Returns:
      float32 [n, frequencies, times, 1], from the highest frequency to 0. 1 is the loudest value
      of all, and 0 is 80 dB or more below it.
    """
    mono = np.asarray(sounds, np.float64).mean(axis=2)
    window = min(_WINDOW, mono.shape[1])
    hop = max(1, window // 4, mono.shape[1] // _MOST_TIMES)
    parts = np.lib.stride_tricks.sliding_window_view(mono, window, axis=1)[:, ::hop]
    magnitude = np.abs(np.fft.rfft(parts * np.hanning(window + 2)[1:-1]))  # [n, times, frequencies]
    decibels = 20.0 * np.log10(np.maximum(magnitude / max(magnitude.max(), 1e-12), 1e-12))
    loudness = np.clip(1.0 + decibels / _RANGE, 0.0, 1.0)
    return loudness.swapaxes(1, 2)[:, ::-1, :, None].astype(np.float32)


def _save_sound(path, sound, rate):
    """Writes a sound, [samples, channels] in [-1, 1], with 16 bits."""
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(np.clip(sound, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())


def _save(path, pixels):
    from PIL import Image

    kind = "jpeg" if Path(path).suffix.lower() in (".jpg", ".jpeg") else "png"
    Image.fromarray(pixels).save(path, format=kind, optimize=True)
