"""Models by name: which there are, what they say of themselves, and their classes.

A model is an entry point of the group `zoo.models` of an installed distribution; zoo's own come in
by the same door. Listing reads text alone and runs nobody's code: `entry_points.txt` beside each
distribution, then the docstring and `ZOO_API = 1` of the file that the entry names.

Source of the layout: PyPA specifications "Recording installed projects" and "Entry points".
importlib.metadata reads the same, but its import takes 30 ms, and one damaged distribution anywhere
on the path ends its iteration.
"""

import ast
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import numbers
import os
import re
import sys
import traceback
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from zoo import API_VERSION
from zoo.errors import ArtefactError, InputError

__all__ = [
    "Entry",
    "Option",
    "create",
    "entries",
    "find",
    "list_models",
    "load",
    "models",
    "one_line",
    "options",
    "parse_options",
    "pretrained",
    "shipped",
    "switched_off",
    "unusable",
]

GROUP = "zoo.models"
PACKAGE = "keras-genzoo"
FROM_DATA = ("shape", "levels", "num_classes")

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


@dataclass(frozen=True)
class Entry:
    """A model as its distribution states it.

    Args:
      name: the name of the entry point.
      package: the distribution, its name normalised; None for a model in an unpackaged file.
      version: the distribution's version; empty where its folder does not say.
      value: where the class is: "zoo.models.vae:VAE", or "/home/me/mine.py:Mine" for a file.
      summary: the first line of the module's docstring.
      family: its `Family:` line.
      source: its `Source:` block, in one line.
      api: the `zoo.API_VERSION` the module was written for, or None.
      problem: why it cannot be used, in a sentence, or None.
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
        """The name that always means this model, wherever it is said and whatever is installed."""
        if self.package == PACKAGE:
            return self.name
        return f"{self.package}:{self.name}" if self.package else self.value


def entries():
    """Reads what every installed distribution offers, without importing any of it.

    Returns:
      A list of `Entry`, sorted by name and package: zoo's own alone where the environment variable
      ZOO_PLUGINS is set to nothing.
    """
    only_own, found = switched_off(), {}
    for package, version, path, lines in _distributions():
        if only_own and package != PACKAGE:
            continue
        for line in lines:
            entry = _read_entry(line, package, version, path)
            found.setdefault((entry.name, package), entry)
    return [found[key] for key in sorted(found)]


def switched_off():
    """Says that plugins are switched off, in a sentence, or returns None."""
    off = os.environ.get("ZOO_PLUGINS") == ""
    return "Plugins are switched off by ZOO_PLUGINS=." if off else None


def models():
    """Finds what to type for each model.

    Returns:
      A dict from the shortest name that means a model, `name` or `package:name`, to its `Entry`.
    """
    by_name = {}
    for entry in entries():
        by_name.setdefault(entry.name, []).append(entry)
    typed = {}
    for name, same in by_name.items():
        winner = _winner(same)
        for entry in same:
            typed[name if entry is winner else f"{entry.package}:{name}"] = entry
    return typed


def list_models():
    """Lists the names of all installed models.

    Returns:
      A list of str, each of which `create` takes.
    """
    return [*models()]


def find(name):
    """Finds what is known of a model without importing it.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.

    Returns:
      An `Entry`.

    Raises:
      InputError: if nothing, or more than one plugin, has this name.
    """
    path, _, class_name = name.rpartition(":")
    if _is_path(path):
        return _read_file_entry(path, class_name)
    if _is_path(name):
        raise InputError(f"A model in a file is written FILE.py:Class. Received: {name}")

    known = entries()
    same = [entry for entry in known if entry.name == name]
    if winner := _winner(same):
        return winner
    if same:
        packages = " and ".join(entry.package for entry in same)
        ways = " or ".join(f"{entry.package}:{name}" for entry in same)
        raise InputError(f"{name} is the name of a model in {packages}. Write {ways}.")
    for entry in known:
        if entry.name == class_name and path and entry.package == _normalise(path):
            return entry

    nearest = difflib.get_close_matches(
        name, {*models(), *(f"{entry.package}:{entry.name}" for entry in known)}
    )
    message = f"No model is named {name!r}."
    if nearest:
        message += f" Did you mean {' or '.join(nearest)}?"
    if not known:
        message += f" The package {PACKAGE} is not installed: pip install -e . in the checkout."
    elif off := switched_off():
        message += f" {off}"
    elif path and _normalise(path) not in {entry.package for entry in known}:
        message += f" The package {path} has no models here. To install it: pip install {path}."
    raise InputError(f"{message} All models: zoo list")


def load(name):
    """Imports a model.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.

    Returns:
      A subclass of `zoo.GenerativeModel`.

    Raises:
      InputError: if there is no such model, or the file it is in cannot be used.
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
            found = getattr(module, class_name, None)  # of a lazy module this imports, too
    except KeyboardInterrupt:
        print(unusable(entry, "its import was interrupted."), file=sys.stderr)
        raise
    except BaseException as error:  # SystemExit, and whatever else a plugin makes up
        path = module_name if entry.package is None else str(_module_file(module_name))
        raise unusable(entry, f"its import failed: {one_line(error, path)}.") from error

    if found is None:
        raise unusable(entry, f"{module_name} has no {class_name}.")
    if not (isinstance(found, type) and issubclass(found, GenerativeModel)):
        problem = f"{class_name} must be a subclass of zoo.GenerativeModel. Received: {found!r}."
        raise unusable(entry, problem)
    recipe = found.recipe
    if not (
        isinstance(recipe, dict)
        and all(isinstance(value, RECIPE.get(key, ())) for key, value in recipe.items())
    ):
        kinds = ", ".join(f"{key}={kind.__name__}" for key, kind in RECIPE.items())
        problem = f"{class_name}.recipe must be of dict({kinds}). Received: {recipe!r}."
        raise unusable(entry, problem)
    try:
        options(found)
    except Exception as error:  # the annotations are the plugin's code
        problem = f"the types of {class_name}.__init__ cannot be read: {one_line(error, '')}."
        raise unusable(entry, problem) from error
    return found


def unusable(entry, problem):
    """Returns the error that says why a model cannot be used, and what to do about it."""
    if entry.package is None:
        return InputError(f"{entry.value} cannot be used: {problem}")
    mend = f"Its author can mend it. To remove it: pip uninstall {entry.package}"
    if entry.package == PACKAGE:
        mend = f"To mend it: pip install --force-reinstall {PACKAGE}"
    package = f"{entry.package} {entry.version}".strip()
    return ArtefactError(f"The model {entry.name} of {package} cannot be used: {problem} {mend}")


def one_line(error, path):
    """Says what was raised, and where: in the file `path` if it was there, else at the end."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == path), frames[-1])
    where = f"{frame.filename}:{frame.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
        error = SyntaxError(error.msg)
    try:
        said = _clean(error)
    except Exception:  # made by code of the plugin
        said = "it cannot say why"
    return f"{type(error).__name__}: {said} ({where})"


def create(name, **values):
    """Makes a model.

    Args:
      name: `name`, `package:name` or `path/to/file.py:Class`.
      **values: what the constructor takes; `options(load(name))` lists it.

    Returns:
      A `zoo.GenerativeModel`, built.

    Raises:
      InputError: if there is no such model or option, or a value is not what it takes.
    """
    cls = load(name)
    known = {option.name: option for option in options(cls)}
    values = {key: _fit(_option(cls, known, key), value) for key, value in values.items()}
    for option in known.values():
        if option.required and option.name not in values:
            raise InputError(f"{cls.__name__} needs {option.name}: {option.meaning or option.type}")
    try:
        return cls(**values)
    except ValueError as error:
        raise InputError(f"{cls.__name__}: {error}") from error


@dataclass(frozen=True)
class Option:
    """A value that a model's constructor takes.

    Args:
      name: its name.
      annotation: the type that the constructor states.
      default: its default, or `inspect.Parameter.empty`.
      meaning: what the class's docstring says of it.
    """

    name: str
    annotation: object
    default: object
    meaning: str

    @property
    def required(self):
        return self.default is inspect.Parameter.empty

    @property
    def type(self):
        """The annotation as one reads it: `int`, `tuple[int, ...]`, `float | None`, `'a' | 'b'`."""
        return _type_name(self.annotation)


def options(cls):
    """Lists what a model's constructor takes.

    Args:
      cls: a subclass of `zoo.GenerativeModel`.

    Returns:
      A list of `Option`, in the constructor's order.
    """
    meanings = _meanings(cls.__doc__ or "")
    _, *parameters = inspect.signature(cls.__init__, eval_str=True).parameters.values()
    return [
        Option(p.name, p.annotation, p.default, meanings.get(p.name, ""))
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def parse_options(cls, settings):
    """Reads the values of `--set`.

    Args:
      cls: a subclass of `zoo.GenerativeModel`.
      settings: a list of "name=value".

    Returns:
      A dict of constructor arguments.

    Raises:
      InputError: if a name is unknown or comes from the dataset, or a value has the wrong type.
    """
    known = {option.name: option for option in options(cls) if option.name not in FROM_DATA}
    values = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        try:
            if not equals:
                raise InputError("an option is written name=value.")
            if name in FROM_DATA:
                raise InputError(f"{name} comes from the dataset, not from --set.")
            values[name] = _fit(_option(cls, known, name), text)
        except InputError as error:
            raise InputError(f"--set {setting}: {error}") from None
    return values


def pretrained(among=None):
    """Finds the pretrained models that came with the models, without importing any.

    A package has them in its folder saved_models, as <name of the entry point>-<dataset>, where
    either may have dashes: a folder is of the longest name that it begins with.

    Args:
      among: what `models` returned, where it has been asked already.

    Returns:
      A dict from `Entry` to a dict from tag to the folder of its SavedModel. A tag is what to type
      for the model, as of `models`, and the dataset: "vae-mnist_binary".
    """
    found, taken = {}, set()
    by_name = (among or models()).items()
    for name, entry in sorted(by_name, key=lambda item: len(item[1].name), reverse=True):
        cards = (c for at in _saved_models(entry) for c in at.glob(f"{entry.name}-*/card.json"))
        for card in sorted({*cards} - taken):
            taken.add(card)
            if card.parent.name.isprintable():
                tag = name + card.parent.name.removeprefix(entry.name)
                found.setdefault(entry, {})[tag] = card.parent
    return found


def shipped():
    """Returns the Path of the folder of what came pretrained with zoo itself."""
    package = Path(__file__).parent
    folder = package / "saved_models"  # in a wheel; in a checkout it is beside the package
    return folder if folder.is_dir() else package.parent / "saved_models"


def _saved_models(entry):
    """Lists the folders in which the package of a model may have pretrained ones."""
    if entry.problem:
        return []
    if entry.package == PACKAGE:
        return [shipped()]
    spec = importlib.util.find_spec(re.split("[.:]", entry.value)[0])
    return [Path(folder, "saved_models") for folder in spec.submodule_search_locations or ()]


def _distributions():
    """Yields (normalised name, version, its file, lines of the group), each name once."""
    seen = set()
    for root in sys.path:
        try:
            names = sorted(os.listdir(root or "."))  # noqa: PTH208, a third of iterdir's time
        except OSError:
            continue
        for folder in names:
            if not folder.endswith("-info") or not (match := _DISTRIBUTION.fullmatch(folder)):
                continue
            package, path = _normalise(match["name"]), Path(root, folder, "entry_points.txt")
            if package in seen:
                continue
            try:
                has_entry_points = path.is_file()
                # What an uninstallation left does not hide what is installed.
                if has_entry_points or path.with_name("METADATA").is_file():
                    seen.add(package)
                text = path.read_text("utf-8", errors="replace") if has_entry_points else ""
            except OSError:  # of what this user may not read, too
                continue
            if lines := _group_lines(text):
                yield package, _clean(match["version"] or ""), path, lines


def _normalise(package):
    return re.sub(r"[-_.]+", "-", _clean(package)).lower()


def _group_lines(text):
    lines, group = [], None
    for line in map(_clean, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif group == GROUP and line and not line.startswith(("#", ";")):
            lines.append(line)
    return lines


def _winner(same):
    """The entry that a plain name means: zoo's own, or the only one; else None."""
    own = [entry for entry in same if entry.package == PACKAGE]
    if own:
        return own[0]
    return same[0] if len(same) == 1 else None


def _read_entry(line, package, version, path):
    match = _LINE.fullmatch(line)
    if not match or _is_path(match["name"]):
        name, _, value = map(str.strip, line.partition("="))
        problem = f"{_clean(path)} is damaged: {line!r} is not NAME = MODULE:CLASS."
        return Entry(name, package, version, value, problem=problem)
    name, value = match["name"], f"{match['module']}:{match['cls']}"
    try:
        stated = _read_module(_module_file(match["module"]))
    except Exception as error:  # files, and the import system's finders of other packages
        problem = f"the file of {match['module']} cannot be read: {_clean(error)}."
        return Entry(name, package, version, value, problem=problem)
    if package == PACKAGE:
        stated["api"] = API_VERSION
    api, problem = stated["api"], None
    if api is None:
        problem = f"it states no zoo API version; its module needs ZOO_API = {API_VERSION}."
    else:
        problem = _other_api(api, package)
    return Entry(name, package, version, value, **stated, problem=problem)


def _read_file_entry(path, class_name):
    path = Path(path).absolute()
    if not path.is_file():
        raise InputError(f"There is no file {path}. A model in a file is written FILE.py:Class")
    try:
        stated = _read_module(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {_clean(error)}.") from None
    problem = None if stated["api"] is None else _other_api(stated["api"], None)
    return Entry(class_name, None, "", f"{path}:{class_name}", **stated, problem=problem)


def _other_api(api, package):
    """Says that a module was written for another API than this one, or returns None."""
    if api == API_VERSION:
        return None
    mend = f"pip install -U {PACKAGE if api > API_VERSION else package}"
    if package is None and api < API_VERSION:
        mend = f"ZOO_API = {API_VERSION} once it keeps that contract"
    return (
        f"it was written for zoo API {api}, and this zoo has API {API_VERSION}."
        f" What may help: {mend}."
    )


def _is_path(text):
    return text.endswith(".py") or "/" in text or os.sep in text


def _module_file(module):
    """Finds a module's file; only the top-level package is looked up, for a parent is imported."""
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
    raise FileNotFoundError(f"there is no module {module}")


def _read_module(path):
    text = path.read_text("utf-8-sig", errors="replace")
    match = _DOCSTRING.match(text)  # ast.parse of the whole file takes 20 times as long
    doc = ""
    if match:
        with contextlib.suppress(ValueError, SyntaxError):
            doc = inspect.cleandoc(ast.literal_eval(match[1]))
    api = _API.search(text, match.end() if match else 0)
    return {
        "summary": _clean(doc.partition("\n")[0]),
        "family": _block(doc, "Family"),
        "source": _block(doc, "Source"),
        "api": int(api[1]) if api else None,
    }


def _block(doc, title):
    """The text after `title:`, up to a blank line or the next title, in one line."""
    match = re.search(rf"^{title}:(.*(?:\n(?![A-Z][\w ]*:(?:\s|$)).*\S.*)*)", doc, re.MULTILINE)
    return _clean(match[1]) if match else ""


def _clean(text):
    """One line, without what a terminal would obey."""
    return "".join(filter(str.isprintable, " ".join(str(text).split())))


def _import_file(path):
    """Imports a file, which can import those beside it, as the file that `python` runs can."""
    folder = str(path.resolve().parent)
    name = f"zoo_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # for imports inside functions; last, so that it hides nothing
    return module


def _meanings(doc):
    """Reads the `Args:` section of a docstring: a dict from name to what is said of it."""
    _, _, section = inspect.cleandoc(doc).partition("\nArgs:\n")
    meanings, name, margin = {}, None, None
    for line in section.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text and not indent:
            break
        margin = indent if margin is None else margin
        if indent == margin and (match := re.match(r"(\w+)(?: \(.*?\))?:\s*(.*)", text)):
            name, meanings[match[1]] = match[1], match[2]
        elif name and text:
            meanings[name] = f"{meanings[name]} {text}".strip()
    return meanings


def _option(cls, known, name):
    if name not in known:
        nearest = difflib.get_close_matches(name, known)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"it has {', '.join(known)}."
        raise InputError(f"{cls.__name__} has no option {name!r}; {hint}")
    return known[name]


def _fit(option, value):
    try:
        return _convert(option.annotation, value)
    except (ValueError, TypeError):
        kind = option.type
        if kind[0] != "'":
            kind = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
        raise InputError(f"{option.name} is {kind}. Received: {option.name}={value!r}") from None


def _convert(annotation, value):
    """Makes a value, or its text on a command line, what an annotation says, or raises."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        for argument in sorted(arguments, key=lambda a: a is not types.NoneType):
            with contextlib.suppress(ValueError, TypeError):
                return _convert(argument, value)
    elif origin is typing.Literal:
        for argument in arguments:
            if value == argument or value == str(argument):
                return argument
    elif origin is tuple:
        items = value
        if isinstance(value, str):
            items = [item for item in value.strip("()[] ").split(",") if item.strip()]
        if arguments[-1] is Ellipsis:
            return tuple(_convert(arguments[0], item) for item in items)
        return tuple(_convert(*pair) for pair in zip(arguments, items, strict=True))
    elif annotation is types.NoneType:
        if value in (None, "none", "None"):
            return None
    elif annotation is bool:
        for answer in (True, False):
            if value is answer or value in (str(answer), str(answer).lower()):
                return answer
    elif annotation is int:
        if isinstance(value, str | numbers.Integral) and not isinstance(value, bool):
            return int(value)
    elif annotation is float:
        if isinstance(value, str | numbers.Real) and not isinstance(value, bool):
            return float(value)
    elif annotation is str and isinstance(value, str):
        return value
    raise ValueError


def _type_name(annotation):
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is inspect.Parameter.empty:
        return "value without a stated type"
    if annotation is types.NoneType:
        return "None"
    if origin in (types.UnionType, typing.Union):
        return " | ".join(map(_type_name, arguments))
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    return annotation.__name__ if isinstance(annotation, type) and not origin else str(annotation)
