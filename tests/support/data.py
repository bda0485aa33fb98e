"""Small data sets in files, and NumPy arrays from a tf.data.Dataset."""

import itertools

import numpy as np
import tensorflow as tf
from PIL import Image


def take(dataset, count):
    """Returns a list of the first batches, as NumPy arrays."""
    return [
        tf.nest.map_structure(lambda t: t.numpy(), batch)
        for batch in itertools.islice(dataset, count)
    ]


def concatenate(dataset):
    """Returns all batches as one NumPy array."""
    return np.concatenate([x.numpy() for x in dataset])


def write_images(folder, count, size=(8, 6), mode="L", suffix=".png", seed=0):
    """Writes random images, 000.png, 001.png, …, of (height, width) and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "1": ()}[mode]
    for k in range(count):
        pixels = rng.integers(0, 256, (*size, *channels), dtype=np.uint8)
        image = Image.fromarray(pixels)
        (image.convert("1") if mode == "1" else image).save(folder / f"{k:03}{suffix}")
    return folder


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path
