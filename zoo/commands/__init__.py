"""The command `zoo`: one file a verb, each with a click command named `command`.

Verb files import click and the standard library alone; the rest is imported inside functions, so
that `zoo --help` stays fast.
"""

import contextlib
import functools
import importlib
import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap
import traceback

import click

from zoo.errors import InputError, ZooError

VERBS = (
    "list",
    "info",
    "train",
    "runs",
    "sample",
    "complete",
    "interpolate",
    "reconstruct",
    "evaluate",
    "compare",
    "verify",
    "features",
    "export",
    "data",
    "check",
    "plugins",
    "new-plugin",
)

_SOURCE = ("name", "size", "binarize")  # of `zoo.load_dataset`

# What TensorFlow says on every start, whatever it is told.
_START_UP_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog|To enable the following instructions:"
    rb"|\b(port|cudart_stub|cpu_feature_guard|cuda_dnn|cuda_blas|cuda_fft|computation_placer)\.cc:"
)


def quiet_tensorflow():
    """Imports TensorFlow without its known start-up lines; anything else it says is shown."""
    if "tensorflow" in sys.modules:
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            for line in said:
                if not _START_UP_NOISE.search(line):
                    os.write(2, line)


def as_typed():
    """Writes the command that this process was started by."""
    return shlex.join(["zoo", *sys.argv[1:]])


def as_argument(folder):
    """Writes a Path as an argument: one that no name of a model can be taken for."""
    return shlex.quote(str(folder) if folder.parent.name else f"./{folder}")


def complete_model(context, parameter, incomplete):
    """Completes the name of a model in the shell."""
    from click.shell_completion import CompletionItem

    from zoo import registry

    return [
        CompletionItem(name, help=entry.summary)
        for name, entry in registry.models().items()
        if name.startswith(incomplete)
    ]


def matching_data(model, data=None, size=None, binarize=None):
    """Loads the data that a SavedModel was trained on, or other data that fit it.

    Args:
      model: zoo.saving.SavedModel.
      data: name or path of a data set; None is that of the model's card.
      size: int; None is as the card says, or of other data their own.
      binarize: bool; None likewise.

    Returns:
      (train, validation, test), as of `zoo.load_dataset`.

    Raises:
      InputError: if the data do not fit, or none are known.
    """
    from zoo import datasets

    card = model.card
    if data is None and not model.trained_on:
        raise InputError(f"{model.folder} does not say what it was trained on: give --data.")
    source = {key: model.trained_on[key] for key in _SOURCE} if data is None else {"name": data}
    asked = {"size": size, "binarize": binarize}
    splits = datasets.load_dataset(**source | {k: v for k, v in asked.items() if v is not None})
    found = splits[0]
    shape = tuple(card["shape"])
    if found.shape != shape:
        resizable = shape == (shape[0], shape[0], found.shape[-1])
        advice = f" Add --size {shape[0]}." if resizable else ""
        raise InputError(
            f"Expected images of shape {shape}, as {model.name} was trained on.{advice}"
            f" Received: {found.name} with {found.shape}"
        )
    if found.levels != card["levels"]:
        advice = "Add --binarize" if card["levels"] == 2 else "Give other --data"
        raise InputError(
            f"Expected data of {card['levels']} levels, as {model.name} was trained on. {advice}."
            f" Received: {found.name} with {found.levels} levels"
        )
    if card["num_classes"] and found.num_classes != card["num_classes"]:
        raise InputError(
            f"Expected labels of {card['num_classes']} classes, as {model.name} was trained on."
            f" Received: {found.name} with {found.num_classes or 'no labels'}"
        )
    return splits


def print_table(rows):
    """Prints rows of text in columns; on a terminal the last column is wrapped."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    margin = sum(widths[:-1]) + 2 * len(widths[:-1])
    if sys.stdout.isatty():
        widths[-1] = max(20, shutil.get_terminal_size().columns - margin)
    for *cells, last in rows:
        first = "".join(f"{text:{width}}  " for text, width in zip(cells, widths, strict=False))
        wrapped = textwrap.wrap(last, widths[-1]) or [""]
        click.echo((first + f"\n{' ' * margin}".join(wrapped)).rstrip())


@contextlib.contextmanager
def progress():
    """Shows live lines of progress, on a terminal alone.

    Yields `begin(what)`, a function of the total that returns one that is told of every n done.
    """
    from rich import console, progress

    terminal = console.Console()
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(24),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
        transient=True,
    ) as lines:

        def begin(what):
            return lambda total: functools.partial(lines.advance, lines.add_task(what, total=total))

        yield begin


class _Program(click.Group):
    """A group that imports a verb when it is asked for, and ends with zoo's exit codes."""

    def list_commands(self, ctx):
        return [*VERBS]

    def get_command(self, ctx, cmd_name):
        if cmd_name in VERBS:
            return importlib.import_module(f"zoo.commands.{cmd_name.replace('-', '_')}").command

    def main(self, *args, **settings):
        # Read when TensorFlow is imported. A GPU is shared with the process that checks an export.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        settings |= {"prog_name": "zoo", "standalone_mode": False}
        try:
            sys.exit(super().main(*args, **settings))
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except ZooError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            sys.exit(130)
        except Exception:
            _report_bug()
            sys.exit(1)


def _report_bug():
    report = traceback.format_exc()
    click.echo(report, err=True, nl=False)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="zoo-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"{shlex.join(sys.argv)}\nPython {sys.version}\n\n{report}")
        saved = f" The lines above are saved in {file.name}: please send them to its authors."
    except OSError:
        saved = ""
    click.echo(f"Error: this is a bug in zoo or in the model it ran.{saved}", err=True)


@click.group(cls=_Program, commands=dict.fromkeys(VERBS))
@click.version_option(package_name="keras-genzoo")
def main():
    """A model zoo of generative models for TensorFlow and Keras.

    \b
    zoo train vae      trains a model, and saves it as a SavedModel
    zoo runs           lists what has been trained here
    zoo sample RUN     draws a grid of images from it
    """  # noqa: D301
