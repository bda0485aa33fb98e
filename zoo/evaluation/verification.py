"""Scores of a card computed anew, by the protocol that each one states."""

import functools
import math

from zoo.errors import InputError
from zoo.evaluation import features
from zoo.evaluation.comparison import differences
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.reconstruction import score_reconstructions
from zoo.evaluation.samples import score_samples
from zoo.evaluation.scores import LIKELIHOODS, PROTOCOL

__all__ = ["TOLERANCE", "Verifier", "agrees", "is_quick"]

TOLERANCE = 0.25
"""How far a score may be from the same one computed elsewhere, in standard errors."""

ROUNDING = 1e-5  # of what has no standard error, relative or absolute
QUICK = 1000  # log-probabilities or samples that take seconds


def is_quick(score):
    """Says whether a score takes seconds to compute anew."""
    protocol = score["protocol"]
    if score["metric"] in LIKELIHOODS:
        return protocol["count"] * protocol["k"] <= QUICK
    return protocol.get("samples", math.inf) <= QUICK


def agrees(score, new):
    """Says whether a new score is the one it should be, within the tolerance."""
    if any(score.get(key) != new.get(key) for key in ("minus_infinity", "exact")):
        return False
    if score["value"] is None or new["value"] is None:
        return score["value"] is new["value"]
    allowed = TOLERANCE * (score["standard_error"] or 0.0) + ROUNDING * max(1, abs(score["value"]))
    return abs(score["value"] - new["value"]) <= allowed


class Verifier:
    """Computes scores of a model anew: `new = Verifier(model, splits)(score)`.

    What one computation gives is kept for the scores that follow.

    Args:
      model: zoo.saving.SavedModel.
      splits: (train, validation, test) that its scores are of.
    """

    def __init__(self, model, splits):
        self.model, self.splits = model, splits
        self._computed = functools.cache(self._compute)

    def __call__(self, score):
        """Computes a score anew.

        Raises:
          InputError: if what is here, be it data, classifier or zoo, is not what the score is of.
        """
        p = score["protocol"]
        if "split" not in p:
            raise InputError(f"{score['metric']} is of a machine.")
        on = next(part for part in self.splits if part.split == p["split"])
        here = {"version": PROTOCOL, "dataset": on.name, "fingerprint": on.fingerprint}
        _check_alike(score, {**score, "protocol": {**p, **here}})  # before it is computed
        if score["metric"] in LIKELIHOODS:
            asked = ("likelihood", on, p["seed"], p["count"], p["k"])
        elif "samples" in p:
            asked = ("samples", on, p["seed"], p["samples"])
        else:
            asked = ("reconstructions", on)
        for new in self._computed(*asked):
            if new["metric"] == score["metric"]:
                _check_alike(score, new)
                return new
        raise InputError(f"{score['metric']} is not a score of this zoo.")

    def _compute(self, metric, on, seed=None, count=None, k=None):
        if metric == "likelihood":
            return [log_likelihood(self.model, on, seed or 0, limit=count, k=k)]
        if metric == "reconstructions":
            return score_reconstructions(self.model, on)
        folder = features.find(on)
        if folder is None:
            raise InputError(
                f"Expected the classifier of {on.name}, which did not come with this zoo."
            )
        return score_samples(
            self.model, self.splits[0], on, features.Extractor(folder), count, seed
        )


def _check_alike(score, new):
    if parts := differences(score, new):
        differ = ", ".join(f"{key} ({a} | {b})" for key, (a, b) in parts.items())
        raise InputError(f"{score['metric']} is of another {differ}.")
