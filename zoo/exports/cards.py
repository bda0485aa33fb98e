"""card.json of a SavedModel: metadata, provenance, weights, scores, checksums."""

import json
import os
import re
from pathlib import Path

from zoo import storage
from zoo.errors import ArtefactError
from zoo.spec import upgrade

__all__ = ["CARD", "SCHEMA", "add_score", "read_card", "weight_names"]

CARD = "card.json"
SCHEMA = 2
KEYS = ("parameters", "scores", "files")


def read_card(folder: str | os.PathLike) -> dict:
    """Returns card.json of a SavedModel as a dict, in the form of the newest schema.

    Raises:
      ArtefactError: if it is damaged or has an unknown schema.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        schema = card["schema"]
        if schema == 1:
            card = _upgrade(card)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtefactError(f"{path} is damaged: {error!r}.") from None
    if schema not in (1, SCHEMA):
        raise ArtefactError(
            f"{path} has schema {schema}, and this zoo reads {SCHEMA}:"
            f" install a zoo version that reads schema {schema}."
        )
    if missing := [key for key in KEYS if key not in card]:
        raise ArtefactError(f"{path} is damaged: it lacks {', '.join(missing)}.")
    return card


def _upgrade(card):
    """Returns a card of schema 1 with the spec and condition of schema 2."""
    card = {**card, "schema": SCHEMA}
    names = card.get("recipe", {}).get("data", {}).get("class_names", ())
    if "levels" in card:  # a classifier has no levels
        card |= upgrade({key: card.pop(key) for key in ("shape", "levels", "num_classes")}, names)
    if "options" in card:
        card["options"] = upgrade(card["options"], names)
    return card


def add_score(folder: str | os.PathLike, score: dict) -> None:
    """Adds a score, as `zoo.evaluation` returns it, to the card, or replaces one of its kind.

    Scores of the same metric, data, classifier and numbers of images and samples are of one kind.

    Raises:
      ArtefactError: if the card is damaged, or a number of the score is not finite.
      OSError: if the card cannot be written.
    """
    card = read_card(folder)
    others = [other for other in card["scores"] if _kind(other) != _kind(score)]
    try:
        storage.write_json(Path(folder) / CARD, {**card, "scores": [*others, score]})
    except ValueError:
        raise ArtefactError(f"Every number of a score must be finite. Received: {score}") from None


def weight_names(model) -> list[str]:
    """Returns a name per weight of a model, in the order of `model.weights`.

    A name is the position and the path, as "12/discriminator/dense/kernel", without the numbers
    that Keras appends to names: they depend on what the process has built before.
    """
    paths = [re.sub(r"_\d+(?=/|$)", "", weight.path) for weight in model.weights]
    return [f"{position}/{path}" for position, path in enumerate(paths)]


def _kind(score):
    protocol = score["protocol"]
    keys = ("k", "n", "samples", "extractor_sha256", "dataset", "split", "count")
    return score["metric"], *map(protocol.get, keys)
