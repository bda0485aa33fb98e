"""Scores: a number, its error, and the protocol that says with which others it compares."""

from pathlib import Path

__all__ = ["PROTOCOL", "score"]

PROTOCOL = 1
"""Raised whenever the same model and data would get another score."""


def score(metric, value, standard_error, model, split, count, protocol, **more):
    """Makes a score, as cards keep it.

    Args:
      metric: str, what was measured.
      value: float, or None where it is not finite.
      standard_error: float, or None where it is not defined.
      model: zoo.saving.SavedModel.
      split: zoo.datasets.Split of the images it was measured on or against.
      count: int; number of images.
      protocol: dict of str to int, str or None; what else decides the value.
      **more: more numbers, that are no part of the protocol.

    Returns:
      dict of metric, value, standard_error, more, and protocol: two scores of a metric compare
      where their protocols are equal.
    """
    name = model.card.get("recipe", {}).get("data", {}).get("name")
    return {
        "metric": metric,
        "value": value,
        "standard_error": standard_error,
        **more,
        "protocol": {
            "version": PROTOCOL,
            **protocol,
            "trained_on": name and Path(name).stem,  # a path by its last part
            "dataset": split.name,
            "fingerprint": split.fingerprint,
            "split": split.split,
            "count": count,
        },
    }
