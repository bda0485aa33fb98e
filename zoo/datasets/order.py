"""Computes order and noise as pure functions of a seed and a purpose, without any state.

Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (mixing).
"""

import hashlib
import operator
import struct

_ROUNDS = 8  # with TensorFlow's default of 4, successive epochs correlate by 0.8


def seed_for(seed, purpose):
    """Derives a seed, int32 [2], from the seed of a run and a purpose, a str."""
    digest = hashlib.sha256(f"{purpose} {operator.index(seed)}".encode()).digest()
    return struct.unpack("<2i", digest[:8])


def shuffled(index, count, seed, rounds):
    """Returns positions in random permutations.

    Args:
      index: int64 [b], from 0 to count - 1.
      count: int or int64 [].
      seed: two ints of 32 bits.
      rounds: int64 [b]; number of the permutation, for example the epoch.

    Returns:
      int64 [b]; each index permuted by its permutation.
    """
    import tensorflow as tf

    # RandomIndexShuffle uses only the low bits of each key (8 of 32 for 2^16 images). With the
    # epoch itself as a key, orders would repeat after 256 epochs, so all bits are mixed into all
    # keys.
    low, high = (part % 2**32 for part in seed)
    z = tf.constant(low + (high << 32), tf.uint64) + tf.cast(rounds + 1, tf.uint64) * tf.constant(
        0x9E3779B97F4A7C15, tf.uint64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(shift, tf.uint64)))
        z *= tf.constant(factor, tf.uint64)
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(31, tf.uint64)))
    keys = [tf.bitwise.right_shift(z, tf.constant(shift, tf.uint64)) for shift in (0, 21, 42)]
    return tf.raw_ops.RandomIndexShuffle(
        index=index,
        seed=tf.cast(tf.stack(keys, axis=1), tf.uint32),  # [b, 3]
        max_index=tf.cast(count, tf.int64) - 1,
        rounds=_ROUNDS,
    )


def random_bits(purpose):
    """Returns a NumPy bit generator that depends only on `purpose`."""
    import numpy as np

    low, high = (part % 2**32 for part in seed_for(0, purpose))
    return np.random.Philox(key=low + (high << 32))


def binarize_once(images, split):
    """Binarizes grey images at random, with the same result at every call.

    Args:
      images: uint8 [n, h, w, c].
      split: str; name of the split, which seeds the noise.

    Returns:
      uint8 [n, h, w, c]; 0 or 1.
    """
    import numpy as np

    stream = random_bits(f"one draw of {split}")
    binary = np.empty_like(images)
    for i in range(0, len(images), 1024):
        part = images[i : i + 1024]
        u = (stream.random_raw(part.size) >> np.uint64(11)) * 2.0**-53  # [0, 1)
        binary[i : i + 1024] = u.reshape(part.shape) < part / 255.0
    return binary
