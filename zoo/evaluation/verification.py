"""Recomputes the scores in a card, with the protocol that each score states: `zoo.verify`."""

import contextlib
import functools
import shlex
from typing import NamedTuple

from zoo.errors import InputError, check_flags
from zoo.evaluation import inputs
from zoo.evaluation.comparison import differences
from zoo.evaluation.evaluate import compute
from zoo.evaluation.metrics import find_group
from zoo.evaluation.scores import PROTOCOL
from zoo.exports import cards
from zoo.progress import Bars, Progress

__all__ = ["TOLERANCE", "Check", "agrees", "is_quick", "verify"]

TOLERANCE = 0.25
"""Largest difference from the same score computed elsewhere, in standard errors."""

ROUNDING = 1e-5  # of a score without a standard error, relative or absolute


class Check(NamedTuple):
    """The result of recomputing one score.

    Args:
      score: the score in the card.
      new: the recomputed score, or None if it cannot be computed here.
      agrees: whether the two are equal within the tolerance; None without a new score.
      reason: why there is no new score, in a sentence; else empty.
    """

    score: dict
    new: dict | None
    agrees: bool | None
    reason: str


def verify(
    model, data=None, *, features=None, quick: bool = False, progress: Progress | None = None
) -> list[Check]:
    """Verifies the files of a SavedModel and recomputes the scores in its card.

    Scores of speed are left out, because they depend on the machine.

    Args:
      model: name of a pretrained model, path of an export or run, `Run`, or SavedModel.
      data: as of `zoo.load_dataset`. Default: the training data set of the model.
      features: path of the classifier whose features compare samples with images. Default: the
        one included for the data set.
      quick: whether to recompute only scores that take seconds.
      progress: zoo.progress.Progress. Default: bars on a terminal and in a notebook.

    Returns:
      list of Check, in the order of the card.

    Raises:
      InputError: if the model or the data are unknown or do not fit, or there is no score to
        recompute.
      ArtefactError: if a file of the model is damaged.
    """
    check_flags(quick=quick)
    folder = inputs.find_folder(model)
    scores = [s for s in cards.read_card(folder)["scores"] if "split" in s["protocol"]]
    scores = [score for score in scores if is_quick(score)] if quick else scores
    if not scores:
        kind = "quick " if quick else ""
        raise InputError(
            f"{model} has no {kind}scores to verify. Compute scores with:"
            f" zoo evaluate {shlex.quote(str(folder))}"
        )
    model = inputs.load_model(model)
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
    return checks


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


def _recompute(score, model, splits, extractor, progress, computed):
    """Returns the score recomputed with its protocol.

    `extractor` is a function of a split that returns its Extractor. `computed` keeps all scores of
    a computation for the scores that follow.

    Raises:
      InputError: if the data, the classifier or this version of zoo give another protocol.
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
    _require_equal(score, {**score, "protocol": {**protocol, **here}})  # before it is computed
    key = (group.name, *settings.values())
    if key not in computed:
        computed[key] = [*compute(group, model, splits, progress=progress, **settings)]
    for new in computed[key]:
        if new["metric"] == score["metric"]:
            _require_equal(score, new)
            return new
    raise InputError("It is not defined for this model and data.")


def _require_equal(score, new):
    if parts := differences(score, new):
        differ = ", ".join(f"{key} ({a} | {b})" for key, (a, b) in parts.items())
        raise InputError(f"Differs in {differ}.")
