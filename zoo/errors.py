"""Exceptions that report errors of input or environment, and their exit codes."""

__all__ = [
    "ArtefactError",
    "InputError",
    "TrainingError",
    "UndefinedError",
    "ZooError",
    "check_flags",
    "did_you_mean",
]


class ZooError(Exception):
    """Base class of errors that a user can fix.

    The message says what is wrong, what was received and what to do.
    """

    exit_code = 2


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
