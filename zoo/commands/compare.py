"""`zoo compare A B …`: scores of the same protocol, and samples of the same seed, side by side."""

import shlex
from pathlib import Path

import click

from zoo.commands import print_table, quiet_tensorflow
from zoo.errors import InputError

COLUMNS = 16


@click.command()
@click.argument("names", metavar="NAME|DIR|RUN …", nargs=-1, required=True, type=click.Path())
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help=f"Draw a row of {COLUMNS} samples of each model.",
)
def command(names, seed, output):
    """Compare SavedModels by the scores in their cards.

    Scores are shown beside each other only where their protocols are equal; * marks the best, as
    far as the standard errors tell.

    \b
    zoo compare pixelcnn pixelrnn -o both.png
    """  # noqa: D301
    names = [*dict.fromkeys(names)]
    if len(names) < 2:
        raise InputError(f"Expected two models or more. Received: {' '.join(names)}")
    if output and output.suffix != ".png":
        raise InputError(f"Expected FILE.png for -o. Received: {output}")
    quiet_tensorflow()
    from zoo import saving
    from zoo.commands.evaluate import cells
    from zoo.evaluation.comparison import compare, winners

    cards = {str(name): saving.read_card(saving.find(name)) for name in names}
    for name, card in cards.items():
        if not card["scores"]:
            raise InputError(f"{name} has no scores yet: zoo evaluate {shlex.quote(name)}")
    if output:
        _draw(names, seed, output)
    rows, reasons = compare({name: card["scores"] for name, card in cards.items()})
    table = [("METRIC", *cards, "REAL", "ON")]
    for row in rows:
        best = winners(row)
        written = {name: cells(score) for name, score in row.items()}
        metric, _, real, on = next(iter(written.values()))
        values = (
            written[name][1] + (" *" if name in best else "") if name in row else "-"
            for name in cards
        )
        table.append((metric, *values, real, on))
    if rows:
        print_table(table)
    for reason in reasons:
        click.echo(reason)
    if not rows:
        raise InputError("No scores of these models compare: zoo evaluate them in the same way.")


def _draw(names, seed, output):
    """Writes a row of samples of each model, all of one seed."""
    import numpy as np

    from zoo import images, saving
    from zoo.commands.sample import draw, labels_of, placed

    models = [saving.load(name) for name in names]
    shapes = {name: tuple(model.card["shape"]) for name, model in zip(names, models, strict=True)}
    if len({*shapes.values()}) > 1:
        raise InputError(f"Expected models of images of one shape for -o. Received: {shapes}")
    drawn = [draw(model, COLUMNS, seed, labels_of(model, COLUMNS)) for model in models]
    with placed(output):
        images.save_grid(output, np.concatenate(drawn), columns=COLUMNS)
    click.echo(f"Wrote {COLUMNS} samples a row, of {', '.join(names)}, seed {seed}, to {output}")
