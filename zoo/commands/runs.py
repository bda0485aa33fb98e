"""`zoo runs`: lists the runs in a folder."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table


@click.command()
@click.argument("folder", default="runs", type=_options.PathType(file_okay=False))
@_options.as_json
def command(folder, as_json):
    """List the runs in FOLDER (default: runs), newest last."""
    import json
    from pathlib import Path

    rows = [_describe(path.parent) for path in sorted(Path(folder).glob("*/run.json"))]
    if as_json:
        echo(json.dumps(rows, indent=2))
    elif not rows:
        echo(f"No runs in {folder}. Start one with: zoo train NAME", err=True)
    else:
        head = ("RUN", "MODEL", "DATA", "EPOCH", "STEP", "LOSS", "VALIDATION", "STATE")
        keys = ("run", "model", "data", "epoch", "step", "loss")
        table = [[*(_text(row[k]) for k in keys), _validation(row), row["state"]] for row in rows]
        print_table([head, *table])


def _describe(folder):
    """Returns the row of a run; the state of one that cannot be read is "damaged"."""
    from zoo.errors import ZooError
    from zoo.runs.folder import Run

    run = Run(folder)
    scores = ("loss", "val_loss", "frechet_distance")
    row = dict.fromkeys(("model", "data", "epoch", "step", *scores))
    row |= {"run": str(folder), "state": "damaged"}
    try:
        recipe, log = run.recipe, run.metrics or [{"epoch": 0}]
        state = "running" if run.is_running else "finished" if run.is_finished else "resumable"
        checkpoints = run.checkpoints
    except ZooError:
        return row
    last = log[-1]
    distances = [line["frechet_distance"] for line in log if "frechet_distance" in line]
    return row | {
        "model": recipe["model"],
        "data": recipe["data"]["name"],
        "epoch": f"{last['epoch']}/{recipe['epochs']}",
        "step": checkpoints[0].step if checkpoints else None,
        "loss": last.get("loss"),
        "val_loss": last.get("val_loss"),
        "frechet_distance": distances[-1] if distances else None,
        "state": state,
    }


def _validation(row):
    if row["frechet_distance"] is None:
        return _text(row["val_loss"])
    return f"{row['frechet_distance']:.4g} (Fréchet)"


def _text(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
