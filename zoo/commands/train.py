"""`zoo train NAME`: from a name to a SavedModel."""

import signal
import sys

import click

from zoo.commands._console import as_typed, echo
from zoo.commands._options import PathType, complete_model, source
from zoo.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")


@click.command()
@click.argument("name", required=False, shell_complete=complete_model)
@click.option("--data", help="Name of a data set (zoo data), or path: zoo data --help.")
@source
@click.option(
    "--skip-damaged", is_flag=True, default=None, help="Leave out files that cannot be read."
)
@click.option(
    "--conditional", is_flag=True, default=None, help="Train with the labels of the data."
)
@click.option("--set", "settings", multiple=True, metavar="K=V", help="A model option: zoo info.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Passes over the training data. With --resume, the new total: a learning rate schedule is"
    " stretched, so the result is not that of one long run.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Examples per step.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Default: 0.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Stop after this many epochs without a better val_loss (or frechet_distance).",
)
@click.option(
    "--run",
    metavar="DIR",
    type=PathType(),
    help="Folder of the run. Default: runs/TIME-NAME-DATA.",
)
@click.option(
    "--resume", metavar="RUN", type=PathType(), help="Resume RUN with its original settings."
)
@click.option(
    "--config",
    metavar="FILE",
    type=PathType(),
    help="Take the settings that are not given from the run.json of another run.",
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="Default: auto; with --resume, as before."
)
@click.option("--jit/--no-jit", default=None, help="Compile with XLA. Default: on a GPU.")
@click.option("--deterministic", is_flag=True, help="Bit-equal results on a GPU too, but slower.")
@click.option("--dry-run", is_flag=True, help="Do one step of everything, keep nothing.")
def command(name, resume, config, run, settings, dry_run, **given):
    """Train a model and export it as a SavedModel.

    \b
    zoo train vae
    zoo train vae --data ./photos --size 32 --set latent_dim=64
    zoo train --resume runs/20260101-120000-vae-mnist_binary
    zoo train --config runs/20260101-120000-vae-mnist_binary/run.json --seed 1

    Ctrl-C saves a checkpoint and prints the resume command.
    """  # noqa: D301
    from zoo import registry
    from zoo.runs.folder import Run

    if name is None and resume is None and config is None:
        raise click.UsageError(
            "Give the NAME of a model (zoo list), --resume RUN (zoo runs), or --config FILE."
        )
    if resume and (run or config):
        other = "--run" if run else "--config"
        raise click.UsageError(f"--resume RUN names the folder and settings: leave out {other}.")
    if resume and dry_run:
        raise click.UsageError("--dry-run keeps nothing, so it has nothing to --resume.")
    if name:
        name = registry.find(name).address
    saved = Run(resume).recipe if resume else {"model": name}
    if name and name != saved["model"]:
        raise InputError(f"{resume} is a run of {saved['model']}. Received: {name!r}")

    from zoo.registry.options import parse_options
    from zoo.runs import training
    from zoo.runs.interrupts import TrainingInterrupted
    from zoo.runs.recipe import read_config

    given["command"] = as_typed()
    if settings:
        model = saved["model"] or read_config(config)["model"]
        given |= parse_options(registry.load(model), settings)
    given = {key: value for key, value in given.items() if value is not None}
    try:
        if resume:
            training.resume(resume, **given)
        else:
            training.train(name, run=run, config=config, dry_run=dry_run, **given)
    except TrainingInterrupted as stopped:
        echo(str(stopped))
        sys.exit(130 if stopped.number == signal.SIGINT else 143)
