"""Verifies a SavedModel and recomputes the scores in its card: `zoo.verify`."""

import contextlib
import functools
import shlex
from typing import NamedTuple

from zoo.display import Table
from zoo.errors import InputError, check_flags, for_caller
from zoo.evaluation import inputs
from zoo.evaluation.comparison import differences
from zoo.evaluation.evaluate import compute
from zoo.evaluation.metrics import find_group
from zoo.evaluation.scores import PROTOCOL, format_score
from zoo.exports import cards
from zoo.progress import Bars, Progress

__all__ = ["TOLERANCE", "Check", "agrees", "is_quick", "verify"]

TOLERANCE = 0.25
"""Largest accepted difference from the score in the card, in standard errors."""

ROUNDING = 1e-5  # accepted difference without a standard error, relative or absolute


class Check(NamedTuple):
    """The result of recomputing one score.

    Args:
      score: the score in the card.
      new: the recomputed score, or None if it cannot be computed here.
      agrees: whether both scores are equal within the tolerance, or None without a new score.
      reason: why the score cannot be computed, a sentence; "" with a new score.
    """

    score: dict
    new: dict | None
    agrees: bool | None
    reason: str


def verify(
    model,
    data=None,
    *,
    features=None,
    quick: bool = False,
    progress: Progress | None = None,
    trust: str | None = None,
) -> list[Check]:
    """Verifies the files of a SavedModel and recomputes the scores in its card.

    Scores of speed are skipped, because they depend on the machine.

    Args:
      model: name of a pretrained model, path of an export or run, `Run`, or SavedModel.
      data: as in `zoo.evaluate`.
      features: path of the classifier for feature-based sample metrics. Default: the bundled
        classifier for the data set.
      quick: whether to recompute only scores that take seconds.
      progress: zoo.progress.Progress. Default: bars on a terminal and in a notebook.
      trust: as of `zoo.load`.

    Returns:
      list of Check, in the order of the card, which a notebook shows as a table.

    Raises:
      InputError: if the model or the data set is unknown, the data do not fit the model, or the
        card has no scores to recompute.
      ArtefactError: if a file of the model is damaged.
    """
    check_flags(quick=quick)
    folder = inputs.find_folder(model)
    scores = [s for s in cards.read_card(folder)["scores"] if "split" in s["protocol"]]
    scores = [score for score in scores if is_quick(score)] if quick else scores
    if not scores:
        kind, path = "quick " if quick else "", str(folder)
        command = for_caller(f"zoo evaluate {shlex.quote(path)}", f"zoo.evaluate({path!r})")
        raise InputError(f"{model} has no {kind}scores to verify. Compute scores with: {command}")
    data = getattr(model, "data", None) if data is None else data
    model = inputs.load_model(model, trust)
    splits = inputs.load_matching_data(model, data)
    from zoo.evaluation import features as classifiers

    @functools.cache
    def extractor(split):
        return classifiers.Extractor(features) if features else classifiers.load(split)

    checks, computed = [], {}
    with contextlib.nullcontext(progress) if progress else Bars() as progress:
        for score in scores:
            try:
                new = _recompute(score, model, splits, extractor, progress, computed)
                checks.append(Check(score, new, agrees(score, new), ""))
            except InputError as error:
                checks.append(Check(score, None, None, str(error)))
    return Table(checks, _table)


def is_quick(score) -> bool:
    """Returns whether recomputing a score takes only seconds."""
    group = find_group(score["metric"])
    return group is not None and group.quick(score["protocol"])


def agrees(score, new) -> bool:
    """Returns whether two scores are equal within the tolerance."""
    if any(score.get(key) != new.get(key) for key in ("minus_infinity", "exact")):
        return False
    if score["value"] is None or new["value"] is None:
        return score["value"] is new["value"]
    allowed = TOLERANCE * (score["standard_error"] or 0.0) + ROUNDING * max(1, abs(score["value"]))
    return abs(score["value"] - new["value"]) <= allowed


def _table(checks):
    rows = [("METRIC", "CARD", "HERE", "AGREE", "ON")]
    for check in checks:
        metric, value, _, on = format_score(check.score)
        here = check.reason if check.new is None else format_score(check.new)[1]
        rows.append((metric, value, here, {True: "yes", False: "NO", None: "-"}[check.agrees], on))
    return rows


def _recompute(score, model, splits, extractor, progress, computed):
    """Returns a score recomputed with its protocol.

    `extractor` is a function of a split that returns its Extractor. `computed` caches all scores of
    a computation.

    Raises:
      InputError: if the data, the classifier or this version of zoo have a different protocol.
    """
    group, protocol = find_group(score["metric"]), score["protocol"]
    if group is None:
        raise InputError(f"Unknown metric {score['metric']!r}.")
    split = inputs.find_split(splits, protocol["split"])
    settings = {
        "split": split.split,
        "seed": protocol["seed"] or 0,
        "k": protocol.get("k"),
        "limit": protocol["count"],
        "samples": protocol.get("samples"),
    }
    settings = {key: value for key, value in settings.items() if key in group.arguments}
    here = {"version": PROTOCOL, "fingerprint": split.fingerprint}
    if "extractor" in group.arguments:
        here["extractor_sha256"] = extractor(split).sha256
        here["train_fingerprint"] = splits[0].fingerprint
        settings["extractor"] = extractor(split)
    _require_equal(score, {**score, "protocol": {**protocol, **here}})  # before computing it
    key = (group.name, *settings.values())
    if key not in computed:
        computed[key] = [*compute(group, model, splits, progress=progress, **settings)]
    for new in computed[key]:
        if new["metric"] == score["metric"]:
            _require_equal(score, new)
            return new
    raise InputError("The metric is not defined for this model and data.")


def _require_equal(score, new):
    if parts := differences(score, new):
        differ = ", ".join(f"{key} ({a} | {b})" for key, (a, b) in parts.items())
        raise InputError(f"Differs in {differ}.")
