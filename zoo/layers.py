"""Shared layers."""

import keras
import tensorflow as tf

import zoo.random

__all__ = ["Dense", "dropout"]


class Dense(keras.layers.Dense):
    """A dense layer that uses one matrix product for inputs of any rank, [n, ..., d].

    For rank 3 and more, Keras uses `tensordot`, which adds 22 operations to a graph instead of 5.
    """

    def call(self, x, training=None):
        if len(x.shape) < 3:
            return super().call(x)
        y = super().call(tf.reshape(x, [-1, x.shape[-1]]))
        return tf.reshape(y, [-1, *x.shape[1:-1], self.units])


def dropout(x, rate, seed, first):
    """Applies dropout: zeroes a share of the values and scales the others to keep the mean.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, JMLR 2014.

    Args:
      x: [n, ...].
      rate: float in [0, 1); share to drop, rounded to a multiple of 1/256.
      seed: int32 [2], or None for no dropout, outside of training.
      first: int32 []; index of the first example.

    Returns:
      [n, ...], of the dtype of x.
    """
    if seed is None or not rate:
        return x
    share = max(1, round(256 * (1.0 - rate))) / 256.0  # rounded as in `coins`, to keep the mean
    kept = zoo.random.coins(seed, first, tf.shape(x)[0], tuple(x.shape[1:]), share)
    return x * tf.cast(kept, x.dtype) * tf.cast(1.0 / share, x.dtype)
