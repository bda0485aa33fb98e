"""Features of images: the penultimate layer of a small classifier, trained for their data set.

saved_model.pb, variables/   x -> features, logits, with TensorFlow alone
card.json                    what it is, the data sets it serves, its accuracy, sha256 of each file

The classifier sees images shifted by up to two pixels and, of grey images, half as draws from
Bernoulli(grey), so that one serves a data set and its binary forms. Its labels are not smoothed:
that draws the features of a class together (Müller, Kornblith and Hinton, When does label smoothing
help?, NeurIPS 2019), and with them the differences that recall and coverage are to see.
"""

import hashlib
import math
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import checkpoints, random, registry, saving
from zoo.environment import device, versions
from zoo.errors import ArtefactError, InputError, TrainingError
from zoo.evaluation.scores import score

__all__ = ["Extractor", "find", "train"]

KIND = "features"
FEATURES = 64
WIDTHS = (32, 64, 96)  # of the blocks; those that follow are as wide as the last
SMALLEST = 4  # pixels of a side, which are not pooled further
SHIFT = 2  # pixels
EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 128, 2e-3
SURE = 3.0  # standard errors that an accuracy must be above that of chance
TEST_SEED = 0  # of the binary draws that the accuracy is measured on
SERVES = {"mnist": ("mnist", "mnist_binary", "binarized_mnist")}  # what else are forms of it

_SHIFTS, _DRAWS = 0, 1  # what a seed is used for


def train(data, folder, epochs=EPOCHS, seed=0, command=None, say=print):
    """Trains a classifier and keeps it as a sealed SavedModel.

    Args:
      data: (train, validation, test) as of `zoo.load_dataset`, with labels.
      folder: path that must not exist.
      epochs: int; passes over the training data.
      seed: int; decides the first weights, the order of the data and what is drawn. It becomes the
        global seed of Keras.
      command: str, what the user typed: kept in the card.
      say: function of a str, told the accuracy on the validation images after each epoch, and on
        the test images at the end.

    Returns:
      Path of the folder.

    Raises:
      InputError: if a split has no labels, or there is one class alone, or the folder exists or
        cannot be made.
      TrainingError: if the loss is not finite, or the labels are told apart no better than by
        chance; nothing is left.
    """
    training, validation, test = data
    if training.num_classes < 2:
        found = "one class alone" if training.num_classes else "no labels"
        raise InputError(
            "Expected labels of two classes or more, because features are what tells classes apart."
            f" Received: {training.name} with {found}"
        )
    folder = saving.new_folder(folder)
    # Made here, so that a split without labels is refused before training.
    validated, tested = (x.batches(BATCH_SIZE, labels=True) for x in (validation, test))
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
    # `write` fills in what is known only once the classifier is trained and saved.
    record = {
        "schema": saving.SCHEMA,
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
    say(
        f"A classifier of {record['parameters']:,} parameters: {epochs} epochs of {steps:,} steps"
        f" of {batch_size} images."
    )

    def tell(epoch, logs):
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"The loss is {logs['loss']} in epoch {epoch + 1}. Nothing is kept."
            )
        say(f"epoch {epoch + 1}/{epochs}  validation accuracy {logs['val_accuracy']:.2%}")

    def write(aside):
        started = time.monotonic()
        network.fit(
            _stream(training, batch_size, seed),
            validation_data=validated,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=tell)],
            shuffle=False,
            verbose=0,
        )
        record["training_seconds"] = round(time.monotonic() - started, 1)
        _save(network, aside)
        record["scores"] = _accuracies(aside, test, tested)

    saving.commit(folder, write, record)
    for accuracy in record["scores"]:
        protocol = accuracy["protocol"]
        say(
            f"test accuracy {accuracy['value']:.2%} +- {accuracy['standard_error']:.2%}"
            f" on {protocol['count']:,} images {protocol['images']}"
        )
    return folder


class Extractor:
    """A loaded classifier: `features, logits = extractor(x)`.

    Args:
      folder: path, as of `train` or `find`.

    Attributes:
      name: str, of the folder.
      card: dict, what card.json says.
      sha256: str in hex; identifies its files: the sum of what the program `sha256sum` prints for
        them, in the order of their names.

    Raises:
      InputError: if there is none.
      ArtefactError: if it is damaged, or something else than a classifier.
    """

    def __init__(self, folder):
        folder = Path(folder).absolute()
        advice = "`zoo features train DATA` makes one"
        if not (folder / saving.CARD).is_file():
            raise InputError(
                f"Expected a classifier with a {saving.CARD}: {advice}. Received: {folder}"
            )
        kind = saving.read_card(folder).get("kind")
        if kind != KIND:
            raise ArtefactError(
                f"Expected a classifier, of kind {KIND!r}: {advice}. Received: {folder} of {kind=}"
            )
        self.name = folder.name
        self.card = checkpoints.verify(folder, seal=saving.CARD)
        lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(self.card["files"].items())]
        self.sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
        self._loaded = tf.saved_model.load(str(folder))

    def __call__(self, x):
        """Computes the features of images, and what they are classified by.

        Args:
          x: float32 [n, *shape] in [0, 1], a batch of one image or more.

        Returns:
          (features float32 [n, 64], logits float32 [n, num_classes]), arrays.

        Raises:
          InputError: if x is not that.
        """
        x, shape = np.asarray(x), tuple(self.card["shape"])
        if x.shape[1:] != shape or not len(x) or not (x.min() >= 0 and x.max() <= 1):
            came = f"shape {x.shape}"
            if x.size:
                came += f" from {x.min():g} to {x.max():g}"
            raise InputError(
                f"Expected images of shape (n, {', '.join(map(str, shape))}) from 0 to 1, as"
                f" {self.name} was made for. Received: {came}"
            )
        outputs = self._loaded.signatures["extract"](x=tf.constant(x, tf.float32))
        return outputs["features"].numpy(), outputs["logits"].numpy()


def find(split):
    """Finds the classifier that came with zoo for a data set.

    Args:
      split: zoo.datasets.Split.

    Returns:
      Path of its folder, or None: one serves images of its shape alone.

    Raises:
      ArtefactError: if a card is damaged.
    """
    for path in sorted(registry.shipped().glob(f"features-*/{saving.CARD}")):
        card = saving.read_card(path.parent)
        if split.source["name"] in card["serves"] and split.shape == tuple(card["shape"]):
            return path.parent
    return None


def _network(shape, num_classes):
    """Makes the classifier, whose last layer but one gives the features.

    A block convolves, pools, normalises and rectifies; the last block does not pool.
    """
    poolings = 0
    while min(shape[:2]) >> poolings > SMALLEST:
        poolings += 1
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
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
    finally:
        keras.config.set_dtype_policy(policy)


def _stream(training, batch_size, seed):
    """Gives training batches without end, varied: a pure function of the seed."""
    draw = _is_grey(training)

    def vary(step, batch):
        x, y = batch
        return _varied(x, seed, step * batch_size, draw), y

    steps = tf.data.Dataset.counter()
    batches = tf.data.Dataset.zip(steps, training.stream(batch_size, seed, labels=True))
    return batches.map(vary, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _varied(x, seed, first, draw):
    """Shifts images by up to two pixels, and draws half of them as binary.

    What a shift uncovers repeats the edge.

    Args:
      x: float32 [n, height, width, channels], in [0, 1].
      seed: int.
      first: int64 []; index of the first image.
      draw: whether the first n // 2 are drawn from Bernoulli(x).

    Returns:
      float32 [n, height, width, channels].
    """
    n, height, width, _ = x.shape
    offsets = random.uniform((_SHIFTS, seed), first, n, (2,)) * (2 * SHIFT + 1)
    offsets = tf.cast(offsets, tf.int32) - SHIFT  # [n, 2]
    rows = tf.clip_by_value(offsets[:, :1] + tf.range(height), 0, height - 1)  # [n, height]
    columns = tf.clip_by_value(offsets[:, 1:] + tf.range(width), 0, width - 1)  # [n, width]
    x = tf.gather(tf.gather(x, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    if not draw:
        return x
    drawn = random.bernoulli((_DRAWS, seed), first, x[: n // 2])
    return tf.concat([drawn, x[n // 2 :]], axis=0)


def _is_grey(split):
    return split.levels > 2 and split.shape[-1] == 1


def _save(network, folder):
    features, logits = (layer.output for layer in network.layers[-2:])
    extract = tf.function(
        keras.Model(network.inputs[0], {"features": features, "logits": logits}),
        input_signature=[tf.TensorSpec(network.inputs[0].shape, tf.float32, "x")],
        autograph=False,
    ).get_concrete_function()
    saving.store({"extract": extract}, folder)


def _accuracies(folder, test, batches):
    """Measures what was saved: on the test images and, where they are grey, on binary draws.

    Raises:
      TrainingError: if it is no better than to name the most frequent class.
    """
    extract = tf.saved_model.load(str(folder)).signatures["extract"]
    protocols = [{"images": "as they are"}]
    if _is_grey(test):
        protocols.append({"images": "drawn as binary", "seed": TEST_SEED})
    right, labels = [[] for _ in protocols], []
    for x, y in batches:
        presented = [x]
        if _is_grey(test):
            presented.append(random.bernoulli((_DRAWS, TEST_SEED), len(labels), x))
        for images, hits in zip(presented, right, strict=True):
            hits.extend(np.argmax(extract(x=images)["logits"], axis=1) == y.numpy())
        labels.extend(y.numpy())
    most = np.bincount(labels).max() / len(labels)
    chance = most + SURE * math.sqrt(most * (1.0 - most) / len(labels))
    if np.mean(right[0]) <= chance:
        raise TrainingError(
            f"Expected a test accuracy above {chance:.2%}, what the most frequent class gets: the"
            " labels may not follow from the images, or more --epochs may help. Nothing is kept."
            f" Received: {np.mean(right[0]):.2%} on {len(labels):,} test images of {test.name}"
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
        for share, protocol in zip(np.mean(right, axis=1), protocols, strict=True)
    ]
