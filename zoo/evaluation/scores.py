"""Scores: a number, its error, and the protocol that decides which scores are comparable.

    {"metric": "log_likelihood", "value": -80.29, "standard_error": 0.20, …,
     "protocol": {"version": 1, "kind": "exact", …, "split": "test", "count": 10000}}

Two scores of a metric are comparable if their protocols are equal.
"""

import math
from pathlib import Path

from zoo.evaluation.metrics import find_metric

__all__ = ["PARTS", "PROTOCOL", "format_score", "mean_score", "score"]

PROTOCOL = 1
"""Increases whenever the same model and data would get another score."""

PARTS = 20  # groups of examples whose means are stored: models are compared by their differences

_UNITS = {
    "bits_per_dim": "{:.3f} bits/dim",
    "nats_per_token": "{:.4f} nats/token",
    "bits_per_token": "{:.3f} bits/token",
    "perplexity": "perplexity {:.3f}",
}


def score(metric, value, standard_error, protocol, model=None, split=None, count=None, **more):
    """Returns a score as cards store it.

    Args:
      metric: str, what is measured.
      value: float, or None if it is not finite.
      standard_error: float, or None if it is not defined.
      protocol: JSON-serializable dict of everything except the data that decides the value.
      model: zoo.exports.saved_model.SavedModel, or None if the value does not depend on the
        training data.
      split: zoo.datasets.Split of the examples that are scored or compared with, or None.
      count: int; number of these examples.
      **more: other numbers, which are not part of the protocol.
    """
    protocol = {"version": PROTOCOL, "kind": None, "seed": None, **protocol}
    if model is not None:
        name = model.trained_on.get("name")
        protocol |= {
            "conditional": model.condition is not None,
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
        if split.spec.kind != "image":
            more["examples"] = f"{split.spec.noun}s"
    return {
        "metric": metric,
        "value": value,
        "standard_error": standard_error,
        **more,
        "protocol": protocol,
    }


def mean_score(metric, values, *args, **more):
    """Returns the score of the mean of values, [count], one per example in the order of the split.

    Its `parts` are the means of 20 groups, every 20th example: models are scored on the same ones,
    so the error of a difference is far smaller than the error of each score. Args as of `score`.
    """
    import numpy as np

    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    if n >= 2 * PARTS:
        more["parts"] = [float(np.mean(values[k::PARTS])) for k in range(PARTS)]
    return score(metric, float(np.mean(values)) if n else None, error, *args, **more)


def format_score(score) -> tuple[str, str, str, str]:
    """Returns the columns (metric, value, value of real images, data) of a score as text."""
    metric, protocol = score["metric"], score["protocol"]
    value = _with_error(score["value"], score["standard_error"])
    if unit := find_metric(metric).unit:
        value += f" {unit}"
    units = [unit.format(score[key]) for key, unit in _UNITS.items() if score.get(key) is not None]
    if units:
        value += f" ({', '.join(units)})"
    for key in ("k", "n"):
        if protocol.get(key, 1) > 1:
            metric += f", {key}={protocol[key]:,}"
    on = protocol.get("device", "")
    if "split" in protocol:
        examples = score.get("examples", "images")
        on = f"{protocol['count']:,} {protocol['split']} {examples} of {protocol['dataset']}"
    if "samples" in protocol:
        on = f"{protocol['samples']:,} samples, {on}"
    if score.get("minus_infinity"):
        value, on = "-inf nats", f"{on}, -inf for {score['minus_infinity']:,} of them"
    return metric, value, _with_error(*score["real"]) if "real" in score else "", on


def _with_error(value, error):
    """Formats a number and its standard error, with the digits that the error leaves."""
    if value is None:
        return "not finite"
    digits = 2 if not error else min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f}" + ("" if error is None else f" +- {error:.{digits}f}")
