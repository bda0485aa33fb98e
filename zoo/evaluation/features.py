"""Trains and loads small classifiers whose penultimate layer gives features of images.

saved_model.pb, variables/   the function x -> features, logits, which requires only TensorFlow
card.json                    metadata, supported data sets, accuracy, sha256 of each file

There is one classifier per data set. Training images are shifted by up to two pixels. Half of the
grey images are binarized at random, so that one classifier works for a data set and its binary
versions. Labels are not smoothed, because smoothing contracts the features of a class and hides
differences that recall and coverage measure (Müller, Kornblith and Hinton, When does label
smoothing help?, NeurIPS 2019).
"""

import contextlib
import logging
import math
import shlex
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import random, storage
from zoo.environment import device, versions
from zoo.errors import ArtefactError, InputError, TrainingError, UndefinedError
from zoo.evaluation.scores import score
from zoo.exports import cards, export, pretrained, saved_model
from zoo.progress import Bars

__all__ = ["Extractor", "find", "load", "train"]

KIND = "features"
FEATURES = 64
WIDTHS = (32, 64, 96)  # channels of the blocks; later blocks have the last width
SMALLEST = 4  # sides of this many pixels or fewer are not pooled
SHIFT = 2  # maximum shift of training images, in pixels
EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 128, 2e-3
SURE = 3.0  # standard errors by which the accuracy must exceed that of the most frequent class
TEST_SEED = 0  # seed of the binarized test images
SERVES = {"mnist": ("mnist", "mnist_binary", "binarized_mnist")}  # data sets with the same images

_SHIFTS, _DRAWS = 0, 1  # streams of random numbers of a seed

log = logging.getLogger("zoo")


def train(data, folder, epochs=EPOCHS, seed=0, command=None, progress=None):
    """Trains a classifier and writes it as a SavedModel with checksums.

    Logs the validation accuracy after each epoch, and the test accuracy at the end.

    Args:
      data: Splits, as returned by `zoo.load_dataset`, with labels.
      folder: path that must not exist.
      epochs: int; number of epochs.
      seed: int; seeds the initial weights, the order of the data and all random numbers. It becomes
        the global seed of Keras.
      command: str; the command line, for the card.
      progress: zoo.progress.Progress, whose parts are steps. Default: bars on a terminal and in a
        notebook.

    Returns:
      Path of the folder.

    Raises:
      InputError: if a split has no labels, the data have only one class, or the folder exists or
        cannot be created.
      TrainingError: if the loss is not finite, or the accuracy does not exceed that of the most
        frequent class. Nothing is written.
    """
    training, validation, test = data
    if training.num_classes < 2:
        received = "one class" if training.num_classes else "no labels"
        raise InputError(
            "A classifier requires labels of two or more classes."
            f" Received: {training.name} with {received}"
        )
    folder = export.new_folder(folder)
    # Created here, so that a split without labels raises an error before training.
    validated, tested = (x.batches(BATCH_SIZE, condition=True) for x in (validation, test))
    keras.utils.set_random_seed(seed)
    network = _network(training.shape, training.num_classes)
    batch_size = min(BATCH_SIZE, len(training))
    steps = len(training) // batch_size
    network.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    # `write` adds the time and the scores after training.
    record = {
        "schema": cards.SCHEMA,
        "kind": KIND,
        "serves": SERVES.get(training.source["name"], (training.source["name"],)),
        "recipe": {
            "data": {
                **training.source,
                "class_names": training.class_names,
                "fingerprint": training.fingerprint,
                "validation_fingerprint": validation.fingerprint,
            },
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": seed,
        },
        "environment": {"versions": versions(), "device": device(), "precision": "float32"},
        "command": command,
        "shape": training.shape,
        "num_classes": training.num_classes,
        "features": FEATURES,
        "parameters": network.count_params(),
    }
    log.info(
        f"classifier: {record['parameters']:,} parameters, {epochs} epochs of {steps:,} steps of"
        f" {batch_size} images"
    )

    def report(epoch, logs):
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"The loss is {logs['loss']} in epoch {epoch + 1}. Nothing was written."
            )
        log.info(f"epoch {epoch + 1}/{epochs}  validation accuracy {logs['val_accuracy']:.2%}")

    def write(aside):
        started = time.monotonic()
        network.fit(
            _stream(training, batch_size, seed),
            validation_data=validated,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[
                keras.callbacks.LambdaCallback(
                    on_epoch_end=report, on_train_batch_end=lambda batch, logs: progress.advance()
                )
            ],
            shuffle=False,
            verbose=0,
        )
        record["training_seconds"] = round(time.monotonic() - started, 1)
        _save(network, aside)
        record["scores"] = _accuracies(aside, test, tested)

    with contextlib.nullcontext(progress) if progress else Bars() as progress:
        progress.start(epochs * steps, "training")
        export.commit_with_card(folder, write, record)
    for accuracy in record["scores"]:
        protocol = accuracy["protocol"]
        log.info(
            f"test accuracy {accuracy['value']:.2%} +- {accuracy['standard_error']:.2%}"
            f" on {protocol['count']:,} images {protocol['images']}"
        )
    return folder


class Extractor:
    """A loaded classifier: `features, logits = extractor(x)`.

    Args:
      folder: path, as of `train` or `find`.

    Attributes:
      name: str; name of the folder.
      card: dict; contents of card.json.
      sha256: str in hex; the sha256 of the output of `sha256sum` for its files, sorted by name.

    Raises:
      InputError: if the folder contains no classifier.
      ArtefactError: if it is damaged or refused, or not a classifier.
    """

    def __init__(self, folder):
        folder = Path(folder).absolute()
        advice = "Train one with: zoo features train DATA."
        if not (folder / cards.CARD).is_file():
            raise InputError(f"Expected the folder of a classifier. {advice} Received: {folder}")
        kind = cards.read_card(folder).get("kind")
        if kind != KIND:
            raise ArtefactError(
                f"Expected a classifier, with kind {KIND!r}. {advice} Received: {folder} with"
                f" {kind=}"
            )
        self.name = folder.name
        self._loaded = saved_model.load_graph(folder)
        self.card = cards.read_card(folder)
        self.sha256 = storage.digest(folder, seal=cards.CARD)

    def __call__(self, x):
        """Computes the features and the class logits of images.

        Args:
          x: float32 [n, *shape] in [0, 1], with n of 1 or more.

        Returns:
          (features float32 [n, 64], logits float32 [n, num_classes]), arrays.

        Raises:
          InputError: if the shape or the range of x is wrong.
        """
        x, shape = np.asarray(x), tuple(self.card["shape"])
        if x.shape[1:] != shape or not len(x) or not (x.min() >= 0 and x.max() <= 1):
            received = f"shape {x.shape}"
            if x.size:
                received += f" from {x.min():g} to {x.max():g}"
            raise InputError(
                f"{self.name} requires images of shape (n, {', '.join(map(str, shape))}) from 0 to"
                f" 1. Received: {received}"
            )
        outputs = self._loaded.signatures["extract"](x=tf.constant(x, tf.float32))
        return outputs["features"].numpy(), outputs["logits"].numpy()


def find(split):
    """Returns the path of the bundled classifier for a data set, or None.

    Args:
      split: zoo.datasets.Split.

    Raises:
      ArtefactError: if a card is damaged.
    """
    for path in sorted(pretrained.bundled_folder().glob(f"features-*/{cards.CARD}")):
        card = cards.read_card(path.parent)
        if split.source["name"] in card["serves"] and split.shape == tuple(card["shape"]):
            return path.parent
    return None


def load(split):
    """Loads the bundled classifier for a data set.

    Args:
      split: zoo.datasets.Split.

    Returns:
      Extractor.

    Raises:
      UndefinedError: if no classifier is bundled for the data set.
      ArtefactError: if it is damaged.
    """
    if folder := find(split):
        return Extractor(folder)
    advice = "Training one requires labels."
    if split.num_classes > 1:
        size = f" --size {split.source['size']}" if split.source.get("size") else ""
        data = shlex.quote(split.source["name"])
        advice = f"Train one with `zoo features train {data}{size}`, then pass its folder as"
        advice += " --features DIR (features=DIR)."
    raise UndefinedError(
        f"Metric 'samples' is not defined for {split.name}, because zoo has no bundled classifier"
        f" for it. {advice}"
    )


def _network(shape, num_classes):
    """Creates the classifier, whose penultimate layer gives the features.

    A block is a convolution, a pooling (except in the last block), a normalization and a ReLU.
    """
    poolings = 0
    while min(shape[:2]) >> poolings > SMALLEST:
        poolings += 1
    with export.float32_policy():
        layers = [keras.Input(shape)]
        for k in range(poolings + 1):
            width = WIDTHS[min(k, len(WIDTHS) - 1)]
            layers.append(keras.layers.Conv2D(width, 3, padding="same", use_bias=False))
            if k < poolings:
                layers.append(keras.layers.MaxPooling2D())
            layers += [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
        layers += [
            keras.layers.Flatten(),
            keras.layers.Dense(FEATURES, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Dense(num_classes),
        ]
        return keras.Sequential(layers)


def _stream(training, batch_size, seed):
    """Returns endless training batches with augmentation, which depend only on the seed."""
    binarize = _is_grey(training)

    def augment(step, batch):
        x, y = batch
        return _augmented(x, seed, step * batch_size, binarize), y

    steps = tf.data.Dataset.counter()
    batches = tf.data.Dataset.zip(steps, training.stream(batch_size, seed, condition=True))
    return batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _augmented(x, seed, first, binarize):
    """Shifts images by up to two pixels and binarizes half of them at random.

    Uncovered pixels repeat the edge.

    Args:
      x: float32 [n, height, width, channels], in [0, 1].
      seed: int.
      first: int64 []; index of the first image.
      binarize: whether the first n // 2 are drawn from Bernoulli(x).

    Returns:
      float32 [n, height, width, channels].
    """
    n, height, width, _ = x.shape
    offsets = random.uniform((_SHIFTS, seed), first, n, (2,)) * (2 * SHIFT + 1)
    offsets = tf.cast(offsets, tf.int32) - SHIFT  # [n, 2]
    rows = tf.clip_by_value(offsets[:, :1] + tf.range(height), 0, height - 1)  # [n, height]
    columns = tf.clip_by_value(offsets[:, 1:] + tf.range(width), 0, width - 1)  # [n, width]
    x = tf.gather(tf.gather(x, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    if not binarize:
        return x
    binary = random.bernoulli((_DRAWS, seed), first, x[: n // 2])
    return tf.concat([binary, x[n // 2 :]], axis=0)


def _is_grey(split):
    return split.levels > 2 and split.shape[-1] == 1


def _save(network, folder):
    features, logits = (layer.output for layer in network.layers[-2:])
    extract = tf.function(
        keras.Model(network.inputs[0], {"features": features, "logits": logits}),
        input_signature=[tf.TensorSpec(network.inputs[0].shape, tf.float32, "x")],
        autograph=False,
    ).get_concrete_function()
    export.save_functions({"extract": extract}, folder, [w.value for w in network.weights])


def _accuracies(folder, test, batches):
    """Scores the saved classifier on test images and, if they are grey, on binarized ones.

    Raises:
      TrainingError: if the accuracy does not exceed that of the most frequent class.
    """
    with storage.literal_path(folder) as path:
        loaded = tf.saved_model.load(str(path))
    extract = loaded.signatures["extract"]
    protocols = [{"images": "as they are"}]
    if _is_grey(test):
        protocols.append({"images": "drawn as binary", "seed": TEST_SEED})
    correct, labels = [[] for _ in protocols], []
    for x, y in batches:
        versions = [x]
        if _is_grey(test):
            versions.append(random.bernoulli((_DRAWS, TEST_SEED), len(labels), x))
        for images, hits in zip(versions, correct, strict=True):
            hits.extend(np.argmax(extract(x=images)["logits"], axis=1) == y.numpy())
        labels.extend(y.numpy())
    share = np.bincount(labels).max() / len(labels)
    chance = share + SURE * math.sqrt(share * (1.0 - share) / len(labels))
    if np.mean(correct[0]) <= chance:
        raise TrainingError(
            f"The test accuracy is {np.mean(correct[0]):.2%} on {len(labels):,} images of"
            f" {test.name}. It must exceed {chance:.2%}, which guessing the most frequent class"
            " gives. Nothing was written. Check the labels, or add --epochs N (epochs=N)."
        )
    return [
        score(
            "accuracy",
            float(share),
            math.sqrt(share * (1.0 - share) / len(labels)),
            protocol,
            split=test,
            count=len(labels),
        )
        for share, protocol in zip(np.mean(correct, axis=1), protocols, strict=True)
    ]
