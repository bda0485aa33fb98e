"""Computes distances between samples and images in the features of a classifier.

In every score, `real` is the value of real images: training images, or for authenticity the images
of the split. A perfect model has this value. Smaller distances or a higher coverage occur only by
chance. The other metrics trade off against each other. Training images that are re-binarized every
epoch are binarized once.
"""

import numpy as np

from zoo.errors import ArtefactError, InputError, UndefinedError
from zoo.evaluation import distances
from zoo.evaluation.scores import score
from zoo.progress import SILENT
from zoo.spec import TOLERANCE

__all__ = ["check_count", "score_samples"]

COUNT = 10_000
LEAST = 100  # samples and images, because errors are estimated from ten random splits


def score_samples(
    model, train, split, extractor, samples=None, seed=0, batch_size=200, progress=SILENT
):
    """Draws samples and compares them with the images of a split.

    A conditional model receives labels of training images, so that the class frequencies are equal.

    Args:
      model: zoo.exports.saved_model.SavedModel.
      train: zoo.datasets.Split, the training split of the same data set.
      split: zoo.datasets.Split of the images to compare with, which is not the training split.
      extractor: zoo.evaluation.features.Extractor.
      samples: int; number of samples, at most the number of training images. Default: 10,000, or
        the number of training images if it is smaller.
      seed: int; seeds the samples and their random splits.
      batch_size: int; affects memory and time only.
      progress: zoo.progress.Progress, whose parts are samples and images.

    Returns:
      list of scores, defined in `zoo.evaluation.distances`: frechet_distance, kernel_distance (with
      more than 1000 samples and images), classifier_score, precision, recall, density, coverage,
      diversity, and authenticity (if the model was trained on `train`).

    Raises:
      UndefinedError: if the split is the training split, or has too few images.
      InputError: if the number of samples is out of range.
      ArtefactError: if a sample is not an image with the levels of the model.
    """
    if split.split == "train":
        raise UndefinedError(
            "Metric 'samples' is not defined on the training split, because training"
            " images are the reference. Choose another split."
        )
    if min(len(split), len(train)) < LEAST:
        raise UndefinedError(
            f"Metric 'samples' is not defined for {split.name}, because it requires {LEAST}"
            f" images per split. Received: {len(train)} training and {len(split)}"
            f" {split.split} images"
        )
    count = min(COUNT, len(train)) if samples is None else samples
    check_count(count, train)
    conditional, conditions = model.condition is not None, []
    progress.start(len(train) + len(split) + count, "samples")

    def read(batches):
        features, logits = [], []
        for x in batches:
            if isinstance(x, tuple):
                x, y = x
                conditions.append(y)
            x = np.asarray(x)
            for parts, part in zip((features, logits), extractor(x), strict=True):
                parts.append(part)
            progress.advance(len(x))
        return np.concatenate(features), np.concatenate(logits)

    training, training_logits = read(train.batches(batch_size, condition=conditional))
    images, _ = read(split.batches(batch_size))
    chosen = np.arange(count) * len(train) // count  # evenly spaced: data may be sorted by class
    conditions = np.concatenate(conditions)[chosen] if conditional else None
    generated, logits = read(_samples(model, count, conditions, seed, batch_size))
    real, real_logits = training[chosen], training_logits[chosen]

    protocol = {
        "extractor_sha256": extractor.sha256,
        "samples": count,
        "seed": seed,
        "train_fingerprint": train.fingerprint,
    }
    scores = _compare(generated, logits, images, seed)
    floor = _compare(real, real_logits, images, seed)
    if train.fingerprint == model.trained_on.get("fingerprint"):
        for values, new in ((scores, generated), (floor, images)):
            nearest = distances.nearest(new, training)
            values["authenticity"] = distances.authenticity(*nearest, training)
    more = {"extractor": extractor.name}
    return [
        score(
            metric, *scores[metric], protocol, model, split, len(images), real=floor[metric], **more
        )
        for metric in scores
    ]


def check_count(count, train):
    """Raises InputError if the number of samples is out of range for a data set."""
    if not LEAST <= count <= len(train):
        raise InputError(
            f"The number of samples must be from {LEAST} to {len(train)}, the number of training"
            f" images. Received: {count}"
        )


def _samples(model, count, conditions, seed, batch_size):
    """Yields samples, float32 [b, *shape]."""
    for first in range(0, count, batch_size):
        part = conditions if conditions is None else conditions[first : first + batch_size]
        x = model.sample(min(batch_size, count - first), seed, part, first).numpy()
        _check_levels(x, model)
        yield x


def _check_levels(x, model):
    off = float(model.spec.off_grid(x))
    if not (x.min() >= 0.0 and x.max() <= 1.0 and off < TOLERANCE):  # also if NaN
        raise ArtefactError(
            f"sample of {model.name} must return {model.spec} from 0 to 1. Received: values from"
            f" {x.min():g} to {x.max():g}, off by {off:g} levels"
        )


def _compare(samples, logits, images, seed):
    """Returns {metric: (value, standard error)} of features [n, d], logits, and features [m, d]."""
    sums = [distances.moments([features], seed) for features in (samples, images)]
    values = {"frechet_distance": distances.frechet_distance(*sums)}
    if min(len(samples), len(images)) > distances.KERNEL_SUBSET_SIZE:
        values["kernel_distance"] = distances.kernel_distance(samples, images, seed)
    return {
        **values,
        "classifier_score": distances.classifier_score(logits, seed),
        **distances.precision_recall_density_coverage(samples, images, seed),
        "diversity": distances.diversity(samples, images),
    }
