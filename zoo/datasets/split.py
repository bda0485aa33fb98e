"""The three parts of a data set, and how a part is read: once in order, or as an endless stream.

Order and noise are stateless. Position p of the endless stream of N training images is

    epoch = p // N,   image = permutation(p % N; seed, epoch),   noise = draw(p; seed),

so a stream that starts at step k equals the stream from step 0 after k batches.
"""

import functools
import hashlib
import json
import operator
from typing import NamedTuple

from zoo.datasets import order
from zoo.errors import InputError, check_flags

_FINGERPRINT_CHUNK = 1024  # images hashed at once, where they are read from files


class Split:
    """One part of a data set. Abstract: `load_dataset` and `Splits.from_arrays` return them.

    Attributes:
      name: str; of the data set.
      split: "train", "validation" or "test".
      shape: (height, width, channels).
      levels: 2 (binary) or 256.
      num_classes: int; 0 if the data set has no labels.
      class_names: tuple of str; () if there are none.
      notes: tuple of str; messages for the user: what was read and how it was changed.
      source: dict of the arguments of `load_dataset` that load the data set again; a path is
        absolute. The name of arrays in memory is in angle brackets and cannot be loaded.
    """

    def __init__(self, name, split, count, shape, levels, num_classes=0, class_names=(), notes=()):
        self.name = name
        self.split = split
        self.shape = tuple(shape)
        self.levels = levels
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.notes = tuple(notes)
        self._count = count

    def __len__(self) -> int:
        return self._count

    @property
    def fingerprint(self) -> str:
        """sha256 in hex of the images, the labels and how they are presented."""
        raise NotImplementedError

    def batches(self, batch_size: int, labels: bool = False):
        """Returns every example once, in order; the last batch may be short.

        Args:
          batch_size: int.
          labels: whether to return labels too.

        Returns:
          finite tf.data.Dataset of float32 [b, *shape], on the grid i / (levels - 1), or with
          labels of (that, int32 [b]). Images that are binarized at every presentation are binarized
          once here.

        Raises:
          InputError: if labels are requested and there are none.
        """
        raise NotImplementedError

    def stream(self, batch_size: int, seed: int, first_step: int = 0, labels: bool = False):
        """Returns full batches without end, in an order that depends on (seed, position) only.

        Args:
          batch_size: int.
          seed: int.
          first_step: int; number of the first batch: as `stream(...).skip(first_step)`, at no cost.
          labels: whether to return labels too.

        Returns:
          endless tf.data.Dataset of float32 [batch_size, *shape], or with labels of
          (that, int32 [batch_size]).

        Raises:
          InputError: if labels are requested and there are none.
        """
        raise NotImplementedError

    def take(self, number: int, labels: bool = False):
        """Returns the first images of a fixed shuffled order, since some sets are sorted by class.

        Args:
          number: int; a smaller split returns all its images.
          labels: whether to return labels too.

        Returns:
          (float32 [n, *shape], int32 [n] or None) arrays of the values of `batches`.
        """
        import numpy as np

        chosen = order.random_bits("pictures").random_raw(len(self)).argsort(kind="stable")[:number]
        examples, size = {}, 64
        batches = self.batches(size, labels).as_numpy_iterator()
        for first, batch in zip(range(0, len(self), size), batches, strict=True):
            x, y = batch if labels else (batch, None)
            for k in chosen[(chosen >= first) & (chosen < first + size)]:
                examples[k] = x[k - first], y if y is None else y[k - first]
        x, y = zip(*(examples[k] for k in chosen), strict=True)
        return np.stack(x), np.stack(y) if labels else None

    def arrays(self):
        """Returns all examples at once, before they are scaled to floats.

        Returns:
          (uint8 [n, *shape] from 0 to levels - 1, int32 [n] or None where there are no labels).

        Raises:
          InputError: if the data set does not fit in memory.
        """
        raise InputError(
            f"{self.name} does not fit in memory: use batches() or stream(), or a smaller size."
        )

    def _check(self, labels, has_labels, batch_size, first_step=0):
        for key, value, least in (("batch_size", batch_size, 1), ("first_step", first_step, 0)):
            if operator.index(value) < least:
                raise InputError(f"{key} must be at least {least}. Received: {key}={value}")
        if labels and not has_labels:
            raise InputError(
                f"The {self.split} split of {self.name} has no labels: train without them, or give "
                f"a labelled data set. Received: labels=True"
            )

    def _scaled(self, images):
        """Maps uint8 [b, *shape] to float32 on the grid."""
        import tensorflow as tf

        x = tf.cast(images, tf.float32)
        return x if self.levels == 2 else x / 255.0


class ArraySplit(Split):
    """A split whose images can be read in any order: an array, or files behind the same interface.

    Args:
      images: uint8 [n, *shape] array, or an object that is indexed like one with int [b] or a
        slice and has its `shape`; such images are read again at every presentation.
      labels: int32 [n] array or None.
      redrawn: whether `stream` binarizes the images, which are grey, at every presentation.
    """

    def __init__(self, name, split, images, labels, levels, redrawn=False, **about):
        super().__init__(name, split, len(images), images.shape[1:], levels, **about)
        self._images, self._labels, self._redrawn = images, labels, redrawn

    @functools.cached_property
    def fingerprint(self):
        facts = {
            "shape": list(self.shape),
            "levels": self.levels,
            "afresh": self._redrawn,
            "labels": self._labels is not None,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for i in range(0, len(self), _FINGERPRINT_CHUNK):
            digest.update(memoryview(self._images[i : i + _FINGERPRINT_CHUNK].reshape(-1)))
        if self._labels is not None:
            digest.update(self._labels.astype("<i4").tobytes())
        return digest.hexdigest()

    def arrays(self):
        return self._presented if self._in_memory else super().arrays()[0], self._labels

    @property
    def _in_memory(self):
        import numpy as np

        return isinstance(self._images, np.ndarray)

    @functools.cached_property
    def _presented(self):
        return order.drawn_once(self._images, self.split) if self._redrawn else self._images

    @functools.cached_property
    def _tensor(self):
        return _on_cpu(self._images)

    def _reader(self, presented=False):
        """Returns a function from int64 [b] to uint8 [b, *shape].

        The tensor of the images is made before any graph that reads it, so graphs refer to it.
        """
        import tensorflow as tf

        if self._in_memory:
            redrawn = presented and self._redrawn
            tensor = _on_cpu(self._presented) if redrawn else self._tensor
            return functools.partial(tf.gather, tensor)

        def read(index):
            x = tf.numpy_function(self._images.__getitem__, [index], tf.uint8, stateful=False)
            return tf.ensure_shape(x, (None, *self.shape))

        return read

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
            if self._redrawn:
                x = random.bernoulli(noise, first, tf.cast(read(index), tf.float32) / 255.0)
            else:
                x = self._scaled(read(index))
            x = tf.ensure_shape(x, (batch_size, *self.shape))
            return (x, tf.gather(y, index)) if labels else x

        steps = tf.data.Dataset.counter(operator.index(first_step))
        return deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


class Splits(NamedTuple):
    """The parts of one data set.

        train, validation, test = zoo.load_dataset("mnist_binary")

    Attributes:
      train: Split to train on.
      validation: Split to choose among checkpoints and settings.
      test: Split to report scores on.
    """

    train: Split
    validation: Split
    test: Split

    @classmethod
    def from_arrays(
        cls,
        train,
        labels=None,
        *,
        validation=None,
        validation_labels=None,
        test=None,
        test_labels=None,
        name: str = "arrays",
        levels: int | None = None,
        size: int | None = None,
        binarize: bool = False,
    ) -> "Splits":
        """Makes splits of data in memory. A split that is not given is held out from `train`.

        The held-out images are the same at every call: a tenth of `train` per split, of a fixed
        shuffled order.

        Args:
          train: array of images, uint8, another integer type from 0 to 255, bool, or float from 0
            to 1: [n, height, width] or [n, height, width, 1 or 3]; or a finite tf.data.Dataset of
            such images or of (image, label), in batches or not, which is read into memory.
          labels: int array [n] from 0, or None; a Dataset brings its own.
          validation: as `train`, or None.
          validation_labels: as `labels`.
          test: as `train`, or None.
          test_labels: as `labels`.
          name: str; of the data set, for messages and cards.
          levels: 2 or 256; None is 2 if all values are 0 or 1, except integers that are all 0.
          size: int or None; images are cut to their central square and resized to size x size.
          binarize: whether to binarize grey images at random: those of train at every presentation,
            the others once.

        Returns:
          Splits.

        Raises:
          InputError: if the images or labels are invalid.
        """
        from zoo.datasets import arrays

        check_size(size)
        check_flags(binarize=binarize)
        parts = {
            "train": (train, labels),
            "validation": (validation, validation_labels),
            "test": (test, test_labels),
        }
        return arrays.from_memory(parts, name, levels, size, binarize)

    def describe(self) -> str:
        """Returns a str: one line with counts, shape and classes, then one line per note."""
        train = self.train
        counts = "/".join(str(len(split)) for split in self)
        shape = "x".join(map(str, train.shape))
        line = f"{train.name}: {counts} images {shape}, {train.levels} levels"
        if train.num_classes:
            line += f", {train.num_classes} class{'es' if train.num_classes > 1 else ''}"
        else:
            line += ", no labels"
        return "\n  ".join([line, *train.notes])


def check_size(size):
    """Raises an InputError if a size is neither None nor valid."""
    if size is not None and not (isinstance(size, int) and 1 <= size <= 4096):
        raise InputError(f"A size must be an integer from 1 to 4096. Received: size={size!r}")


def deterministic(dataset):
    """Returns a tf.data.Dataset that prepares batches ahead, always in the same order."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.prefetch(2).with_options(options)


def _on_cpu(array):
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)
