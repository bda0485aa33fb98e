"""Output of the commands: text, tables and messages."""

import contextlib
import errno
import io
import logging
import os
import re
import shlex
import shutil
import sys
import textwrap

# Control characters, bidirectional overrides, and undecodable bytes of file names.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def echo(text, err=False):
    """Prints text to stdout or stderr. Control characters, as in file names, become "?"."""
    print(_UNPRINTABLE.sub("?", str(text)), file=sys.stderr if err else sys.stdout, flush=True)


class _Messages(logging.Handler):
    """Prints log messages: warnings and errors to stderr, others to stdout."""

    def emit(self, record):
        """Prints a message."""
        echo(record.getMessage(), err=record.levelno >= logging.WARNING)


class _Output(io.FileIO):
    """A standard stream that discards output after an error, so that output never ends a run."""

    error = None
    """The first OSError of stdout, or None. A pipe that the reader closed is not an error."""

    def write(self, data):
        """Writes bytes. After an error, the stream is connected to the null device."""
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() == 1 and error.errno != errno.EPIPE:
                _Output.error = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


def protect_streams():
    """Makes stdout and stderr replace characters they cannot encode, and discard failed output.

    Closed streams are opened on the null device. Otherwise the next opened file would get their
    descriptor, and C++ code would write its log into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            raw = _Output(number, "w", closefd=False)
            protected = io.TextIOWrapper(
                raw if stream.write_through else io.BufferedWriter(raw),
                stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, protected)


def output_error():
    """Returns the OSError that a write to stdout raised, or None."""
    return _Output.error


@contextlib.contextmanager
def messages_printed():
    """Prints the log messages of the package while a command runs."""
    logger, handler = logging.getLogger("zoo"), _Messages()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def as_typed():
    """Returns the command line that started this process."""
    return shlex.join(["zoo", *sys.argv[1:]])


def print_table(rows):
    """Prints rows of text in columns. On a terminal, the last column is wrapped."""
    rows = [[_UNPRINTABLE.sub("?", text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    margin = sum(widths[:-1]) + 2 * len(widths[:-1])
    if sys.stdout.isatty():
        widths[-1] = max(20, shutil.get_terminal_size().columns - margin)
    for *cells, last in rows:
        first = "".join(f"{text:{width}}  " for text, width in zip(cells, widths, strict=False))
        wrapped = textwrap.wrap(last, widths[-1]) or [""]
        echo((first + f"\n{' ' * margin}".join(wrapped)).rstrip())
