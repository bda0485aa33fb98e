"""Log-likelihoods of a split under a SavedModel.

A model whose `log_prob` is one importance weight, w_j = p(x, z_j) / q(z_j | x) with z_j ~ q, has
two bounds (Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016, eq. 8):

    elbo = E log w_1   <=   iw_bound = E log((w_1 + … + w_k) / k)   <=   log p(x)
"""

import math

import numpy as np

from zoo.errors import ArtefactError, InputError, UndefinedError
from zoo.evaluation.scores import MEANS, mean_score, score, unseen

__all__ = ["log_likelihood"]


def log_likelihood(model, split, seed=0, batch_size=200, limit=None, k=1, begin=unseen):
    """Averages over a split the log-likelihood, or what the model has as a bound of it.

    Args:
      model: zoo.saving.SavedModel that can log_prob.
      split: zoo.datasets.Split of the model's shape and levels.
      seed: int; where log_prob draws, the i-th scored image draws z_j from ((j, seed), i).
      batch_size: int; changes memory and time alone.
      limit: int; number of images to score, evenly spaced over the split. Default: all.
      k: int; number of importance weights an image; 1 where log_prob is not one of them.
      begin: function of the number of values of log_prob that are to come; it returns one that
        is told of every n that are done.

    Returns:
      A score in nats an image, with bits_per_dim too. The standard error of one image is None. The
      number of images whose value is minus infinity is minus_infinity; the mean then is so too, and
      JSON cannot say it: all three numbers are None.

    Raises:
      UndefinedError: if the model has no likelihood.
      InputError: if k weights are not defined, or there is no image.
      ArtefactError: if log_prob gives what is not a log-probability.
    """
    card = model.card
    kind = card["log_prob_kind"]
    if "log_prob" not in card["can"]:
        raise UndefinedError(
            f"The likelihood of {model.name} is not defined, because it has no log_prob: it can"
            f" {', '.join(card['can'])}."
        )
    if k < 1 or (k > 1 and kind != "importance_weight"):
        raise InputError(
            "Expected k=1, or more for importance weights."
            f" Received: k={k} for {model.name}, whose log_prob is {kind}"
        )
    count = len(split) if limit is None else min(limit, len(split))
    if count < 1:
        raise InputError(
            f"Expected at least one image in the {split.split} split of {split.name}."
            f" Received: {len(split)}, {limit=}"
        )
    conditional = card["num_classes"] > 0
    images = split.batches(batch_size, labels=conditional).unbatch().enumerate()
    # Many sets are in the order of their classes: the first images alone would be of one class.
    images = images.filter(lambda i, image: i * count % len(split) < count)
    batches = images.map(lambda i, image: image).batch(batch_size)
    is_probability = kind == "exact" and card["levels"] > 0
    most = 1e-2 if is_probability else np.inf  # log 1, and some rounding
    values, advance = [], begin(count * k)
    for first, batch in zip(range(0, count, batch_size), batches, strict=True):
        x, labels = batch if conditional else (batch, None)
        total = -np.inf
        for j in range(k):
            log_weight = model.log_prob(x, (j, seed), labels, first).numpy().astype(np.float64)
            if len(wrong := np.flatnonzero(~(log_weight < most))):  # NaN too
                raise ArtefactError(
                    f"Expected log-probabilities of {model.name}. Received: {log_weight[wrong[0]]}"
                    f" for image {first + wrong[0]} of {count} of the {split.split} split of"
                    f" {split.name}"
                )
            total = np.logaddexp(total, log_weight)  # [b]
            advance(len(x))
        values.append(total - math.log(k))
    values = np.concatenate(values)  # [count]
    infinite = int(np.isneginf(values).sum())
    metric = MEANS[kind] if k == 1 else "iw_bound"
    protocol = {"kind": kind, "k": k, "seed": None if kind == "exact" else seed}
    on = (protocol, model, split, count)
    if infinite:
        return score(metric, None, None, *on, bits_per_dim=None, minus_infinity=infinite)
    bits_per_dim = -float(values.mean()) / math.prod(card["shape"]) / math.log(2.0)
    return mean_score(metric, values, *on, bits_per_dim=bits_per_dim, minus_infinity=0)
