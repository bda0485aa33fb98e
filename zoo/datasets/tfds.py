"""Loads image sets of TensorFlow Datasets, in memory if they fit, else streamed."""

import functools
import hashlib
import json
import operator
import os
import threading
from pathlib import Path

import numpy as np

from zoo.datasets import assembly, order, summaries
from zoo.datasets.assembly import Contents, assemble
from zoo.datasets.split import Split, deterministic
from zoo.errors import InputError, did_you_mean, for_caller
from zoo.registry.entry_points import plugins_disabled
from zoo.spec import Spec

_PROBE_SECONDS = 4.0
_WINDOW = 8192  # encoded images of a streamed set that are shuffled together


def names():
    """Returns the names of all TFDS data sets."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def load(name, size, binarize):
    """Loads a set by its name in TFDS, such as `emnist` or `emnist/letters`."""
    builder = _builder(name)
    spec, condition = _features(builder, name, size)
    notes = []
    if not _is_prepared(builder):
        _download(builder, name)
        notes.append(f"downloaded to {builder.data_dir}")
    if size is not None:
        notes.append(f"cropped to squares and resized to {size}x{size}")
    short = name.replace("/", "-").replace(":", "-")

    def stream(split, source, index, about):
        section = (source, index.start, index.stop)
        return RecordSplit(short, split, builder, section, spec, size, **about)

    def read(source, index):
        return stream(source, source, index, {"condition": condition}).read()

    contents = Contents(
        short,
        name,
        {key: split.num_examples for key, split in builder.info.splits.items()},
        spec,
        read,
        stream,
        most=5000,
        notes=notes,
        condition=condition,
    )
    return assemble(contents, size, binarize)


class RecordSplit(Split):
    """A split of a TFDS set that is read sequentially from its files.

    An epoch starts at an image that depends on (seed, epoch), continues cyclically, and shuffles
    windows of encoded images. A stream that starts at a later step reads the skipped images without
    decoding them.

    Args:
      builder: prepared tfds.core.DatasetBuilder.
      section: (split of TFDS, first, last).
      size: int or None, as in `load_dataset`.
    """

    def __init__(self, name, split, builder, section, spec, size, **about):
        super().__init__(name, split, section[2] - section[1], spec, **about)
        self._builder, self._section, self._size = builder, section, size

    @functools.cached_property
    def fingerprint(self):
        """The sha256 of TFDS's description of the data, in hex. Hashing images would take hours."""
        source, first, last = self._section
        info = self._builder.info
        facts = [info.full_name, source, first, last, self.shape, self._size, self.num_classes]
        facts += [info.splits[source].shard_lengths, info.splits[source].num_bytes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def batches(self, batch_size, condition=False):
        self._check(condition, condition and self._has_labels, batch_size)
        return self._batched(self._records(), condition, batch_size)

    def stream(self, batch_size, seed, first_step=0, condition=False):
        import tensorflow as tf

        self._check(condition, condition and self._has_labels, batch_size, first_step)
        records, count = self._records(), len(self)
        windows = -(-count // _WINDOW)
        shuffle, start = order.seed_for(seed, "order"), order.seed_for(seed, "start")

        def epoch(number):
            first = order.shuffled(tf.zeros([1], tf.int64), count, start, number[None])[0]

            def window(w, record):
                n = tf.shape(record["image"], tf.int64)[0]
                number_of_window = tf.fill([n], number * windows + w)
                index = order.shuffled(tf.range(n), n, shuffle, number_of_window)
                return {key: tf.gather(value, index) for key, value in record.items()}

            rotated = records.skip(first).concatenate(records.take(first))
            return rotated.batch(_WINDOW).enumerate().map(window).unbatch()

        position = operator.index(first_step) * batch_size
        examples = tf.data.Dataset.counter(position // count).flat_map(epoch)
        examples = examples.skip(position % count)
        return self._batched(examples, condition, batch_size, drop_remainder=True)

    @functools.cached_property
    def _has_labels(self):
        """Whether there are labels: those of a split without are -1, as in TFDS."""
        if self.condition is None:
            return False
        return next(self._records().take(1).as_numpy_iterator())["label"] >= 0

    def read(self):
        """Reads all images and labels: (uint8 [n, *shape], int32 [n] or None)."""
        images, labels = np.zeros((len(self), *self.shape), np.uint8), np.zeros(len(self), np.int32)
        batches = deterministic(self._decoded(self._records()).batch(500))
        for i, (x, y) in enumerate(batches.as_numpy_iterator()):
            images[i * 500 :][: len(x)], labels[i * 500 :][: len(x)] = x, y
        return images, None if labels.min() < 0 else labels

    def _records(self):
        """Returns a dataset of {"image": encoded string [], "label": int64 []} in file order."""
        import tensorflow_datasets as tfds

        keys = ("image", "label") if self.num_classes else ("image",)
        encoded = {
            key: tfds.decode.SkipDecoding()
            for key, feature in self._builder.info.features.items()
            if isinstance(feature, tfds.features.Image)
        }
        records = self._builder.as_dataset(
            split="{}[{}:{}]".format(*self._section),
            shuffle_files=False,
            decoders=encoded,
            read_config=tfds.ReadConfig(
                try_autocache=False, interleave_cycle_length=1, skip_prefetch=True
            ),
        )
        return records.map(lambda record: {key: record[key] for key in keys})

    def _decoded(self, records):
        """Maps records to (uint8 [*shape], int32 []). A missing label is -1, as in TFDS."""
        import tensorflow as tf

        decode = self._builder.info.features["image"].decode_example

        def example(record):
            image = decode(record["image"])
            if self._size is not None:
                fit = functools.partial(assembly.resize, size=self._size)
                image = tf.numpy_function(fit, [image], tf.uint8, stateful=False)
            return tf.ensure_shape(image, self.shape), tf.cast(record.get("label", -1), tf.int32)

        return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def _batched(self, records, condition, batch_size, drop_remainder=False):
        def scaled(images, y):
            return (self.spec.scale(images), y) if condition else self.spec.scale(images)

        batches = self._decoded(records).batch(batch_size, drop_remainder=drop_remainder)
        return deterministic(batches.map(scaled))


def _builder(name):
    """Returns a builder, of a prepared version if one exists."""
    import tensorflow_datasets as tfds

    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown(name) from None
    except Exception as error:
        advice = _as_path(name)
        raise InputError(f"TFDS cannot load {name}: {_line(error)}{advice}") from error
    if not _is_prepared(builder) and ":" not in name:
        try:
            return tfds.builder(f"{name}:*.*.*", data_dir=data_dir)
        except Exception:  # no version is prepared, so the newest is downloaded
            return builder
    return builder


def _is_prepared(builder):
    return (builder.data_path / "dataset_info.json").exists()  # as TFDS, but without its warning


def _unknown(name):
    advice = _as_path(name) or did_you_mean(name, {*summaries(), *names()})
    command = for_caller("zoo data", "zoo.datasets.list_datasets()")
    advice = advice or f" List data sets with: {command}."
    if disabled := plugins_disabled():
        advice += f" {disabled}"
    return InputError(f"Unknown data set {name!r}.{advice} List data sets with: zoo data")


def _as_path(name):
    """Returns advice if a path of this name exists, else ""."""
    return f" For the file or folder {name}, write ./{name}." if Path(name).exists() else ""


def _features(builder, name, size):
    """Returns the Specs of images and labels (or None). Raises InputError without 8-bit images."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    features = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = features.get("image"), features.get("label")
    is_image = isinstance(image, tfds.features.Image)
    if not (is_image and image.np_dtype == np.uint8 and image.shape[-1] in (1, 3)):
        raise InputError(
            f"A data set must have an 8-bit `image` feature with 1 or 3 channels. Received: "
            f"{name} with {image if is_image else ', '.join(features) or 'no features'}"
        )
    shape = tuple(image.shape) if size is None else (size, size, image.shape[-1])
    if None in shape:
        raise InputError(
            f"The images of {name} have no fixed size. To crop and resize them, add --size N "
            f"(size=N). Received: size=None"
        )
    if not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
        return Spec(shape), None
    return Spec(shape), Spec((), label.num_classes, "label", label.names)


def _download(builder, name):
    """Prepares a TFDS set. Without a network, it fails at once; TFDS would retry for minutes."""
    advice = (
        f"Set TFDS_DATA_DIR to a folder in which TFDS has prepared {name}, or use your own images "
        f"with --data PATH (data=PATH)."
    )
    urls = [url for url in builder.url_infos if url.startswith("http")]
    fault = _unreachable(urls[0] if urls else "https://storage.googleapis.com")
    if fault:
        raise InputError(
            f"{name} is not prepared in {builder.data_dir} and cannot be downloaded ({fault}). "
            f"{advice}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise InputError(f"TFDS cannot prepare {name} ({_line(error)}). {advice}") from error


def _unreachable(url):
    """Returns within seconds why a host is unreachable, or None if it answers."""
    import requests

    host = url.split("/")[2]
    fault = [f"{host} does not answer"]

    def probe():
        try:
            requests.head(url, timeout=_PROBE_SECONDS).close()
            fault[0] = None
        except requests.RequestException:
            fault[0] = f"{host} cannot be reached"

    # In a thread, because resolving a host name has no time limit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return fault[0]


def _line(error):
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
