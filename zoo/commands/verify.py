"""`zoo verify NAME|DIR|RUN`: whether a SavedModel keeps what its card says."""

import shlex

import click

from zoo.commands import matching_data, print_table, progress, quiet_tensorflow
from zoo.errors import ArtefactError, InputError


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option("--data", help="Where the data are now. Default: where they were in training.")
@click.option(
    "--features",
    type=click.Path(),
    metavar="DIR",
    help="The classifier that scores of samples are of. Default: that of the data set.",
)
@click.option("--quick", is_flag=True, help="Only scores of few images: seconds, not minutes.")
def command(name, data, features, quick):
    """Compute the scores of a SavedModel anew and compare them with its card.

    The files are compared with their sha256 first. A score may differ by a quarter of its standard
    error, for machines round differently. Speed and scores of other data or of another classifier
    are left out. The exit code is 0 if all others agree, else 3.
    """
    quiet_tensorflow()
    from zoo import saving
    from zoo.commands.evaluate import cells
    from zoo.evaluation.verification import Verifier, agrees, is_quick

    model = saving.load(name)
    splits = matching_data(model, data)
    asked = [s for s in model.card["scores"] if "split" in s["protocol"]]
    table, left_out, wrong = [("METRIC", "CARD", "HERE", "AGREE", "ON")], {}, []
    with progress() as begin:
        verifier = Verifier(model, splits, features, begin)
        for score in filter(is_quick, asked) if quick else asked:
            metric, value, _, on = cells(score)
            try:
                new = verifier(score)
            except InputError as error:
                left_out.setdefault(str(error), []).append(metric)
                continue
            agree = agrees(score, new)
            table.append((metric, value, cells(new)[1], "yes" if agree else "NO", on))
            if not agree:
                wrong.append(metric)
    for error, metrics in left_out.items():
        click.echo(f"Left out {', '.join(metrics)}: {error}", err=True)
    if len(table) == 1:
        few = "of few images " if quick else ""
        raise InputError(
            f"Expected scores {few}in the card of {name} that can be computed here: zoo evaluate"
            f" {shlex.quote(str(model.folder))}"
        )
    print_table(table)
    if wrong:
        raise ArtefactError(f"{name} does not keep what its card says of {', '.join(wrong)}.")
    n = len(table) - 1
    click.echo(f"{name} keeps what its card says: the files, and {n} score{'s' * (n > 1)}.")
