"""Data sets of installed packages.

An entry point of the group `zoo.datasets` gives a name to a function without required arguments
that returns Splits, usually by `zoo.Splits.from_arrays`:

    [project.entry-points."zoo.datasets"]
    birds = "zoo_birds.data:birds"

The function may have the arguments length, bytes and rate of `zoo.load_dataset`, with defaults.

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
      name: str; of the data set.
      package: normalised name of the distribution.
      value: "module:function".
    """

    name: str
    package: str
    value: str


def find(name):
    """Returns the entries that a name means: `name` or `package:name`."""
    package, _, short = name.rpartition(":")
    entries = _entries()
    return [e for e in entries if e.name == name] or [
        e for e in entries if package and (e.package, e.name) == (normalise(package), short)
    ]


def summaries(taken):
    """Returns a dict from each name to a line that describes it.

    Args:
      taken: names of zoo's own, which a package cannot have without its prefix.
    """
    entries = _entries()
    names = [entry.name for entry in entries]
    return {
        entry.name
        if names.count(entry.name) == 1 and entry.name not in taken
        else f"{entry.package}:{entry.name}": f"from the package {entry.package}"
        for entry in entries
    }


def load(name, size, binarize, **options):
    """Imports a package and calls the function of a data set, with the options that it takes."""
    from zoo.datasets import arrays

    entry, *others = find(name)
    if others:
        packages = [f"{each.package}:{name}" for each in (entry, *others)]
        raise InputError(
            f"Several packages have a data set of this name: write {' or '.join(packages)}. "
            f"Received: name={name}"
        )
    where = f"The data set {entry.name!r} of the package {entry.package}"
    match = _VALUE.fullmatch(entry.value)
    if not match:
        raise InputError(
            f"{where} has an invalid entry point: expected MODULE:FUNCTION. "
            f"Received: {entry.value!r}"
        )
    given = {option: value for option, value in options.items() if value}
    try:
        function = getattr(importlib.import_module(match["module"]), match["function"])
        if unknown := sorted({*given} - {*inspect.signature(function).parameters}):
            raise InputError(
                f"it has no option {unknown[0]}: leave out --{unknown[0]}. Received:"
                f" {unknown[0]}={given[unknown[0]]}"
            )
        splits = function(**given)
    except InputError as error:
        raise InputError(f"{where} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        problem = printable(f"{type(error).__name__}: {error}")
        raise InputError(f"{where} cannot be loaded: {problem}") from error
    if not isinstance(splits, Splits):
        raise InputError(
            f"{where} must be zoo.Splits, for example of zoo.Splits.from_arrays. "
            f"Received: {type(splits).__name__}"
        )
    for split in splits:
        split.name = entry.name
        split.source = {"name": name, "size": None, "binarize": False, **given}
    return arrays.rework(splits, size, binarize)


def _entries():
    return [
        Entry(*map(str.strip, (name, package, value)))
        for package, _, _, lines in distributions(GROUP)
        if package != PACKAGE
        for name, _, value in (line.partition("=") for line in lines)
    ]
