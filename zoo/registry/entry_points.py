"""Reads the metadata of installed models from the text of entry points and modules.

No module is imported. Source of the file layout: PyPA specifications "Recording installed projects"
and "Entry points". `importlib.metadata` reads the same files, but its import takes 30 ms, and a
single damaged distribution on the path ends its iteration.
"""

import ast
import contextlib
import importlib.util
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from zoo import API_VERSION
from zoo.errors import InputError

__all__ = [
    "API_1_ADVICE",
    "GROUP",
    "PACKAGE",
    "Entry",
    "distributions",
    "entries",
    "is_path",
    "module_file",
    "normalise",
    "plugins_disabled",
    "printable",
    "read_file_entry",
]

GROUP = "zoo.models"
PACKAGE = "keras-genzoo"

_DISTRIBUTION = re.compile(
    r"(?P<name>[A-Za-z0-9].*?)(-(?P<version>\d[^-]*))?(-py[\d.]+)?\.(dist|egg)-info"
)
_LINE = re.compile(r"(?P<name>\w[\w.-]*)\s*=\s*(?P<module>\w+(\.\w+)*):(?P<cls>\w+)\s*(\[.*\])?")
_DOCSTRING = re.compile(
    r"""(?:\s|\#[^\n]*\n)*                                          # blank lines, comments
    ([rR]?(?P<quote>\"{3}|'{3}|"|')(?:\\.|(?!(?P=quote))[^\\])*(?P=quote))""",
    re.DOTALL | re.VERBOSE,
)
_API = re.compile(r"^ZOO_API\s*(?::\s*[\w.\[\]]+\s*)?=\s*(\d+)\s*(?:\#.*)?$", re.MULTILINE)

API_1_ADVICE = (
    "it uses API 1, which is deprecated and will stop working in the next release. Replace the"
    " arguments shape, levels and num_classes with spec and condition, and labels with condition."
    " Then set ZOO_API = 2."
)
"""The message of `zoo plugins` about a model that `zoo.registry.api1` adapts."""


@dataclass(frozen=True)
class Entry:
    """The metadata of a model.

    Args:
      name: name of the entry point.
      package: normalised name of the distribution; None for a model in an unpackaged file.
      version: version of the distribution, or "" if the name of its folder does not contain it.
      value: location of the class: "zoo.models.vae:VAE", or "/home/me/mine.py:Mine" for a file.
      summary: first line of the module's docstring.
      family: the `Family:` line of the docstring.
      source: the `Source:` block of the docstring, as one line.
      api: the `zoo.API_VERSION` that the module was written for, or None.
      problem: the reason why the model is unusable, a sentence; or None.
    """

    name: str
    package: str | None
    version: str
    value: str
    summary: str = ""
    family: str = ""
    source: str = ""
    api: int | None = None
    problem: str | None = None

    @property
    def address(self):
        """The name that always refers to this model, from any folder and with any plugins."""
        if self.package == PACKAGE:
            return self.name
        return f"{self.package}:{self.name}" if self.package else self.value


def entries():
    """Returns the models of all installed distributions, without importing them.

    Returns:
      A list of `Entry`, sorted by name and package.
    """
    by_key = {}
    for package, version, path, lines in distributions(GROUP):
        for line in lines:
            entry = _read_entry(line, package, version, path)
            by_key.setdefault((entry.name, package), entry)
    return [by_key[key] for key in sorted(by_key)]


def plugins_disabled():
    """Returns a message if the environment variable ZOO_PLUGINS is empty, else None."""
    disabled = os.environ.get("ZOO_PLUGINS") == ""
    return "Plugins are disabled, because ZOO_PLUGINS is empty." if disabled else None


def distributions(group):
    """Yields the entry points of a group in every installed distribution, as text.

    Args:
      group: name of the group, as "zoo.models".

    Yields:
      (package, version, path of entry_points.txt, lines of the group), once per package. `package`
      is the normalised name. `version` is "" if the name of the folder does not contain it. If
      plugins are disabled, only the package of zoo itself is yielded.
    """
    only_zoo, visited = plugins_disabled(), set()
    for root in sys.path:
        try:
            names = sorted(os.listdir(root or "."))  # noqa: PTH208, a third of iterdir's time
        except OSError:
            continue
        for folder in names:
            if not folder.endswith("-info") or not (match := _DISTRIBUTION.fullmatch(folder)):
                continue
            package, path = normalise(match["name"]), Path(root, folder, "entry_points.txt")
            if package in visited or (only_zoo and package != PACKAGE):
                continue
            try:
                has_entry_points = path.is_file()
                # Leftovers of an uninstalled package must not hide an installed one.
                if has_entry_points or path.with_name("METADATA").is_file():
                    visited.add(package)
                text = path.read_text("utf-8", errors="replace") if has_entry_points else ""
            except OSError:  # includes missing permissions
                continue
            if lines := _group_lines(text, group):
                yield package, printable(match["version"] or ""), path, lines


def normalise(package):
    """Returns the normalised name of a distribution: "zoo-gans" for "Zoo_GANs"."""
    return re.sub(r"[-_.]+", "-", printable(package)).lower()


def _group_lines(text, group):
    lines, section = [], None
    for line in map(printable, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == group and line and not line.startswith(("#", ";")):
            lines.append(line)
    return lines


def _read_entry(line, package, version, path):
    match = _LINE.fullmatch(line)
    if not match or is_path(match["name"]):
        name, _, value = map(str.strip, line.partition("="))
        problem = f"{printable(path)} is damaged: expected NAME = MODULE:CLASS. Received: {line!r}."
        return Entry(name, package, version, value, problem=problem)
    name, value = match["name"], f"{match['module']}:{match['cls']}"
    if package == PACKAGE and not value.startswith("zoo."):
        problem = f"{printable(path)} claims to be of {PACKAGE}, but {value} is not: remove it."
        return Entry(name, package, version, value, problem=problem)
    try:
        metadata = _read_module(module_file(match["module"]))
    except Exception as error:  # of files, or of finders that other packages installed
        problem = f"the file of {match['module']} cannot be read: {printable(error)}."
        return Entry(name, package, version, value, problem=problem)
    if package == PACKAGE:
        metadata["api"] = API_VERSION
    api, problem = metadata["api"], None
    if api is None:
        problem = f"it declares no API version. Add ZOO_API = {API_VERSION} to its module."
    else:
        problem = _other_api(api, package)
    return Entry(name, package, version, value, **metadata, problem=problem)


def read_file_entry(path, class_name):
    """Returns the `Entry` of a class in a Python file.

    Raises:
      InputError: if the file does not exist or cannot be read.
    """
    path = Path(path).resolve()  # one file has one address
    if not path.is_file():
        raise InputError(
            f"No such file. To name a model in a file, write FILE.py:Class. Received: {path}"
        )
    try:
        metadata = _read_module(path)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {printable(error)}.") from None
    problem = None if metadata["api"] is None else _other_api(metadata["api"], None)
    return Entry(class_name, None, "", f"{path}:{class_name}", **metadata, problem=problem)


def _other_api(api, package):
    """Returns a problem if a module was written for another API version, else None."""
    if api in (API_VERSION, API_VERSION - 1):  # `zoo.registry.api1` adapts those of API 1
        return None
    fix = f"pip install -U {PACKAGE if api > API_VERSION else package}"
    if package is None and api < API_VERSION:
        fix = f"update the model, then declare ZOO_API = {API_VERSION}"
    return f"it uses API {api}, but this version of zoo has API {API_VERSION}. Possible fix: {fix}."


def is_path(text):
    """Returns whether a name is the path of a file and not the name of a model or module."""
    return text.endswith(".py") or "/" in text or os.sep in text


def module_file(module):
    """Returns the Path of a module's file without importing its parent packages.

    Raises:
      FileNotFoundError: if there is no such module.
    """
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec and spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            for path in (
                Path(folder, *rest, "__init__.py"),
                Path(folder, *rest).with_suffix(".py"),
            ):
                if path.is_file():
                    return path
    elif spec and spec.origin and not rest:
        return Path(spec.origin)
    raise FileNotFoundError(f"no module named {module}")


def _read_module(path):
    text = path.read_text("utf-8-sig", errors="replace")
    match = _DOCSTRING.match(text)  # ast.parse of the whole file takes 20 times as long
    doc = ""
    if match:
        with contextlib.suppress(ValueError, SyntaxError):
            doc = inspect.cleandoc(ast.literal_eval(match[1]))
    api = _API.search(text, match.end() if match else 0)
    return {
        "summary": printable(doc.partition("\n")[0]),
        "family": _block(doc, "Family"),
        "source": _block(doc, "Source"),
        "api": int(api[1]) if api else None,
    }


def _block(doc, title):
    """Returns the text after `title:` up to a blank line or the next title, as one line."""
    match = re.search(rf"^{title}:(.*(?:\n(?![A-Z][\w ]*:(?:\s|$)).*\S.*)*)", doc, re.MULTILINE)
    return printable(match[1]) if match else ""


def printable(text):
    """Returns text as one line, stripped of control characters."""
    return "".join(filter(str.isprintable, " ".join(str(text).split())))
