"""How near samples are to images, by the features of a classifier.

Every score has in `real` what it is for training images in the place of the samples (for
authenticity: images of the split): no model can be expected to do better. Of more than one model,
only scores with the same number of samples and images compare.
"""

import numpy as np

from zoo.errors import ArtefactError, InputError
from zoo.evaluation import distances
from zoo.evaluation.scores import score

__all__ = ["score_samples"]

COUNT = 10_000


def score_samples(
    model, train, split, extractor, count=None, seed=0, batch_size=200, advance=lambda n: None
):
    """Draws samples and compares them with the images of a split.

    A conditional model is given the labels of training images, so that classes are as frequent.

    Args:
      model: zoo.saving.SavedModel.
      train: zoo.datasets.Split that the model was trained on.
      split: zoo.datasets.Split of the images to compare with.
      extractor: zoo.evaluation.features.Extractor.
      count: int; number of samples, at most that of training images. Default: 10,000 or all.
      seed: int; draws the samples, and splits them where an error is a spread over splits.
      batch_size: int; changes memory and time alone.
      advance: function of an int, told of every n samples and images that are done.

    Returns:
      list of scores: frechet_distance, kernel_distance (where there are enough samples and images
      for it), classifier_score, precision, recall, density, coverage, diversity and authenticity,
      as of `zoo.evaluation.distances`.

    Raises:
      InputError: if there are too few samples or images for a score.
      ArtefactError: if a sample is not finite or out of range.
    """
    count = min(COUNT, len(train)) if count is None else count
    if not 1 <= count <= len(train):
        raise InputError(
            f"Expected 1 to {len(train)} samples, as there are training images. Received: {count}"
        )

    def read(batches):
        features, logits = [], []
        for x in batches:
            x = np.asarray(x)
            if not (x.min() >= 0.0 and x.max() <= 1.0):  # NaN neither
                raise ArtefactError(
                    f"Expected images from 0 to 1 of {model.name}. Received: {x.min():g} to"
                    f" {x.max():g}"
                )
            for parts, part in zip((features, logits), extractor(x), strict=True):
                parts.append(part)
            advance(len(x))
        return np.concatenate(features), np.concatenate(logits)

    known, known_logits = read(train.batches(batch_size))
    images, _ = read(split.batches(batch_size))
    chosen = np.arange(count) * len(train) // count  # evenly spaced: a set may be in class order
    samples, logits = read(_drawn(model, train, chosen, seed, batch_size))
    real, real_logits = known[chosen], known_logits[chosen]

    on = {
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "samples": count,
        "seed": seed,
    }
    found = _compared(samples, logits, images, seed)
    floor = _compared(real, real_logits, images, seed)
    for values, new in ((found, samples), (floor, images)):
        values["authenticity"] = distances.authenticity(*distances.nearest(new, known), known)
    return [
        score(metric, *found[metric], on, model, split, len(images), real=floor[metric])
        for metric in found
    ]


def _drawn(model, train, chosen, seed, batch_size):
    """Yields samples, float32 [b, *shape], with the labels of the chosen training images."""
    labels = None
    if model.card["num_classes"]:
        batches = train.batches(batch_size, labels=True)
        labels = np.concatenate([y for _, y in batches.as_numpy_iterator()])[chosen]
    for first in range(0, len(chosen), batch_size):
        part = labels if labels is None else labels[first : first + batch_size]
        yield model.sample(min(batch_size, len(chosen) - first), seed, part, first)


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
