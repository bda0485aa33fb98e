"""Scores: a number, its error, and the protocol that says with which others it compares.

    {"metric": "log_likelihood", "value": -80.29, "standard_error": 0.20, …,
     "protocol": {"version": 1, "kind": "exact", …, "split": "test", "count": 10000}}

Two scores of a metric compare where their protocols are equal.
"""

from pathlib import Path

import numpy as np

__all__ = ["LIKELIHOOD_METRICS", "MEANS", "PROTOCOL", "mean_score", "score", "unseen"]

PROTOCOL = 1
"""Raised whenever the same model and data would get another score."""

MEANS = {"exact": "log_likelihood", "importance_weight": "elbo", "lower_bound": "lower_bound"}
"""What the mean of log_prob is, by its kind."""

LIKELIHOOD_METRICS = (*MEANS.values(), "iw_bound")
"""The metrics that are the likelihood or a bound of it, in nats."""

PARTS = 20  # groups of images whose means are kept: two models are compared by their differences


def unseen(total):
    """A progress that nobody watches: returns a function that is told of every n that are done."""
    return lambda n: None


def score(metric, value, standard_error, protocol, model=None, split=None, count=None, **more):
    """Makes a score, as cards keep it.

    Args:
      metric: str, what was measured.
      value: float, or None where it is not finite.
      standard_error: float, or None where it is not defined.
      protocol: dict of str to what JSON can say; whatever decides the value but the data.
      model: zoo.saving.SavedModel, or None if the value does not depend on what it was trained on.
      split: zoo.datasets.Split of the images it is measured on or against, or None.
      count: int; number of these images.
      **more: other numbers, which are no part of the protocol.
    """
    protocol = {"version": PROTOCOL, "kind": None, "seed": None, **protocol}
    if model is not None:
        name = model.trained_on.get("name")
        protocol |= {
            "conditional": bool(model.card.get("num_classes")),
            "trained_on": name and Path(name).name,
            "trained_on_fingerprint": model.trained_on.get("fingerprint"),
        }
    if split is not None:
        protocol |= {
            "dataset": split.name,
            "fingerprint": split.fingerprint,
            "split": split.split,
            "count": count,
        }
    return {
        "metric": metric,
        "value": value,
        "standard_error": standard_error,
        **more,
        "protocol": protocol,
    }


def mean_score(metric, values, *args, **more):
    """Makes a score of the mean of values, [count], one an image in the order of the split.

    Its `parts` are the means of 20 groups, every 20th image: as models are scored on the same
    images, the error of a difference is far smaller than that of its terms. Args as of `score`.
    """
    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    if n >= 2 * PARTS:
        more["parts"] = [float(np.mean(values[k::PARTS])) for k in range(PARTS)]
    return score(metric, float(np.mean(values)) if n else None, error, *args, **more)
