"""Log-likelihoods of a split under a SavedModel.

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

WEIGHTS = 128  # importance samples per example, by default
MOST_NATS = 700.0  # per token; the perplexity of more is infinite, which JSON has not
METRICS = {"exact": "log_likelihood", "importance_weight": "elbo", "lower_bound": "lower_bound"}
"""Names of the mean of log_prob, by the kind of log_prob."""


def score_likelihood(model, split, seed=0, batch_size=200, limit=None, k=None, progress=SILENT):
    """Yields the scores of `log_likelihood`, for importance weights of k = 1 and of k.

    The default of k is 128 for importance weights, else 1. Other arguments as `log_likelihood`.
    """
    is_weight = model.card["log_prob_kind"] == "importance_weight"
    for n in [1, k or WEIGHTS] if is_weight and k != 1 else [k or 1]:
        yield log_likelihood(model, split, seed, batch_size, limit, n, progress)


def log_likelihood(model, split, seed=0, batch_size=200, limit=None, k=1, progress=SILENT):
    """Computes the mean over a split of the log-likelihood, or of the model's bound of it.

    Args:
      model: zoo.exports.saved_model.SavedModel with log_prob.
      split: zoo.datasets.Split of the model's shape and levels.
      seed: int; if log_prob is random, the i-th scored example draws z_j from ((j, seed), i).
      batch_size: int; changes memory and time only.
      limit: int; number of examples to score, evenly spaced over the split. Default: all.
      k: int; number of importance samples per example; 1 if log_prob is not an importance weight.
      progress: zoo.progress.Progress, whose parts are values of log_prob.

    Returns:
      A score in nats per example, with bits_per_dim; of tokens with nats_per_token, bits_per_token
      and perplexity, which is exp(nats_per_token). The standard error of one example is None.
      minus_infinity is the number of examples whose value is minus infinity. If there are any, the
      value, its error and the other units are None, because JSON has no infinity.

    Raises:
      InputError: if k is not valid for the model, or there is no example.
      ArtefactError: if log_prob returns a value that is not a log-probability.
    """
    card = model.card
    kind = card["log_prob_kind"]
    if k < 1 or (k > 1 and kind != "importance_weight"):
        raise InputError(
            "k must be 1, or larger if log_prob is an importance weight."
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
    # Many data sets are sorted by class: the first images alone would be of one class.
    images = images.filter(lambda i, image: i * count % len(split) < count)
    batches = images.map(lambda i, image: image).batch(batch_size)
    is_probability = kind == "exact" and model.spec.levels > 0
    most = 1e-2 if is_probability else np.inf  # log 1, and rounding
    values = []
    progress.start(count * k, "likelihood")
    for first, batch in zip(range(0, count, batch_size), batches, strict=True):
        x, condition = batch if conditional else (batch, None)
        total = -np.inf
        for j in range(k):
            log_weight = model.log_prob(x, (j, seed), condition, first).numpy().astype(np.float64)
            if len(wrong := np.flatnonzero(~(log_weight < most))):  # NaN too
                raise ArtefactError(
                    f"Expected log-probabilities of {model.name}. Received: {log_weight[wrong[0]]}"
                    f" for {split.spec.noun} {first + wrong[0]} of {count} of the {split.split}"
                    f" split of {split.name}"
                )
            total = np.logaddexp(total, log_weight)  # [b]
            progress.advance(len(x))
        values.append(total - math.log(k))
    values = np.concatenate(values)  # [count]
    infinite = int(np.isneginf(values).sum())
    metric = METRICS[kind] if k == 1 else "iw_bound"
    protocol = {"kind": kind, "k": k, "seed": None if kind == "exact" else seed}
    on = (protocol, model, split, count)
    units = _units(-math.inf if infinite else float(values.mean()), model.spec)
    if infinite:
        units = dict.fromkeys(units)
        return score(metric, None, None, *on, **units, minus_infinity=infinite)
    return mean_score(metric, values, *on, **units, minus_infinity=0)


def _units(log_prob, spec):
    """Returns a log-probability, in nats per example, in the units of the literature."""
    nats = -log_prob / math.prod(spec.shape)
    bits = nats / math.log(2.0)
    if spec.kind != "tokens":
        return {"bits_per_dim": bits}
    perplexity = math.exp(nats) if nats < MOST_NATS else None
    return {"nats_per_token": nats, "bits_per_token": bits, "perplexity": perplexity}
