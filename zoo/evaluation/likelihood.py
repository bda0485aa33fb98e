"""Computes the log-likelihood of a split, or bounds of it, under a SavedModel.

A model whose `log_prob` is one importance weight, w_j = p(x, z_j) / q(z_j | x) with z_j ~ q, has
two bounds (Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016, eq. 8):

    elbo = E log w_1   <=   iw_bound = E log((w_1 + … + w_k) / k)   <=   log p(x)
"""

import math

import numpy as np

from zoo.errors import ArtefactError, InputError
from zoo.evaluation.scores import mean_score, score
from zoo.progress import SILENT

__all__ = ["log_likelihood", "score_likelihood"]

WEIGHTS = 128  # default number of importance samples per example
MOST_NATS = 700.0  # nats per token; beyond it the perplexity overflows, and JSON has no infinity
METRICS = {"exact": "log_likelihood", "importance_weight": "elbo", "lower_bound": "lower_bound"}
"""Maps the kind of log_prob to the metric of its mean."""


def score_likelihood(model, split, seed=0, batch_size=200, limit=None, k=None, progress=SILENT):
    """Yields the scores of `log_likelihood`; with importance weights, for 1 and for k samples.

    The default of k is 128 for importance weights, else 1. Other arguments are as in
    `log_likelihood`.
    """
    is_weight = model.card["log_prob_kind"] == "importance_weight"
    for n in [1, k or WEIGHTS] if is_weight and k != 1 else [k or 1]:
        yield log_likelihood(model, split, seed, batch_size, limit, n, progress)


def log_likelihood(model, split, seed=0, batch_size=200, limit=None, k=1, progress=SILENT):
    """Computes the mean log-likelihood of a split, or of the model's bound of it.

    Args:
      model: zoo.exports.saved_model.SavedModel with log_prob.
      split: zoo.datasets.Split with the spec of the model.
      seed: int; if log_prob is random, the z_j of the i-th scored example depend on (j, seed, i).
      batch_size: int; affects memory and time only.
      limit: int; number of examples to score, evenly spaced over the split. Default: all.
      k: int; number of importance samples per example. Must be 1 for other kinds of log_prob.
      progress: zoo.progress.Progress, whose parts are values of log_prob.

    Returns:
      A score in nats per example. It also contains bits_per_dim, or for tokens nats_per_token,
      bits_per_token and perplexity = exp(nats_per_token). The standard error of one example is
      None. minus_infinity is the number of examples with value -inf. If it is positive, the value,
      its error and the other units are None, because JSON has no infinity.

    Raises:
      InputError: if k is invalid for the model, or the split is empty.
      ArtefactError: if log_prob returns a value that is not a log-probability.
    """
    card = model.card
    kind = card["log_prob_kind"]
    if k < 1 or (k > 1 and kind != "importance_weight"):
        raise InputError(
            "k must be 1, unless log_prob is an importance weight."
            f" Received: k={k} for {model.name}, whose log_prob is {kind}"
        )
    count = len(split) if limit is None else min(limit, len(split))
    if count < 1:
        raise InputError(
            f"Expected at least one {split.spec.noun} in the {split.split} split of {split.name}."
            f" Received: {len(split)}, {limit=}"
        )
    conditional = model.condition is not None
    images = split.batches(batch_size, condition=conditional).unbatch().enumerate()
    # Evenly spaced, because many data sets are sorted by class.
    images = images.filter(lambda i, image: i * count % len(split) < count)
    batches = images.map(lambda i, image: image).batch(batch_size)
    is_probability = kind == "exact" and model.spec.levels > 0
    upper = 1e-2 if is_probability else np.inf  # log 1, with a tolerance for rounding
    values = []
    progress.start(count * k, "likelihood")
    for first, batch in zip(range(0, count, batch_size), batches, strict=True):
        x, condition = batch if conditional else (batch, None)
        total = -np.inf
        for j in range(k):
            log_weight = model.log_prob(x, (j, seed), condition, first).numpy().astype(np.float64)
            if len(invalid := np.flatnonzero(~(log_weight < upper))):  # includes NaN
                raise ArtefactError(
                    f"log_prob of {model.name} must return log-probabilities. Received:"
                    f" {log_weight[invalid[0]]} for {split.spec.noun} {first + invalid[0]} of"
                    f" {count} of the {split.split}"
                    f" split of {split.name}"
                )
            total = np.logaddexp(total, log_weight)  # [b]
            progress.advance(len(x))
        values.append(total - math.log(k))
    values = np.concatenate(values)  # [count]
    infinite = int(np.isneginf(values).sum())
    metric = METRICS[kind] if k == 1 else "iw_bound"
    protocol = {"kind": kind, "k": k, "seed": None if kind == "exact" else seed}
    context = (protocol, model, split, count)
    units = _units(-math.inf if infinite else float(values.mean()), model.spec)
    if infinite:
        units = dict.fromkeys(units)
        return score(metric, None, None, *context, **units, minus_infinity=infinite)
    return mean_score(metric, values, *context, **units, minus_infinity=0)


def _units(log_prob, spec):
    """Converts a log-probability, in nats per example, to the units of the literature."""
    nats = -log_prob / math.prod(spec.shape)
    bits = nats / math.log(2.0)
    if spec.kind != "tokens":
        return {"bits_per_dim": bits}
    perplexity = math.exp(nats) if nats < MOST_NATS else None
    return {"nats_per_token": nats, "bits_per_token": bits, "perplexity": perplexity}
