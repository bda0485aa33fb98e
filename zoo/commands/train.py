"""`zoo train NAME`: trains a model and exports it as a SavedModel."""

import signal
import sys

import click

from zoo.commands._console import as_typed, echo
from zoo.commands._options import PathType, complete_model, source
from zoo.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")


@click.command()
@click.argument("name", required=False, shell_complete=complete_model)
@click.option("--data", help="Name or path of a data set (see zoo data --help).")
@source
@click.option("--skip-damaged", is_flag=True, default=None, help="Skip files that cannot be read.")
@click.option(
    "--conditional", is_flag=True, default=None, help="Condition the model on the labels."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a model option (see zoo info). Repeatable.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Number of epochs. With --resume, the new total. It stretches the learning rate schedule,"
    " so the result differs from that of one long run.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Examples per step.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Random seed. Default: 0.")
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
    help="run.json of another run. Its settings are the defaults of this run.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Precision of computations. Default: auto. With --resume: that of the run.",
)
@click.option("--jit/--no-jit", default=None, help="Compile with XLA. Default: only on a GPU.")
@click.option(
    "--deterministic", is_flag=True, help="Make results on a GPU bit-equal. This is slower."
)
@click.option("--dry-run", is_flag=True, help="Run one step of each stage and save nothing.")
def command(name, resume, config, run, settings, dry_run, **arguments):
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
            "A model NAME (see zoo list), --resume RUN (see zoo runs) or --config FILE is required."
        )
    if resume and (run or config):
        other = "--run" if run else "--config"
        raise click.UsageError(f"--resume cannot be combined with {other}. Omit {other}.")
    if resume and dry_run:
        raise click.UsageError("--resume cannot be combined with --dry-run. Omit --dry-run.")
    if name:
        name = registry.find(name).address
    saved = Run(resume).recipe if resume else {"model": name}
    if name and name != saved["model"] and name != registry.find(saved["model"]).address:
        raise InputError(f"{resume} is a run of {saved['model']}. Received: {name!r}")

    from zoo.registry.options import parse_options
    from zoo.runs import training
    from zoo.runs.interrupts import TrainingInterrupted
    from zoo.runs.recipe import read_config

    arguments["command"] = as_typed()
    if settings:
        model = saved["model"] or read_config(config)["model"]
        arguments |= parse_options(registry.load(model), settings)
    arguments = {key: value for key, value in arguments.items() if value is not None}
    try:
        if resume:
            training.resume(resume, **arguments)
        else:
            training.train(name, run=run, config=config, dry_run=dry_run, **arguments)
    except TrainingInterrupted as interrupt:
        echo(str(interrupt))
        sys.exit(130 if interrupt.number == signal.SIGINT else 143)
