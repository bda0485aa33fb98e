"""Lists and converts the arguments of a model's constructor."""

import contextlib
import inspect
import numbers
import os
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import InputError, did_you_mean
from zoo.spec import Spec

__all__ = [
    "API_1",
    "FROM_DATA",
    "Option",
    "Pretrained",
    "check_options",
    "options",
    "parse_options",
    "read_meanings",
]

API_1 = ("shape", "levels", "num_classes")
"""The arguments of API 1 that `spec` and `condition` replace."""

FROM_DATA = ("spec", "condition", *API_1)


class Pretrained(str):
    """The type of an option that refers to a trained model: by name, run or exported folder.

    `GenerativeModel.restore_stage` loads it. run.json and the card store its sha256. A run whose
    stage has changed cannot be resumed.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Option:
    """An argument of a model's constructor.

    Args:
      name: name of the argument.
      annotation: its type.
      default: its default, or `inspect.Parameter.empty`.
      meaning: its description in the docstring of the class.
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
        """The annotation as text: `int`, `tuple[int, ...]`, `float | None`, `'a' | 'b'`."""
        return _type_name(self.annotation)


def options(cls):
    """Lists the arguments of a model's constructor.

    Args:
      cls: a subclass of `zoo.GenerativeModel`.

    Returns:
      A list of `Option`, in order.
    """
    meanings = read_meanings(cls.__doc__ or "")
    _, *parameters = inspect.signature(cls.__init__, eval_str=True).parameters.values()
    return [
        Option(p.name, p.annotation, p.default, meanings.get(p.name, ""))
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def parse_options(cls, settings):
    """Converts the values of `--set`.

    Args:
      cls: a subclass of `zoo.GenerativeModel`.
      settings: a list of "name=value".

    Returns:
      A dict of constructor arguments.

    Raises:
      InputError: if a name is unknown or set by the data, or a value has the wrong type.
    """
    by_name = {option.name: option for option in options(cls) if option.name not in FROM_DATA}
    values = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        try:
            if not equals:
                raise InputError("expected NAME=VALUE.")
            if name in FROM_DATA:
                raise InputError(f"{name} is set by the data. Omit it.")
            values[name] = _converted(_option(cls, by_name, name), text)
        except InputError as error:
            raise InputError(f"--set {setting}: {error}") from None
    return values


def check_options(cls, values):
    """Converts the arguments of a constructor to the types in its annotations.

    Args:
      cls: a subclass of `zoo.GenerativeModel`.
      values: dict of constructor arguments.

    Returns:
      A dict of constructor arguments.

    Raises:
      InputError: if a name is unknown, a value has the wrong type or a required one is missing.
    """
    by_name = {option.name: option for option in options(cls)}
    values = {key: _converted(_option(cls, by_name, key), value) for key, value in values.items()}
    for option in by_name.values():
        if option.required and option.name not in values:
            raise InputError(
                f"{cls.__name__} requires {option.name}: {option.meaning or option.type}"
            )
    return values


def read_meanings(doc):
    """Returns a dict from each name in the `Args:` section of a docstring to its description."""
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


def _option(cls, by_name, name):
    if name not in by_name:
        hint = did_you_mean(name, by_name) or f" Options: {', '.join(by_name)}."
        raise InputError(f"{cls.__name__} has no option {name!r}.{hint}")
    return by_name[name]


def _converted(option, value):
    try:
        return _convert(option.annotation, value)
    except (ValueError, TypeError):
        kind = option.type
        if kind[0] != "'":
            kind = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
        raise InputError(
            f"{option.name} must be {kind}. Received: {option.name}={value!r}"
        ) from None


def _convert(annotation, value):
    """Converts a value, or its text, to the type of an annotation.

    Raises:
      ValueError or TypeError: if it cannot be converted.
    """
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
    elif annotation is Spec and isinstance(value, Spec | dict):
        return Spec.from_json(value)
    elif annotation is Pretrained and isinstance(value, str | os.PathLike):
        is_name = isinstance(value, str) and not {os.sep, "/"} & {*value}
        return Pretrained(value if is_name else Path(value).expanduser().absolute())
    raise ValueError


def _type_name(annotation):
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is inspect.Parameter.empty:
        return "value of any type"
    if annotation is types.NoneType:
        return "None"
    if origin in (types.UnionType, typing.Union):
        return " | ".join(map(_type_name, arguments))
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    return annotation.__name__ if isinstance(annotation, type) and not origin else str(annotation)
