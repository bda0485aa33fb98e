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
@click.option("--skip-damaged", is_flag=True, default=None, help="Skip files that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the first training examples to a file: images (.png), texts (.txt) or sounds"
    " (.wav).",
)
def command(name, as_json, output, **settings):
    """List the bundled data sets, or describe a data set.

    NAME is a listed name, a name in TensorFlow Datasets, or a path. A path is a folder of images,
    sounds (.wav) or texts (.txt), or a .npz, .npy or .txt file. It must contain a separator, for
    example ./photos.
    """
    from zoo import datasets

    settings = {option: value for option, value in settings.items() if value}
    if name is None:
        if settings or output:
            raise click.UsageError("Options other than --json require the NAME of a data set.")
        _list(datasets.summaries(), as_json)
        return
    splits = datasets.load_dataset(name, **settings)
    spec = splits.train.spec
    if output:
        from zoo.render import SUFFIXES, save

        if output.suffix != SUFFIXES[spec.kind]:
            raise InputError(f"-o must end in {SUFFIXES[spec.kind]}. Received: {output}")
        x = next(iter(splits.train.batches(64)))
        with writing_to(output) as path:
            save(path, x.numpy(), spec)
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
    echo("\nOther names are downloaded from TensorFlow Datasets.")
    echo("Paths must contain a separator, for example ./photos or ./x.npz.")
