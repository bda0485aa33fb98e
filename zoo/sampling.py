"""Samples from a live model, and chooses the conditions of samples."""

import numpy as np
import tensorflow as tf

import zoo.random
from zoo.model import ENDPOINTS
from zoo.random import as_seed

__all__ = ["SAMPLE_SEED", "conditions_in_turn", "latents", "sampler", "shows_means"]

SAMPLE_SEED = (0, 0)


def sampler(model, examples=None, means=False):
    """Returns a function of (n, seed, first=0) that returns n samples and is traced once.

    Args:
      model: GenerativeModel.
      examples: as `conditions_in_turn`.
      means: whether to return the means of x given latents from the prior, instead of samples.
    """
    condition = model.condition
    signature = [*ENDPOINTS["sample"].specs(model.spec, condition).values()]

    @tf.function(input_signature=signature, autograph=False)
    def draw(n, seed, *rest):
        *conditions, first = rest
        if means:
            return model.decode(latents(model, n, seed, first), *(conditions or [None]))
        return model.sample(n, seed, *(conditions or [None]), first)

    # As a tf.function, the samplers of several models would cause warnings about retracing.
    draw = draw.get_concrete_function()

    def sample(n, seed, first=0):
        conditions = conditions_in_turn(condition, n, first, examples)
        arguments = [] if conditions is None else [conditions]
        return draw(*map(tf.constant, (n, as_seed(seed), *arguments, first))).numpy()

    return sample


def conditions_in_turn(spec, n, first=0, examples=None):
    """Returns the conditions of n samples, cycling through the labels or given examples.

    Args:
      spec: Spec of the condition, or None for an unconditional model.
      n: int; number of samples.
      first: int; index of the first sample. Sample i has the label i % levels.
      examples: array [m, *spec.shape] of conditions. Sample i has the condition i % m. Default: all
        labels, or random values for other kinds.

    Returns:
      array [n, *spec.shape] of the dtype of the spec, or None for an unconditional model.
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


def latents(model, n, seed, first=0):
    """Returns latents from the prior, Normal(0, I), where the model has `decode`.

    Args:
      model: GenerativeModel or SavedModel.
      n: int32 []; number of latents.
      seed: int32 [2]; latents k depend on (seed, first + k) alone.
      first: int32 []; index of the first.

    Returns:
      float32 [n, *model.latent_shape].
    """
    return zoo.random.normal(zoo.random.fold_in(seed, 0), first, n, model.latent_shape)


def shows_means(model):
    """Returns whether pictures show means: independent draws of binary pixels are speckle.

    Args:
      model: GenerativeModel or SavedModel.
    """
    is_binary = model.spec.kind == "image" and model.spec.levels == 2
    # Without an encoder, as in a GAN, an image is a function of its latents: there is no speckle.
    return is_binary and all(callable(getattr(model, name, None)) for name in ("encode", "decode"))
