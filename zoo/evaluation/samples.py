"""How near samples are to images, by the features of a classifier.

Every score has in `real` what it is for training images in the place of the samples (for
authenticity: images of the split). That is what to expect of a perfect model, and no model has
smaller distances or more coverage but by chance; the other scores can be raised at the cost of each
other. Of images that are drawn afresh at every presentation, one fixed draw is what training images
are here.
"""

import numpy as np

from zoo.errors import ArtefactError, InputError, UndefinedError
from zoo.evaluation import distances
from zoo.evaluation.scores import score, unseen

__all__ = ["check_count", "score_samples"]

COUNT = 10_000
LEAST = 100  # samples and images: ten random parts of either have errors of their own


def score_samples(model, train, split, extractor, count=None, seed=0, batch_size=200, begin=unseen):
    """Draws samples and compares them with the images of a split.

    A conditional model is given the labels of training images, so that classes are as frequent.

    Args:
      model: zoo.saving.SavedModel.
      train: zoo.datasets.Split, the training part of the same data set.
      split: zoo.datasets.Split of the images to compare with: not those of training.
      extractor: zoo.evaluation.features.Extractor.
      count: int; number of samples, at most that of training images. Default: 10,000 or all.
      seed: int; draws the samples, and splits them where an error is a spread over splits.
      batch_size: int; changes memory and time alone.
      begin: function of the number of samples and images that are to come; it returns one that
        is told of every n that are done.

    Returns:
      list of scores: frechet_distance, kernel_distance (where there are enough samples and images
      for it), classifier_score, precision, recall, density, coverage, diversity and (if train is
      what the model was trained on) authenticity, as of `zoo.evaluation.distances`.

    Raises:
      UndefinedError: if the images are those of training, or too few.
      InputError: if there cannot be so many samples.
      ArtefactError: if a sample is not an image of the model's levels.
    """
    if split.split == "train":
        raise UndefinedError(
            f"Samples of {model.name} are not compared with its training images, because those are"
            " what real images are in the comparison."
        )
    if min(len(split), len(train)) < LEAST:
        raise UndefinedError(
            f"Samples of {model.name} are not compared, because that takes {LEAST} images:"
            f" {split.name} has {len(train)} to train and {len(split)} to {split.split}."
        )
    count = min(COUNT, len(train)) if count is None else count
    check_count(count, train)
    conditional, labels = model.card["num_classes"] > 0, []
    advance = begin(len(train) + len(split) + count)

    def read(batches):
        features, logits = [], []
        for x in batches:
            if isinstance(x, tuple):
                x, y = x
                labels.append(y)
            x = np.asarray(x)
            for parts, part in zip((features, logits), extractor(x), strict=True):
                parts.append(part)
            advance(len(x))
        return np.concatenate(features), np.concatenate(logits)

    known, known_logits = read(train.batches(batch_size, labels=conditional))
    images, _ = read(split.batches(batch_size))
    chosen = np.arange(count) * len(train) // count  # evenly spaced: a set may be in class order
    labels = np.concatenate(labels)[chosen] if conditional else None
    samples, logits = read(_drawn(model, count, labels, seed, batch_size))
    real, real_logits = known[chosen], known_logits[chosen]

    on = {
        "extractor_sha256": extractor.sha256,
        "samples": count,
        "seed": seed,
        "train_fingerprint": train.fingerprint,
    }
    found = _compared(samples, logits, images, seed)
    floor = _compared(real, real_logits, images, seed)
    if train.fingerprint == model.trained_on.get("fingerprint"):
        for values, new in ((found, samples), (floor, images)):
            values["authenticity"] = distances.authenticity(*distances.nearest(new, known), known)
    more = {"extractor": extractor.name}
    return [
        score(metric, *found[metric], on, model, split, len(images), real=floor[metric], **more)
        for metric in found
    ]


def check_count(count, train):
    """Raises InputError if so many samples cannot be compared with images of a data set."""
    if not LEAST <= count <= len(train):
        raise InputError(
            f"Expected {LEAST} samples or more, and {len(train)} at most, as there are training"
            f" images. Received: {count}"
        )


def _drawn(model, count, labels, seed, batch_size):
    """Yields samples, float32 [b, *shape]."""
    for first in range(0, count, batch_size):
        part = labels if labels is None else labels[first : first + batch_size]
        x = model.sample(min(batch_size, count - first), seed, part, first).numpy()
        _check_levels(x, model)
        yield x


def _check_levels(x, model):
    levels = model.card["levels"]
    steps = x * (levels - 1 if levels else 1)
    off = np.abs(steps - np.round(steps)).max() if levels else 0.0
    if not (x.min() >= 0.0 and x.max() <= 1.0 and off < 1e-2):  # NaN neither
        raise ArtefactError(
            f"Expected images of {levels} levels from 0 to 1 of {model.name}. Received: values from"
            f" {x.min():g} to {x.max():g}, off by {off:g} levels"
        )


def _compared(samples, logits, images, seed):
    """Returns {metric: (value, standard error)} of features [n, d], logits, and features [m, d]."""
    sums = [distances.moments([features], seed) for features in (samples, images)]
    found = {"frechet_distance": distances.frechet_distance(*sums)}
    if min(len(samples), len(images)) > distances.KERNEL_SUBSET_SIZE:
        found["kernel_distance"] = distances.kernel_distance(samples, images, seed)
    return {
        **found,
        "classifier_score": distances.classifier_score(logits, seed),
        **distances.precision_recall_density_coverage(samples, images, seed),
        "diversity": distances.diversity(samples, images),
    }
