"""Samples of a live model as a function of (number, seed, first), and what they are given."""

import numpy as np
import tensorflow as tf

import zoo.random
from zoo.model import ENDPOINTS
from zoo.random import as_seed

__all__ = ["SAMPLES", "SAMPLE_SEED", "conditions_in_turn", "sampler"]

SAMPLES = 64
SAMPLE_SEED = (0, 0)


def sampler(model, examples=None):
    """Returns a function (n, seed, first=0) -> n samples, traced once.

    Args:
      model: GenerativeModel.
      examples: as of `conditions_in_turn`.
    """
    condition = model.condition
    signature = [*ENDPOINTS["sample"].specs(model.spec, condition).values()]

    @tf.function(input_signature=signature, autograph=False)
    def draw(n, seed, *rest):
        *given, first = rest
        return model.sample(n, seed, *(given or [None]), first)

    # Called as it is, TensorFlow takes the samplers of many models for one that is traced again.
    draw = draw.get_concrete_function()

    def sample(n, seed, first=0):
        conditions = conditions_in_turn(condition, n, first, examples)
        given = [] if conditions is None else [conditions]
        return draw(*map(tf.constant, (n, as_seed(seed), *given, first))).numpy()

    return sample


def conditions_in_turn(spec, n, first=0, examples=None):
    """Returns what samples are conditional on, in turn.

    Args:
      spec: Spec of the condition, or None: unconditional.
      n: int; number of samples.
      first: int; index of the first sample, whose label is first % levels.
      examples: [m, *spec.shape] array of conditions, of which the first sample is given
        first % m. Default: all labels, or, where it is not a label, random values.

    Returns:
      [n, *spec.shape] array of the dtype of the spec, or None where unconditional.
    """
    if spec is None:
        return None
    index = np.arange(first, first + n)
    if examples is not None:
        return examples[index % len(examples)]
    if spec.kind == "label":
        return (index % spec.levels).astype(np.int32)
    u = zoo.random.uniform(tf.constant(SAMPLE_SEED), first, n, spec.shape)
    if spec.dtype == "int32":
        return tf.cast(u * spec.levels, tf.int32).numpy()
    return spec.nearest(spec.low + u * (spec.high - spec.low)).numpy()
