"""`zoo data`: lists data sets, or describes one."""

import json
from pathlib import Path

import click

from zoo.commands._console import echo, print_table
from zoo.commands._pictures import writing_to
from zoo.errors import InputError


@click.command("data")
@click.argument("name", required=False)
@click.option(
    "--size", type=click.IntRange(1, 4096), help="Cut to the central square and resize to N x N."
)
@click.option("--binarize", is_flag=True, help="Binarize grey images at random.")
@click.option("--skip-damaged", is_flag=True, help="Leave out files that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o",
    "--output",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Write a grid of the first training images.",
)
def command(name, size, binarize, skip_damaged, as_json, output):
    """List the data sets that need no download, or describe one.

    NAME is a listed name, any other name of TensorFlow Datasets, or the path of a folder of images,
    a .npz or a .npy. A path must contain a separator, for example ./photos.
    """
    from zoo import datasets

    if name is None:
        if size or binarize or skip_damaged or output:
            raise click.UsageError("--size, --binarize, --skip-damaged and -o need a NAME.")
        _list(datasets.summaries(), as_json)
        return
    if output and output.suffix != ".png":
        raise InputError(f"Expected FILE.png for -o. Received: {output}")
    splits = datasets.load_dataset(name, size, binarize, skip_damaged)
    if output:
        from zoo import render

        x = next(iter(splits.train.batches(64)))
        with writing_to(output):
            render.save_grid(output, x.numpy())
    if as_json:
        echo(json.dumps(_facts(splits), indent=2))
        return
    echo(splits.describe())
    if splits.train.class_names:
        echo(f"  classes: {', '.join(splits.train.class_names)}")
    print_table(
        [("SPLIT", "IMAGES", "FINGERPRINT")]
        + [(split.split, str(len(split)), split.fingerprint) for split in splits]
    )
    if output:
        echo(f"Wrote the first training images to {output}")


def _facts(splits):
    train = splits.train
    return {
        "name": train.name,
        "shape": train.shape,
        "levels": train.levels,
        "num_classes": train.num_classes,
        "class_names": train.class_names,
        "notes": train.notes,
        "splits": {
            split.split: {"count": len(split), "fingerprint": split.fingerprint} for split in splits
        },
    }


def _list(summaries, as_json):
    if as_json:
        rows = [{"name": name, "summary": summary} for name, summary in summaries.items()]
        echo(json.dumps(rows, indent=2))
        return
    print_table([("NAME", "DESCRIPTION"), *summaries.items()])
    echo("\nTensorFlow Datasets downloads any other name it has.")
    echo("Paths must contain a separator, for example ./photos or ./x.npz.")
