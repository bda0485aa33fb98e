"""Splits in memory, and what every source of images ends in."""

import functools
import hashlib
import json
import math
import operator

import numpy as np
from PIL import Image, ImageOps

from zoo.datasets import Split, order
from zoo.errors import InputError

SPLITS = ("train", "validation", "test")
MAX_BYTES_IN_MEMORY = 2 * 2**30
MIN_IMAGES = 10


class ArraySplit(Split):
    """A split in memory.

    Args:
      images: uint8 [n, *shape] array.
      labels: int32 [n] array or None.
      afresh: whether `stream` draws the images, then grey, as binary ones.
    """

    def __init__(self, name, split, images, labels, levels, afresh=False, **about):
        super().__init__(name, split, len(images), images.shape[1:], levels, **about)
        self._images, self._labels, self._afresh = images, labels, afresh

    @functools.cached_property
    def fingerprint(self):
        return fingerprint([self._images], self._labels, self.shape, self.levels, self._afresh)

    def arrays(self):
        return self._presented, self._labels

    @functools.cached_property
    def _presented(self):
        return order.drawn_once(self._images, self.split) if self._afresh else self._images

    @functools.cached_property
    def _tensor(self):
        return _on_cpu(self._images)

    def _reader(self, presented=False):
        """Makes int64 [b] -> uint8 [b, *shape].

        Its tensor is made before any graph that reads it, which then refers to it.
        """
        import tensorflow as tf

        redrawn = presented and self._afresh
        return functools.partial(tf.gather, _on_cpu(self._presented) if redrawn else self._tensor)

    def batches(self, batch_size, labels=False):
        import tensorflow as tf

        self._check(labels, self._labels is not None, batch_size)
        read = self._reader(presented=True)
        y = _on_cpu(self._labels) if labels else None

        def batch(step):
            first = step * batch_size
            index = tf.range(first, tf.minimum(first + batch_size, len(self)))
            x = self._scaled(read(index))
            return (x, tf.gather(y, index)) if labels else x

        steps = tf.data.Dataset.range(-(-len(self) // batch_size))
        return deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))

    def stream(self, batch_size, seed, first_step=0, labels=False):
        import tensorflow as tf

        from zoo import random

        self._check(labels, self._labels is not None, batch_size, first_step)
        read = self._reader()
        y = _on_cpu(self._labels) if labels else None
        count, shuffle = len(self), order.seed_for(seed, "order")
        noise = tf.constant(order.seed_for(seed, "noise"), tf.int32)

        def batch(step):
            first = step * batch_size
            positions = first + tf.range(batch_size, dtype=tf.int64)
            index = order.shuffled(positions % count, count, shuffle, positions // count)
            if self._afresh:
                x = random.bernoulli(noise, first, tf.cast(read(index), tf.float32) / 255.0)
            else:
                x = self._scaled(read(index))
            x = tf.ensure_shape(x, (batch_size, *self.shape))
            return (x, tf.gather(y, index)) if labels else x

        steps = tf.data.Dataset.counter(operator.index(first_step))
        return deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def fingerprint(chunks, labels, shape, levels, afresh=False):
    """Gives the sha256 in hex of images, in parts, their labels and how they are presented."""
    facts = {"shape": list(shape), "levels": levels, "afresh": afresh, "labels": labels is not None}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for chunk in chunks:
        digest.update(memoryview(chunk.reshape(-1)))
    if labels is not None:
        digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()


def _on_cpu(array):
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def deterministic(dataset):
    """Lets batches be made ahead, and always in their order."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.prefetch(2).with_options(options)


def held_out(name, counts, most=None):
    """Plans the splits: each that is missing is a tenth of train, or `most` images, from its end.

    Returns:
      {split: (split to take it from, first, last)}.
    """
    total = end = counts.get("train", 0)
    if total < MIN_IMAGES:
        raise InputError(
            f"At least {MIN_IMAGES} images are needed in the train split. Received: {total} in "
            f"{name} with {', '.join(f'{key} ({count})' for key, count in counts.items())}"
        )
    sections = {}
    for key in ("test", "validation"):
        if counts.get(key):
            sections[key] = (key, 0, counts[key])
        else:
            first = end - min(total // 10, most or total)
            sections[key], end = ("train", first, end), first
    sections["train"] = ("train", 0, end)
    return {key: sections[key] for key in SPLITS}


def cut(parts, sections):
    """Takes the sections of `held_out` from {split: (images, labels or None)}."""
    return {
        key: tuple(part if part is None else part[first:last] for part in parts[source])
        for key, (source, first, last) in sections.items()
    }


def is_large(name, count, shape, binarize):
    """Whether images must be read again at every presentation, as binarized ones cannot be."""
    large = count * math.prod(shape) > MAX_BYTES_IN_MEMORY
    if large and binarize:
        raise InputError(
            f"Images are binarized in memory, and {name} is larger than "
            f"{MAX_BYTES_IN_MEMORY / 2**30:g} GiB: give a smaller --size. Received: binarize=True"
        )
    return large


def finish(name, parts, levels, size, binarize, notes=(), **classes):
    """Makes the splits of {split: (uint8 [n, h, w, c], int32 [n] or None)}, in the asked form."""
    notes = list(notes)
    height, width, channels = parts["train"][0].shape[1:]
    if size is not None and (height, width) != (size, size):
        if levels == 2:
            raise InputError(
                f"{name} is binary, and would not be so when resized: resize grey images and "
                f"binarize them, as in --data mnist --size {size} --binarize. Received: size={size}"
            )
        for key, (images, y) in parts.items():
            parts[key] = (np.stack([resize(image, size) for image in images]), y)
        notes.append(f"resized from {height}x{width} to {size}x{size}")
    if binarize:
        check_binarize(name, levels, channels)
        levels = 2
        for key in ("validation", "test"):
            parts[key] = (order.drawn_once(parts[key][0], key), parts[key][1])
        notes.append("binarized: train is drawn afresh at every presentation, the rest once")
    return in_memory(name, parts, levels, binarize, notes, **classes)


def in_memory(name, parts, levels, afresh=False, notes=(), num_classes=0, class_names=()):
    """Makes the splits of {split: (images, labels)}, drawing train `afresh` where that is asked."""
    about = dict(num_classes=num_classes, class_names=class_names, notes=notes)
    return tuple(
        ArraySplit(name, key, *parts[key], levels, afresh and key == "train", **about)
        for key in SPLITS
    )


def check_binarize(name, levels, channels):
    """Refuses to draw as binary what is so already, or is in colour."""
    if levels == 2:
        raise InputError(f"{name} is binary already: leave --binarize out. Received: binarize=True")
    if channels != 1:
        raise InputError(
            f"Only grey images can be binarized; {name} has {channels} channels. "
            f"Received: binarize=True"
        )


def resize(image, size):
    """Maps uint8 [h, w, c] to [size, size, c]."""
    grey = image.shape[-1] == 1
    resized = np.asarray(square(Image.fromarray(image[..., 0] if grey else image), size))
    return resized[..., None] if grey else resized


def square(image, size):
    """Cuts a PIL image to its central square and resizes it, antialiased."""
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
