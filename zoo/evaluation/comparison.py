"""Compares models by the scores in their cards, without importing TensorFlow."""

import dataclasses
import math
import shlex

from zoo.errors import InputError
from zoo.evaluation import inputs
from zoo.evaluation.metrics import find_metric
from zoo.evaluation.scores import PARTS, format_score
from zoo.exports import cards

__all__ = ["Comparison", "compare", "differences", "match", "winners"]

SIGNIFICANT = 2.0  # standard errors of a difference
NAMES = {"dataset": "fingerprint", "trained_on": "trained_on_fingerprint"}
FINGERPRINTS = {fingerprint: name for name, fingerprint in NAMES.items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Scores of models side by side; `str` and `print` show a table.

    Args:
      names: names of the models.
      rows: dicts from the names of two or more models to their scores, which have one metric and
        one protocol.
      reasons: sentences that say which scores are not comparable, and why.
    """

    names: list[str]
    rows: list[dict[str, dict]]
    reasons: list[str]

    def table(self) -> list[tuple[str, ...]]:
        """Returns the header and the rows as text; * marks the best models."""
        table = [("METRIC", *self.names, "REAL", "ON")]
        for row in self.rows:
            best = winners(row)
            columns = {name: format_score(score) for name, score in row.items()}
            metric, _, real, on = next(iter(columns.values()))
            values = [
                columns[name][1] + (" *" if name in best else "") if name in row else "-"
                for name in self.names
            ]
            table.append((metric, *values, real, on))
        return table

    def __str__(self):
        table = self.table() if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([*lines, *self.reasons])


def compare(*models) -> Comparison:
    """Compares models by the scores in their cards.

        print(zoo.compare("pixelcnn", "pixelrnn"))

    Args:
      *models: two or more, each the name of a pretrained model, the path of an export or run, a
        `Run` or a SavedModel.

    Returns:
      Comparison.

    Raises:
      InputError: if there are fewer than two models, one is unknown, or one has no scores.
      ArtefactError: if a card is damaged.
    """
    folders = {}
    for model in models:
        folder = inputs.find_folder(model)
        folders[str(getattr(model, "folder", model))] = folder
    if len(folders) < 2:
        received = " ".join(folders) or "none"
        raise InputError(f"Comparing requires two or more models. Received: {received}")
    scores = {name: cards.read_card(folder)["scores"] for name, folder in folders.items()}
    for name, found in scores.items():
        if not found:
            command = f"zoo evaluate {shlex.quote(name)}"
            raise InputError(f"{name} has no scores. Compute them with: {command}")
    return Comparison([*scores], *match(scores))


def match(scores):
    """Finds the scores that have equal protocols.

    Args:
      scores: dict from names of two or more models to their lists of scores.

    Returns:
      (rows, reasons), as of `Comparison`.
    """
    rows, reasons = [], {}
    for quantity in dict.fromkeys(_quantity(s) for some in scores.values() for s in some):
        by_name = {
            name: [s for s in some if _quantity(s) == quantity] for name, some in scores.items()
        }
        by_name = {name: some for name, some in by_name.items() if some}
        candidates = []
        for name, some in by_name.items():
            for score in some:
                row = next((r for r in candidates if not differences(score, *r.values())), None)
                if row is None:
                    candidates.append({name: score})
                else:
                    row[name] = score
        shared = [row for row in candidates if len(row) > 1]
        rows += shared
        alone = [name for name in by_name if not any(name in row for row in shared)]
        pairs = set()
        for name in alone if len(by_name) > 1 else ():
            other, parts = _nearest(name, by_name)
            if (other, name) not in pairs:
                pairs.add((name, other))
                reasons.setdefault((name, other, parts), []).append(quantity)
    return rows, [
        f"{', '.join(quantities)} of {name} and {other} not comparable: they differ in {parts}."
        for (name, other, parts), quantities in reasons.items()
    ]


def differences(*scores):
    """Finds the parts in which the protocols of scores differ.

    Returns:
      dict from the name of a part to the list of its values in the scores.
    """
    parts = [{"metric": s["metric"], **s["protocol"]} for s in scores]
    values = {key: [part.get(key) for part in parts] for key in {k: 0 for p in parts for k in p}}
    differ = {key: v for key, v in values.items() if v.count(v[0]) < len(v)}
    # The fingerprint identifies a data set: its name, such as that of a folder, may change.
    return {key: values for key, values in differ.items() if NAMES.get(key, key) in differ}


def winners(row):
    """Returns the names of the models in a row that are best within the standard errors.

    Empty if the metric has no better direction, or if all models are equally good.
    """
    better = find_metric(next(iter(row.values()))["metric"]).better
    if not better or any(score.get("exact") for score in row.values()):
        return set()  # a PSNR without the exact images is of different images for each model
    sign = 1.0 if better == "higher" else -1.0
    # None is the mean of a model that gives an image probability 0.
    values = {n: -math.inf if s["value"] is None else sign * s["value"] for n, s in row.items()}
    best = max(values, key=values.get)
    if values[best] == -math.inf:
        return set()
    equals = {
        name
        for name, value in values.items()
        if name == best or values[best] - value <= SIGNIFICANT * _error(row[best], row[name])
    }
    return equals if len(equals) < len(row) else set()


def _quantity(score):
    metric = find_metric(score["metric"])
    return metric.quantity or metric.name


def _error(a, b):
    """Returns the standard error of the difference of two scores, from the same images by parts."""
    if "parts" in a and "parts" in b:
        parts = [x - y for x, y in zip(a["parts"], b["parts"], strict=True)]
        mean = math.fsum(parts) / PARTS
        variance = math.fsum((part - mean) ** 2 for part in parts) / (PARTS - 1)
        return math.sqrt(variance / PARTS)
    return math.hypot(*(score["standard_error"] or 0.0 for score in (a, b)))


def _nearest(name, by_name):
    """Returns the model with the score most like one of a model, and the parts that differ."""
    nearest, other = min(
        (
            (differences(x, y), other)
            for x in by_name[name]
            for other in by_name
            for y in by_name[other]
            if other != name
        ),
        key=lambda pair: len(pair[0]),
    )
    # A fingerprint is not shown beside the names that differ.
    parts = [
        f"{key} ({u} | {v})"
        for key, (u, v) in nearest.items()
        if FINGERPRINTS.get(key) not in nearest
    ]
    return other, ", ".join(parts)
