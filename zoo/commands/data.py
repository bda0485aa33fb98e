"""`zoo data`: the datasets that are here, and what is in one."""

from pathlib import Path

import click

from zoo.commands import print_table, quiet_tensorflow
from zoo.commands.sample import placed
from zoo.errors import InputError


@click.command("data")
@click.argument("name", required=False)
@click.option("--size", type=click.IntRange(1, 4096), help="Cut to squares and resize to N x N.")
@click.option("--binarize", is_flag=True, help="Draw grey images as binary ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o",
    "--output",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Write a grid of the first training images.",
)
def command(name, size, binarize, as_json, output):
    """List the datasets that need no download, or say what is in one.

    NAME is one of these, any other name of TensorFlow Datasets, or the path of a folder of images,
    a .npz or a .npy: a path has a separator, as ./photos.
    """
    from zoo import datasets

    if name is None:
        if size or binarize or output:
            raise click.UsageError("--size, --binarize and -o need a NAME.")
        return _list(datasets, as_json)
    if output and output.suffix != ".png":
        raise InputError(f"Expected FILE.png for -o. Received: {output}")
    is_ours = name in datasets.BUNDLED or name.startswith((".", "/", "~")) or Path(name).exists()
    if output or not is_ours:
        quiet_tensorflow()
    splits = datasets.load_dataset(name, size, binarize)
    if output:
        from zoo import images

        x = next(iter(splits[0].batches(64)))
        with placed(output):
            images.save_grid(output, x.numpy())
    if as_json:
        import json

        train = splits[0]
        found = {
            "name": train.name,
            "shape": train.shape,
            "levels": train.levels,
            "num_classes": train.num_classes,
            "class_names": train.class_names,
            "notes": train.notes,
            "splits": {
                split.split: {"count": len(split), "fingerprint": split.fingerprint}
                for split in splits
            },
        }
        click.echo(json.dumps(found, indent=2))
        return None
    click.echo(datasets.describe(splits))
    if splits[0].class_names:
        click.echo(f"  classes: {', '.join(splits[0].class_names)}")
    print_table(
        [("SPLIT", "IMAGES", "FINGERPRINT")]
        + [(split.split, str(len(split)), split.fingerprint) for split in splits]
    )
    if output:
        click.echo(f"{output}: the first training images")
    return None


def _list(datasets, as_json):
    rows = [
        {"name": name, "summary": datasets.BUNDLED.get(name, "prepared by TensorFlow Datasets")}
        for name in datasets.list_datasets()
    ]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    print_table([("NAME", "WHAT"), *((row["name"], row["summary"]) for row in rows)])
    click.echo(
        "\nAny other name of TensorFlow Datasets is downloaded; a path is ./photos or ./x.npz."
    )
