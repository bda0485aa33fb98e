"""`zoo features train DATA`: trains the classifier for feature-based sample metrics."""

import click

from zoo.commands import _options
from zoo.commands._console import as_typed, echo


@click.group()
def command():
    """Train a classifier for feature-based sample metrics."""


@command.command()
@click.argument("data")
@_options.size
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=_options.PathType(),
    help="A new folder. Default: features-DATA.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.")
@_options.seed
def train(data, size, output, epochs, seed):
    """Train a classifier on the labels of DATA and save it as a SavedModel.

    DATA is the name of a data set (zoo data), or the path of a folder, .npz or .npy with labels.

    \b
    zoo features train mnist
    zoo features train ./photos --size 32 -o features-photos
    """  # noqa: D301
    from zoo import datasets
    from zoo.evaluation import features

    found = datasets.load_dataset(data, size)
    echo(found.describe())
    folder = features.train(
        found,
        output or f"features-{'-'.join(found[0].name.split())}",
        epochs or features.EPOCHS,
        seed,
        command=as_typed(),
    )
    echo(f"Wrote {folder}")
