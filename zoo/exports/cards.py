"""Reads and writes card.json: metadata, provenance, weights, scores and checksums."""

import json
import os
import re
from pathlib import Path

from zoo import storage
from zoo.display import html_table
from zoo.errors import ArtefactError
from zoo.progress import format_duration
from zoo.spec import Spec, upgrade

__all__ = ["CARD", "SCHEMA", "Card", "add_score", "read_card", "weight_names"]

CARD = "card.json"
SCHEMA = 2
KEYS = {"parameters": int, "scores": list, "files": dict}
OTHERS = {"can": list, "options": dict, "recipe": dict, "tensors": dict}
MAX_BYTES = 2**26  # of a card; that of the largest model has less than 100 kB


class Card(dict):
    """The content of card.json. A notebook shows its main entries and its scores as tables."""

    def _repr_html_(self):
        from zoo.evaluation.scores import table

        scores = html_table(table(self["scores"])) if self["scores"] else ""
        return html_table([*self._facts()]) + scores

    def _facts(self):
        recipe = self.get("recipe", {})
        if "model" in self:
            yield "model", self["model"]
        if "spec" in self:
            yield "generates", str(Spec.from_json(self["spec"]))
        if self.get("condition"):
            yield "given", str(Spec.from_json(self["condition"]))
        if "can" in self:
            yield "methods", ", ".join(self["can"])
        if "data" in recipe:
            yield "trained on", Path(recipe["data"]["name"]).name
        if "training_seconds" in self:
            yield "training", format_duration(self["training_seconds"])
        if "step" in self:
            yield "step", f"{self['step']:,}"
        yield "parameters", f"{self['parameters']:,}"
        if "bytes" in self:
            yield "size", f"{self['bytes'] / 1e6:.1f} MB, {self.get('weights', 'float32')}"


def read_card(folder: str | os.PathLike) -> Card:
    """Returns card.json of a SavedModel in the newest schema.

    Raises:
      ArtefactError: if it is damaged or has an unknown schema.
    """
    path = Path(folder) / CARD
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        card = json.loads(path.read_text())
        schema = card["schema"]
        if schema == 1:
            card = _upgrade(card)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtefactError(f"{path} is damaged: {error!r}.") from None
    if schema not in (1, SCHEMA):
        raise ArtefactError(
            f"{path} has schema {schema}, but this version of zoo reads schema {SCHEMA}. Install a"
            f" version that reads schema {schema}."
        )
    if missing := [key for key in KEYS if key not in card]:
        raise ArtefactError(f"{path} is damaged: missing keys {', '.join(missing)}.")
    for key, kind in {**KEYS, **OTHERS}.items():
        if not isinstance(card.get(key, kind()), kind):
            raise ArtefactError(f"{path} is damaged: {key} is not a {kind.__name__}.")
    if not all(isinstance(text, str) for text in [*card["files"].values(), *card.get("can", ())]):
        raise ArtefactError(f"{path} is damaged: a value of files or can is not a str.")
    return Card(card)


def _upgrade(card):
    """Returns a card of schema 1 with the spec and condition of schema 2."""
    card = {**card, "schema": SCHEMA}
    names = card.get("recipe", {}).get("data", {}).get("class_names", ())
    if "levels" in card:  # absent in the card of a classifier
        card |= upgrade({key: card.pop(key) for key in ("shape", "levels", "num_classes")}, names)
    if "options" in card:
        card["options"] = upgrade(card["options"], names)
    return card


def add_score(folder: str | os.PathLike, score: dict) -> None:
    """Adds a score to the card, or replaces a score of the same kind.

    Two scores are of the same kind if they have equal metrics, data, classifiers, and numbers of
    images and samples.

    Raises:
      ArtefactError: if the card is damaged, or a number of the score is not finite.
      OSError: if the card cannot be written.
    """
    card = read_card(folder)
    others = [other for other in card["scores"] if _kind(other) != _kind(score)]
    try:
        storage.write_seal(folder, {**card, "scores": [*others, score]}, CARD)
    except ValueError:
        raise ArtefactError(f"The numbers of a score must be finite. Received: {score}") from None


def weight_names(model) -> list[str]:
    """Returns one name per weight of a model, in the order of `model.weights`.

    A name consists of the position and the path, for example "12/discriminator/dense/kernel". The
    numbers that Keras appends to names are removed, because they depend on previously built layers.
    """
    paths = [re.sub(r"_\d+(?=/|$)", "", weight.path) for weight in model.weights]
    return [f"{position}/{path}" for position, path in enumerate(paths)]


def _kind(score):
    protocol = score["protocol"]
    keys = ("k", "n", "samples", "extractor_sha256", "dataset", "split", "count")
    return score["metric"], *map(protocol.get, keys)
