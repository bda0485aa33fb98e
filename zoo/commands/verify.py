"""`zoo verify NAME|DIR|RUN`: verifies the files of a SavedModel and recomputes its scores."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table
from zoo.errors import ArtefactError, InputError


@click.command()
@_options.saved_model
@click.option("--data", help="Name or path of the data set. Default: the path in the card.")
@click.option(
    "--features",
    type=_options.PathType(),
    metavar="DIR",
    help="Classifier for feature-based sample metrics. Default: the bundled classifier for the data"
    " set.",
)
@click.option("--quick", is_flag=True, help="Recompute only scores that take seconds.")
def command(name, trust, data, features, quick):
    """Verify the files and the scores of a SavedModel.

    Files are compared with the checksums in the card, and scores are recomputed. A score may differ
    by a quarter of its standard error, to allow for rounding differences between machines. Scores
    of speed, for other data or with another classifier are skipped. The exit code is 3 if a file or
    a score does not match.
    """
    from zoo.evaluation.scores import format_score
    from zoo.evaluation.verification import verify

    checks = verify(name, data, features=features, quick=quick, trust=trust)
    table, skipped, different = [("METRIC", "CARD", "HERE", "AGREE", "ON")], {}, []
    for check in checks:
        metric, value, _, protocol = format_score(check.score)
        if check.new is None:
            skipped.setdefault(check.reason, []).append(metric)
            continue
        agree = "yes" if check.agrees else "NO"
        table.append((metric, value, format_score(check.new)[1], agree, protocol))
        if not check.agrees:
            different.append(metric)
    for reason, metrics in skipped.items():
        echo(f"Not verified: {', '.join(metrics)}. {reason}", err=True)
    if len(table) == 1:
        raise InputError(f"No score in the card of {name} can be recomputed here.")
    print_table(table)
    if different:
        raise ArtefactError(f"{name} does not match its card. Different: {', '.join(different)}.")
    count = len(table) - 1
    echo(f"{name} verified: all files and {count} score{'s' * (count > 1)} match.")
