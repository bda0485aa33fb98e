"""`zoo compare A B …`: the scores of models side by side, and samples of one seed."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table
from zoo.commands._pictures import (
    PICTURES,
    check_suffix,
    draw_samples,
    load_saved_model,
    sample_conditions,
    writing_to,
)
from zoo.errors import InputError

COLUMNS = 16


@click.command()
@click.argument(
    "names", metavar="NAME|DIR|RUN ...", nargs=-1, required=True, type=_options.PathType()
)
@_options.seed
@_options.output("FILE.png", f"Draw a row of {COLUMNS} samples per model.")
def command(names, seed, output):
    """Compare SavedModels by the scores in their cards.

    A row shows scores with the same protocol, and * marks the best within the standard errors.
    REAL is the value of real images. Scores that are not comparable are listed with the reason.

    \b
    zoo compare pixelcnn pixelrnn -o both.png
    """  # noqa: D301
    from zoo.evaluation.comparison import compare

    if output:
        check_suffix(output, *PICTURES)
    comparison = compare(*names)
    if output:
        _draw(comparison.names, seed, output)
    if comparison.rows:
        print_table(comparison.table())
    for reason in comparison.reasons:
        echo(reason)
    if not comparison.rows:
        raise InputError("No scores are comparable. Run zoo evaluate on all with equal options.")


def _draw(names, seed, output):
    """Writes a picture with a row of samples per model, all of one seed."""
    import numpy as np

    from zoo import render

    models = [load_saved_model(name) for name in names]
    shapes = {name: model.spec.shape for name, model in zip(names, models, strict=True)}
    if len({*shapes.values()}) > 1:
        raise InputError(f"-o requires models of one image shape. Received: {shapes}")
    rows = [
        draw_samples(model, COLUMNS, seed, sample_conditions(model, COLUMNS)) for model in models
    ]
    with writing_to(output):
        render.save_grid(output, np.concatenate(rows), columns=COLUMNS)
    echo(f"Wrote {COLUMNS} samples per row, of {', '.join(names)}, seed {seed}, to {output}")
