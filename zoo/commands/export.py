"""`zoo export RUN [DIR]`: exports the SavedModel of a run."""

import click

from zoo.commands._console import echo
from zoo.commands._options import PathType


@click.command()
@click.argument("run", type=PathType())
@click.argument("folder", required=False, metavar="[DIR]", type=PathType())
@click.option("--half", is_flag=True, help="Store the weights as float16, which halves the size.")
def command(run, folder, half):
    """Export the best checkpoint of a run as a SavedModel.

    DIR must not exist. By default, the SavedModel is written into the folder of the run.
    """
    from zoo.exports.cards import read_card
    from zoo.runs.folder import Run, as_argument

    exported = Run(run).export(folder, half)
    step = read_card(exported)["step"]
    echo(f"Wrote {exported} at step {step:,}. Sample it with: zoo sample {as_argument(exported)}")
