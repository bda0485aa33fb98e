"""Lists runs, and describes one in a row of a table, without importing TensorFlow."""

import os
from collections.abc import Iterable
from pathlib import Path

from zoo.display import Table, format_value
from zoo.errors import ZooError
from zoo.runs.folder import Run

__all__ = ["describe", "list_runs", "table"]


def list_runs(folder: str | os.PathLike = "runs") -> list[Run]:
    """Returns the runs in a folder, newest last, which a notebook shows as a table.

    Args:
      folder: path of the folder of runs.
    """
    return Table([Run(path.parent) for path in sorted(Path(folder).glob("*/run.json"))], table)


def describe(run: Run) -> dict:
    """Returns the values in the row of a run; the state of one that cannot be read is "damaged"."""
    scores = ("loss", "val_loss", "frechet_distance")
    row = dict.fromkeys(("model", "data", "epoch", "step", *scores))
    row |= {"run": str(run.folder), "state": "damaged"}
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


def table(runs: Iterable[Run]) -> list[tuple[str, ...]]:
    """Returns the header and a row per run as text."""
    rows = [("RUN", "MODEL", "DATA", "EPOCH", "STEP", "LOSS", "VALIDATION", "STATE")]
    for row in map(describe, runs):
        first = (row[key] for key in ("run", "model", "data", "epoch", "step", "loss"))
        rows.append((*map(format_value, first), _validation(row), row["state"]))
    return rows


def _validation(row):
    if row["frechet_distance"] is None:
        return format_value(row["val_loss"])
    return f"{row['frechet_distance']:.4g} (Fréchet)"
