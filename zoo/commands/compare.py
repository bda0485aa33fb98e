"""`zoo compare A B …`: the scores of models side by side, and samples of one seed."""

from pathlib import Path

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import (
    PICTURES,
    check_suffix,
    draw_samples,
    first_indices,
    load_saved_model,
    model_info,
    sample_conditions,
    writing_to,
)
from zoo.errors import InputError

COLUMNS = 16


@click.command()
@click.argument(
    "names", metavar="NAME|DIR|RUN ...", nargs=-1, required=True, type=_options.PathType()
)
@_options.trust
@_options.seed
@_options.as_json
@_options.output("FILE.png", "Draw a row of samples per model.")
def command(names, trust, seed, as_json, output):
    """Compare SavedModels by the scores in their cards.

    A row shows scores with the same protocol, and * marks the best within the standard errors,
    which a narrow terminal does not show. Scores that are not comparable are listed with the
    reason. --json prints complete scores with their protocols.

    \b
    zoo compare pixelcnn pixelrnn -o both.png
    """  # noqa: D301
    import json

    from zoo.evaluation.comparison import compare

    if output:
        check_suffix(output, *PICTURES)
    comparison = compare(*names)
    if output:
        message = _draw(comparison.names, trust, seed, output)
    echo(json.dumps(comparison.to_json(), indent=2) if as_json else comparison)
    if output:
        echo(message, err=as_json)
    if not comparison.rows:
        raise InputError("No scores are comparable. Run zoo evaluate on all with equal options.")


def _draw(names, trust, seed, output):
    """Writes a picture with a row of samples per model, all of one seed; returns a message."""
    import numpy as np

    from zoo import render
    from zoo.sampling import shows_means

    models = [load_saved_model(name, trust) for name in names]
    shapes = {name: model.spec.shape for name, model in zip(names, models, strict=True)}
    if len({*shapes.values()}) > 1:
        raise InputError(f"-o requires models of one image shape. Received: {shapes}")
    count = min(render.num_in_picture(model.condition, COLUMNS) for model in models)
    rows, labels = [], []
    for name, model in zip(names, models, strict=True):
        means = shows_means(model)
        condition = sample_conditions(model, count)
        rows.append(draw_samples(model, count, seed, condition, means=means))
        labels.append(Path(name).name + (" (means)" if means else ""))
    info = {
        "model": ", ".join(model_info(model)["model"] for model in models),
        "sha256": ", ".join(model.sha256 for model in models),
        "seed": seed,
        "index": first_indices(count),
    }
    title = f"{count} samples of each model, seed {seed}"
    with writing_to(output) as path:
        render.save_grid(
            path, np.concatenate(rows), info, columns=count, title=title, row_labels=labels
        )
    return f"Wrote {count} samples per row, of {', '.join(names)}, seed {seed}, to {output}"
