"""Finds SavedModels by name, path or run, without importing TensorFlow or a plugin."""

import importlib.util
import os
import re
import shlex
from pathlib import Path

from zoo import registry
from zoo.errors import InputError, did_you_mean, for_caller
from zoo.exports.cards import CARD, read_card
from zoo.registry.entry_points import PACKAGE, Entry, plugins_disabled

__all__ = ["bundled_folder", "find", "is_name", "pretrained"]


def find(name: str | Path) -> Path:
    """Returns the folder of a SavedModel.

    Args:
      name: name of a pretrained model, or path of a SavedModel or run. A name is a tag, such as
        "vae-mnist_binary", or a model, `name` or `package:name`. A model refers to its weights for
        the data set in its recipe.

    Raises:
      InputError: if the SavedModel does not exist.
      ArtefactError: if the card of a pretrained model is damaged.
    """
    if is_name(name):
        return _find_pretrained(name)
    if not isinstance(name, str | os.PathLike):
        raise InputError(
            "A model must be the name of a pretrained model, or the path of a SavedModel or run."
            f" Received: {name!r}"
        )
    path = Path(name)
    for folder in (path, path / "saved_model"):
        if (folder / CARD).is_file():
            return folder
    if (path / "run.json").is_file():
        command = shlex.join(["zoo", "export", str(path)])
        export = for_caller(command, f"zoo.Run({str(path)!r}).export()")
        raise InputError(f"{path} has no SavedModel yet. Finish training, or run: {export}")
    problem = "is neither a run nor a SavedModel" if path.exists() else "does not exist"
    raise InputError(
        f"{name} {problem}. List runs with: {for_caller('zoo runs', 'zoo.list_runs()')}"
    )


def is_name(name: str | Path) -> bool:
    """Returns whether this is a name of a pretrained model and not a path."""
    return isinstance(name, str) and not {os.sep, "/"} & set(name)


def pretrained(models: dict[str, Entry] | None = None) -> dict[Entry, dict[str, Path]]:
    """Finds the pretrained models of all packages, without importing any.

    They are in the folder saved_models of a package, named <entry point>-<data set>. Since both may
    contain dashes, a folder belongs to the longest entry point name with which it begins.

    Args:
      models: the result of `registry.models`. Default: computed here.

    Returns:
      A dict from `Entry` to a dict from tag to the folder of the SavedModel. A tag is the shortest
      name of the model and the data set: "vae-mnist_binary".
    """
    models = registry.models() if models is None else models
    tags, assigned = {}, set()
    for name, entry in sorted(models.items(), key=lambda item: len(item[1].name), reverse=True):
        cards = {
            card
            for folder in _saved_models(entry)
            for card in folder.glob(f"{entry.name}-*/{CARD}")
            if card.parent.name.isprintable()
        }
        for card in sorted(cards - assigned):
            suffix = card.parent.name.removeprefix(entry.name)
            tags.setdefault(entry, {})[name + suffix] = card.parent
        assigned |= cards
    return tags


def bundled_folder() -> Path:
    """Returns the folder of the pretrained models of zoo itself."""
    package = Path(__file__).parents[1]
    folder = package / "saved_models"  # in a wheel; in a checkout it is next to the package
    return folder if folder.is_dir() else package.parent / "saved_models"


def _find_pretrained(name):
    """Returns the folder of a pretrained model. Raises as `find`."""
    models, tags, folders = registry.models(), {}, {}
    # Zoo's own come last, so that no other package takes their names.
    by_entry = sorted(pretrained(models).items(), key=lambda item: item[0].package == PACKAGE)
    for entry, by_tag in by_entry:
        tags |= by_tag
        folders |= {f"{entry.package}:{folder.name}": folder for folder in by_tag.values()}
    folders |= tags
    if name in folders:
        return folders[name]
    own = dict(by_entry).get(models.get(name), {})
    candidates = [*own] or [tag for tag in folders if tag.startswith(f"{name}-")]
    for tag in candidates:
        if tag == f"{name}-{read_card(folders[tag]).get('default_data')}":
            return folders[tag]
    folder = shlex.quote(f"./{name}")
    if os.path.isdir(name) and _is_run_or_saved_model(Path(name)):  # noqa: PTH112 (never raises)
        raise InputError(
            f"No pretrained model {name!r}, but a folder of this name exists. To use the folder,"
            f" write {folder}"
        )
    if name in models and not candidates:
        train = for_caller(f"zoo train {name}", f"zoo.train({name!r})")
        list_runs = for_caller("zoo runs", "zoo.list_runs()")
        raise InputError(
            f"No pretrained weights for {name}. Train the model with: {train}. Then use the folder"
            f" of the run, which `{list_runs}` lists."
        )
    if name not in models and any(entry.name == name for entry in models.values()):
        registry.find(name)  # raises, because the name is ambiguous
    if candidates:
        hint = f" Choose from: {', '.join(sorted(candidates))}."
    else:
        hint = did_you_mean(name, {*models, *folders})
        hint += f" Available: {', '.join(sorted(tags)) or 'none'}."
    if disabled := plugins_disabled():
        hint += f" {disabled}"
    raise InputError(f"Unknown pretrained model {name!r}.{hint} To use a folder, write {folder}")


def _is_run_or_saved_model(folder):
    return any((folder / file).is_file() for file in (CARD, f"saved_model/{CARD}", "run.json"))


def _saved_models(entry):
    """Returns the folders that may contain the pretrained models of a model's package."""
    if entry.problem:
        return []
    if entry.package == PACKAGE:
        return [bundled_folder()]
    spec = importlib.util.find_spec(re.split("[.:]", entry.value)[0])
    return [Path(folder, "saved_models") for folder in spec.submodule_search_locations or ()]
