"""Splits of given examples, and images that a classifier can learn."""

import numpy as np
import tensorflow as tf

from zoo.datasets import Split
from zoo.spec import Spec


class Arrays(Split):
    """A split of given examples: images, or sounds if levels is 0."""

    fingerprint = "none"

    def __init__(self, x, labels=None, levels=0, split="test"):
        condition = None if labels is None else Spec((), int(max(labels)) + 1, "label")
        kind = ("image", 0) if levels else ("audio", 8000)
        spec = Spec(x.shape[1:], levels, kind[0], rate=kind[1])
        super().__init__("arrays", split, len(x), spec, condition)
        self.x, self.labels = x.astype(np.float32), labels

    def batches(self, batch_size, condition=False):
        parts = (self.x, self.labels) if condition else self.x
        return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)


def stripes(count=1000):
    """Returns grey 9 x 8 images of noise with horizontal, vertical or diagonal stripes.

    Returns:
      (uint8 [count, 9, 8], labels [count] of the direction).
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count)
    row, column = np.mgrid[:9, :8]
    lit = np.stack([row, column, row + column]) // 2 % 2  # [3, 9, 8]
    images = rng.integers(0, 100, (count, 9, 8)) + 120 * lit[labels]
    return images.astype(np.uint8), labels
