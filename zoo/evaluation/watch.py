"""Looks at the samples of a model in training, where no loss says how good they are.

A few times a run the same noise is made into samples, which are compared with validation images:

* `pixel_diversity`, the mean distance of two samples divided by that of two images, of one class
  where the model is conditional. Two looks in a row below FLOOR after one above it are a collapse.
  Deep generators begin far below, so that one which never rose has PATIENCE looks;
* `frechet_distance`, of the features of the classifier that came with zoo for the data, if one did.
  The checkpoint with the smallest is the best of the run.
"""

import numpy as np

from zoo.evaluation import distances, features

__all__ = ["FLOOR", "Watch"]

FLOOR = 0.1  # of the diversity
PATIENCE = 5  # looks, of those after the first BEGIN steps
BEGIN = 500
COUNT = 5000  # samples, and images at most, whose features are compared
PAIRED = 500  # of them, whose distances in pixels are taken
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
        images, labels = validation.take(COUNT, num_classes > 0)
        self.pixels = _flat(images[:PAIRED])
        self.labels = np.zeros(len(self.pixels)) if labels is None else labels[:PAIRED]
        self.count = COUNT if self.extractor else PAIRED
        self.real = None
        if self.extractor:
            self.moments = self._moments(images)
            self.real = self._distance(training.take(COUNT)[0])

    def look(self):
        """Returns {"pixel_diversity": float, "frechet_distance": float}, those that are defined."""
        parts = [self.draw(BATCH_SIZE, SEED, first) for first in range(0, self.count, BATCH_SIZE)]
        samples = np.concatenate(parts)
        found = self._diversity(_flat(samples[:PAIRED]))
        if self.extractor:
            found["frechet_distance"] = self._distance(samples)
        return found

    def trouble(self, log):
        """Says that the samples have collapsed, or returns None; log as of `read_metrics`."""
        key = "pixel_diversity"
        looks = [(line["step"], line[key]) for line in log if key in line]
        rose = any(value >= FLOOR for _, value in looks)
        late = [value for step, value in looks if step >= BEGIN][-2 if rose else -PATIENCE :]
        if len(late) < (2 if rose else PATIENCE) or max(late) >= FLOOR:
            return None
        has, advice = ("fell below", "smaller") if rose else ("never rose above", "larger")
        return (
            f"the samples have collapsed: {key}, which is 1 for images, {has} {FLOOR} and is"
            f" {late[-1]:.3f}. A {advice} learning_rate may help"
        )

    def _diversity(self, samples):
        ratios = []
        for k in range(self.classes):
            images, own = self.pixels[self.labels == k], samples[k :: self.classes]
            if min(len(images), len(own)) > 1 and (images != images[0]).any():
                ratios.append(distances.diversity(own, images)[0])
        return {"pixel_diversity": float(np.mean(ratios))} if ratios else {}

    def _distance(self, images):
        return float(distances.frechet_distance(self._moments(images), self.moments)[0])

    def _moments(self, images):
        parts = np.array_split(images, -(-len(images) // BATCH_SIZE))
        return distances.moments(self.extractor(part)[0] for part in parts)


def _flat(images):
    return images.reshape(len(images), -1)
