"""Finds, imports and creates models by name.

A model is an entry point of the group `zoo.models` in an installed distribution. The built-in
models use the same mechanism.
"""

import contextlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

from zoo.errors import ArtefactError, InputError, did_you_mean, for_caller
from zoo.registry import options
from zoo.registry.entry_points import (
    PACKAGE,
    entries,
    is_path,
    module_file,
    normalise,
    plugins_disabled,
    printable,
    read_file_entry,
)
from zoo.registry.source import Description, UnreadableError, is_recipe, read_class

__all__ = [
    "create",
    "describe",
    "describe_error",
    "find",
    "list_models",
    "load",
    "models",
    "unusable",
]

importing_files = []
"""Paths of the files that are being imported for their model class."""


def models():
    """Maps the shortest unambiguous name of each installed model to its `Entry`.

    Returns:
      A dict from `name` or `package:name` to `Entry`.
    """
    by_name = {}
    for entry in entries():
        by_name.setdefault(entry.name, []).append(entry)
    shortest = {}
    for name, namesakes in by_name.items():
        preferred = _preferred(namesakes)
        for entry in namesakes:
            shortest[name if entry is preferred else f"{entry.package}:{name}"] = entry
    return shortest


def list_models():
    """Returns the names of all installed models, a list of str."""
    return [*models()]


def find(name):
    """Returns the metadata of a model without importing it.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.

    Returns:
      An `Entry`.

    Raises:
      InputError: if no package, or more than one, has a model of this name.
    """
    path, _, class_name = name.rpartition(":")
    if is_path(path):
        return read_file_entry(path, class_name)
    if is_path(name):
        raise InputError(f"To name a model in a file, write FILE.py:Class. Received: {name}")

    installed = entries()
    namesakes = [entry for entry in installed if entry.name == name]
    if preferred := _preferred(namesakes):
        return preferred
    if namesakes:
        packages = " and ".join(entry.package for entry in namesakes)
        addresses = " or ".join(f"{entry.package}:{name}" for entry in namesakes)
        raise InputError(f"Model {name!r} is in several packages: {packages}. Write {addresses}.")
    for entry in installed:
        if entry.name == class_name and path and entry.package == normalise(path):
            return entry

    names = {*models(), *(f"{entry.package}:{entry.name}" for entry in installed)}
    message = f"Unknown model {name!r}.{did_you_mean(name, names)}"
    if not installed:
        message += f" The package {PACKAGE} is not installed. Run pip install -e . in the checkout."
    elif disabled := plugins_disabled():
        message += f" {disabled}"
    elif path and normalise(path) not in {entry.package for entry in installed}:
        message += f" No installed package {path} has models. Try: pip install {path}."
    raise InputError(f"{message} List models with: {for_caller('zoo list', 'zoo.list_models()')}")


def load(name):
    """Imports the class of a model.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.

    Returns:
      A subclass of `zoo.GenerativeModel`.

    Raises:
      InputError: if no such model exists, or its file cannot be used.
      ArtefactError: if its package cannot be used.
    """
    entry = find(name)
    if entry.problem:
        raise unusable(entry, entry.problem)

    from zoo.model import RECIPE, GenerativeModel

    module_name, _, class_name = entry.value.rpartition(":")
    if entry.package == PACKAGE:
        return getattr(importlib.import_module(module_name), class_name)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if entry.package is None:
                module = _import_file(Path(module_name))
            else:
                module = importlib.import_module(module_name)
            cls = getattr(module, class_name, None)  # a lazy module imports here
    except KeyboardInterrupt:
        print(unusable(entry, "its import was interrupted."), file=sys.stderr)
        raise
    except BaseException as error:  # includes SystemExit
        path = module_name if entry.package is None else str(module_file(module_name))
        raise unusable(entry, f"its import failed: {describe_error(error, path)}.") from error

    if cls is None:
        raise unusable(entry, f"{module_name} has no attribute {class_name}.")
    if not (isinstance(cls, type) and issubclass(cls, GenerativeModel)):
        problem = f"{class_name} must be a subclass of zoo.GenerativeModel. Received: {cls!r}."
        raise unusable(entry, problem)
    recipe = cls.recipe
    if not is_recipe(recipe, RECIPE):
        kinds = ", ".join(f"{key}={kind.__name__}" for key, kind in RECIPE.items())
        problem = f"{class_name}.recipe must be a dict({kinds}). Received: {recipe!r}."
        raise unusable(entry, problem)
    from zoo.registry import api1

    try:
        is_old = api1.is_of_api_1(options.options(cls))
    except Exception as error:  # annotations are code of the plugin
        problem = (
            f"the annotations of {class_name}.__init__ are invalid: {describe_error(error, '')}."
        )
        raise unusable(entry, problem) from error
    try:
        return api1.adapt(cls) if is_old else cls
    except TypeError as error:
        raise unusable(entry, str(error)) from error


def create(name, **values):
    """Creates a model.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.
      **values: constructor arguments, as listed by `zoo info NAME`.

    Returns:
      A built `zoo.GenerativeModel`.

    Raises:
      InputError: if no such model or option exists, or a value is invalid.
    """
    cls = load(name)
    values = options.check_options(cls, values)
    try:
        return cls(**values)
    except ValueError as error:
        raise InputError(f"{cls.__name__}: {error}") from error


def describe(name):
    """Returns what a model class declares, without importing it if its source text is enough.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.

    Returns:
      `Description`.

    Raises:
      InputError: if no such model exists, or its file cannot be used.
      ArtefactError: if its package cannot be used.
    """
    entry = find(name)
    if entry.problem:
        raise unusable(entry, entry.problem)
    try:
        return read_class(entry.value)
    except UnreadableError:
        cls = load(name)
    from zoo.model import CAPABILITIES

    methods = [method for method in CAPABILITIES if callable(getattr(cls, method, None))]
    return Description(methods, cls.recipe, options.options(cls))


def unusable(entry, problem):
    """Returns the exception for an unusable model, with the reason and a fix."""
    if entry.package is None:
        return InputError(f"{entry.value} is unusable: {problem}")
    fix = f"Report this to the plugin's author. Remove it with: pip uninstall {entry.package}"
    if entry.package == PACKAGE:
        fix = f"Fix it with: pip install --force-reinstall {PACKAGE}"
    package = f"{entry.package} {entry.version}".strip()
    return ArtefactError(f"Model {entry.name} in {package} is unusable: {problem} {fix}")


def describe_error(error, path):
    """Returns one line with the type, message and location of an exception.

    The location is the innermost frame in the file `path`, or the innermost frame if none is.
    """
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == path), frames[-1])
    where = f"{frame.filename}:{frame.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
        error = SyntaxError(error.msg)
    try:
        message = printable(error)
    except Exception:  # raised by __str__ of the plugin
        message = "(no message)"
    return f"{type(error).__name__}: {message} ({where})"


def _preferred(namesakes):
    """Returns the entry that a plain name refers to, or None if the name is ambiguous.

    A built-in model takes precedence over plugins.
    """
    built_in = [entry for entry in namesakes if entry.package == PACKAGE]
    if built_in:
        return built_in[0]
    return namesakes[0] if len(namesakes) == 1 else None


def _import_file(path):
    """Imports a file, which can import files in the same folder, as a script can."""
    folder = str(path.resolve().parent)
    name = f"zoo_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    importing_files.append(path)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        importing_files.pop()
        sys.path.remove(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # for imports inside functions; last, so that it hides no module
    return module
