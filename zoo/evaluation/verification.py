"""Scores of a card computed anew, by the protocol that each one states."""

import functools
import math

from zoo.errors import InputError
from zoo.evaluation import features
from zoo.evaluation.comparison import differences
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.reconstruction import score_reconstructions
from zoo.evaluation.samples import score_samples
from zoo.evaluation.scores import LIKELIHOOD_METRICS, PROTOCOL, unseen

__all__ = ["TOLERANCE", "Verifier", "agrees", "is_quick"]

TOLERANCE = 0.25
"""How far a score may be from the same one computed elsewhere, in standard errors."""

ROUNDING = 1e-5  # of what has no standard error, relative or absolute
QUICK = 1000  # log-probabilities or samples that take seconds


def is_quick(score):
    """Says whether a score takes seconds to compute anew."""
    protocol = score["protocol"]
    if score["metric"] in LIKELIHOOD_METRICS:
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
      classifier: path of the one that scores of samples are of; None is that of the data set.
      begin: function of the name of what is computed; it returns what the scores call `begin`.
    """

    def __init__(self, model, splits, classifier=None, begin=lambda metric: unseen):
        self.model, self.splits, self.classifier = model, splits, classifier
        self.begin = begin
        self._computed = functools.cache(self._compute)
        self._extractor = functools.cache(self._load_extractor)

    def __call__(self, score):
        """Computes a score anew.

        Raises:
          InputError: if what is here, be it data, classifier or zoo, is not what the score is of.
        """
        p = score["protocol"]
        if "split" not in p:
            raise InputError("It is of a machine.")
        on = next((part for part in self.splits if part.split == p["split"]), None)
        if on is None:
            raise InputError(f"It is of an unknown split, {p['split']!r}.")
        here = {"version": PROTOCOL, "fingerprint": on.fingerprint}
        if "samples" in p:
            here["extractor_sha256"] = self._extractor(on).sha256
            here["train_fingerprint"] = self.splits[0].fingerprint
        _check_alike(score, {**score, "protocol": {**p, **here}})  # before it is computed
        if score["metric"] in LIKELIHOOD_METRICS:
            asked = ("likelihood", on, p["seed"], p["count"], p["k"])
        elif "samples" in p:
            asked = ("samples", on, p["seed"], p["samples"])
        else:
            asked = ("reconstructions", on)
        for new in self._computed(*asked):
            if new["metric"] == score["metric"]:
                _check_alike(score, new)
                return new
        raise InputError("It is not a score of this zoo.")

    def _compute(self, metric, on, seed=None, count=None, k=None):
        begin = self.begin(metric)
        if metric == "likelihood":
            return [log_likelihood(self.model, on, seed or 0, limit=count, k=k, begin=begin)]
        if metric == "reconstructions":
            return score_reconstructions(self.model, on, begin=begin)
        extractor, train = self._extractor(on), self.splits[0]
        return score_samples(self.model, train, on, extractor, count, seed, begin=begin)

    def _load_extractor(self, on):
        folder = self.classifier or features.find(on)
        if folder is None:
            raise InputError(
                f"It needs the classifier of {on.name}, which did not come with this zoo:"
                " --features DIR."
            )
        return features.Extractor(folder)


def _check_alike(score, new):
    if parts := differences(score, new):
        differ = ", ".join(f"{key} ({a} | {b})" for key, (a, b) in parts.items())
        raise InputError(f"It is of another {differ}.")
