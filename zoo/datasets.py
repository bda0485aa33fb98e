"""A dataset by name, folder or file: always (train, validation, test).

    train, validation, test = load_dataset("mnist_binary")
    for x in train.stream(128, seed=0): ...

Order and noise are stateless. Position p of the endless stream of a training set of N images is

    epoch = p // N,   image = permutation(p % N; seed, epoch),   noise = draw(p; seed),

so that a stream entered at any step goes on as one that was never left.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; Salakhutdinov and
Murray, On the quantitative analysis of deep belief networks, ICML 2008, and Larochelle and Murray,
The neural autoregressive distribution estimator, AISTATS 2011 (the static binary set); Burda,
Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016 (drawing afresh); Steele, Lea
and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (mixing seed and epoch).
"""

import functools
import hashlib
import json
import math
import operator
import os
import re
import struct
import threading
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

from zoo.errors import InputError

__all__ = ["Split", "describe", "list_datasets", "load_dataset"]

BUNDLED = {
    "mnist": "handwritten digits, grey, with labels",
    "binarized_mnist": "the static binary MNIST of the likelihood literature, without labels",
    "mnist_binary": "MNIST drawn afresh as binary at every presentation, tested on the static set",
}
MAX_BYTES_IN_MEMORY = 2 * 2**30
MAX_PIXELS = 64 * 10**6
MIN_IMAGES = 10

_DATA = Path(__file__).parent / "data"
_SPLITS = ("train", "validation", "test")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_PROBE_SECONDS = 4.0
_SHUFFLE_ROUNDS = 8  # with TensorFlow's default of 4, successive epochs correlate by 0.8
_ORIENTATION = 0x0112  # in EXIF
_WINDOW = 8192  # encoded images of a streamed set that are shuffled together


def load_dataset(name, size=None, binarize=False):
    """Loads a dataset.

    Args:
      name: `mnist`, `binarized_mnist`, `mnist_binary`, a TFDS name, or the path (what has a
        separator, or is a `pathlib.Path`) of a folder of images, a `.npz` or a `.npy`.
      size: int or None; images are cut to their central square and resized to size x size.
      binarize: whether to draw grey images as binary ones: those for training afresh at every
        presentation, the others once.

    Returns:
      (train, validation, test), each a `Split`.

    Raises:
      InputError: if there is no such dataset, or it cannot be read or made what was asked for.
    """
    if size is not None and not (isinstance(size, int) and 1 <= size <= 4096):
        raise InputError(f"A size must be an integer from 1 to 4096. Received: size={size!r}")
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise InputError(f"A dataset must be a name or a path. Received: name={name!r}")
    if isinstance(name, str) and name in BUNDLED:
        return _load_bundled(name, size, binarize)
    is_path = not isinstance(name, str) or any(s in name for s in ("/", os.sep))
    if not is_path:
        return _load_tfds(name, size, binarize)
    path = Path(name).expanduser()
    if path.is_dir():
        return _load_folder(path, size, binarize)
    if path.suffix.lower() in (".npz", ".npy"):
        return _load_numpy(path, size, binarize)
    if path.exists():
        raise InputError(
            f"A data file must be a .npz or .npy; images must lie in a folder. Received: {path}"
        )
    if isinstance(name, str) and re.fullmatch(r"[a-z]\w*/[\w.-]+", name):
        import tensorflow_datasets as tfds

        if name.split("/")[0] in tfds.list_builders(with_community_datasets=False):
            return _load_tfds(name, size, binarize)  # dataset/config, as in emnist/letters
    raise InputError(f"There is no such folder or file. Received: {name}")


def list_datasets():
    """Lists the names that need no download: the bundled sets, then what TFDS has prepared.

    Returns:
      list of str.
    """
    root = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    found = set()
    for pattern in ("*/*/features.json", "*/*/*/features.json"):  # name[/config]/version
        for path in root.glob(pattern):
            try:
                has_image = "image" in json.loads(path.read_bytes())["featuresDict"]["features"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            name = path.parent.parent.relative_to(root).as_posix()
            if has_image and name not in BUNDLED:
                found.add(name)
    return [*BUNDLED, *sorted(found)]


def describe(splits):
    """Says what was found, in a line, and what was done to it, in a line each.

    Args:
      splits: (train, validation, test), as of `load_dataset`.

    Returns:
      str.
    """
    train = splits[0]
    counts = "/".join(str(len(split)) for split in splits)
    line = f"{train.name}: {counts} images {'x'.join(map(str, train.shape))}, {train.levels} levels"
    if train.num_classes:
        line += f", {train.num_classes} class{'es' if train.num_classes > 1 else ''}"
    else:
        line += ", no labels"
    return "\n  ".join([line, *train.notes])


class Split:
    """One part of a dataset. Abstract: `load_dataset` makes them.

    Attributes:
      name: str; of the dataset.
      split: "train", "validation" or "test".
      shape: (height, width, channels).
      levels: 2 (binary) or 256.
      num_classes: int; 0 if the dataset has no labels.
      class_names: tuple of str; () if there are none.
      notes: tuple of str; what was found and done, for people.
    """

    def __init__(self, name, split, count, shape, levels, num_classes, class_names, notes):
        self.name = name
        self.split = split
        self.shape = tuple(shape)
        self.levels = levels
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.notes = tuple(notes)
        self._count = count

    def __len__(self):
        return self._count

    @property
    def fingerprint(self):
        """sha256 in hex of the images, the labels and how they are presented."""
        raise NotImplementedError

    def batches(self, batch_size, labels=False):
        """Gives every example once, in order; the last batch may be short.

        Args:
          batch_size: int.
          labels: whether to give labels too.

        Returns:
          finite tf.data.Dataset of float32 [b, *shape], on the grid i / (levels - 1), or with
          labels of (that, int32 [b]). Images that are drawn afresh in training are one fixed draw.

        Raises:
          InputError: if labels are asked for and there are none.
        """
        raise NotImplementedError

    def stream(self, batch_size, seed, first_step=0, labels=False):
        """Gives full batches without end, in an order that is a pure function of (seed, position).

        Args:
          batch_size: int.
          seed: int.
          first_step: int; number of the first batch: as `stream(...).skip(first_step)`, at no cost.
          labels: whether to give labels too.

        Returns:
          endless tf.data.Dataset of float32 [batch_size, *shape], or with labels of
          (that, int32 [batch_size]).

        Raises:
          InputError: if labels are asked for and there are none.
        """
        raise NotImplementedError

    def arrays(self):
        """Gives what `batches` gives, before it is scaled, at once.

        Returns:
          (uint8 [n, *shape] from 0 to levels - 1, int32 [n] or None where there are no labels).

        Raises:
          InputError: if the dataset is too large for memory.
        """
        raise NotImplementedError

    def _check(self, batch_size, has_labels, labels, first_step=0):
        for key, value, least in (("batch_size", batch_size, 1), ("first_step", first_step, 0)):
            if operator.index(value) < least:
                raise InputError(f"{key} must be at least {least}. Received: {key}={value}")
        if labels and not has_labels:
            raise InputError(
                f"The {self.split} split of {self.name} has no labels: train without them, or give "
                f"a labelled dataset. Received: labels=True"
            )

    def _scaled(self, images):
        """Maps uint8 [b, *shape] to float32 on the grid."""
        import tensorflow as tf

        x = tf.cast(images, tf.float32)
        return x if self.levels == 2 else x / 255.0


class _ArraySplit(Split):
    """A split in memory, or in image files that are read by index.

    Args:
      images: uint8 [n, *shape] array; or an `_Files`.
      labels: int32 [n] array or None.
      afresh: whether `stream` draws the images, then grey, as binary ones.
    """

    def __init__(self, name, split, images, labels, levels, afresh=False, **about):
        super().__init__(name, split, len(images), images.shape[1:], levels, **about)
        self._images, self._labels, self._afresh = images, labels, afresh

    @functools.cached_property
    def fingerprint(self):
        if isinstance(self._images, _Files):
            return self._images.fingerprint(self._labels, self.levels)
        return _fingerprint([self._images], self._labels, self.shape, self.levels, self._afresh)

    def arrays(self):
        if isinstance(self._images, _Files):
            raise _too_large(self.name)
        return self._presented, self._labels

    @functools.cached_property
    def _presented(self):
        return _drawn_once(self._images, self.split) if self._afresh else self._images

    @functools.cached_property
    def _kept_tensor(self):
        return _on_cpu(self._images)

    @functools.cached_property
    def _presented_tensor(self):
        return _on_cpu(self._presented) if self._afresh else self._kept_tensor

    def _reader(self, presented=False):
        """Makes int64 [b] -> (uint8 [b, *shape], int32 [b] or None).

        Its tensors are made before any graph that reads them, which then refers to them.
        """
        import tensorflow as tf

        labels = None if self._labels is None else _on_cpu(self._labels)
        if isinstance(self._images, _Files):

            def read(index):
                images = tf.numpy_function(self._images.read, [index], tf.uint8, stateful=False)
                return tf.ensure_shape(images, (None, *self.shape))

        else:
            read = functools.partial(
                tf.gather, self._presented_tensor if presented else self._kept_tensor
            )
        return lambda index: (read(index), None if labels is None else tf.gather(labels, index))

    def batches(self, batch_size, labels=False):
        import tensorflow as tf

        self._check(batch_size, self._labels is not None, labels)
        read = self._reader(presented=True)

        def batch(step):
            first = step * batch_size
            last = tf.minimum(first + batch_size, len(self))
            images, y = read(tf.range(first, last))
            x = self._scaled(images)
            return (x, y) if labels else x

        steps = tf.data.Dataset.range(-(-len(self) // batch_size))
        return _deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2))

    def stream(self, batch_size, seed, first_step=0, labels=False):
        import tensorflow as tf

        from zoo import random

        self._check(batch_size, self._labels is not None, labels, first_step)
        read = self._reader()
        order, noise = _seed(seed, "order"), tf.constant(_seed(seed, "noise"), tf.int32)
        count = len(self)

        def batch(step):
            first = step * batch_size
            positions = first + tf.range(batch_size, dtype=tf.int64)
            images, y = read(_shuffled(positions % count, count, order, positions // count))
            if self._afresh:
                x = random.bernoulli(noise, first, tf.cast(images, tf.float32) / 255.0)
            else:
                x = self._scaled(images)
            x = tf.ensure_shape(x, (batch_size, *self.shape))
            return (x, y) if labels else x

        steps = tf.data.Dataset.counter(operator.index(first_step))
        return _deterministic(steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2))


class _RecordSplit(Split):
    """A split of a TFDS set too large for memory, read in the order of its files.

    An epoch reads the files round from an image chosen by (seed, epoch) and shuffles windows of
    encoded images. A stream that starts late reads what it skips, but does not decode it.

    Args:
      builder: prepared tfds.core.DatasetBuilder.
      section: (split of TFDS, first, last).
      size: int or None, as in `load_dataset`.
    """

    def __init__(self, name, split, builder, section, shape, size, **about):
        super().__init__(name, split, section[2] - section[1], shape, 256, **about)
        self._builder, self._section, self._size = builder, section, size

    @functools.cached_property
    def fingerprint(self):
        """sha256 in hex of what TFDS says of the data: a pass over the images would take hours."""
        source, first, last = self._section
        info = self._builder.info
        facts = [info.full_name, source, first, last, self.shape, self._size, self.num_classes]
        facts += [info.splits[source].shard_lengths, info.splits[source].num_bytes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def arrays(self):
        raise _too_large(self.name)

    def batches(self, batch_size, labels=False):
        self._check(batch_size, self.num_classes, labels)
        return self._decoded(self._records(), labels, batch_size, drop_remainder=False)

    def stream(self, batch_size, seed, first_step=0, labels=False):
        import tensorflow as tf

        self._check(batch_size, self.num_classes, labels, first_step)
        records, count = self._records(), len(self)
        windows = -(-count // _WINDOW)
        order, start = _seed(seed, "order"), _seed(seed, "start")

        def epoch(number):
            first = _shuffled(tf.zeros([1], tf.int64), count, start, number[None])[0]

            def window(w, record):
                n = tf.shape(record["image"], tf.int64)[0]
                number_of_window = tf.fill([n], number * windows + w)
                index = _shuffled(tf.range(n), n, order, number_of_window)
                return {key: tf.gather(value, index) for key, value in record.items()}

            turned = records.skip(first).concatenate(records.take(first))
            return turned.batch(_WINDOW).enumerate().map(window).unbatch()

        position = operator.index(first_step) * batch_size
        examples = tf.data.Dataset.counter(position // count).flat_map(epoch)
        examples = examples.skip(position % count)
        return self._decoded(examples, labels, batch_size, drop_remainder=True)

    def _records(self):
        return _records(self._builder, "{}[{}:{}]".format(*self._section), bool(self.num_classes))

    def _decoded(self, records, labels, batch_size, drop_remainder):
        import tensorflow as tf

        decode = _decoder(self._builder, self._size)

        def example(record):
            image = tf.ensure_shape(decode(record["image"]), self.shape)
            return (image, tf.cast(record["label"], tf.int32)) if labels else image

        def scale(images, y=None):
            x = self._scaled(images)
            return (x, y) if labels else x

        examples = records.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        batches = examples.batch(batch_size, drop_remainder=drop_remainder).map(scale)
        return _deterministic(batches.prefetch(2))


# Randomness


def _seed(seed, purpose):
    """Makes int32 [2] for one use of a run's seed."""
    digest = hashlib.sha256(f"{purpose} {operator.index(seed)}".encode()).digest()
    return struct.unpack("<2i", digest[:8])


def _shuffled(index, count, seed, rounds):
    """Permutes.

    Args:
      index: int64 [b], from 0 to count - 1.
      count: int or int64 [].
      seed: two ints of 32 bits.
      rounds: int64 [b]; number of the permutation, as the epoch.

    Returns:
      int64 [b]; for each number a permutation of the indices.
    """
    import tensorflow as tf

    # RandomIndexShuffle uses the low bits of each key alone (8 of 32 for 2^16 images), so that
    # the epoch itself as a key would repeat after 256 epochs: mix all of the seed into all keys.
    low, high = (part % 2**32 for part in seed)
    z = tf.constant(low + (high << 32), tf.uint64) + tf.cast(rounds + 1, tf.uint64) * tf.constant(
        0x9E3779B97F4A7C15, tf.uint64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(shift, tf.uint64)))
        z *= tf.constant(factor, tf.uint64)
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(31, tf.uint64)))
    keys = [tf.bitwise.right_shift(z, tf.constant(shift, tf.uint64)) for shift in (0, 21, 42)]
    return tf.raw_ops.RandomIndexShuffle(
        index=index,
        seed=tf.cast(tf.stack(keys, axis=1), tf.uint32),  # [b, 3]
        max_index=tf.cast(count, tf.int64) - 1,
        rounds=_SHUFFLE_ROUNDS,
    )


def _philox(purpose):
    import numpy as np

    low, high = (part % 2**32 for part in _seed(0, purpose))
    return np.random.Philox(key=low + (high << 32))


def _drawn_once(images, split):
    """Draws grey images as binary ones, the same ones at each call: uint8 [n, h, w, c], 0 or 1."""
    import numpy as np

    stream = _philox(f"one draw of {split}")
    drawn = np.empty_like(images)
    for i in range(0, len(images), 1024):
        part = images[i : i + 1024]
        u = (stream.random_raw(part.size) >> np.uint64(11)) * 2.0**-53  # [0, 1)
        drawn[i : i + 1024] = u.reshape(part.shape) < part / 255.0
    return drawn


def _fingerprint(chunks, labels, shape, levels, afresh=False):
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


def _deterministic(dataset):
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def _too_large(name):
    return InputError(
        f"{name} is larger than {MAX_BYTES_IN_MEMORY / 2**30:g} GiB, which is too large to be had "
        f"at once: use batches() or stream(), or a smaller size."
    )


# What every source ends in


def _finish(name, parts, levels, size, binarize, notes=(), **classes):
    """Makes the splits, resized and binarized where that was asked for.

    The parts are {split: (uint8 [n, h, w, c], int32 [n] or None)}.
    """
    notes = list(notes)
    height, width, channels = parts["train"][0].shape[1:]
    if size is not None and (height, width) != (size, size):
        if levels == 2:
            raise InputError(
                f"{name} is binary, and would not be so when resized: resize grey images and "
                f"binarize them, as in --data mnist --size {size} --binarize. Received: size={size}"
            )
        parts = {key: (_resized(images, size), y) for key, (images, y) in parts.items()}
        notes.append(f"resized from {height}x{width} to {size}x{size}")
    if binarize:
        _check_binarize(name, levels, channels)
        levels = 2
        for key in ("validation", "test"):
            parts[key] = (_drawn_once(parts[key][0], key), parts[key][1])
        notes.append("binarized: train is drawn afresh at every presentation, the rest once")
    return _splits(name, parts, levels, binarize, notes=notes, **classes)


def _splits(name, parts, levels, afresh=False, notes=(), num_classes=0, class_names=()):
    about = dict(num_classes=num_classes, class_names=class_names, notes=notes)
    return tuple(
        _ArraySplit(name, key, *parts[key], levels, afresh and key == "train", **about)
        for key in _SPLITS
    )


def _check_binarize(name, levels, channels):
    if levels == 2:
        raise InputError(f"{name} is binary already: leave --binarize out. Received: binarize=True")
    if channels != 1:
        raise InputError(
            f"Only grey images can be binarized; {name} has {channels} channels. "
            f"Received: binarize=True"
        )


def _resized(images, size):
    import numpy as np

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(functools.partial(_resize, size=size), images)))


def _resize(image, size):
    """Maps uint8 [h, w, c] to [size, size, c]."""
    import numpy as np
    from PIL import Image

    channels = image.shape[-1]
    square = _square(Image.fromarray(image[..., 0] if channels == 1 else image), size)
    return np.asarray(square).reshape(size, size, channels)


def _square(image, size):
    """Cuts a PIL image to its central square and resizes it, antialiased."""
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)


# Bundled


def _load_bundled(name, size, binarize):
    import numpy as np

    if name == "binarized_mnist":
        return _finish(name, _static_mnist(), 2, size, binarize)
    with np.load(_DATA / "mnist.npz", allow_pickle=False) as stored:
        kept = {key: stored[key] for key in stored.files}
    images, labels = kept["train_images"][..., None], kept["train_labels"].astype(np.int32)
    parts = {
        "train": (images[:55000], labels[:55000]),
        "validation": (images[55000:], labels[55000:]),
        "test": (kept["test_images"][..., None], kept["test_labels"].astype(np.int32)),
    }
    classes = dict(num_classes=10, class_names=tuple("0123456789"))
    if name == "mnist":
        return _finish(name, parts, 256, size, binarize, **classes)
    if size not in (None, 28):
        raise InputError(
            f"mnist_binary is tested on the static binary set, which cannot be resized: use "
            f"--data mnist --size {size} --binarize. Received: size={size}"
        )
    if binarize:
        _check_binarize(name, 2, 1)
    parts["validation"] = (_drawn_once(images[55000:], "validation"), labels[55000:])
    # The static test set is MNIST's in a stable order of the digits: so matched, none of its 10,000
    # images has a lit pixel where the grey one is black, or a dark one where that is white.
    parts["test"] = (_static_mnist()["test"][0], np.sort(parts["test"][1]))
    notes = [
        "train is drawn afresh from Bernoulli(grey) at every presentation",
        "validation is one draw of 5,000 held-out training images, test the static binary set",
    ]
    return _splits(name, parts, 2, afresh=True, notes=notes, **classes)


def _static_mnist():
    import numpy as np

    with np.load(_DATA / "binarized_mnist.npz", allow_pickle=False) as stored:
        return {
            key: (np.unpackbits(stored[f"{key}_images"], axis=1).reshape(-1, 28, 28, 1), None)
            for key in _SPLITS
        }


# TFDS


def _load_tfds(name, size, binarize):
    builder = _builder(name)
    shape, num_classes, class_names = _features(builder, name)
    notes = []
    if not _is_prepared(builder):
        _download(builder, name)
        notes.append(f"downloaded to {builder.data_dir}")
    counts = {key: split.num_examples for key, split in builder.info.splits.items()}
    sections = _sections(name, counts)
    held_out = [key for key in ("validation", "test") if sections[key][0] == "train"]
    if held_out:
        notes.append(f"{' and '.join(held_out)} held out from the end of train")
    shape = shape if size is None else (size, size, shape[-1])
    title = name.replace("/", "-").replace(":", "-")
    classes = dict(num_classes=num_classes, class_names=class_names)
    total = sum(last - first for _, first, last in sections.values())
    if None not in shape and total * math.prod(shape) > MAX_BYTES_IN_MEMORY:
        if binarize:
            raise InputError(
                f"Images are binarized in memory, and {name} is larger than "
                f"{MAX_BYTES_IN_MEMORY / 2**30:g} GiB: give a smaller --size. Received: size={size}"
            )
        about = dict(notes=[*notes, "streamed: too large for memory"], **classes)
        return tuple(
            _RecordSplit(title, key, builder, sections[key], shape, size, **about)
            for key in _SPLITS
        )
    whole = {
        source: _read(builder, name, source, counts[source], shape, size, num_classes)
        for source in {section[0] for section in sections.values()}
    }
    parts = {}
    for key, (source, first, last) in sections.items():
        images, labels = whole[source]
        labels = None if labels is None else labels[first:last]
        if labels is not None and labels.min() < 0:  # TFDS's mark of a split without labels
            labels = None
        parts[key] = (images[first:last], labels)
    if size is not None:
        notes.append(f"cut to squares and resized to {size}x{size}")
    return _finish(title, parts, 256, size, binarize, notes=notes, **classes)


def _builder(name):
    """Finds a builder, prepared if there is any prepared version."""
    import tensorflow_datasets as tfds

    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown(name, tfds.list_builders(with_community_datasets=False)) from None
    except Exception as error:
        raise InputError(f"TFDS cannot make {name}: {_line(error)}") from error
    if not _is_prepared(builder) and ":" not in name:
        try:
            builder = tfds.builder(f"{name}:*.*.*", data_dir=data_dir)
        except Exception:  # no version is prepared: the newest will be
            return builder
    return builder


def _is_prepared(builder):
    return (builder.data_path / "dataset_info.json").exists()  # as TFDS, which warns besides


def _unknown(name, builders):
    known = sorted({*BUNDLED, *builders})
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    near = f" Did you mean {' or '.join(near)}?" if near else " `zoo data` lists what is here."
    if Path(name).exists():
        near = f" For the folder or file of that name write ./{name}."
    return InputError(f"There is no dataset of this name.{near} Received: name={name}")


def _features(builder, name):
    """Gives (shape, num_classes, class_names), or refuses what has no 8-bit grey or RGB image."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    features = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    image = features.get("image")
    if not isinstance(image, tfds.features.Image):
        raise InputError(
            f"A dataset must have an `image` feature. Received: {name} with "
            f"{', '.join(features) or type(builder.info.features).__name__}"
        )
    dtype = image.np_dtype.__name__
    if dtype != "uint8" or image.shape[-1] not in (1, 3):
        raise InputError(
            f"Images must be 8-bit with 1 or 3 channels; those of {name} are {dtype} {image.shape}"
        )
    label = features.get("label")
    if not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
        return tuple(image.shape), 0, ()
    return tuple(image.shape), label.num_classes, tuple(label.names)


def _sections(name, counts):
    """Plans the splits: {split: (split of TFDS, first, last)}."""
    if counts.get("train", 0) < MIN_IMAGES:
        raise InputError(
            f"A dataset must have a train split of at least {MIN_IMAGES} images; {name} has: "
            + ", ".join(f"{key} ({count})" for key, count in counts.items())
        )
    sections, end = {}, counts["train"]
    held_out = min(5000, counts["train"] // 10)
    for key in ("test", "validation"):
        if counts.get(key):
            sections[key] = (key, 0, counts[key])
        else:
            sections[key] = ("train", end - held_out, end)
            end -= held_out
    return {"train": ("train", 0, end), **sections}


def _records(builder, instruction, with_labels):
    """Gives {"image": encoded string [], "label": int64 []} in the order of the files."""
    import tensorflow_datasets as tfds

    wanted = ("image", "label") if with_labels else ("image",)
    encoded = {
        key: tfds.decode.SkipDecoding()
        for key, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    records = builder.as_dataset(
        split=instruction,
        shuffle_files=False,
        decoders=encoded,
        read_config=tfds.ReadConfig(
            try_autocache=False, interleave_cycle_length=1, skip_prefetch=True
        ),
    )
    return records.map(lambda record: {key: record[key] for key in wanted})


def _decoder(builder, size):
    """Makes string [] -> uint8 [h, w, c]."""
    feature = builder.info.features["image"]
    if size is None:
        return feature.decode_example

    def decode(encoded):
        import tensorflow as tf

        image = feature.decode_example(encoded)
        square = tf.numpy_function(
            functools.partial(_resize, size=size), [image], tf.uint8, stateful=False
        )
        return tf.ensure_shape(square, (size, size, feature.shape[-1]))

    return decode


def _read(builder, name, source, count, shape, size, num_classes):
    """Reads a split of TFDS: (uint8 [count, h, w, c], int32 [count] or None)."""
    import numpy as np
    import tensorflow as tf

    decode = _decoder(builder, size)
    records = _records(builder, source, bool(num_classes))
    examples = records.map(
        lambda record: {**record, "image": decode(record["image"])},
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    images, labels = None, np.zeros(count, np.int32) if num_classes else None
    step = 1 if None in shape else 500
    batches = _deterministic(examples.batch(step).prefetch(2))
    for i, batch in enumerate(batches.as_numpy_iterator()):
        part = batch["image"]
        if images is None:
            if count * math.prod(part.shape[1:]) > MAX_BYTES_IN_MEMORY:
                raise InputError(
                    f"{name} does not declare the size of its images and is too large for memory: "
                    f"give --size N. Received: size=None"
                )
            images = np.zeros((count, *part.shape[1:]), np.uint8)
        if part.shape[1:] != images.shape[1:]:
            raise InputError(
                f"The images of {name} must be of one size, and are not (as "
                f"{_by(images.shape[1:])} and {_by(part.shape[1:])}): give --size N to cut and "
                f"resize them. Received: size=None"
            )
        images[i * step : i * step + len(part)] = part
        if labels is not None:
            labels[i * step : i * step + len(part)] = batch["label"]
    return images, labels


def _download(builder, name):
    """Prepares a set of TFDS; without network says so at once, where TFDS would try for minutes."""
    advice = (
        f"set TFDS_DATA_DIR to a folder where TFDS has prepared {name}, or give your own images "
        f"with --data PATH"
    )
    urls = [url for url in builder.url_infos if url.startswith("http")]
    fault = _unreachable(urls[0] if urls else "https://storage.googleapis.com")
    if fault:
        raise InputError(
            f"{name} is not prepared in {builder.data_dir} and cannot be downloaded ({fault}): "
            f"{advice}."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise InputError(f"TFDS cannot prepare {name} ({_line(error)}): {advice}.") from error


def _unreachable(url):
    """Says in a few seconds why a host gives no answer at all, or None if it does."""
    import requests

    host = url.split("/")[2]
    fault = [f"{host} does not answer"]

    def probe():
        try:
            requests.head(url, timeout=_PROBE_SECONDS).close()
            fault[0] = None
        except requests.RequestException:
            fault[0] = f"{host} cannot be reached"

    # In a thread, because the look-up of a name knows no time limit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return fault[0]


def _line(error):
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _by(shape):
    return "x".join(map(str, shape))


# A folder of images


class _Files:
    """Images of files, read when asked for: stands for uint8 [n, h, w, c]."""

    def __init__(self, files, shape, read):
        self.shape = (len(files), *shape)
        self._files, self._read = files, read

    def __len__(self):
        return len(self._files)

    def read(self, index):
        """Reads uint8 [b, h, w, c] at int64 [b]."""
        import numpy as np

        return np.stack([self._read(self._files[i]) for i in index])

    def fingerprint(self, labels, levels):
        chunks = (image for image, _ in _read_all(self._files, self._read))
        return _fingerprint(chunks, labels, self.shape[1:], levels)


def _load_folder(folder, size, binarize):
    name = folder.resolve().name
    layout, others = _layout(folder)
    if not layout:
        raise InputError(
            f"There are no images ({', '.join(sorted(s[1:] for s in _SUFFIXES))}) in this folder, "
            f"but {others} other file{'s' * (others != 1)}. Received: {folder}"
        )
    groups, class_names = _grouped(folder, layout)
    files = [path for group in groups.values() for path, _ in group]
    _check_enough(len(groups["train"]), folder)
    notes = [f"{len(files)} files in {folder}"]
    if others:
        notes.append(f"{others} other file{'s' * (others != 1)} ignored")
    shape, levels, found = _probe(folder, files, size)
    notes += found

    def read(path):
        image = _decode(path, shape[-1], size)
        return image // 255 if levels == 2 else image

    for key, held_out in _held_out(groups, len(groups["train"])):
        count = len(groups["train"]) - held_out
        groups[key], groups["train"] = groups["train"][count:], groups["train"][:count]
    large = len(files) * math.prod(shape) > MAX_BYTES_IN_MEMORY
    if large and binarize:
        raise InputError(
            f"Images are binarized in memory, and these take more than "
            f"{MAX_BYTES_IN_MEMORY / 2**30:g} GiB: give a smaller --size. Received: size={size}"
        )
    parts = _read_groups(folder, groups, shape, read, bool(class_names), large)
    if large:
        notes.append("read from the files at every presentation: too large for memory")
    classes = dict(num_classes=len(class_names), class_names=class_names)
    return _finish(name, parts, levels, size, binarize, notes=notes, **classes)


def _layout(folder):
    """Finds what is not hidden: ({tuple of folder names: images}, number of other files)."""
    layout, others, seen = {}, 0, set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(names):
            if file.startswith("."):
                continue
            path = Path(root, file)
            if path.suffix.lower() in _SUFFIXES:
                layout.setdefault(Path(root).relative_to(folder).parts, []).append(path)
            else:
                others += 1
    return layout, others


def _grouped(folder, layout):
    """Sorts files by split and class.

    Returns:
      ({"train" and other splits there are: [(file, label or None)]}, class names).
    """
    tops = {parts[0] if parts else "." for parts in layout}
    names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
    if "train" in tops and tops & {"validation", "val", "test"}:
        if stray := sorted(tops - set(names)):
            raise InputError(
                f"Beside the folders train, validation and test there must be no other images. "
                f"Received: images in {folder / stray[0]}"
            )
        places = {parts: (names[parts[0]], parts[1:2]) for parts in layout}
    else:
        places = {parts: ("train", parts[:1]) for parts in layout}
    class_names = sorted({name for _, rest in places.values() for name in rest})
    if class_names and not all(rest for _, rest in places.values()):
        raise InputError(
            f"Images must lie either all in the folder itself or all in a subfolder a class. "
            f"Received: {folder} with images of its own and in {class_names[0]}"
        )
    if len(class_names) == 1:
        class_names = []  # one class says nothing
    groups = {}
    for parts, paths in layout.items():
        split, rest = places[parts]
        label = class_names.index(rest[0]) if class_names else None
        groups.setdefault(split, []).extend((path, label) for path in paths)
    trained = {label for _, label in groups["train"]}
    for split, group in groups.items():
        if lost := {label for _, label in group} - trained:
            raise InputError(
                f"Each class must have training images. Received: {class_names[min(lost)]} in "
                f"{split} of {folder} alone"
            )
        group.sort(key=lambda item: _shuffling_key(item[0].relative_to(folder).as_posix()))
    return groups, tuple(class_names)


def _shuffling_key(name):
    """Sorts names at random, where a file that comes or goes leaves the others in their order."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _probe(folder, files, size):
    """Reads the headers, so that nothing is decoded that is too large or does not fit.

    Returns:
      (shape, levels, notes).
    """
    sizes, modes, bad, transparent = {}, {}, [], 0
    for path in files:
        try:
            header = _header(path)
        except Exception:  # Pillow's readers raise anything on a damaged file
            bad.append(path)
            continue
        if header is None:
            raise InputError(
                f"An image must have at most {MAX_PIXELS // 10**6} million pixels. Received: {path}"
            )
        height, width, mode, has_alpha = header
        transparent += has_alpha
        sizes.setdefault((height, width), []).append(path)
        modes.setdefault(mode, []).append(path)
    if bad:
        raise _unreadable(folder, bad)
    if len(sizes) > 1 and size is None:
        two = sorted(sizes.items(), key=lambda item: -len(item[1]))[:2]
        few = min(min(s) for s in sizes)
        raise InputError(
            f"Images must be of one size, or be cut and resized with --size N (as --size {few}). "
            f"Received: {len(sizes)} sizes, as "
            + " and ".join(
                f"{p[0].relative_to(folder)} {h}x{w} ({len(p)} file{'s' * (len(p) != 1)})"
                for (h, w), p in two
            )
        )
    channels = 1 if set(modes) <= _GREY_MODES else 3
    height, width = next(iter(sizes)) if size is None else (size, size)
    resized = set(sizes) != {(height, width)}
    levels = 2 if set(modes) == {"1"} and not resized else 256
    notes = []
    if resized:
        notes.append(
            f"cut to squares and resized to {size}x{size} from "
            + (f"{len(sizes)} sizes" if len(sizes) > 1 else _by(next(iter(sizes))))
        )
    if transparent:
        notes.append(f"alpha composited on white in {transparent} files")
    if channels == 3 and (grey := sum(len(modes[mode]) for mode in set(modes) & _GREY_MODES)):
        notes.append(f"{grey} grey files among colour ones read as colour")
    if any(mode.startswith("I") for mode in modes):
        notes.append("16-bit images reduced to 8 bits")
    return (height, width, channels), levels, notes


def _header(path):
    """Reads (height, width, mode, has alpha) of the upright image; None if it is too large."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return None
                # Where a PNG has no EXIF up front, Pillow would decode it all to look for some.
                if (image.format != "PNG" or "exif" in image.info) and (
                    image.getexif().get(_ORIENTATION, 1) >= 5  # turned by 90 degrees
                ):
                    width, height = height, width
                return height, width, image.mode, image.has_transparency_data
        except Image.DecompressionBombError:
            return None


def _decode(path, channels, size):
    """Reads the first frame, upright, 8-bit, on white: uint8 [h, w, channels]."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow itself would clip
            grey = np.clip(np.asarray(image, np.float64) / 257.0, 0, 255)
            image = Image.fromarray(np.rint(grey).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
        if size is not None and image.size != (size, size):
            image = _square(image, size)
        array = np.asarray(image)
        return array.reshape(*array.shape[:2], channels)


def _read_all(files, read):
    """Yields (image, None), or (None, error) for a file that cannot be read, in order."""

    def attempt(path):
        try:
            return read(path), None
        except Exception as error:  # Pillow's readers raise anything on a damaged file
            return None, error

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")
        for i in range(0, len(files), 256):  # what is read ahead is held in memory
            yield from pool.map(attempt, files[i : i + 256])


def _read_groups(folder, groups, shape, read, with_labels, large):
    """Reads every file once, so that what is damaged is known before training."""
    import numpy as np

    parts, bad = {}, []
    for key, group in groups.items():
        files = [path for path, _ in group]
        images = _Files(files, shape, read) if large else np.zeros((len(files), *shape), np.uint8)
        for i, (image, error) in enumerate(_read_all(files, read)):
            if error is not None or image.shape != shape:
                bad.append(files[i])
            elif not large:
                images[i] = image
        labels = np.array([label for _, label in group], np.int32) if with_labels else None
        parts[key] = (images, labels)
    if bad:
        raise _unreadable(folder, bad)
    return parts


def _unreadable(folder, bad):
    some = ", ".join(sorted(str(path.relative_to(folder)) for path in bad)[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return InputError(
        f"{len(bad)} image{'s' * (len(bad) != 1)} in {folder} cannot be read (damaged, or not an "
        f"image): mend or remove {some}{more}"
    )


# Arrays in files


_IMAGE_KEYS = {
    "all": ("images", "x"),
    "train": ("train_images", "x_train"),
    "validation": ("validation_images", "val_images", "x_validation", "x_val"),
    "test": ("test_images", "x_test"),
}


def _load_numpy(path, size, binarize):
    stored = _stored(path)
    keys = {
        split: next(key for key in names if key in stored)
        for split, names in _IMAGE_KEYS.items()
        if any(key in stored for key in names)
    }
    if ("all" in keys) == ("train" in keys) or ("all" in keys and len(keys) > 1):
        raise InputError(
            f"A .npz must hold either `images` (or `x`), or `train_images` (or `x_train`) and "
            f"perhaps validation_ and test_ ones. "
            f"Received: {path} with {', '.join(sorted(stored)) or 'nothing'}"
        )
    label_keys = {split: _label_key(key) for split, key in keys.items()}
    raw = {split: _checked_images(path, key, stored[key]) for split, key in keys.items()}
    if len({images.shape[1:] for images in raw.values()}) > 1:
        raise InputError(
            "All images must be of one shape. "
            f"Received: {path} with {', '.join(f'{keys[s]} {x.shape}' for s, x in raw.items())}"
        )
    levels = 2 if all(_is_binary(images) for images in raw.values()) else 256
    source = "all" if "all" in keys else "train"
    with_labels = label_keys[source] in stored
    parts = {}
    for split, images in raw.items():
        labels = None
        if with_labels and label_keys[split] in stored:
            labels = _checked_labels(path, label_keys[split], stored, len(images))
        parts[split] = (_on_grid(images, levels), labels)
    notes = [f"{', '.join(keys.values())} in {path}"]
    if levels == 256 and any(images.dtype.kind == "f" for images in raw.values()):
        notes.append("floats rounded to 256 levels")
    if unused := sorted(set(stored) - set(keys.values()) - set(label_keys.values())):
        notes.append(f"ignored: {', '.join(unused)}")
    num_classes = 0
    if with_labels:
        num_classes = 1 + max(int(y.max()) for _, y in parts.values() if y is not None)
        if num_classes > len(parts[source][0]):
            raise InputError(
                f"Labels must be classes 0, 1, 2, ... Received: {label_keys[source]} up to "
                f"{num_classes - 1} in {path}"
            )
    parts = _carved_arrays(path, parts)
    return _finish(path.stem, parts, levels, size, binarize, notes, num_classes=num_classes)


def _stored(path):
    """Reads the arrays of a file, never a pickle."""
    import numpy as np

    if not path.is_file():
        raise InputError(f"There is no such file. Received: {path}")
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            if magic[:4] not in (b"PK\x03\x04", b"PK\x05\x06") and magic != b"\x93NUMPY":
                raise InputError(
                    f"Not a file of NumPy arrays (damaged, or a pickle). Received: {path}"
                )
            file.seek(0)
            stored = np.load(file, allow_pickle=False)
            return {"images": stored} if isinstance(stored, np.ndarray) else dict(stored)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        if "Object arrays" in str(error):
            raise InputError(
                f"Arrays of Python objects are not read, because unpickling them can run any "
                f"code: save images of one size as one uint8 array. Received: {path}"
            ) from error
        raise InputError(f"A damaged file ({_line(error)}). Received: {path}") from error
    except (OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"A damaged file ({_line(error)}). Received: {path}") from error


def _label_key(key):
    return "labels" if key == "images" else re.sub("^x", "y", key.replace("_images", "_labels"))


def _checked_images(path, key, images):
    """Checks and gives [n, h, w, c], its type and values unchanged."""
    import numpy as np

    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"Images must be [n, height, width] or [n, height, width, 1 or 3]. Received: {key} "
            f"{list(images.shape)} in {path}"
        )
    if images.dtype.kind not in "buif":
        raise InputError(
            f"Images must be uint8, bool or float. Received: {key} {images.dtype} in {path}"
        )
    low, high = images.min(), images.max()  # NaN, if there is one
    most = 1 if images.dtype.kind in "bf" else 255
    if not (low >= 0 and high <= most):
        raise InputError(
            f"Images must be integers from 0 to 255 or floats from 0 to 1. Received: {key} "
            f"{images.dtype} from {low} to {high} in {path}"
        )
    return np.ascontiguousarray(images)


def _is_binary(images):
    if images.dtype.kind == "f":
        return bool(((images == 0) | (images == 1)).all())
    return images.max() <= 1


def _on_grid(images, levels):
    import numpy as np

    if images.dtype.kind in "bf":
        images = np.rint(images * np.float32(levels - 1))
    return images.astype(np.uint8)


def _checked_labels(path, key, stored, count):
    import numpy as np

    labels = stored[key]
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "bui" or labels.min() < 0:
        raise InputError(
            f"Labels must be {count} integers from 0, one an image. Received: {key} "
            f"{labels.dtype} {list(labels.shape)} in {path}"
        )
    return labels.astype(np.int32)


def _carved_arrays(path, parts):
    """Holds out the splits that are missing, from a fixed shuffled order; given ones stay as is."""
    if "all" in parts:
        parts["train"] = parts.pop("all")
    images, labels = parts["train"]
    _check_enough(len(images), path)
    index = _philox("order of a file").random_raw(len(images)).argsort(kind="stable")
    sections = {}
    for key, held_out in _held_out(parts, len(images)):
        index, sections[key] = index[:-held_out], index[-held_out:]
    if sections:
        sections["train"] = index
    for key, chosen in sections.items():
        parts[key] = (images[chosen], None if labels is None else labels[chosen])
    return parts


def _held_out(parts, count):
    """Plans what to take from the end of train: [(split that is missing, number of images)]."""
    return [(key, max(1, count // 10)) for key in ("test", "validation") if key not in parts]


def _check_enough(count, path):
    if count < MIN_IMAGES:
        raise InputError(
            f"At least {MIN_IMAGES} images are needed to train. Received: {count} in {path}"
        )
