"""`zoo export RUN [DIR]`: the SavedModel of a run."""

import click

from zoo.commands import as_argument, quiet_tensorflow


@click.command()
@click.argument("run", type=click.Path())
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path())
@click.option("--half", is_flag=True, help="Store the weights as float16, in half the space.")
def command(run, folder, half):
    """Export the best checkpoint of a run as a SavedModel.

    DIR must not exist yet; without it the SavedModel goes into the run, as at the end of training.
    """
    from zoo.runs import read_run

    recipe = read_run(run)["recipe"]
    quiet_tensorflow()
    from zoo import registry, training
    from zoo.saving import read_card

    model = registry.create(recipe["model"], **recipe["options"])
    with training.locked(run):
        exported = training.export_run(model, run, folder, half)
    step = read_card(exported)["step"]
    click.echo(
        f"Wrote {exported}, of step {step:,}. Draw from it with: zoo sample {as_argument(exported)}"
    )
