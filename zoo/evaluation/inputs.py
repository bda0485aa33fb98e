"""Finds and loads the SavedModel and the data of an evaluation."""

import os
from pathlib import Path

from zoo.errors import InputError
from zoo.exports import pretrained
from zoo.spec import check_fit

__all__ = ["find_folder", "find_split", "is_pretrained", "load_matching_data", "load_model"]


def find_folder(model) -> Path:
    """Returns the folder of a SavedModel.

    Args:
      model: name of a pretrained model, path of an export or run, `Run`, or SavedModel.

    Raises:
      InputError: if it does not exist.
      ArtefactError: if the card of a pretrained model is damaged.
    """
    return pretrained.find(model if isinstance(model, str) else getattr(model, "folder", model))


def load_model(model, trust=None):
    """Loads a SavedModel. `model` is as in `find_folder`, and `trust` as in `zoo.load`."""
    if hasattr(model, "card"):
        return model
    folder = find_folder(model)  # before TensorFlow is imported
    from zoo.exports import saved_model

    return saved_model.SavedModel(folder, trust)


def is_pretrained(model) -> bool:
    """Returns whether a model is a pretrained model of a package, whose card is published."""
    if isinstance(model, str | os.PathLike):
        return pretrained.is_name(model)
    return any(find_folder(model) in tags.values() for tags in pretrained.pretrained().values())


def load_matching_data(model, data=None, **options):
    """Loads the training data set of a SavedModel, or another data set that fits it.

    Args:
      model: zoo.exports.saved_model.SavedModel.
      data: as `zoo.load_dataset`. Default: the data set in the card.
      **options: other arguments of `zoo.load_dataset`. Default, also for None: those in the card,
        or, with other data, the defaults of `zoo.load_dataset`.

    Returns:
      zoo.datasets.Splits.

    Raises:
      InputError: if the data cannot be loaded or do not fit the model, or the card names no data.
    """
    from zoo import datasets

    if data is None and not model.trained_on:
        raise InputError(
            f"The card of {model.folder} names no training data. Add --data NAME (data=NAME)."
        )
    stored = {k: v for k, v in model.trained_on.items() if k in ("name", *datasets.OPTIONS)}
    source = stored if data is None else {"name": data}
    source |= {key: value for key, value in options.items() if value is not None}
    splits = datasets.load_dataset(**source)
    check_fit(splits[0], model.name, model.spec, model.condition)
    return splits


def find_split(splits, name):
    """Returns the split with a name.

    Raises:
      InputError: if the name is unknown.
    """
    names = [split.split for split in splits]
    if name not in names:
        raise InputError(f"Unknown split {name!r}. Choose from: {', '.join(names)}")
    return splits[names.index(name)]
