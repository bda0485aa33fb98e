"""Computes the scores of a model: `zoo.evaluate`."""

import contextlib
import logging
from collections.abc import Callable, Iterable

from zoo.display import Table
from zoo.errors import InputError, UndefinedError, did_you_mean
from zoo.evaluation import inputs, metrics
from zoo.evaluation.scores import table
from zoo.exports import cards
from zoo.progress import SILENT, Bars, Progress

__all__ = ["compute", "evaluate"]

log = logging.getLogger("zoo")


def evaluate(
    model,
    metrics: str | Iterable[str] | None = None,
    data=None,
    *,
    split: str = "test",
    seed: int = 0,
    k: int | None = None,
    limit: int | None = None,
    samples: int | None = None,
    features=None,
    batch_size: int = 200,
    size: int | None = None,
    binarize: bool | None = None,
    stretch: bool | None = None,
    paired: bool | None = None,
    length: int | None = None,
    bytes: bool | None = None,
    rate: int | None = None,
    progress: Progress | None = None,
    trust: str | None = None,
    on_score: Callable[[dict], None] = lambda score: None,
) -> list[dict]:
    """Computes scores of a model and stores them in its card.

        zoo.evaluate("runs/mine", metrics=["likelihood"], limit=1000)

    Each score is stored as soon as it is computed, and replaces a score of the same kind. The card
    of a pretrained model is not changed.

    Args:
      model: name of a pretrained model, path of an export or run, `Run`, or SavedModel.
      metrics: names of groups in `zoo.evaluation.metrics.GROUPS`: an iterable of str, or one str
        with commas. Default: all groups that are defined for the model.
      data: as `zoo.load_dataset`. Default: the training data set of the model, or the arrays on
        which a `Run` was trained in this process.
      split: "train", "validation" or "test".
      seed: int from 0; seeds the model and the random splits of samples.
      k: int from 1; number of importance samples per example. Default: 128 if the model has
        importance weights, else 1.
      limit: int from 1; number of examples, evenly spaced, used for the likelihood. Default: all.
      samples: int from 100; number of samples. Default: 10,000, or the number of training images
        if it is smaller.
      features: path of the classifier for feature-based sample metrics. Default: the bundled
        classifier for the data set.
      batch_size: int from 1; affects memory and time only.
      size: int; as `zoo.load_dataset`. Default: as in training.
      binarize: bool; as `size`.
      stretch: bool; as `size`.
      paired: bool; as `size`.
      length: int; as `size`.
      bytes: bool; as `size`.
      rate: int; as `size`.
      progress: zoo.progress.Progress. Default: bars on a terminal and in a notebook.
      trust: as of `zoo.load`.
      on_score: function of a score, called as soon as the score is computed.

    Returns:
      list of scores, dicts as returned by `zoo.evaluation.scores.score`. A notebook shows a table.

    Raises:
      InputError: if the model, a metric or the data set is unknown, the data do not fit the model,
        or a setting does not apply.
      UndefinedError: if a requested group is not defined for the model, or no group is.
      ArtefactError: if the model is damaged or returns invalid values.
    """
    groups = _select(metrics)
    card_is_published = inputs.is_pretrained(model)
    data = getattr(model, "data", None) if data is None else data
    model = inputs.load_model(model, trust)
    settings = {"seed": seed, "k": k, "limit": limit, "samples": samples, "batch_size": batch_size}
    _check_settings(groups, model, {"k": k, "limit": limit, "samples": samples})
    extractor = splits = None
    if features:
        from zoo.evaluation.features import Extractor

        extractor = Extractor(features)
    if any("split" in group.arguments for group in groups):
        source = {"size": size, "binarize": binarize, "stretch": stretch, "paired": paired}
        source |= {"length": length, "bytes": bytes, "rate": rate}
        splits = inputs.load_matching_data(model, data, **source)
        log.info(splits.describe())
        if samples is not None:
            from zoo.evaluation.samples import check_count

            check_count(samples, splits[0])
    log.info(f"{model.name}: {model.card['parameters']:,} parameters")
    scores = []
    with contextlib.nullcontext(progress) if progress else Bars() as progress:
        for group in groups:
            try:
                for score in compute(group, model, splits, split, extractor, progress, **settings):
                    scores.append(score)
                    if not card_is_published:
                        _store(model, score)
                    on_score(score)
            except UndefinedError as error:
                if metrics is not None:
                    raise
                log.info(error)
    if not scores:
        raise UndefinedError(f"No metric is defined for {model.name}.")
    return Table(scores, table)


def compute(
    group, model, splits=None, split="test", extractor=None, progress=SILENT, **settings
) -> Iterable[dict]:
    """Computes the scores of one group.

    Args:
      group: zoo.evaluation.metrics.Group.
      model: zoo.exports.saved_model.SavedModel.
      splits: zoo.datasets.Splits, or None for a group that requires no data.
      split: name of the split to score.
      extractor: zoo.evaluation.features.Extractor. Default: the bundled one for the data set.
      progress: zoo.progress.Progress.
      **settings: other arguments of the function of the group.

    Returns:
      iterable of scores.

    Raises:
      UndefinedError: if the group is not defined for the model or the data.
    """
    if missing := _missing(group, model):
        raise UndefinedError(
            f"Metric {group.name!r} is not defined for {model.name}, because the model has no"
            f" method {' or '.join(missing)}. Supported methods: {', '.join(model.card['can'])}."
        )
    if model.spec.kind not in group.kinds:
        raise UndefinedError(
            f"Metric {group.name!r} is not defined for {model.name}, because it requires images."
            f" Received: {model.spec}"
        )
    settings["progress"] = progress
    if "split" in group.arguments:
        settings["train"], settings["split"] = splits[0], inputs.find_split(splits, split)
    if "extractor" in group.arguments:
        from zoo.evaluation import features

        settings["extractor"] = extractor or features.load(settings["split"])
    arguments = {name: settings[name] for name in group.arguments if name in settings}
    return group.function(model, **arguments)


def _select(names):
    """Returns the groups with these names, or all groups if names is None."""
    if names is None:
        return metrics.GROUPS
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    groups = {group.name: group for group in metrics.GROUPS}
    for name in names:
        if name not in groups:
            raise InputError(
                f"Unknown metric {name!r}.{did_you_mean(name, groups)} Choose from:"
                f" {', '.join(groups)}"
            )
    return [groups[name] for name in dict.fromkeys(names)]


def _check_settings(groups, model, settings):
    """Raises InputError if a setting is given that affects none of the groups."""
    defined = [group for group in groups if not _missing(group, model)]
    for name, value in settings.items():
        if value is not None and not any(name in group.arguments for group in defined):
            users = [repr(group.name) for group in metrics.GROUPS if name in group.arguments]
            raise InputError(
                f"{name} requires metric {' or '.join(users)}, which is not computed for"
                f" {model.name}. Omit {name}. Received: {name}={value}"
            )


def _missing(group, model):
    return [method for method in group.needs if method not in model.card["can"]]


def _store(model, score):
    """Stores a score in the card of a model, or warns that the card cannot be written."""
    try:
        cards.add_score(model.folder, score)
    except OSError as error:
        log.warning(f"Cannot write {model.folder / cards.CARD}: {error.strerror}.")
