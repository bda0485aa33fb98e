"""Computes metrics of samples during training, for models whose loss cannot rank checkpoints.

A few times per run, samples from fixed noise are compared with validation images:

* `pixel_diversity`: the mean distance between two samples divided by that between two images. If
  the model is conditional, pairs are of one class. A model has collapsed if two consecutive
  measurements are below FLOOR after one above it. Deep generators start far below FLOOR, so
  PATIENCE measurements are required if no measurement was above it.
* `frechet_distance`: the Fréchet distance between features of the bundled classifier for the data
  set, if it exists. The checkpoint with the lowest distance is the best.
"""

import numpy as np

from zoo.evaluation import distances, features

__all__ = ["FLOOR", "SampleMonitor"]

FLOOR = 0.1  # lowest pixel_diversity that is not a collapse
PATIENCE = 5  # measurements after the first WARMUP_STEPS steps
WARMUP_STEPS = 500
COUNT = 5000  # samples, and maximum number of images, for the Fréchet distance
PAIRED = 500  # samples and images for the pixel diversity
BATCH_SIZE = 200
LEAST = 100  # images that a Fréchet distance requires
SEED = (0, 0)


class SampleMonitor:
    """Sample metrics of a run whose model does not have one objective.

    Args:
      draw: function of (n, seed, first) that returns n samples, as returned by `sampling.sampler`.
      training: zoo.datasets.Split.
      validation: zoo.datasets.Split.
      num_classes: int; number of classes if the model is conditional on labels, else 0.

    Attributes:
      real: float or None; the Fréchet distance of training images, a lower bound for samples.
    """

    def __init__(self, draw, training, validation, num_classes):
        self.draw, self.classes = draw, max(1, num_classes)
        folder = features.find(validation)
        enough = min(len(training), len(validation)) >= LEAST
        self.extractor = features.Extractor(folder) if folder and enough else None
        images, labels = validation.take(COUNT, condition=num_classes > 0)
        self.pixels = _flat(images[:PAIRED])
        self.labels = np.zeros(len(self.pixels)) if labels is None else labels[:PAIRED]
        self.count = COUNT if self.extractor else PAIRED
        self.real = None
        if self.extractor:
            self.moments = self._moments(images)
            self.real = self._distance(training.take(COUNT)[0])

    def measure(self):
        """Computes the defined metrics of {"pixel_diversity": float, "frechet_distance": float}."""
        parts = [self.draw(BATCH_SIZE, SEED, first) for first in range(0, self.count, BATCH_SIZE)]
        samples = np.concatenate(parts)
        values = self._diversity(_flat(samples[:PAIRED]))
        if self.extractor:
            values["frechet_distance"] = self._distance(samples)
        return values

    def diagnose(self, log):
        """Returns the reason to stop if samples have collapsed, or None.

        Args:
          log: list of dict, as `Run.metrics`.
        """
        key = "pixel_diversity"
        measured = [(line["step"], line[key]) for line in log if key in line]
        rose = any(value >= FLOOR for _, value in measured)
        late = [value for step, value in measured if step >= WARMUP_STEPS][
            -2 if rose else -PATIENCE :
        ]
        if len(late) < (2 if rose else PATIENCE) or max(late) >= FLOOR:
            return None
        verb, advice = ("fell below", "smaller") if rose else ("never exceeded", "larger")
        return (
            f"the samples have collapsed: {key}, which is 1 for images, {verb} {FLOOR} and is now"
            f" {late[-1]:.3f}. Try a {advice} learning_rate"
        )

    def _diversity(self, samples):
        ratios = []
        for k in range(self.classes):
            images, generated = self.pixels[self.labels == k], samples[k :: self.classes]
            if min(len(images), len(generated)) > 1 and (images != images[0]).any():
                ratios.append(distances.diversity(generated, images)[0])
        return {"pixel_diversity": float(np.mean(ratios))} if ratios else {}

    def _distance(self, images):
        return float(distances.frechet_distance(self._moments(images), self.moments)[0])

    def _moments(self, images):
        parts = np.array_split(images, -(-len(images) // BATCH_SIZE))
        return distances.moments(self.extractor(part)[0] for part in parts)


def _flat(images):
    return images.reshape(len(images), -1)
