"""A toy whose loss draws noise, and can be made to break."""

import tensorflow as tf
from support.toys import Pixels

import zoo.random


class Noisy(Pixels):
    """Independent Bernoulli pixels of data that are seen through noise.

    Args:
      shape: (height, width, channels) of an image.
      levels: 2.
      num_classes: number of labels the model is conditional on.
      learning_rate: of Adam.
      nan_at: the step whose loss is not a number; 0 is none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        levels: int = 2,
        num_classes: int = 0,
        learning_rate: float = 0.05,
        nan_at: int = 0,
    ):
        super().__init__(shape, levels, num_classes, learning_rate)
        self.nan_at = nan_at

    def compute_loss(self, x, y, seed, first, training=False):
        flipped = zoo.random.bernoulli(seed, first, tf.fill(tf.shape(x), 0.1))
        x = tf.abs(x - tf.reshape(flipped, tf.shape(x)))
        loss = super().compute_loss(x, y, seed, first, training)
        breaks = tf.logical_and(self.nan_at > 0, self.step.value == self.nan_at)
        return tf.where(breaks, float("nan"), loss)
