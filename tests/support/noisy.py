"""A model whose loss is random and can become NaN at a given step."""

import keras
import tensorflow as tf
from support.toys import Pixels

import zoo
import zoo.random
from zoo.model import GenerativeModel
from zoo.spec import Spec


class Noisy(Pixels):
    """Independent Bernoulli pixels, trained on images with flipped pixels.

    Args:
      spec: Spec of a binary image.
      condition: Spec of the label that the model is conditional on, or None.
      learning_rate: of Adam.
      nan_at: the step at which the loss is NaN, or 0 for none.
    """

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        learning_rate: float = 0.05,
        nan_at: int = 0,
    ):
        super().__init__(spec, condition, learning_rate)
        self.nan_at = nan_at

    def compute_loss(self, x, condition, seed, first, training=False):
        flipped = zoo.random.bernoulli(seed, first, tf.fill(tf.shape(x), 0.1))
        x = tf.abs(x - tf.reshape(flipped, tf.shape(x)))
        loss = super().compute_loss(x, condition, seed, first, training)
        breaks = tf.logical_and(self.nan_at > 0, self.step.value == self.nan_at)
        return tf.where(breaks, float("nan"), loss)


class Sharpened(GenerativeModel):
    """A two-stage model: a slope and an offset per pixel for the logits of another model.

    Args:
      spec: Spec of a binary image.
      first: a trained Noisy.
    """

    recipe = Pixels.recipe
    log_prob_kind = "exact"

    def __init__(self, spec: Spec, first: zoo.Pretrained):
        super().__init__(spec)
        self.require(spec.levels == 2, "Sharpened is for binary images.", levels=spec.levels)
        self.first = self.restore_stage(first)
        self.slope = self.add_weight(shape=spec.shape, initializer="ones", name="slope")
        self.offset = self.add_weight(shape=spec.shape, name="offset")
        self.build()

    def logits(self, condition, n):
        return self.slope * self.first.logits(condition, n) + self.offset

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(0.05), **kwargs)

    compute_loss = Pixels.compute_loss
    log_prob = Pixels.log_prob
    sample = Pixels.sample
