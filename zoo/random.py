"""Stateless random numbers per example, the only source of randomness in models.

Example k gets the same numbers in any batch. D numbers per example are read from one long Philox
stream, in which example k begins at block k * ceil(D / 4). TensorFlow provides only the integer
stream. The floats are computed here, because TensorFlow's random floats differ with and without
XLA and depend on the size of the batch.

Source: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox
4x32-10); Box and Muller, A note on the generation of random normal deviates, 1958.
"""

import contextlib
import math

import numpy as np
import tensorflow as tf

from zoo.errors import InputError

__all__ = ["as_seed", "bernoulli", "coins", "fold_in", "normal", "uniform"]

_PHILOX = 1
_BLOCK = 4  # integers per value of the counter


def as_seed(seed):
    """Converts a seed, one int or two ints, to an int32 [2] array.

    Raises:
      InputError: if the seed is invalid.
    """
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        values = np.asarray([0, seed] if np.ndim(seed) == 0 else seed)
        if values.shape == (2,) and (values.astype(np.int32) == values).all():
            return values.astype(np.int32)
    raise InputError(f"seed must be one int32 or two. Received: seed={seed!r}")


def fold_in(seed, *numbers):
    """Derives a new seed from a seed and numbers that identify its use.

    Args:
      seed: int32 [2].
      *numbers: int32 or int64 [] each; for example a step, or the index of a random operation.

    Returns:
      int32 [2].
    """
    for number in numbers:
        bits = _bits(seed, number, 1, 2, stream=1)
        seed = tf.bitcast(bits[0, :2], tf.int32)
    return seed


def uniform(seed, first, n, shape):
    """Samples from the uniform distribution on [0, 1).

    Args:
      seed: int32 [2]; example k depends only on (seed, first + k).
      first: int32 or int64 []; index of the first example.
      n: int32 []; number of examples.
      shape: tuple of int; the shape of one example.

    Returns:
      float32 [n, *shape], multiples of 2^-24.
    """
    size = math.prod(shape)
    bits = _bits(seed, first, n, size)[:, :size]
    u = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24
    return tf.reshape(u, (n, *shape))


def normal(seed, first, n, shape):
    """Samples from Normal(0, 1). The absolute values are at most 6.8.

    Args:
      seed: int32 [2]; example k depends only on (seed, first + k).
      first: int32 or int64 []; index of the first example.
      n: int32 []; number of examples.
      shape: tuple of int; the shape of one example.

    Returns:
      float32 [n, *shape].
    """
    size = math.prod(shape)
    radius, angle = tf.split(_bits(seed, first, n, size), 2, axis=1)  # [n, 2 ceil(size / 4)] each
    radius = (tf.cast(radius, tf.float32) + 0.5) * 2.0**-32  # (0, 1]
    radius = tf.sqrt(-2.0 * tf.math.log(radius))
    angle = tf.cast(angle, tf.float32) * (2.0 * math.pi * 2.0**-32)
    z = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)[:, :size]
    return tf.reshape(z, (n, *shape))


def bernoulli(seed, first, probs):
    """Samples 1 with the given probabilities, else 0.

    Args:
      seed: int32 [2]; example k depends only on (seed, first + k) and its probabilities.
      first: int32 or int64 []; index of the first example.
      probs: float32 [n, *shape], in [0, 1].

    Returns:
      float32 [n, *shape], 0 or 1.
    """
    u = uniform(seed, first, tf.shape(probs)[0], tuple(probs.shape[1:]))
    return tf.cast(u < probs, tf.float32)


def coins(seed, first, n, shape, probability):
    """Samples bools with one probability, at a quarter of the cost of `uniform`.

    Args:
      seed: int32 [2]; example k depends only on (seed, first + k).
      first: int32 or int64 []; index of the first example.
      n: int32 []; number of examples.
      shape: tuple of int; the shape of one example.
      probability: float in (0, 1], rounded to a multiple of 1/256, at least 1/256.

    Returns:
      bool [n, *shape].
    """
    size = math.prod(shape)
    bits = tf.bitcast(_bits(seed, first, n, -(-size // 4)), tf.uint8)  # [n, B, 4]
    most = max(1, round(256 * probability)) - 1
    heads = tf.reshape(bits, [n, -1])[:, :size] <= tf.constant(most, tf.uint8)
    return tf.reshape(heads, (n, *shape))


def _bits(seed, first, n, size, stream=0):
    """Returns random bits, uint32 [n, size rounded up to blocks].

    Stream 1 is reserved for `fold_in`, so that derived seeds are independent of other numbers.
    """
    blocks = -(-size // _BLOCK)
    # The seed is used as the key directly, because StatelessRandomGetKeyCounter gives different
    # keys under XLA for negative seeds.
    skipped = tf.cast(first, tf.uint64) * tf.constant(blocks, tf.uint64)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[n, blocks * _BLOCK],
        key=tf.reshape(tf.bitcast(tf.cast(seed, tf.int32), tf.uint64), [1]),
        counter=tf.stack([skipped, tf.constant(stream, tf.uint64)]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )
