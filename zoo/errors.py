"""Exceptions that report errors of input or environment, and their exit codes.

A message says what to type where it is read: on the command line, or in Python.
"""

import contextlib
import contextvars
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "ArtefactError",
    "InputError",
    "TrainingError",
    "UndefinedError",
    "ZooError",
    "check_flags",
    "command_line",
    "did_you_mean",
    "for_caller",
    "traceback_for_notebook",
]

_IS_COMMAND_LINE = contextvars.ContextVar("_IS_COMMAND_LINE", default=False)
_OPTION_AND_ARGUMENT = re.compile(r"(--[a-z-]+(?: [^\s().]+)*) \((\w+=[^()]*)\)")
_PACKAGE = str(Path(__file__).parent) + os.sep


class ZooError(Exception):
    """Base class of errors that a user can fix.

    The message says what is wrong, what was received and what to do. Where it is raised with an
    option and an argument, as "Add --size 64 (size=64)", it keeps the one for its reader.
    """

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(_OPTION_AND_ARGUMENT.sub(lambda both: for_caller(*both.groups()), message))

    def _render_traceback_(self):  # of IPython
        return traceback_for_notebook(self)


class InputError(ZooError, ValueError):
    """Raised for an invalid name, option, value or data set."""


class UndefinedError(InputError):
    """Raised when a model does not support an operation, such as a likelihood."""


class ArtefactError(ZooError):
    """Raised for a run, checkpoint, SavedModel or plugin that is damaged or refused."""

    exit_code = 3


class TrainingError(ZooError):
    """Raised when training failed."""

    exit_code = 4


@contextlib.contextmanager
def command_line() -> Iterator[None]:
    """Makes messages speak of the command line, instead of Python, within this scope."""
    token = _IS_COMMAND_LINE.set(True)
    try:
        yield
    finally:
        _IS_COMMAND_LINE.reset(token)


def for_caller(command: str, call: str) -> str:
    """Returns the shell command on the command line, and the Python call elsewhere."""
    return command if _IS_COMMAND_LINE.get() else call


def traceback_for_notebook(error: BaseException) -> list[str]:
    """Returns what a notebook shows of an error: the line that called zoo, and the message."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_PACKAGE):
            break
        lines = [f"line {frame.lineno}: {frame.line}"]
    return [*lines, f"{type(error).__name__}: {error}"]


def check_flags(**flags):
    """Raises InputError if a flag is neither a bool nor None."""
    for name, value in flags.items():
        if not isinstance(value, bool | None):
            raise InputError(f"{name} must be True or False. Received: {name}={value!r}")


def did_you_mean(name, choices):
    """Returns " Did you mean 'vae'?" for the choices closest to a name, or "" if none is close."""
    import difflib

    spelling = {choice.casefold(): choice for choice in sorted(choices, reverse=True)}
    closest = difflib.get_close_matches(name.casefold(), spelling)
    return f" Did you mean {' or '.join(repr(spelling[c]) for c in closest)}?" if closest else ""
