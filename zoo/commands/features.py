"""`zoo features train DATA`: the classifier whose features compare images."""

import click

from zoo.commands import as_typed, quiet_tensorflow


@click.group()
def command():
    """Train a classifier whose features compare images."""


@command.command()
@click.argument("data")
@click.option("--size", type=click.IntRange(1, 4096), help="Resize the images to SIZE x SIZE.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(),
    help="Folder, not there yet. Default: features-DATA.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
def train(data, size, output, epochs, seed):
    """Train a classifier on the labels of DATA, and keep it as a SavedModel.

    DATA is the name of a data set (zoo data), or the path of a folder, .npz or .npy, with labels.

    \b
    zoo features train mnist
    zoo features train ./photos --size 32 -o features-photos
    """  # noqa: D301
    quiet_tensorflow()
    from zoo import datasets
    from zoo.evaluation import features

    found = datasets.load_dataset(data, size)
    click.echo(datasets.describe(found))
    folder = features.train(
        found,
        output or f"features-{'-'.join(found[0].name.split())}",
        epochs or features.EPOCHS,
        seed,
        command=as_typed(),
        say=click.echo,
    )
    click.echo(f"Wrote {folder}")
