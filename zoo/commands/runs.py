"""`zoo runs`: what has been trained here."""

import click

from zoo.commands import print_table


@click.command()
@click.argument("folder", default="runs", type=click.Path(file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder, as_json):
    """List the runs in FOLDER (default: runs), the newest last."""
    import json
    from pathlib import Path

    found = [_describe(path.parent) for path in sorted(Path(folder).glob("*/run.json"))]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo(f"No runs in {folder}. Start one with: zoo train NAME", err=True)
    else:
        head = ("RUN", "MODEL", "DATA", "EPOCH", "STEP", "LOSS", "VALIDATION", "STATE")
        keys = ("run", "model", "data", "epoch", "step", "loss")
        rows = (
            [*(_text(run[key]) for key in keys), _validation(run), run["state"]] for run in found
        )
        print_table([head, *rows])


def _describe(run):
    """Reads a run's files; a damaged one is listed as such."""
    from zoo import checkpoints
    from zoo.errors import ZooError
    from zoo.runs import is_running, read_metrics, read_run

    scores = ("loss", "val_loss", "frechet_distance")
    row = dict.fromkeys(("model", "data", "epoch", "step", *scores))
    row |= {"run": str(run), "state": "damaged"}
    try:
        recipe = read_run(run)["recipe"]
        log = read_metrics(run) or [{"epoch": 0}]
    except ZooError:
        return row
    last = log[-1]
    looks = [line["frechet_distance"] for line in log if "frechet_distance" in line]
    done = last["epoch"] == recipe["epochs"] and (run / "saved_model" / "card.json").exists()
    state = "running" if is_running(run) else "finished" if done else "resumable"
    steps = [name.removeprefix("step-") for name in checkpoints.sealed(run / "checkpoints")]
    return row | {
        "model": recipe["model"],
        "data": recipe["data"]["name"],
        "epoch": f"{last['epoch']}/{recipe['epochs']}",
        "step": max((int(step) for step in steps if step.isdecimal()), default=None),
        "loss": last.get("loss"),
        "val_loss": last.get("val_loss"),
        "frechet_distance": looks[-1] if looks else None,
        "state": state,
    }


def _validation(run):
    if run["frechet_distance"] is None:
        return _text(run["val_loss"])
    return f"{run['frechet_distance']:.4g} (Fréchet)"


def _text(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
