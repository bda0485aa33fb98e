"""`zoo data`: lists data sets, or describes one."""

import json
from pathlib import Path

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table
from zoo.commands._pictures import writing_to
from zoo.errors import InputError


@click.command("data")
@click.argument("name", required=False)
@_options.source
@click.option(
    "--skip-damaged", is_flag=True, default=None, help="Leave out files that cannot be read."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the first training examples: a grid of images (.png), texts (.txt) or sounds"
    " (.wav).",
)
def command(name, as_json, output, **given):
    """List the data sets that need no download, or describe one.

    NAME is a listed name, any other name of TensorFlow Datasets, or the path of a folder of images,
    of sounds (.wav) or of texts (.txt), a .npz, a .npy or a .txt. A path must contain a separator,
    for example ./photos.
    """
    from zoo import datasets

    given = {option: value for option, value in given.items() if value}
    if name is None:
        if given or output:
            raise click.UsageError("The options of a data set, and -o, need a NAME.")
        _list(datasets.summaries(), as_json)
        return
    splits = datasets.load_dataset(name, **given)
    spec = splits.train.spec
    if output:
        from zoo.render import SUFFIXES, save

        if output.suffix != SUFFIXES[spec.kind]:
            raise InputError(f"Expected FILE{SUFFIXES[spec.kind]} for -o. Received: {output}")
        x = next(iter(splits.train.batches(64)))
        with writing_to(output):
            save(output, x.numpy(), spec)
    if as_json:
        echo(json.dumps(_facts(splits), indent=2))
        return
    echo(splits.describe())
    if splits.train.class_names:
        echo(f"  classes: {', '.join(splits.train.class_names)}")
    print_table(
        [("SPLIT", "EXAMPLES", "FINGERPRINT")]
        + [(split.split, str(len(split)), split.fingerprint) for split in splits]
    )
    if output:
        echo(f"Wrote the first training examples to {output}")


def _facts(splits):
    train = splits.train
    return {
        "name": train.name,
        "spec": train.spec.to_json(),
        "condition": train.condition and train.condition.to_json(),
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
