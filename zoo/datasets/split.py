"""The splits of a data set, which are read once in order or as an endless stream.

Order and noise are stateless. Position p of the endless stream of N training examples is

    epoch = p // N,   example = permutation(p % N; seed, epoch),   noise = draw(p; seed),

so a stream that starts at step k equals the stream from step 0 after k batches.
"""

import functools
import hashlib
import json
import operator
from typing import NamedTuple

from zoo.datasets import order
from zoo.display import html_table
from zoo.errors import InputError, check_flags
from zoo.spec import Spec

_FINGERPRINT_CHUNK = 1024  # examples hashed at a time, which bounds the memory of files


class Split:
    """A split of a data set. Abstract; `load_dataset` and `Splits.from_arrays` return subclasses.

    Attributes:
      name: str; name of the data set.
      split: "train", "validation" or "test".
      spec: zoo.Spec of one example.
      condition: zoo.Spec of the condition of each example, such as its label, or None.
      notes: tuple of str; messages about how the data were read and changed.
      source: dict of the arguments of `load_dataset` that load the data set again. Paths are
        absolute. The name of arrays in memory is in angle brackets and cannot be loaded.
    """

    def __init__(self, name, split, count, spec: Spec, condition: Spec | None = None, notes=()):
        self.name = name
        self.split = split
        self.spec = spec
        self.condition = condition
        self.notes = tuple(notes)
        self._count = count

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.spec.shape

    @property
    def levels(self) -> int:
        """The levels of the spec."""
        return self.spec.levels

    @property
    def num_classes(self) -> int:
        """The number of classes, or 0 if there are no labels."""
        return self.condition.levels if self.condition and self.condition.kind == "label" else 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or () if they have none."""
        return self.condition.names if self.num_classes else ()

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        given = f" and {self.condition}" if self.condition else ""
        return f"<{self.split} split of {self.name}: {len(self):,} {self.spec}{given}>"

    @property
    def fingerprint(self) -> str:
        """The sha256 of the examples, their conditions and their binarization, in hex."""
        raise NotImplementedError

    def batches(self, batch_size: int, condition: bool = False):
        """Returns every example once, in order. The last batch may be smaller.

        Args:
          batch_size: int.
          condition: whether to return the conditions too.

        Returns:
          finite tf.data.Dataset of examples, [b, *shape], or of (examples, conditions), as the
          specs describe. Images that are re-binarized every epoch are binarized once.

        Raises:
          InputError: if conditions are requested and the split has none.
        """
        raise NotImplementedError

    def stream(self, batch_size: int, seed: int, first_step: int = 0, condition: bool = False):
        """Returns an endless stream of full batches, shuffled by (seed, position).

        Args:
          batch_size: int.
          seed: int.
          first_step: int; index of the first batch. Equals `stream(...).skip(first_step)`, but
            reads no skipped batches.
          condition: whether to return the conditions too.

        Returns:
          endless tf.data.Dataset of examples, [batch_size, *shape], or of (examples, conditions).

        Raises:
          InputError: if conditions are requested and the split has none.
        """
        raise NotImplementedError

    def take(self, number: int, condition: bool = False):
        """Returns the first examples in a fixed shuffled order.

        Some data sets are sorted by class.

        Args:
          number: int; number of examples. A smaller split returns all of its examples.
          condition: whether to return the conditions too.

        Returns:
          (examples, conditions or None); arrays [n, …] with the values of `batches`.
        """
        import numpy as np

        chosen = order.random_bits("pictures").random_raw(len(self)).argsort(kind="stable")[:number]
        examples, size = {}, 64
        batches = self.batches(size, condition).as_numpy_iterator()
        for first, batch in zip(range(0, len(self), size), batches, strict=True):
            x, y = batch if condition else (batch, None)
            for k in chosen[(chosen >= first) & (chosen < first + size)]:
                examples[k] = x[k - first], y if y is None else y[k - first]
        x, y = zip(*(examples[k] for k in chosen), strict=True)
        return np.stack(x), np.stack(y) if condition else None

    def arrays(self):
        """Returns all examples at once, as integer levels.

        Returns:
          (examples, conditions or None); integer arrays [n, …] from 0 to levels - 1.

        Raises:
          InputError: if the data set does not fit in memory.
        """
        raise InputError(
            f"{self.name} does not fit in memory. Use batches() or stream(), or a smaller size."
        )

    def _check(self, condition, has_condition, batch_size, first_step=0):
        for key, value, minimum in (("batch_size", batch_size, 1), ("first_step", first_step, 0)):
            if operator.index(value) < minimum:
                raise InputError(f"{key} must be at least {minimum}. Received: {key}={value}")
        if condition and not has_condition:
            raise InputError(
                f"The {self.split} split of {self.name} has no labels. Train without labels, or use"
                f" a labelled data set. Received: condition=True"
            )


class ArraySplit(Split):
    """A split with random access: an array, or files behind the interface of an array.

    Args:
      name: as `Split`.
      split: as `Split`.
      stored: array [n, *shape] as returned by `Spec.store`, or an object that is indexed like an
        array with int [b] or a slice and has its `shape` and `dtype`. The examples of such an
        object are read again in every epoch.
      spec: as `Split`.
      conditions: array [n, …] as returned by `Spec.store`, or None.
      condition: as `Split`. It may be set without conditions if other splits have them.
      redrawn: whether `stream` binarizes the grey images again in every epoch.
      notes: as `Split`.
    """

    def __init__(
        self, name, split, stored, spec, conditions=None, condition=None, redrawn=False, notes=()
    ):
        super().__init__(name, split, len(stored), spec, condition, notes)
        self._stored, self._conditions, self._redrawn = stored, conditions, redrawn

    @functools.cached_property
    def fingerprint(self):
        facts = {
            "shape": list(self.shape),
            "levels": self.levels,
            "afresh": self._redrawn,  # the key is part of published fingerprints
            "labels": self._conditions is not None,
        }
        is_labelled = self.condition is None or self.condition.kind == "label"
        if self.spec.kind != "image":
            facts["spec"] = self.spec.to_json()
        if not is_labelled:
            facts["condition"] = self.condition.to_json()
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for i in range(0, len(self), _FINGERPRINT_CHUNK):
            digest.update(memoryview(self._stored[i : i + _FINGERPRINT_CHUNK].reshape(-1)))
        if self._conditions is not None:
            stored = self._conditions.astype("<i4") if is_labelled else self._conditions
            digest.update(stored.tobytes())
        return digest.hexdigest()

    def arrays(self):
        return self._presented if self._in_memory else super().arrays()[0], self._conditions

    @property
    def _in_memory(self):
        import numpy as np

        return isinstance(self._stored, np.ndarray)

    @functools.cached_property
    def _presented(self):
        return order.binarize_once(self._stored, self.split) if self._redrawn else self._stored

    @functools.cached_property
    def _tensor(self):
        return _on_cpu(self._stored)

    @property
    def _is_unpaired(self):
        return self.condition is not None and self.condition.kind == "domain"

    def _reader(self, presented=False):
        """Returns a function from int64 [b] to the stored examples, [b, *shape].

        The tensor of all examples is created outside of the graphs that read it, so that they
        capture it instead of copying it.
        """
        import tensorflow as tf

        if self._in_memory:
            redrawn = presented and self._redrawn
            tensor = _on_cpu(self._presented) if redrawn else self._tensor
            return functools.partial(tf.gather, tensor)

        def read(index):
            dtype = tf.as_dtype(self._stored.dtype)
            x = tf.numpy_function(self._stored.__getitem__, [index], dtype, stateful=False)
            return tf.ensure_shape(x, (None, *self.shape))

        return read

    def _stream_reader(self, seed):
        """Returns a function from (indices, epochs), int64 [b] each, to stored examples."""
        read = self._reader()
        return lambda index, epoch: read(index)

    def batches(self, batch_size, condition=False):
        import tensorflow as tf

        self._check(condition, self._conditions is not None, batch_size)
        read = self._reader(presented=True)
        y = _on_cpu(self._conditions) if condition else None

        def batch(step):
            first = step * batch_size
            index = tf.range(first, tf.minimum(first + batch_size, len(self)))
            x = self.spec.scale(read(index))
            if self._is_unpaired and condition:
                index %= len(y)
            return (x, self.condition.scale(tf.gather(y, index))) if condition else x

        steps = tf.data.Dataset.range(-(-len(self) // batch_size))
        return deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))

    def stream(self, batch_size, seed, first_step=0, condition=False):
        import tensorflow as tf

        from zoo import random

        self._check(condition, self._conditions is not None, batch_size, first_step)
        read = self._stream_reader(seed)
        y = _on_cpu(self._conditions) if condition else None
        count, shuffle = len(self), order.seed_for(seed, "order")
        others = order.seed_for(seed, "order of the other domain")
        noise = tf.constant(order.seed_for(seed, "noise"), tf.int32)

        def batch(step):
            first = step * batch_size
            positions = first + tf.range(batch_size, dtype=tf.int64)
            epoch = positions // count
            index = order.shuffled(positions % count, count, shuffle, epoch)
            x = read(index, epoch)
            if self._redrawn:
                x = random.bernoulli(noise, first, tf.cast(x, tf.float32) / 255.0)
            else:
                x = self.spec.scale(x)
            x = tf.ensure_shape(x, (batch_size, *self.shape))
            if self._is_unpaired and condition:
                number = len(y)  # shuffled independently
                index = order.shuffled(positions % number, number, others, positions // number)
            return (x, self.condition.scale(tf.gather(y, index))) if condition else x

        steps = tf.data.Dataset.counter(operator.index(first_step))
        return deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


class WindowSplit(ArraySplit):
    """Windows of a sequence of tokens. Every epoch of `stream` shifts them by an offset.

    The windows are consecutive. In epoch e of a stream, all of them are shifted by

        offset = permutation(e % length; seed, e // length),

    so each token starts a window once in `length` epochs.

    Args:
      name: as `Split`.
      split: as `Split`.
      tokens: array [n] as returned by `Spec.store`, of at least 2 * length - 1 tokens.
      spec: as `Split`.
      notes: as `Split`.
    """

    def __init__(self, name, split, tokens, spec, notes=()):
        (length,) = spec.shape
        count = (len(tokens) - (length - 1)) // length  # fits at the largest offset too
        windows = tokens[: count * length].reshape(count, length)
        super().__init__(name, split, windows, spec, notes=notes)
        self._tokens = tokens

    @functools.cached_property
    def fingerprint(self):
        tail = self._tokens[self._stored.size :].tobytes()
        return hashlib.sha256(f"windows {super().fingerprint} ".encode() + tail).hexdigest()

    def _stream_reader(self, seed):
        import tensorflow as tf

        tokens, (length,) = _on_cpu(self._tokens), self.shape
        shift = order.seed_for(seed, "offset")

        def read(index, epoch):
            offset = order.shuffled(epoch % length, length, shift, epoch // length)
            first = index * length + offset
            return tf.gather(tokens, first[:, None] + tf.range(length, dtype=tf.int64))

        return read


class Splits(NamedTuple):
    """The splits of a data set.

        train, validation, test = zoo.load_dataset("mnist_binary")

    Attributes:
      train: Split for training.
      validation: Split for choosing checkpoints and hyperparameters.
      test: Split for reporting scores.
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
        """Creates splits from images in memory. Missing splits are held out from `train`.

        A held-out split has a tenth of the images of `train`, the same ones at every call.

        Args:
          train: array of images, [n, height, width] or [n, height, width, 1 or 3]: integers from 0
            to 255, bool, or floats from 0 to 1. Or a finite tf.data.Dataset of such images or of
            (image, label), batched or not, which is read into memory.
          labels: int array [n] from 0, or None. A tf.data.Dataset contains its labels.
          validation: as `train`, or None.
          validation_labels: as `labels`.
          test: as `train`, or None.
          test_labels: as `labels`.
          name: str; name of the data set for messages and cards.
          levels: 2 or 256. Default: 2 if all values are 0 or 1 and not all are the integer 0, else
            256.
          size: int or None; images are cropped to their central square and resized to size x size.
          binarize: whether to binarize grey images at random: training images again in every
            epoch, others once.

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

    @classmethod
    def from_examples(
        cls,
        spec: Spec,
        train,
        validation=None,
        test=None,
        *,
        condition: Spec | None = None,
        name: str = "arrays",
        notes=(),
    ) -> "Splits":
        """Creates splits from examples of any kind. Missing splits are held out from `train`.

            zoo.Splits.from_examples(zoo.Spec((256,), 65, "tokens"), tokens)

        A held-out split has a tenth of the examples of `train`, the same ones at every call.

        Args:
          spec: Spec of one example.
          train: array of examples, [n, *spec.shape], in the dtype and range of the spec. With a
            condition: a tuple (examples, conditions), with conditions [n, *condition.shape].
          validation: as `train`, or None.
          test: as `train`, or None.
          condition: Spec of the condition of each example, or None.
          name: str; name of the data set for messages and cards.
          notes: tuple of str; messages about how the data were read and changed.

        Returns:
          Splits.

        Raises:
          InputError: if the examples do not match the spec or are too few.
        """
        from zoo.datasets.assembly import of_examples

        parts = {"train": train, "validation": validation, "test": test}
        return of_examples(name, spec, condition, parts, notes)

    @classmethod
    def from_text(
        cls,
        train: str | bytes,
        validation: str | bytes | None = None,
        test: str | bytes | None = None,
        *,
        length: int = 256,
        name: str = "text",
        notes=(),
    ) -> "Splits":
        """Creates splits of windows of text. Missing splits are cut from the end of `train`.

            zoo.Splits.from_text(Path("book.txt").read_text("utf-8"), length=128)

        The last 10 % become test, and the 5 % before them validation. The tokens are the sorted
        characters of `train`. Characters that occur only in other splits are replaced by the rarest
        character of `train`, so that they never improve a score.

        Args:
          train: str, read as characters, or bytes, read as 256 tokens.
          validation: as `train`, or None.
          test: as `train`, or None.
          length: int; tokens per window.
          name: str; name of the data set for messages and cards.
          notes: tuple of str; messages about how the data were read and changed.

        Returns:
          Splits. `batches` returns consecutive windows, without an incomplete last window. `stream`
          of train shifts the windows in every epoch.

        Raises:
          InputError: if a text is too short, or more than 1 % of its characters are not in `train`.
        """
        from zoo.datasets.text import from_memory

        check_count(length=length)
        parts = {"train": train, "validation": validation, "test": test}
        return from_memory(parts, length, name, f"<{name}>", notes)

    def __repr__(self):
        return self.describe()

    def _repr_html_(self):
        line, *notes = self.describe().splitlines()
        if names := self.train.class_names:
            notes.append(f"classes: {', '.join(names)}")
        rows = [("SPLIT", "EXAMPLES"), *((split.split, f"{len(split):,}") for split in self)]
        return html_table(rows, [line, *notes])

    def describe(self) -> str:
        """Returns one line with counts, shape and classes, then one line per note, as a str."""
        train = self.train
        counts = "/".join(str(len(split)) for split in self)
        shape = "x".join(map(str, train.shape))
        line = f"{train.name}: {counts} {train.spec.noun}s {shape}, {train.levels} levels"
        if train.spec.kind == "audio":
            line += f", {train.shape[0] / train.spec.rate:.3g} s at {train.spec.rate} Hz"
        elif train.spec.kind == "tokens":
            line = f"{train.name}: {counts} {train.spec}"
        if train.num_classes:
            line += f", {train.num_classes} class{'es' if train.num_classes > 1 else ''}"
        elif train.condition:
            line += f", with {train.condition}"
        elif train.spec.kind != "tokens":
            line += ", no labels"
        return "\n  ".join([line, *train.notes])


def check_size(size):
    """Raises InputError if size is neither None nor an int from 1 to 4096."""
    if size is not None and not (isinstance(size, int) and 1 <= size <= 4096):
        raise InputError(f"size must be an integer from 1 to 4096. Received: size={size!r}")


def check_count(**counts):
    """Raises InputError if a value is neither None nor a positive int."""
    for name, value in counts.items():
        if value is not None and not (type(value) is int and value > 0):
            raise InputError(f"{name} must be a positive integer. Received: {name}={value!r}")


def deterministic(dataset):
    """Returns a tf.data.Dataset that prefetches batches and keeps their order."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.prefetch(2).with_options(options)


def _on_cpu(array):
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)
