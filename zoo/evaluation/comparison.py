"""Compares models by the scores in their cards, without importing TensorFlow."""

import dataclasses
import html
import itertools
import math
import shlex
import shutil
import textwrap

from zoo.errors import InputError, for_caller
from zoo.evaluation import inputs
from zoo.evaluation.metrics import find_metric
from zoo.evaluation.scores import PARTS, format_score, format_value
from zoo.exports import cards

__all__ = ["Comparison", "Mismatch", "compare", "differences", "match", "winners"]

SIGNIFICANT = 2.0  # standard errors of a difference
NOTEBOOK = 100  # characters of a line in a notebook
NAMES = {"dataset": "fingerprint", "trained_on": "trained_on_fingerprint"}
HEADING = 12  # characters of a name that are not wrapped at least

# Parts of a protocol that follow from another part that differs, and say nothing new beside it.
IMPLIED = {
    "metric": ("kind", "seed", "k"),
    "dataset": ("fingerprint", "train_fingerprint"),
    "trained_on": ("trained_on_fingerprint", "train_fingerprint"),
}
PARTS_AS_TEXT = {
    "dataset": "data",
    "fingerprint": "the contents of the data",
    "trained_on": "training data",
    "trained_on_fingerprint": "the contents of the training data",
    "train_fingerprint": "the contents of the training data",
    "extractor_sha256": "the classifier",
}


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """Scores of two models that are not comparable.

    Args:
      quantities: what they measure.
      models: names of the two models.
      differences: dict from the name of a part of the protocols to its two values.
    """

    quantities: list[str]
    models: tuple[str, str]
    differences: dict[str, tuple]

    def __str__(self):
        implied = {key for part in self.differences for key in IMPLIED.get(part, ())}
        shown = {key: values for key, values in self.differences.items() if key not in implied}
        if shown.get("trained_on") == shown.get("dataset"):
            shown.pop("trained_on", None)
        first, *rest = self.quantities
        what = first if not rest else f"{first} and {len(rest)} more"
        parts = [_difference(*item) for item in shown.items()]
        return f"{what}: {' and '.join(self.models)} differ in {', '.join(parts)}."


def _difference(part, values):
    """Returns a part of a protocol and its two values as text; a checksum is not shown."""
    words = {True: "yes", False: "no", None: "none"}
    texts = [words[v] if isinstance(v, bool | None) else str(v) for v in values]
    name = PARTS_AS_TEXT.get(part, part)
    return name if name.startswith("the ") else f"{name} ({' | '.join(texts)})"


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """Scores of models side by side. `repr`, `str`, `print` and a notebook show a table.

    Args:
      names: names of the models.
      rows: dicts from the names of two or more models to scores of one metric and protocol.
      mismatches: scores that are not comparable, with the reasons.
    """

    names: list[str]
    rows: list[dict[str, dict]]
    mismatches: list[Mismatch]

    def to_json(self) -> dict:
        """Returns all as JSON values, with the complete scores and their protocols."""
        rows = [
            {"metric": _quantity(next(iter(row.values()))), "scores": row, "best": sorted(best)}
            for row, best in ((row, winners(row)) for row in self.rows)
        ]
        mismatches = [dataclasses.asdict(mismatch) for mismatch in self.mismatches]
        return {"models": self.names, "rows": rows, "not_comparable": mismatches}

    def table(self, width: int = 80) -> str:
        """Returns the scores as text: a table per data set, then what is not comparable.

        * marks the best models. Standard errors are left out of a table that is too wide with them.

        Args:
          width: characters of a line.
        """
        blocks = {}
        for row in self.rows:
            data = min((format_score(score)[3] for score in row.values()), key=len)
            blocks.setdefault(data, []).append(row)
        lines = [line for data, rows in blocks.items() for line in self._block(data, rows, width)]
        if self.mismatches:
            lines.append("Not comparable:")
        for mismatch in self.mismatches:
            lines += textwrap.wrap(
                str(mismatch), width, initial_indent="  ", subsequent_indent="    "
            )
        return "\n".join(lines).rstrip()

    def _block(self, data, rows, width):
        """Yields the lines of the scores on some data."""
        names = [name for name in self.names if any(name in row for row in rows)]
        metrics = [_metric(next(iter(row.values()))) for row in rows]
        for errors in (True, False):
            columns = [_column(name, rows, errors) for name in names]
            if any("real" in score for row in rows for score in row.values()):
                columns.append(_column(None, rows, errors))
            first = max(map(len, metrics)) + 2
            if first + sum(_width(column) + 2 for column in columns) <= width + 2:
                break
        yield data
        for part in _parts(columns, width - first):
            heads, *values = zip(*part, strict=True)
            heads = [textwrap.wrap(head, _width(c)) for head, c in zip(heads, part, strict=True)]
            upwards = itertools.zip_longest(*(head[::-1] for head in heads), fillvalue="")
            table = [("", line) for line in upwards][::-1]
            for metric, cells in [*table, *zip(metrics, values, strict=True)]:
                cells = (f"{cell:{_width(c)}}" for cell, c in zip(cells, part, strict=True))
                yield f"  {metric:{first - 2}}  {'  '.join(cells)}".rstrip()
        yield ""

    def __str__(self):
        return self.table(shutil.get_terminal_size().columns)

    __repr__ = __str__

    def _repr_html_(self):
        return f"<pre>{html.escape(self.table(width=NOTEBOOK))}</pre>"


def _metric(score):
    """Returns the name of a metric with its unit."""
    name, unit = format_score(score)[0], find_metric(score["metric"]).unit
    return name if not unit or name.startswith(f"{unit}_") else f"{name}, {unit}"


def _column(name, rows, errors):
    """Returns the name of a model, and its score in each row as text; None is real images."""
    cells = ["real images" if name is None else name]
    for row in rows:
        score = next(iter(row.values())) if name is None else row.get(name)
        if score is None or (name is None and "real" not in score):
            text = "-"
        elif name is None:
            text = format_value(*score["real"])
        elif score.get("minus_infinity"):
            text = "-inf"
        else:
            text = format_value(score["value"], score["standard_error"])
        text = text if errors else text.partition(" +-")[0]
        cells.append(f"{text} *" if name in winners(row) else text)
    return cells


def _width(column):
    """Returns the width of a column, in which the name of the model may be wrapped."""
    head, *cells = column
    return max(min(len(head), HEADING), *map(len, cells))


def _parts(columns, width):
    """Splits columns into lists that fit a width, of at least one column."""
    part = []
    for column in columns:
        if part and sum(_width(c) + 2 for c in [*part, column]) > width:
            yield part
            part = []
        part.append(column)
    yield part


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
    for name, stored in scores.items():
        if not stored:
            command = for_caller(f"zoo evaluate {shlex.quote(name)}", f"zoo.evaluate({name!r})")
            raise InputError(f"{name} has no scores. Compute them with: {command}")
    return Comparison([*scores], *match(scores))


def match(scores):
    """Matches scores that have equal protocols.

    Args:
      scores: dict from names of two or more models to their lists of scores.

    Returns:
      (rows, mismatches), as of `Comparison`.
    """
    rows, mismatches = [], {}
    for quantity in dict.fromkeys(_quantity(s) for stored in scores.values() for s in stored):
        by_name = {
            name: [s for s in stored if _quantity(s) == quantity] for name, stored in scores.items()
        }
        by_name = {name: matching for name, matching in by_name.items() if matching}
        candidates = []
        for name, matching in by_name.items():
            for score in matching:
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
                mismatches.setdefault((name, other, repr(parts)), (parts, []))[1].append(quantity)
    return rows, [
        Mismatch(quantities, (name, other), parts)
        for (name, other, _), (parts, quantities) in mismatches.items()
    ]


def differences(*scores):
    """Finds the parts in which the protocols of scores differ.

    Returns:
      dict from the name of a part to the list of its values in the scores.
    """
    parts = [{"metric": s["metric"], **s["protocol"]} for s in scores]
    values = {key: [part.get(key) for part in parts] for key in {k: 0 for p in parts for k in p}}
    differ = {key: v for key, v in values.items() if v.count(v[0]) < len(v)}
    # The fingerprint identifies a data set. Its name, such as that of a folder, may change.
    return {key: values for key, values in differ.items() if NAMES.get(key, key) in differ}


def winners(row):
    """Returns the names of the models in a row that are best within the standard errors.

    The set is empty if the metric has no better direction, or if all models are equally good.
    """
    better = find_metric(next(iter(row.values()))["metric"]).better
    if not better or any(score.get("exact") for score in row.values()):
        return set()  # a PSNR excludes exact images, which differ between the models
    sign = 1.0 if better == "higher" else -1.0
    # None is the score of a model that assigns probability 0 to an image.
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
    """Returns the standard error of the difference of two scores, paired by `parts` if stored."""
    if "parts" in a and "parts" in b:
        parts = [x - y for x, y in zip(a["parts"], b["parts"], strict=True)]
        mean = math.fsum(parts) / PARTS
        variance = math.fsum((part - mean) ** 2 for part in parts) / (PARTS - 1)
        return math.sqrt(variance / PARTS)
    return math.hypot(*(score["standard_error"] or 0.0 for score in (a, b)))


def _nearest(name, by_name):
    """Returns the model with the most similar protocol, and the parts that differ."""
    return min(
        (
            (other, differences(x, y))
            for x in by_name[name]
            for other in by_name
            for y in by_name[other]
            if other != name
        ),
        key=lambda pair: len(pair[1]),
    )
