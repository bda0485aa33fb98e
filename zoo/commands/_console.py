"""Output of the commands: text, tables, messages, and TensorFlow's start-up messages."""

import contextlib
import errno
import importlib.util
import io
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap

# Lines that TensorFlow prints at every start, whatever its log level.
_START_UP_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog|To enable the following instructions:"
    rb"|\b(port|cudart_stub|cpu_feature_guard|cuda_dnn|cuda_blas|cuda_fft|computation_placer)\.cc:"
)
_LOADING = b"Loading TensorFlow ..."

# Control characters, changes of the writing direction, and bytes of file names that are not text.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def echo(text, err=False):
    """Prints text to stdout or stderr; control characters, as in file names, become "?"."""
    print(_UNPRINTABLE.sub("?", str(text)), file=sys.stderr if err else sys.stdout, flush=True)


class _Messages(logging.Handler):
    """Prints the messages of the package: warnings to stderr, others to stdout."""

    def emit(self, record):
        """Prints a message."""
        echo(record.getMessage(), err=record.levelno >= logging.WARNING)


class _Output(io.FileIO):
    """A standard stream that discards what cannot be written, because output must not end a run."""

    error = None
    """The OSError that stopped stdout; None for a pipe that its reader closed."""

    def write(self, data):
        """Writes bytes; after an error the stream is connected to the null device."""
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
    """Makes stdout and stderr replace what they cannot encode and discard what they cannot write.

    Streams that are closed are opened on the null device: else the next file that is opened takes
    their number, and C++ code writes its log into it.
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
    """Returns the OSError that a write to stdout ended in, or None."""
    return _Output.error


class QuietTensorFlow:
    """A finder for `sys.meta_path` that drops the start-up messages when TensorFlow is imported."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Returns the spec of TensorFlow with a quiet loader, or None for any other module."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            import_module = spec.loader.exec_module

            def import_quietly(module):
                with _without_start_up_noise():
                    import_module(module)

            spec.loader.exec_module = import_quietly
        return spec


@contextlib.contextmanager
def _without_start_up_noise():
    """Filters stderr, of C++ code too; a terminal shows one line in the meantime."""
    with contextlib.ExitStack() as stack:
        try:
            output = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # stderr is closed, or there is no temporary folder
            yield
            return
        is_terminal = os.isatty(stderr)
        if is_terminal:
            os.write(stderr, _LOADING)
        os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if is_terminal:
                os.write(2, b"\r" + b" " * len(_LOADING) + b"\r")
            output.seek(0)
            with contextlib.suppress(OSError):  # stderr cannot be written
                for line in output:
                    if not _START_UP_NOISE.search(line):
                        os.write(2, line)


@contextlib.contextmanager
def messages_printed():
    """Prints what the library logs, as long as a command runs."""
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
    """Prints rows of text in columns; on a terminal the last column is wrapped."""
    rows = [[_UNPRINTABLE.sub("?", text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    margin = sum(widths[:-1]) + 2 * len(widths[:-1])
    if sys.stdout.isatty():
        widths[-1] = max(20, shutil.get_terminal_size().columns - margin)
    for *cells, last in rows:
        first = "".join(f"{text:{width}}  " for text, width in zip(cells, widths, strict=False))
        wrapped = textwrap.wrap(last, widths[-1]) or [""]
        echo((first + f"\n{' ' * margin}".join(wrapped)).rstrip())
