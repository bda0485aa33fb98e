"""Loads a folder of sounds, PCM .wav files, with optional subfolders per split and class."""

import functools
import math
import wave
from collections import Counter
from typing import NamedTuple

import numpy as np

from zoo.datasets import layout
from zoo.datasets.layout import UnreadableError, read_each
from zoo.errors import InputError
from zoo.spec import Spec

# The resampling filter: zeros of the sinc on each side, and the shape of the Kaiser window. As in
# scipy.signal.resample_poly, aliases are attenuated by 60 dB.
_ZEROS, _BETA = 10, 5.0
_CHUNK = 2**15  # resampled values computed at a time


class _Header(NamedTuple):
    rate: int
    channels: int
    bits: int
    samples: int


def load(listing, length, rate, skip_damaged):
    """Loads a `layout.Listing`. Reads every file, so damage is reported before training."""
    folder, files, notes = listing.folder, listing.files, listing.notes
    if skip_damaged:
        files, left_out = layout.leave_out(folder, files, "sounds", _unreadable(files))
        notes = [*notes, *left_out]
    grouped = layout.group(folder, files, "sounds")
    try:
        headers = [*read_each(files, _header)]
        spec, changes = _plan(folder, files, headers, length, rate)
        decode = functools.partial(_decode, spec=spec)
        splits = layout.load(folder, grouped, spec, decode, notes, changes)
    except UnreadableError:
        raise layout.damage(folder, "sounds", _unreadable(files)) from None
    for split in splits:
        split.source = {"name": str(folder), "length": spec.shape[0], "rate": spec.rate}
        if skip_damaged:
            split.source["skip_damaged"] = True
    return splits


def _plan(folder, files, headers, length, rate):
    """Chooses the Spec of an example: (Spec, notes)."""
    rates = Counter(header.rate for header in headers)
    rate = rate or min(rates, key=lambda each: (-rates[each], each))
    samples = [-(-header.samples * rate // header.rate) for header in headers]
    sizes = Counter(samples)
    if length is None and len(sizes) > 1:
        median = sorted(samples)[len(samples) // 2]
        examples = dict(zip(samples, files, strict=True))
        raise InputError(
            f"Sounds must have equal lengths. To cut and pad them, add --length {median} "
            f"(length={median}). Received: {len(sizes)} lengths at {rate} Hz, such as "
            + " and ".join(
                f"{examples[n].relative_to(folder)} {n} ({count} file{'s' * (count != 1)})"
                for n, count in sizes.most_common(2)
            )
        )
    length = length or samples[0]
    notes = []
    if others := sorted({*rates} - {rate}):
        count = sum(rates[other] for other in others)
        notes.append(f"{count} files resampled to {rate} Hz from {', '.join(map(str, others))}")
    if mixed := sum(header.channels > 1 for header in headers):
        notes.append(f"channels averaged in {mixed} files")
    cut, padded = (sum(map(test, samples)) for test in (length.__lt__, length.__gt__))
    if cut or padded:
        notes.append(
            f"{length} samples each: {cut} files cut at the end, {padded} padded with silence"
        )
    is_coarse = {header.bits for header in headers} == {8} and not mixed and not others
    if not is_coarse and (bits := {header.bits for header in headers} - {16}):
        notes.append(f"rounded to 16 bits from {', '.join(map(str, sorted(bits)))} bits")
    # Most files have 16 bits, which are kept exactly. If all files have 8 bits, 8 are enough.
    return Spec((length, 1), 256 if is_coarse else 2**16, "audio", rate=rate), notes


def _header(path):
    """Reads the header of a file, a `_Header`."""
    with wave.open(str(path), "rb") as file:
        bits = 8 * file.getsampwidth()
        header = _Header(file.getframerate(), file.getnchannels(), bits, file.getnframes())
    if not header.samples:
        raise wave.Error("empty")
    return header


def _decode(path, spec):
    """Reads a file as one example of the spec, [length, 1], in the dtype of `Spec.store`."""
    header = _header(path)
    with wave.open(str(path), "rb") as file:
        content = file.readframes(header.samples)
    width = header.bits // 8
    if len(content) != header.samples * header.channels * width:
        raise EOFError
    if header.bits == 8:  # 8-bit samples are unsigned
        values = np.frombuffer(content, np.uint8).astype(np.int64) - 128
    else:  # signed little-endian, read into the high bytes of an int32
        wide = np.zeros((len(content) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(content, np.uint8).reshape(-1, width)
        values = wide.view("<i4")[:, 0].astype(np.int64) >> (32 - header.bits)
    # The levels of the Spec are symmetric around 0, so that 8 and 16 bits are kept exactly.
    x = (2.0 * values + 1.0) / (2.0**header.bits - 1.0)
    x = resample(x.reshape(-1, header.channels).mean(axis=1), header.rate, spec.rate)
    length = spec.shape[0]
    x = np.pad(np.clip(x[:length], -1.0, 1.0), (0, max(0, length - len(x))))
    return spec.store(x[:, None])


def resample(x: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resamples a sound with a windowed sinc, which filters out frequencies above the new limit.

    Args:
      x: float64 [n].
      rate: int; samples per second.
      new_rate: int.

    Returns:
      float64 [ceil(n new_rate / rate)].
    """
    if rate == new_rate:
        return x
    common = math.gcd(rate, new_rate)
    up, down = new_rate // common, rate // common
    # On the common grid of both rates, input k is at k * up, and output m at m * down.
    half = _ZEROS * max(up, down)
    kernel = np.sinc(np.arange(-half, half + 1) / max(up, down)) * np.kaiser(2 * half + 1, _BETA)
    kernel *= up / kernel.sum()
    taps = 2 * half // up + 1
    kernel = np.pad(kernel, (0, up))  # the last tap may be one position past the end
    padded = np.pad(x, (taps, taps))
    count = -(-len(x) * up // down)
    y = np.empty(count)
    for start in range(0, count, _CHUNK):
        centre = np.arange(start, min(start + _CHUNK, count)) * down
        first = -((half - centre) // up)  # first input that each output depends on
        k = first[:, None] + np.arange(taps)  # [outputs, taps]
        weights = kernel[k * up - centre[:, None] + half]
        y[start : start + _CHUNK] = (weights * padded[k + taps]).sum(axis=1)
    return y


def _unreadable(files):
    """Reads all files and returns {file: reason} of those that fail."""

    def read(path):
        header = _header(path)
        _decode(path, Spec((1, 1), 256, "audio", rate=header.rate))

    def damage(error):
        if not isinstance(error, wave.Error):
            return "damaged"
        if "unknown format" in str(error):
            return f"not PCM ({error})"
        return "empty" if str(error) == "empty" else "not a WAV file"

    return layout.reasons(files, read, damage)
