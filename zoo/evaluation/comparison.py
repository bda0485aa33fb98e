"""Scores of several models beside each other, where they compare, and why where they do not."""

import math

import numpy as np

from zoo.evaluation.scores import LIKELIHOOD_METRICS, PARTS

__all__ = ["compare", "differences", "quantity", "winners"]

# Not of ms_per_image, which is of a machine, nor of what is raised at the cost of another score:
# precision, recall, density, diversity, authenticity.
HIGHER = {*LIKELIHOOD_METRICS, "classifier_score", "coverage", "psnr", "ssim"}
LOWER = {"frechet_distance", "kernel_distance"}
SURE = 2.0  # standard errors of a difference
NAMED = {"dataset": "fingerprint", "trained_on": "trained_on_fingerprint"}
TOLD = {fingerprint: name for name, fingerprint in NAMED.items()}  # by names, if they differ


def quantity(score):
    """Returns what a score is a number of: the likelihood and its bounds are of one thing."""
    return "likelihood" if score["metric"] in LIKELIHOOD_METRICS else score["metric"]


def compare(scores):
    """Puts scores of equal protocols beside each other.

    Args:
      scores: dict from the name of a model to its list of scores; two models or more.

    Returns:
      (rows, reasons): each row a dict from the names of two models or more to their scores, of one
      metric and protocol; and a str for all quantities that a model has, is in no row of, and does
      not share with another for the same reason.
    """
    rows, reasons = [], {}
    for of in dict.fromkeys(quantity(s) for some in scores.values() for s in some):
        have = {name: [s for s in some if quantity(s) == of] for name, some in scores.items()}
        have = {name: some for name, some in have.items() if some}
        alike = []
        for name, some in have.items():
            for score in some:
                row = next((r for r in alike if not differences(score, *r.values())), None)
                if row is None:
                    alike.append({name: score})
                else:
                    row[name] = score
        shared = [row for row in alike if len(row) > 1]
        rows += shared
        alone = [name for name in have if not any(name in row for row in shared)]
        told = set()
        for name in alone if len(have) > 1 else ():
            other, parts = _nearest(name, have)
            if (other, name) not in told:
                told.add((name, other))
                reasons.setdefault((name, other, parts), []).append(of)
    return rows, [
        f"{', '.join(quantities)} of {name} and {other} not compared: they differ in {parts}."
        for (name, other, parts), quantities in reasons.items()
    ]


def differences(*scores):
    """Finds which parts of the protocols of scores differ.

    Returns:
      dict from the name of a part to the list of what each score has there.
    """
    parts = [{"metric": s["metric"], **s["protocol"]} for s in scores]
    found = {key: [part.get(key) for part in parts] for key in {k: 0 for p in parts for k in p}}
    found = {key: values for key, values in found.items() if values.count(values[0]) < len(values)}
    # A data set is what its fingerprint says: its name, as of a folder, may change.
    return {key: values for key, values in found.items() if NAMED.get(key, key) in found}


def winners(row):
    """Returns the names of the models in a row that none is better than beyond the errors.

    Empty where more of the metric is neither better nor worse, and where all are equally good.
    """
    metric = next(iter(row.values()))["metric"]
    sign = 1.0 if metric in HIGHER else -1.0 if metric in LOWER else None
    if sign is None or any(score.get("exact") for score in row.values()):
        return set()  # a PSNR without the exact images is of other images for each model
    # No mean is that of an impossible image.
    values = {n: -math.inf if s["value"] is None else sign * s["value"] for n, s in row.items()}
    best = max(values, key=values.get)
    if values[best] == -math.inf:
        return set()
    found = {
        name
        for name, value in values.items()
        if name == best or values[best] - value <= SURE * _error(row[best], row[name])
    }
    return found if len(found) < len(row) else set()


def _error(a, b):
    """Returns the standard error of the difference of two scores: of the same images by parts."""
    if "parts" in a and "parts" in b:
        return float(np.std(np.subtract(a["parts"], b["parts"]), ddof=1) / math.sqrt(PARTS))
    return math.hypot(*(score["standard_error"] or 0.0 for score in (a, b)))


def _nearest(name, have):
    """Finds the model with the score nearest to one of a model, and says in what they differ."""
    nearest, other = min(
        (
            (differences(x, y), other)
            for x in have[name]
            for other in have
            for y in have[other]
            if other != name
        ),
        key=lambda found: len(found[0]),
    )
    parts = [f"{k} ({u} | {v})" for k, (u, v) in nearest.items() if TOLD.get(k) not in nearest]
    return other, ", ".join(parts)
