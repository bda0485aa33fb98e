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
    help="Folder to write, which must not exist. Default: features-DATA.",
)
@click.option("--epochs", type=click.IntRange(1), help="Number of epochs. Default: 10.")
@_options.seed
def train(data, size, output, epochs, seed):
    """Train a classifier on the labels of DATA.

    DATA is the name of a data set (see zoo data), or the path of a folder or a .npz file with
    labels. The classifier is saved as a SavedModel.

    \b
    zoo features train mnist
    zoo features train ./photos --size 32 -o features-photos
    """  # noqa: D301
    from zoo import datasets
    from zoo.evaluation import features

    splits = datasets.load_dataset(data, size)
    echo(splits.describe())
    folder = features.train(
        splits,
        output or f"features-{'-'.join(splits[0].name.split())}",
        epochs or features.EPOCHS,
        seed,
        command=as_typed(),
    )
    echo(f"Wrote {folder}")
