"""Options and arguments that several commands share."""

import os
from pathlib import Path

import click


def complete_model(context, parameter, incomplete):
    """Completes the name of a model in the shell."""
    from click.shell_completion import CompletionItem

    from zoo import registry

    return [
        CompletionItem(name, help=entry.summary)
        for name, entry in registry.models().items()
        if name.startswith(incomplete)
    ]


class PathType(click.Path):
    """A path in which `~` and `~user` are expanded, which the shell does not do in --OPTION=~."""

    def convert(self, value, param, ctx):
        """Returns the expanded path."""
        expanded = os.path.expanduser(value)  # noqa: PTH111, as Path.expanduser raises
        if expanded.startswith("~"):
            self.fail(
                f"{value!r} has no home folder. For a file of this name, write ./{value}.", param
            )
        return super().convert(expanded, param, ctx)


model = click.argument("name", shell_complete=complete_model)
trust = click.option(
    "--trust",
    metavar="SHA256",
    help="Load the graph file of this sha256 even if it has operations that zoo does not export."
    " Such a file can run any code.",
)
data = click.option("--data", help="Name or path of a data set. Default: the training data set.")
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


size = click.option(
    "--size", type=click.IntRange(1, 4096), help="Crop and resize images to SIZE x SIZE."
)
binarize = click.option(
    "--binarize", is_flag=True, default=None, help="Binarize grey images at random."
)


def saved_model(function):
    """Adds the argument that names a SavedModel, and the option --trust."""
    argument = click.argument("name", metavar="NAME|DIR|RUN", type=PathType())
    return argument(trust(function))


def source(function):
    """Adds the options for reading a data set, which are arguments of `zoo.load_dataset`."""
    options = (
        size,
        binarize,
        click.option(
            "--stretch",
            is_flag=True,
            default=None,
            help="Stretch 16-bit grey images to the range of values in all files.",
        ),
        click.option(
            "--paired", is_flag=True, default=None, help="Read folders a and b as pairs of images."
        ),
        click.option(
            "--length", type=click.IntRange(1), help="Tokens per text, or samples per sound."
        ),
        click.option(
            "--bytes", is_flag=True, default=None, help="Read text as bytes, not as characters."
        ),
        click.option("--rate", type=click.IntRange(1), help="Resample sounds to RATE Hz."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def output(metavar, help):
    """Returns the option -o of a command.

    Args:
      metavar: str; the kinds of output, for example "FILE.png|FILE.npz".
      help: str; the help text.
    """
    return click.option("-o", "--output", type=PathType(path_type=Path), metavar=metavar, help=help)


picture = output("FILE.png|FILE.npz", "A picture or its arrays. Default: a new PNG in this folder.")


def test_images(number, help):
    """Returns the decorator of a command that shows test images.

    Args:
      number: int; the default of -n.
      help: str; the help of -n.
    """
    options = (
        saved_model,
        data,
        size,
        binarize,
        click.option(
            "-n", "number", type=click.IntRange(1), default=number, show_default=True, help=help
        ),
    )

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
