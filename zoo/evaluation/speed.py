"""How long a SavedModel takes to draw an image."""

import math
import time

import numpy as np
import tensorflow as tf

from zoo.environment import device
from zoo.evaluation.scores import score

__all__ = ["score_speed"]

SIZES = 1, 64  # images drawn in one call
REPEATS, SECONDS = 5, 1.0  # at least so many calls, and for so long


def score_speed(model):
    """Measures the milliseconds that an image takes to draw, one alone and one of 64.

    Args:
      model: zoo.saving.SavedModel.

    Returns:
      list of scores; the errors are of the machine as it was, not of another one.
    """
    scores = []
    for n in SIZES:
        labels = np.arange(n) % classes if (classes := model.card["num_classes"]) else None
        model.sample(n, 0, labels)  # the first call plans
        times = []
        while len(times) < REPEATS or sum(times) < SECONDS:
            start = time.perf_counter()
            model.sample(n, len(times), labels).numpy()
            times.append(time.perf_counter() - start)
        times = 1000.0 * np.array(times) / n
        error = float(times.std(ddof=1) / math.sqrt(len(times)))
        on = {"n": n, "device": device(), "tensorflow": tf.__version__}
        scores.append(score("ms_per_image", float(times.mean()), error, on))
    return scores
