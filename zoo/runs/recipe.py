"""The recipe of a run: all that decides its result, and what a resume may change."""

import contextlib
import inspect
import json
import logging
from pathlib import Path

from zoo import registry
from zoo.errors import InputError
from zoo.registry.options import Pretrained
from zoo.registry.options import options as options_of
from zoo.runs.folder import Run

__all__ = [
    "address_of",
    "can_be_conditional",
    "check_complete",
    "check_unchanged",
    "compile_arguments",
    "compile_model",
    "complete_recipe",
    "extend_record",
    "must_be_conditional",
    "read_config",
    "warn_of_main",
]

log = logging.getLogger("zoo")


def read_config(path):
    """Returns the recipe in a run.json."""
    path = Path(path)
    return Run(path.parent if path.name == "run.json" else path).recipe


def check_complete(cls, recipe):
    missing = [key for key in ("batch_size", "data", "epochs") if recipe.get(key) is None]
    if missing:
        flags = " ".join(f"--{name.replace('_', '-')} …" for name in missing)
        arguments = ", ".join(f"{name}=…" for name in missing)
        raise InputError(f"{cls.__name__}.recipe is incomplete: add {flags} ({arguments})")


def can_be_conditional(cls):
    """Returns whether the constructor of a model class takes `condition`."""
    return "condition" in {option.name for option in options_of(cls)}


def must_be_conditional(cls):
    """Returns whether the constructor of a model class takes `condition` and requires it."""
    return "condition" in {option.name for option in options_of(cls) if option.required}


def complete_recipe(model, data, recipe, dry_run):
    """Returns the recipe as run.json keeps it."""
    training, validation = data.train, data.validation
    return {
        "model": recipe["model"],
        "options": json.loads(json.dumps(model.get_config())),
        "data": {
            **training.source,
            "class_names": list(training.class_names),
            "fingerprint": training.fingerprint,
            "validation_fingerprint": validation.fingerprint,
        },
        "epochs": 1 if dry_run else recipe["epochs"],
        "batch_size": min(recipe["batch_size"], len(training)),
        "seed": recipe["seed"],
        **({"stages": stages} if (stages := _stages(model)) else {}),
        **{key: recipe[key] for key in ("compile", "patience") if recipe.get(key)},
    }


def _stages(model):
    """Returns {option: {"source": str, "sha256": str}} of the models that options name."""
    from zoo.runs.restore import digest

    config = model.get_config()
    names = [option.name for option in options_of(type(model)) if option.annotation is Pretrained]
    return {name: {"source": config[name], "sha256": digest(config[name])} for name in names}


def compile_arguments(model):
    """Returns the arguments with which a user compiled a model, serialized; {} for the defaults."""
    arguments = model.get_compile_config() if model.compiled else {}
    return {k: v for k, v in arguments.items() if k != "total_steps" and v is not None}


def compile_model(model, recipe, total_steps):
    """Compiles a model as its user did, or by its own defaults."""
    model.compile_from_config({**recipe.get("compile", {}), "total_steps": total_steps})


def address_of(cls):
    """Returns the name by which the registry loads a class, as far as there is one."""
    value = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in registry.models().items():
        if entry.value == value:
            return name
    file = _source_file(cls)
    return f"{file}:{cls.__qualname__}" if file else cls.__qualname__


def _source_file(cls):
    """Returns the Path of the file that defines a class, or None if it was typed in."""
    with contextlib.suppress(OSError, TypeError):
        path = Path(inspect.getsourcefile(cls)).absolute()
        return path if path.is_file() else None
    return None


def warn_of_main(cls):
    """Warns that a class of __main__ cannot be imported by the commands, when the run starts."""
    if cls.__module__ != "__main__":
        return
    file = _source_file(cls)
    if file is None:
        log.warning(
            "%s was typed in, so only Python that has the class can load the run:"
            " zoo.restore(run, cls=%s).",
            cls.__name__,
            cls.__name__,
        )
    else:
        log.warning(
            "%s is defined in %s, which `zoo export` and `zoo train --resume` execute to import"
            " the class: call zoo.train below `if __name__ == '__main__':`.",
            cls.__name__,
            file,
        )


def extend_record(old_record, new_record):
    """Refuses a recipe that differs in more than more epochs; reports another environment.

    Puts into `new_record` the command that started the run, and those that gave it more epochs.
    """
    old, new = old_record["recipe"], new_record["recipe"]
    check_unchanged(old, new)
    extended = old_record.get("extended_by", [])
    if new["epochs"] > old["epochs"]:
        log.info(
            "%d -> %d epochs: a learning rate schedule is stretched from here on, so the result is"
            " not that of one long run.",
            old["epochs"],
            new["epochs"],
        )
        extended = [*extended, new_record["command"]]
    for key, a, b in _differences(old_record["environment"], new_record["environment"]):
        if a is not None:  # None: not recorded by an older version
            log.info(
                "The environment changed: %s %s -> %s. Results may not be bit-equal.", key, a, b
            )
    new_record |= {"command": old_record["command"], "extended_by": extended}


def _differences(old, new, prefix=""):
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, a, b


def check_unchanged(old, new):
    """Raises InputError if the recipe of a resumed run differs in more than more epochs.

    Data are what their fingerprints say: their path and how they were loaded may change.
    """
    epochs = max(old["epochs"], new["epochs"])
    old, new = {**old, "epochs": epochs, "patience": None}, {**new, "patience": None}
    prints = ("fingerprint", "validation_fingerprint", "class_names")
    if all(old["data"].get(key) == new["data"].get(key) for key in prints):
        new = {**new, "data": old["data"]}
    changed = [
        f"{key}: {a!r} -> {b!r}"
        if not key.endswith("fingerprint")
        else f"the {'validation' if 'validation' in key else 'training'} data changed"
        for key, a, b in _differences(old, new)
    ]
    if changed:
        raise InputError(
            "A resumed run keeps its recipe, except for more epochs. Changed: " + "; ".join(changed)
        )
