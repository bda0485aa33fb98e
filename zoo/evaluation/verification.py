"""Scores of a card computed anew, by the protocol that each one states."""

import functools
import math

from zoo.errors import InputError
from zoo.evaluation import features
from zoo.evaluation.comparison import LIKELIHOODS, differences
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.reconstruction import score_reconstructions
from zoo.evaluation.samples import score_samples

__all__ = ["TOLERANCE", "again", "agrees", "is_quick"]

TOLERANCE = 0.25
"""How far a score may be from the same one computed elsewhere, in standard errors."""

QUICK = 1000  # log-probabilities or samples that take seconds


def is_quick(score):
    """Says whether a score takes seconds to compute anew."""
    protocol = score["protocol"]
    if score["metric"] in LIKELIHOODS:
        return protocol["count"] * protocol["k"] <= QUICK
    return protocol.get("samples", math.inf) <= QUICK


def again(model, scores, splits):
    """Computes scores of a model anew.

    Args:
      model: zoo.saving.SavedModel.
      scores: list of scores of its card, on data: not those of speed, which are of a machine.
      splits: (train, validation, test) that they are of.

    Yields:
      (score, new score).

    Raises:
      InputError: if the data, the classifier or the protocol of this zoo are not those of a score.
    """
    compute = functools.cache(functools.partial(_compute, model, splits))
    for score in scores:
        p = score["protocol"]
        if score["metric"] in LIKELIHOODS:
            found = compute("likelihood", p["split"], p["seed"], p["count"], p["k"])
        elif "samples" in p:
            found = compute("samples", p["split"], p["seed"], p["samples"])
        else:
            found = compute("reconstructions", p["split"])
        new = next(other for other in found if other["metric"] == score["metric"])
        if parts := differences(score, new):
            differ = ", ".join(f"{key} ({a} | {b})" for key, (a, b) in parts.items())
            raise InputError(
                f"{score['metric']} of {model.name} cannot be computed anew: its protocol and that"
                f" of what is here differ in {differ}. zoo evaluate makes new scores."
            )
        yield score, new


def agrees(score, new):
    """Says whether a new score is the one it should be, within the tolerance."""
    if score["value"] is None or new["value"] is None:
        return score["value"] is new["value"]
    return abs(score["value"] - new["value"]) <= TOLERANCE * (score["standard_error"] or 0.0)


def _compute(model, splits, metric, split, seed=None, count=None, k=None):
    on = next(part for part in splits if part.split == split)
    if metric == "likelihood":
        return [log_likelihood(model, on, seed or 0, limit=count, k=k)]
    if metric == "reconstructions":
        return score_reconstructions(model, on)
    folder = features.find(on)
    if folder is None:
        raise InputError(f"Expected the classifier of {on.name}, which did not come with this zoo.")
    return score_samples(model, splits[0], on, features.Extractor(folder), count, seed)
