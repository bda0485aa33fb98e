"""The errors that are for people: one clear line each, and the exit code that `zoo` ends with."""


class ZooError(Exception):
    """What a user can mend. The message says what was expected, what came and what to do."""

    exit_code = 2


class InputError(ZooError, ValueError):
    """A wrong name, option, value or data set."""


class UndefinedError(InputError):
    """What a model has not got, such as a likelihood; the message says because of what."""


class ArtefactError(ZooError):
    """A run, checkpoint or SavedModel that is damaged or refused."""

    exit_code = 3


class TrainingError(ZooError):
    """A training run that could not go on."""

    exit_code = 4
