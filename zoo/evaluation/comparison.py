"""Scores of several models beside each other, where they compare, and why where they do not."""

import math

__all__ = ["compare", "differences", "quantity", "winners"]

LIKELIHOODS = ("log_likelihood", "elbo", "iw_bound", "lower_bound")
HIGHER = {*LIKELIHOODS, "classifier_score", "precision", "recall", "coverage", "psnr", "ssim"}
LOWER = {"frechet_distance", "kernel_distance", "ms_per_image"}
SURE = 2.0  # standard errors of a difference


def quantity(score):
    """Returns what a score is a number of: the likelihood and its bounds are of one thing."""
    return "likelihood" if score["metric"] in LIKELIHOODS else score["metric"]


def compare(scores):
    """Puts scores of equal protocols beside each other.

    Args:
      scores: dict from the name of a model to its list of scores; two models or more.

    Returns:
      (rows, reasons): each row a dict from the names of two models or more to their scores, of one
      metric and protocol; and a str for each quantity that two models have and no row has.
    """
    rows, reasons = [], []
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
        if not shared and len(have) > 1:
            reasons.append(_reason(of, have))
    return rows, reasons


def differences(*scores):
    """Finds which parts of the protocols of scores differ.

    Returns:
      dict from the name of a part to the list of what each score has there.
    """
    parts = [{"metric": s["metric"], **s["protocol"]} for s in scores]
    found = {key: [part.get(key) for part in parts] for key in {k: 0 for p in parts for k in p}}
    return {key: values for key, values in found.items() if values.count(values[0]) < len(values)}


def winners(row):
    """Returns the names of the models in a row that none is better than beyond the errors.

    Empty where more of the metric is neither better nor worse, and where all are equally good.
    """
    metric = next(iter(row.values()))["metric"]
    sign = 1.0 if metric in HIGHER else -1.0 if metric in LOWER else None
    values = {name: score["value"] for name, score in row.items()}
    if sign is None or None in values.values():
        return set()
    best = max(values, key=lambda name: sign * values[name])
    found = {
        name
        for name, value in values.items()
        if abs(values[best] - value)
        <= SURE * math.hypot(*(row[n]["standard_error"] or 0.0 for n in (best, name)))
    }
    return found if len(found) < len(row) else set()


def _reason(of, have):
    (one, a), (other, b), *_ = have.items()
    nearest = min((differences(x, y) for x in a for y in b), key=len)
    parts = [f"{key} ({u} | {v})" for key, (u, v) in nearest.items() if key != "fingerprint"]
    return f"{of} of {one} and {other} is not compared: they differ in {', '.join(parts)}."
