"""Log-likelihoods of a split under a SavedModel."""

import math

import numpy as np

__all__ = ["log_likelihood"]

METRICS = {"exact": "log_likelihood", "importance_weight": "elbo", "lower_bound": "lower_bound"}


def log_likelihood(model, split, seed=0, batch_size=500, limit=None):
    """Averages `log_prob` over a split.

    Args:
      model: zoo.saving.SavedModel that can log_prob.
      split: zoo.datasets.Split of the model's shape and levels.
      seed: int; where log_prob draws, image k draws from (seed, k).
      batch_size: int; changes memory and time alone.
      limit: int; number of images, the first ones of the split. Default: all.

    Returns:
      A score: dict of metric, nats and its standard error an image, bits_per_dim, and the protocol;
      the standard error of one image is None.
    """
    conditional = model.card["num_classes"] > 0
    values = []
    for batch in split.batches(batch_size, labels=conditional):
        x, labels = batch if conditional else (batch, None)
        first = batch_size * len(values)
        values.append(model.log_prob(x, seed, labels, first).numpy())
        if limit and first + len(x) >= limit:
            break
    values = np.concatenate(values).astype(np.float64)[:limit]
    count, mean = len(values), float(values.mean())
    return {
        "metric": METRICS[model.card["log_prob_kind"]],
        "nats": mean,
        "standard_error": float(values.std(ddof=1) / math.sqrt(count)) if count > 1 else None,
        "bits_per_dim": -mean / math.prod(model.card["shape"]) / math.log(2.0),
        "count": count,
        "split": split.split,
        "dataset": split.name,
        "fingerprint": split.fingerprint,
        "seed": seed,
    }
