"""`zoo evaluate NAME|DIR|RUN`: how likely data are under a SavedModel."""

from functools import partial
from pathlib import Path

import click

from zoo.commands import matching_data, print_table, quiet_tensorflow
from zoo.errors import InputError

SPLITS = ("train", "validation", "test")
WEIGHTS = 64


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option("--data", help="Name or path of a data set. Default: what it was trained on.")
@click.option("--size", type=click.IntRange(1, 4096), help="Resize the images to SIZE x SIZE.")
@click.option("--binarize", is_flag=True, default=None, help="Draw grey images as binary ones.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option(
    "-k",
    type=click.IntRange(1),
    help=f"Importance weights an image, where the model has them. Default: {WEIGHTS}.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="So many images, evenly spaced. Default: all."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the scores there too, not into the card of the model alone.",
)
def command(name, data, size, binarize, split, k, limit, seed, batch_size, output):
    """Score a SavedModel by the log-likelihood of images.

    Where a model has a lower bound alone, the score says so: elbo, iw_bound or lower_bound. Every
    score is kept, with its protocol, in the card.json of the model.

    \b
    zoo evaluate runs/20260101-120000-vae-mnist_binary
    zoo evaluate runs/20260101-120000-vae-mnist_binary -k 5000 --limit 500 -o scores.json
    """  # noqa: D301
    if output and (output.suffix != ".json" or output.is_dir()):
        raise InputError(f"Expected FILE.json for -o. Received: {output}")
    quiet_tensorflow()
    from zoo import checkpoints, datasets, saving
    from zoo.commands.sample import placed
    from zoo.evaluation.likelihood import log_likelihood

    model = saving.load(name)
    splits = matching_data(model, data, size, binarize)
    click.echo(datasets.describe(splits))
    weighted = model.card["log_prob_kind"] == "importance_weight"
    numbers = [1, k or WEIGHTS] if weighted and k != 1 else [k or 1]
    on = splits[SPLITS.index(split)]
    settings = {"seed": seed, "batch_size": batch_size, "limit": limit}
    with _progress() as progress:
        task = progress.add_task("", total=min(limit or len(on), len(on)) * sum(numbers))
        scores = [
            log_likelihood(model, on, k=n, advance=partial(progress.advance, task), **settings)
            for n in numbers
        ]
    head = ("METRIC", "NATS", "BITS/DIM", "ON")
    print_table([head, *map(cells, scores)])
    try:
        for score in scores:
            saving.add_score(model.folder, score)
    except OSError as error:
        click.echo(f"Not kept in {model.folder / saving.CARD}: {error.strerror}.", err=True)
    if output:
        with placed(output):
            checkpoints.write_json(output, scores)


def cells(score):
    """Writes a score for people: what it is, nats, bits per dimension and on what."""
    protocol = score["protocol"]
    metric = score["metric"] if protocol["k"] == 1 else f"{score['metric']}, k={protocol['k']:,}"
    on = f"{protocol['count']:,} {protocol['split']} images of {protocol['dataset']}"
    if score["minus_infinity"]:
        return metric, "-inf", "inf", f"{on}, -inf for {score['minus_infinity']:,} of them"
    error = "" if score["standard_error"] is None else f" +- {score['standard_error']:.2f}"
    return metric, f"{score['value']:.2f}{error}", f"{score['bits_per_dim']:.3f}", on


def _progress():
    """Makes a live line of progress, on a terminal alone."""
    from rich import console, progress

    terminal = console.Console()
    return progress.Progress(
        progress.BarColumn(24),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
        transient=True,
    )
