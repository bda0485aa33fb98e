"""`zoo verify NAME|DIR|RUN`: whether a SavedModel keeps what its card says."""

import click

from zoo.commands import matching_data, print_table, quiet_tensorflow
from zoo.errors import ArtefactError, InputError


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option("--quick", is_flag=True, help="Only scores of few images: seconds, not minutes.")
def command(name, quick):
    """Compute the scores of a SavedModel anew and compare them with its card.

    The files are compared with their sha256 first. A score may differ by a quarter of its standard
    error, for machines round differently. The exit code is 0 if all agree, else 3.
    """
    quiet_tensorflow()
    from zoo import saving
    from zoo.commands.evaluate import cells
    from zoo.evaluation.verification import again, agrees, is_quick

    model = saving.load(name)
    splits = matching_data(model)
    scores = [
        score
        for score in model.card["scores"]
        if score["protocol"].get("dataset") == splits[0].name and (is_quick(score) or not quick)
    ]
    if not scores:
        few = "of few images " if quick else ""
        raise InputError(f"Expected scores {few}in the card of {name}: zoo evaluate {name}")
    table, wrong = [("METRIC", "CARD", "HERE", "AGREE", "ON")], []
    for score, new in again(model, scores, splits):
        metric, value, _, on = cells(score)
        agree = agrees(score, new)
        table.append((metric, value, cells(new)[1], "yes" if agree else "NO", on))
        if not agree:
            wrong.append(metric)
    print_table(table)
    if wrong:
        raise ArtefactError(f"{name} does not keep what its card says of {', '.join(wrong)}.")
    click.echo(f"{name} keeps what its card says: {len(scores)} scores, and the files.")
