"""Writes examples as files: pictures of images, texts, and sound."""

import itertools
import math
import os
import unicodedata
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zoo.errors import InputError

__all__ = [
    "SAMPLES",
    "SUFFIXES",
    "class_names",
    "describe",
    "grid",
    "num_in_picture",
    "save",
    "save_film",
    "save_grid",
    "save_one",
    "short_name",
    "spectrograms",
    "stacked",
    "to_text",
    "to_tokens",
]

SUFFIXES = {"image": ".png", "tokens": ".txt", "audio": ".wav"}
"""Of the file of examples of each kind."""

SAMPLES = 64
"""Number of samples in a picture, about."""

BYTES = 256  # levels of tokens that are bytes, if they have no names

_WINDOW = 256  # samples of a spectrum
_FEWEST_TIMES, _MOST_TIMES = 8, 256  # of a spectrogram, about; a short sound has shorter windows
_RANGE = 80.0  # decibels from black to white

_PAUSE = 0.2  # seconds of silence after each sound
_SIDE = 112  # approximate longer side of an image in a grid, in pixels
_WIDEST = 2000  # width of a grid in pixels, if its images are not wider
_NARROWEST = 480  # width of a grid with a title in pixels, if the title needs it
_FONT_SIZE, _LINE = 18, 26  # pixels
_PAPER = 255
_MOST_LABELS = 16  # columns with labels in one row

Info = Mapping[str, object] | None


def save(
    path: str | os.PathLike,
    examples: np.ndarray,
    spec,
    condition=None,
    conditions: np.ndarray | None = None,
    title: str = "",
    info: Info = None,
) -> None:
    """Writes examples to one file: a picture, a text or sound, one after the other.

    Beside a sound, x.wav, the spectrograms are written to x.spectrogram.png.

    Args:
      path: path, which should end in `SUFFIXES[spec.kind]`, or in .jpg.
      examples: [n, *spec.shape] array, as of the spec; or the means of images.
      spec: zoo.Spec of the examples.
      condition: zoo.Spec of what they are conditional on, or None.
      conditions: [n, *condition.shape] array of what they are conditional on: labels in turn, or
        images, which are drawn above the examples.
      title: str, written above a picture.
      info: as of `save_grid`.
    """
    if spec.kind == "tokens":
        texts = (f"--- {k} ---\n{to_text(tokens, spec)}\n" for k, tokens in enumerate(examples))
        Path(path).write_text("".join(texts), "utf-8")
        return
    if spec.kind == "audio":
        pause = np.zeros((round(_PAUSE * spec.rate), spec.shape[1]))
        _save_sound(
            path, np.concatenate([part for x in examples for part in (x, pause)]), spec.rate
        )
        path, examples = Path(path).with_suffix(".spectrogram.png"), spectrograms(examples)
        _, height, width, _ = examples.shape
        examples = examples.repeat(max(1, round(height / width)), axis=2)
        title += (
            f"{': ' if title else ''}spectrograms of {spec.shape[0] / spec.rate:.3g} s, with"
            f" frequencies from 0 at the bottom to {spec.rate / 2:,.0f} Hz"
        )
    layout = {"images": examples, "title": title}
    if condition is not None and conditions is not None:
        if _has_few_classes(condition):
            names = class_names(condition)
            layout["column_labels"] = [names[k] for k in conditions[: condition.levels]]
        elif condition.kind in ("image", "domain") and spec.kind == "image":
            layout |= stacked({"given": conditions, "sample": examples})
    save_grid(path, info=info, **layout)


def save_one(path: str | os.PathLike, example: np.ndarray, spec, info: Info = None) -> None:
    """Writes one example, [*spec.shape], to a file, without a frame or a heading."""
    if spec.kind == "tokens":
        Path(path).write_text(to_text(example, spec), "utf-8")
    elif spec.kind == "audio":
        _save_sound(path, example, spec.rate)
    else:
        _save(path, to_bytes(example[None])[0].squeeze(-1 if spec.shape[-1] == 1 else ()), info)


def num_in_picture(condition, most: int = SAMPLES) -> int:
    """Returns the number of samples in a picture: as many as possible, all classes equally often.

    Args:
      condition: zoo.Spec of what the samples are conditional on, or None.
      most: int, at least 16.
    """
    return most - most % condition.levels if _has_few_classes(condition) else most


def short_name(name) -> str:
    """Returns the name of a model without the package or file before it: "Mine" of "x.py:Mine"."""
    return name.rpartition(":")[2]


def class_names(condition) -> list[str]:
    """Returns the name or number of each class.

    Args:
      condition: zoo.Spec of kind label.
    """
    return [*condition.names] or [str(k) for k in range(condition.levels)]


def describe(name, step, n, seed, first=0, means=False, label=None) -> tuple[str, dict]:
    """Describes samples of a model for a picture of them.

    Args:
      name: str; the model, of which the file or package before ":" is left out.
      step: int or None; the training step.
      n: int; the number of samples.
      seed: int.
      first: int; index of the first sample.
      means: bool; whether the picture shows means.
      label: str; the class of all samples, or None.

    Returns:
      (title, info): a title such as "vae, step 42,900: means of 64 samples, seed 0", and the text
      that `save` stores in a PNG.
    """
    name = short_name(name)
    model = name if step is None else f"{name}, step {step:,}"
    what = f"{'means of ' if means else ''}{n:,} sample{'s' if n != 1 else ''}"
    title = f"{model}: {what}{'' if label is None else f' of class {label}'}, seed {seed}"
    info = {"model": name, "seed": seed, "index": f"{first}-{first + n - 1}" if n > 1 else first}
    return title, info if step is None else {**info, "step": step}


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


def grid(
    images: np.ndarray,
    columns: int | None = None,
    title: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    group: int = 1,
) -> np.ndarray:
    """Arranges images in rows, enlarged by an integer factor, with white gaps between them.

    Args:
      images: float32 [n, height, width, channels], in [0, 1]; 1 or 3 channels.
      columns: int, images per row. Default: rows of one length, and a grid that is about square.
      title: str, written above the grid in as many lines as it takes.
      row_labels: texts to the left of the rows, in turn.
      column_labels: texts above the columns, in turn. A text may reach over columns whose text is
        empty.
      group: int, rows that belong together: after so many the gap is wider.

    Returns:
      uint8 [rows, columns, 3] or [rows, columns].
    """
    from PIL import Image, ImageDraw, ImageFont

    pixels = to_bytes(images)
    n, height, width, channels = pixels.shape
    columns = columns or _columns(n, width / height, len(column_labels))
    column_labels = [*itertools.islice(itertools.cycle(column_labels), columns)]
    zoom = max(1, min(round(_SIDE / max(height, width)), _WIDEST // columns // (width + 1)))
    gap = min(8, max(2, zoom))
    pixels = pixels.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = height * zoom + gap, width * zoom + gap
    rows = math.ceil(n / columns)

    font = ImageFont.load_default(_FONT_SIZE)
    left = max([gap, *(round(font.getlength(_plain(text))) + 3 * gap for text in row_labels)])
    right = left + columns * width
    if title:
        right = max(right, min(_NARROWEST, round(font.getlength(_plain(title))) + 2 * gap))
    lines = _wrap(_plain(title), right - 2 * gap, font)
    top = gap + _LINE * len(lines) + gap * (len(lines) > 0)
    top += _LINE * (len(column_labels) > 0)
    tops = [top + row * height + row // group * 2 * gap * (group > 1) for row in range(rows)]

    paper = np.full((tops[-1] + height, right, channels), _PAPER, np.uint8)
    for k, image in enumerate(pixels):
        y, x = tops[k // columns], left + k % columns * width
        paper[y : y + len(image), x : x + image.shape[1]] = image
    picture = Image.fromarray(paper[..., 0] if channels == 1 else paper)
    draw = ImageDraw.Draw(picture)
    ink = 0 if channels == 1 else (0, 0, 0)

    def write(x, y, text):
        draw.text((x, y), text, ink, font, anchor="lm")  # left, and the middle of the line at y

    for k, line in enumerate(lines):
        write(gap, gap + _LINE * (k + 0.5), line)
    for k, text in enumerate(column_labels):
        following = (j for j in range(k + 1, columns) if column_labels[j])
        room = (next(following, columns) - k) * width - gap
        write(left + k * width, top - _LINE / 2, _shorten(_plain(text), room, font))
    for row, text in enumerate(itertools.islice(itertools.cycle(row_labels), rows)):
        write(gap, tops[row] + (height - gap) / 2, _plain(text))
    return np.asarray(picture)


def stacked(parts: Mapping[str, np.ndarray]) -> dict:
    """Returns arguments of `grid` that draw images of several kinds below each other.

    Args:
      parts: dict from the label of a row to images, [n, height, width, channels]; the kinds may
        have different sizes and channels.
    """
    shape = tuple(max(sizes) for sizes in zip(*(x.shape for x in parts.values()), strict=True))
    columns = _columns(shape[0], shape[2] / shape[1] / len(parts))
    rows = []
    for x in parts.values():
        x = np.broadcast_to(x, (*x.shape[:3], shape[3]))
        blank = [(0, -shape[0] % columns), *((0, shape[k] - x.shape[k]) for k in (1, 2)), (0, 0)]
        rows.append(np.pad(x, blank, constant_values=1.0).reshape(-1, columns, *shape[1:]))
    images = np.stack(rows, axis=1).reshape(-1, *shape[1:])
    return dict(images=images, columns=columns, row_labels=[*parts], group=len(parts))


def _columns(n, aspect, multiple=0):
    """Returns the number of columns of a grid that is about square, of full rows where possible."""
    ideal = math.sqrt(n / aspect)
    if multiple:
        return multiple * max(1, round(ideal / multiple))
    # A long row is better than one that is not full, but neither a tower nor a very long row is.
    full = [c for c in range(1, n + 1) if n % c == 0 and ideal / 2 <= c <= max(16, 2 * ideal)]
    return min(
        full, key=lambda c: (round(max(c / ideal, ideal / c), 6), -c), default=math.ceil(ideal)
    )


def _has_few_classes(condition):
    is_label = condition is not None and condition.kind == "label"
    return is_label and condition.levels <= _MOST_LABELS


def _plain(text):
    """Returns a text in the letters that the font has: those of ASCII."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()


def _wrap(text, width, font):
    """Returns the lines of a text that is at most so many pixels wide, if its words are."""
    lines = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _shorten(text, width, font):
    """Returns a text, or as much of it as is at most so many pixels wide."""
    if font.getlength(text) <= width:
        return text
    return next(
        (part for k in range(len(text), 0, -1) if font.getlength(part := text[:k] + "..") <= width),
        "",
    )


def save_grid(path: str | os.PathLike, images: np.ndarray, info: Info = None, **layout) -> None:
    """Writes a grid of images to a PNG file, or a JPEG by its suffix.

    Args:
      path: path of the file.
      images: as of `grid`.
      info: dict, stored in a PNG as text: the model, its sha256, the seed and the indices.
      **layout: as of `grid`.
    """
    _save(path, grid(images, **layout), info)


def save_film(
    path: str | os.PathLike, frames: Sequence[np.ndarray], durations: Sequence[int]
) -> None:
    """Writes pictures, uint8 as of `grid`, as a GIF, or a WebP by its suffix, that repeats.

    Smaller pictures get a white margin.

    Args:
      path: path of the file.
      frames: the pictures.
      durations: milliseconds of each.
    """
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in frames]
    size = tuple(max(frame.size[k] for frame in frames) for k in range(2))
    mode = "RGB" if any(frame.mode == "RGB" for frame in frames) else "L"
    padded = [Image.new(mode, size, "white") for _ in frames]
    for paper, frame in zip(padded, frames, strict=True):
        paper.paste(frame)
    settings = {"lossless": True} if Path(path).suffix.lower() == ".webp" else {}
    first, *rest = padded
    first.save(path, save_all=True, append_images=rest, duration=[*durations], loop=0, **settings)


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
    window = min(_WINDOW, max(2, mono.shape[1] // _FEWEST_TIMES))
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


def _save(path, pixels, info=None):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    kind = "jpeg" if Path(path).suffix.lower() in (".jpg", ".jpeg") else "png"
    settings = {"optimize": True}
    if kind == "png":
        settings["pnginfo"] = PngInfo()
        for key, value in (info or {}).items():
            settings["pnginfo"].add_text(key, str(value))
    Image.fromarray(pixels).save(path, format=kind, **settings)
