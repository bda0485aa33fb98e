"""Looks at the samples of a model in training, where no loss says how good they are.

A few times a run the same noise is made into samples, which are compared with validation images:

* `diversity`, the mean distance of two samples divided by that of two images, in pixels, and within
  a class where the model is conditional. Below FLOOR at two looks in a row, after the first
  BEGIN steps, it is a collapse;
* `frechet_distance`, of the features of the classifier that came with zoo for the data, if one did.
  The checkpoint with the smallest is the best of the run.
"""

import numpy as np

from zoo.evaluation import distances, features

__all__ = ["FLOOR", "Watch"]

FLOOR = 0.2  # of the diversity
BEGIN = 500
COUNT = 2000  # samples, and images at most
BATCH_SIZE = 200
LEAST = 100  # images, for a Fréchet distance
SEED = (0, 0)


class Watch:
    """What a run is judged by whose model has no one objective.

    Args:
      draw: function (n, seed, first) -> n samples, of all labels in turn, as of `saving.sampler`.
      training: zoo.datasets.Split.
      validation: zoo.datasets.Split.
      num_classes: int; number of labels the model is conditional on.

    Attributes:
      real: float, the Fréchet distance of training images, or None: what to hope for.
    """

    def __init__(self, draw, training, validation, num_classes):
        self.draw, self.classes = draw, max(1, num_classes)
        folder = features.find(validation)
        enough = min(len(training), len(validation)) >= LEAST
        self.extractor = features.Extractor(folder) if folder and enough else None
        images, self.labels = _first(validation, num_classes > 0)
        self.pixels, self.real = _flat(images), None
        if self.extractor:
            self.moments = self._moments(images)
            self.real = self._distance(_first(training, False)[0])

    def look(self):
        """Returns {"diversity": float} and, where there is a classifier, "frechet_distance"."""
        parts = [self.draw(BATCH_SIZE, SEED, first) for first in range(0, COUNT, BATCH_SIZE)]
        samples = np.concatenate(parts)
        found = {"diversity": self._diversity(_flat(samples))}
        if self.extractor:
            found["frechet_distance"] = self._distance(samples)
        return found

    def trouble(self, log):
        """Says that the samples have collapsed, or returns None; log as of `read_metrics`."""
        looks = [x["diversity"] for x in log if "diversity" in x and x["step"] >= BEGIN][-2:]
        if len(looks) < 2 or max(looks) >= FLOOR:
            return None
        return (
            "The generator has collapsed: the distance of two samples is"
            f" {looks[-1]:.2f} of that of two images, and was {looks[0]:.2f} before; {FLOOR} is the"
            " least that is gone on with"
        )

    def _diversity(self, samples):
        ratios = []
        for k in range(self.classes):
            images = self.pixels[self.labels == k]
            if len(images) > 1 and (images != images[0]).any():
                ratios.append(distances.diversity(samples[k :: self.classes], images)[0])
        return float(np.mean(ratios)) if ratios else 1.0  # there is nothing to be as diverse as

    def _distance(self, images):
        return float(distances.frechet_distance(self._moments(images), self.moments)[0])

    def _moments(self, images):
        parts = np.array_split(images, -(-len(images) // BATCH_SIZE))
        return distances.moments(self.extractor(part)[0] for part in parts)


def _first(split, labelled):
    """Returns the first COUNT images of a split, and their labels, 0 where not asked for."""
    images, labels = [], []
    for x in split.batches(BATCH_SIZE, labels=labelled).take(-(-COUNT // BATCH_SIZE)):
        x, y = x if labelled else (x, np.zeros(len(x), np.int32))
        images.append(np.asarray(x))
        labels.append(np.asarray(y))
    return np.concatenate(images)[:COUNT], np.concatenate(labels)[:COUNT]


def _flat(images):
    return images.reshape(len(images), -1)
