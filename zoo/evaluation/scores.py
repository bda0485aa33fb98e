"""Scores: a number, its error, and the protocol that says with which others it compares.

    {"metric": "log_likelihood", "value": -80.29, "standard_error": 0.20, …,
     "protocol": {"version": 1, "kind": "exact", …, "split": "test", "count": 10000}}

Two scores of a metric compare where their protocols are equal.
"""

from pathlib import Path

__all__ = ["PROTOCOL", "score"]

PROTOCOL = 1
"""Raised whenever the same model and data would get another score."""


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
    protocol = {"version": PROTOCOL, **protocol}
    if model:
        name = model.card.get("recipe", {}).get("data", {}).get("name")
        protocol["trained_on"] = name and Path(name).stem  # a path by its last part
    if split:
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
