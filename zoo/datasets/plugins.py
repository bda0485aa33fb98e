"""Finds and loads data sets of installed packages.

An entry point of the group `zoo.datasets` names a function without required arguments that returns
Splits, usually from `zoo.Splits.from_arrays`:

    [project.entry-points."zoo.datasets"]
    birds = "zoo_birds.data:birds"

The function may take the arguments length, bytes and rate of `zoo.load_dataset`, with defaults.

Names are read as text. A package is imported only when one of its data sets is loaded.
"""

import importlib
import inspect
import re
from typing import NamedTuple

from zoo.datasets.split import Splits
from zoo.errors import InputError
from zoo.registry.entry_points import PACKAGE, distributions, normalise, printable

GROUP = "zoo.datasets"

_VALUE = re.compile(r"(?P<module>\w+(\.\w+)*)\s*:\s*(?P<function>\w+)")


class Entry(NamedTuple):
    """An entry point.

    Attributes:
      name: str; name of the data set.
      package: str; normalised name of the distribution.
      value: "module:function".
    """

    name: str
    package: str
    value: str


def find(name):
    """Returns the entries that `name` or `package:name` refers to."""
    package, _, short = name.rpartition(":")
    entries = _entries()
    return [e for e in entries if e.name == name] or [
        e for e in entries if package and (e.package, e.name) == (normalise(package), short)
    ]


def summaries(bundled):
    """Returns a dict from each name to a one-line description.

    Args:
      bundled: names of the bundled data sets, which a package cannot use without its prefix.
    """
    entries = _entries()
    names = [entry.name for entry in entries]
    return {
        entry.name
        if names.count(entry.name) == 1 and entry.name not in bundled
        else f"{entry.package}:{entry.name}": f"from the package {entry.package}"
        for entry in entries
    }


def load(name, size, binarize, **options):
    """Imports a package and calls the function of a data set with the options it accepts."""
    from zoo.datasets import arrays

    entry, *others = find(name)
    if others:
        packages = [f"{each.package}:{name}" for each in (entry, *others)]
        raise InputError(
            f"Several packages have a data set of this name. Write {' or '.join(packages)}. "
            f"Received: name={name}"
        )
    subject = f"Data set {entry.name!r} of package {entry.package}"
    match = _VALUE.fullmatch(entry.value)
    if not match:
        raise InputError(
            f"{subject} has an invalid entry point. Expected MODULE:FUNCTION. "
            f"Received: {entry.value!r}"
        )
    options = {option: value for option, value in options.items() if value}
    try:
        function = getattr(importlib.import_module(match["module"]), match["function"])
        if unknown := sorted({*options} - {*inspect.signature(function).parameters}):
            raise InputError(
                f"it has no option {unknown[0]}. Omit --{unknown[0]}. Received:"
                f" {unknown[0]}={options[unknown[0]]}"
            )
        splits = function(**options)
    except InputError as error:
        raise InputError(f"{subject} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        problem = printable(f"{type(error).__name__}: {error}")
        raise InputError(f"{subject} cannot be loaded: {problem}") from error
    if not isinstance(splits, Splits):
        raise InputError(
            f"{subject} must return zoo.Splits, for example from zoo.Splits.from_arrays. "
            f"Received: {type(splits).__name__}"
        )
    for split in splits:
        split.name = entry.name
        split.source = {"name": name, "size": None, "binarize": False, **options}
    return arrays.rework(splits, size, binarize)


def _entries():
    return [
        Entry(*map(str.strip, (name, package, value)))
        for package, _, _, lines in distributions(GROUP)
        if package != PACKAGE
        for name, _, value in (line.partition("=") for line in lines)
    ]
