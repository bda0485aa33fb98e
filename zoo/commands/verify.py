"""`zoo verify NAME|DIR|RUN`: whether a SavedModel keeps what its card says."""

import shlex

import click

from zoo.commands import matching_data, print_table, quiet_tensorflow
from zoo.errors import ArtefactError, InputError


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option("--quick", is_flag=True, help="Only scores of few images: seconds, not minutes.")
def command(name, quick):
    """Compute the scores of a SavedModel anew and compare them with its card.

    The files are compared with their sha256 first. A score may differ by a quarter of its standard
    error, for machines round differently. Speed and scores on other data are left out. The exit
    code is 0 if all others agree, else 3.
    """
    quiet_tensorflow()
    from zoo import saving
    from zoo.commands.evaluate import cells
    from zoo.evaluation.verification import Verifier, agrees, is_quick

    model = saving.load(name)
    splits = matching_data(model)
    verifier = Verifier(model, splits)
    table, wrong = [("METRIC", "CARD", "HERE", "AGREE", "ON")], []
    for score in model.card["scores"]:
        protocol = score["protocol"]
        if "split" not in protocol or (quick and not is_quick(score)):
            continue
        metric, value, _, on = cells(score)
        try:
            new = verifier(score)
        except InputError as error:
            click.echo(f"Left out: {error}", err=True)
            continue
        agree = agrees(score, new)
        table.append((metric, value, cells(new)[1], "yes" if agree else "NO", on))
        if not agree:
            wrong.append(metric)
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
