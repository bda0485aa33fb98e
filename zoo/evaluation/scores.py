"""Creates and formats scores. A score has a value, a standard error and a protocol.

    {"metric": "log_likelihood", "value": -80.29, "standard_error": 0.20, …,
     "protocol": {"version": 1, "kind": "exact", …, "split": "test", "count": 10000}}

Two scores of a metric are comparable if their protocols are equal.
"""

import math
from pathlib import Path

from zoo.evaluation.metrics import find_metric

__all__ = ["PARTS", "PROTOCOL", "format_score", "format_value", "mean_score", "score", "table"]

PROTOCOL = 1
"""Version of the protocol, which increases whenever the scores of a model would change."""

PARTS = 20  # groups of examples whose means are stored, for paired comparisons of models

_UNITS = {
    "bits_per_dim": "{:.3f} bits/dim",
    "nats_per_token": "{:.4f} nats/token",
    "bits_per_token": "{:.3f} bits/token",
    "perplexity": "perplexity {:.3f}",
}


def score(metric, value, standard_error, protocol, model=None, split=None, count=None, **more):
    """Returns a score as it is stored in cards.

    Args:
      metric: str; name of the metric.
      value: float, or None if it is not finite.
      standard_error: float, or None if it is not defined.
      protocol: JSON-serializable dict of the settings that determine the value.
      model: zoo.exports.saved_model.SavedModel, or None if the value does not depend on the
        training data.
      split: zoo.datasets.Split of the examples that are scored or compared, or None.
      count: int; number of these examples.
      **more: other entries, which are not part of the protocol.
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
    """Returns a score whose value is the mean of values.

    Its `parts` are the means of 20 interleaved groups of examples. Because models are scored on the
    same examples, the error of a difference is far smaller than the error of each score.

    Args:
      metric: as `score`.
      values: float [count], one per example in the order of the split.
      *args: as `score`, from protocol on.
      **more: as `score`.
    """
    import numpy as np

    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    if n >= 2 * PARTS:
        more["parts"] = [float(np.mean(values[k::PARTS])) for k in range(PARTS)]
    return score(metric, float(np.mean(values)) if n else None, error, *args, **more)


def format_score(score) -> tuple[str, str, str, str]:
    """Returns a score as text: (metric, value, value of real images, data or device)."""
    metric, protocol = score["metric"], score["protocol"]
    value = format_value(score["value"], score["standard_error"])
    if unit := find_metric(metric).unit:
        value += f" {unit}"
    units = [unit.format(score[key]) for key, unit in _UNITS.items() if score.get(key) is not None]
    if units:
        value += f" ({', '.join(units)})"
    for key in ("k", "n"):
        if protocol.get(key, 1) > 1:
            metric += f", {key}={protocol[key]:,}"
    context = protocol.get("device", "")
    if "split" in protocol:
        examples = score.get("examples", "images")
        context = f"{protocol['count']:,} {protocol['split']} {examples} of {protocol['dataset']}"
    if "samples" in protocol:
        context = f"{protocol['samples']:,} samples, {context}"
    if score.get("minus_infinity"):
        value = "-inf nats"
        context = f"{context}, -inf for {score['minus_infinity']:,} of them"
    return metric, value, format_value(*score["real"]) if "real" in score else "", context


def table(scores) -> list[tuple[str, ...]]:
    """Returns the header and a row per score as text, without columns that are empty."""
    columns = zip(("METRIC", "VALUE", "REAL", "ON"), *map(format_score, scores), strict=True)
    return [*zip(*(column for column in columns if any(column[1:])), strict=True)]


def format_value(value, error) -> str:
    """Formats a number and its standard error, with the digits that are significant."""
    if value is None:
        return "not finite"
    digits = 2 if not error else min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f}" + ("" if error is None else f" +- {error:.{digits}f}")
