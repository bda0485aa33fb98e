"""Measures the sampling speed of a SavedModel."""

import tensorflow as tf

from zoo.environment import device
from zoo.evaluation.scores import score
from zoo.exports.clean_process import time_per_image
from zoo.sampling import conditions_in_turn

__all__ = ["score_speed"]

SIZES = 1, 64  # images per call


def score_speed(model):
    """Measures the milliseconds per image of `sample`, alone and in a batch of 64.

    Args:
      model: zoo.exports.saved_model.SavedModel.

    Returns:
      list of scores. Their errors are valid only for this machine and its current load.
    """

    def sample(n, seed):
        return model.sample(n, seed, conditions_in_turn(model.condition, n)).numpy()

    scores = []
    for n in SIZES:
        value, error = time_per_image(sample, n)
        protocol = {"n": n, "device": device(), "tensorflow": tf.__version__}
        scores.append(score("ms_per_image", value, error, protocol))
    return scores
