"""Creates, checks and compares the recipe of a run: the settings that determine its result."""

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
        raise InputError(f"{cls.__name__}.recipe is incomplete. Add {flags} ({arguments})")


def can_be_conditional(cls):
    """Returns whether the constructor of a model class accepts `condition`."""
    return "condition" in {option.name for option in options_of(cls)}


def must_be_conditional(cls):
    """Returns whether the constructor of a model class requires `condition`."""
    return "condition" in {option.name for option in options_of(cls) if option.required}


def complete_recipe(model, data, recipe, dry_run):
    """Returns the recipe for run.json."""
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
    """Returns {option: {"source": str, "sha256": str}} of the options that name a model."""
    from zoo.runs.restore import digest

    config = model.get_config()
    names = [option.name for option in options_of(type(model)) if option.annotation is Pretrained]
    return {name: {"source": config[name], "sha256": digest(config[name])} for name in names}


def compile_arguments(model):
    """Returns the serialized arguments with which a model was compiled, or {} for the defaults."""
    arguments = model.get_compile_config() if model.compiled else {}
    return {k: v for k, v in arguments.items() if k != "total_steps" and v is not None}


def compile_model(model, recipe, total_steps):
    """Compiles a model with the recorded arguments, or with its defaults."""
    model.compile_from_config({**recipe.get("compile", {}), "total_steps": total_steps})


def address_of(cls):
    """Returns the name with which the registry can load a class, if possible, else its own name."""
    value = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in registry.models().items():
        if entry.value == value:
            return name
    file = _source_file(cls)
    return f"{file}:{cls.__qualname__}" if file else cls.__qualname__


def _source_file(cls):
    """Returns the Path of the file that defines a class, or None for an interactive session."""
    with contextlib.suppress(OSError, TypeError):
        path = Path(inspect.getsourcefile(cls)).resolve()
        return path if path.is_file() else None
    return None


def warn_of_main(cls):
    """Warns if a class is defined in __main__, because the commands cannot import it safely."""
    if cls.__module__ != "__main__":
        return
    file = _source_file(cls)
    if file is None:
        log.warning(
            "%s is defined in an interactive session. To load the run later, pass the class:"
            " zoo.restore(run, cls=%s).",
            cls.__name__,
            cls.__name__,
        )
    else:
        log.warning(
            "%s is defined in %s, which is executed when the run is exported or resumed, to import"
            " the class. Call zoo.train below `if __name__ == '__main__':`.",
            cls.__name__,
            file,
        )


def extend_record(old_record, new_record):
    """Checks that a resumed run only extends its recipe, and logs changes of the environment.

    Adds to `new_record` the command that started the run, and the commands that added epochs.

    Raises:
      InputError: as `check_unchanged`.
    """
    old, new = old_record["recipe"], new_record["recipe"]
    check_unchanged(old, new)
    extended = old_record.get("extended_by", [])
    if new["epochs"] > old["epochs"]:
        log.info(
            "%d -> %d epochs: this stretches the learning rate schedule from now on, so the result"
            " differs from that of one long run.",
            old["epochs"],
            new["epochs"],
        )
        extended = [*extended, new_record["command"]]
    for key, a, b in _differences(old_record["environment"], new_record["environment"]):
        if a is not None:  # None was not recorded, by an older version
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
    """Raises InputError if a resumed run changes its recipe, except for more epochs and patience.

    Data are compared by fingerprint, so their path and options may change.
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
            "The recipe of a resumed run must not change, except for more epochs. Changed: "
            + "; ".join(changed)
        )
