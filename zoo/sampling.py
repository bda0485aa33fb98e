"""Samples of a live model: as a function of (number, seed, first), its seeds and labels."""

import contextlib

import numpy as np
import tensorflow as tf

from zoo.errors import InputError

__all__ = ["SAMPLES", "SAMPLE_SEED", "as_seed", "labels_in_turn", "sampler"]

SAMPLES = 64
SAMPLE_SEED = (0, 0)


def sampler(model):
    """Returns a function (n, seed, first=0) -> n samples, of all labels in turn, traced once."""
    shapes = ([], [2], [], [None])[: 4 if model.num_classes else 3]
    signature = [tf.TensorSpec(shape, tf.int32) for shape in shapes]

    @tf.function(input_signature=signature, autograph=False)
    def draw(n, seed, first, labels=None):
        return model.sample(n, seed, labels=labels, first=first)

    # Called as it is, TensorFlow takes the samplers of many models for one that is traced again.
    draw = draw.get_concrete_function()

    def sample(n, seed, first=0):
        labels = labels_in_turn(model.num_classes, n, first)
        arguments = [n, as_seed(seed), first, *([] if labels is None else [labels])]
        return draw(*map(tf.constant, arguments)).numpy()

    return sample


def labels_in_turn(num_classes, n, first=0):
    """Returns the labels of examples that show all classes in turn.

    Args:
      num_classes: int; 0 is unconditional.
      n: int; number of examples.
      first: int; index of the first example, whose label is first % num_classes.

    Returns:
      int32 [n] array, or None where unconditional.
    """
    if not num_classes:
        return None
    return np.arange(first, first + n, dtype=np.int32) % np.int32(num_classes)


def as_seed(seed):
    """Returns a seed, one int or two, as int32 [2].

    Raises:
      InputError: if it is something else.
    """
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        values = np.asarray([0, seed] if np.ndim(seed) == 0 else seed)
        if values.shape == (2,) and (values.astype(np.int32) == values).all():
            return values.astype(np.int32)
    raise InputError(f"Expected a seed: an int32, or two. Received: {seed!r}")
