"""`zoo evaluate NAME|DIR|RUN`: computes scores of a SavedModel."""

import tempfile

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table
from zoo.commands._pictures import check_suffix, writing_to

SPLITS = ("train", "validation", "test")


class _Command(click.Command):
    """A command whose help lists the metrics."""

    def format_epilog(self, ctx, formatter):
        from zoo.evaluation.metrics import GROUPS

        with formatter.section("Metrics"):
            formatter.write_dl([(group.name, group.summary) for group in GROUPS])


@click.command(cls=_Command)
@_options.saved_model
@click.option(
    "--metrics",
    metavar="NAME,NAME",
    help="Metrics to compute, from the list below. Default: all that are defined for the model.",
)
@_options.data
@_options.source
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    show_default=True,
    help="Split of the data set to evaluate on.",
)
@click.option(
    "-k",
    type=click.IntRange(1),
    help="Number of importance samples per example. Default: 128, for models with importance"
    " weights.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Number of evenly spaced examples used for the likelihood. Default: all.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    help="Number of samples. Default: 10,000, or the number of training images if it is smaller.",
)
@click.option(
    "--features",
    type=_options.PathType(),
    metavar="DIR",
    help="Classifier for feature-based sample metrics. Default: the bundled classifier for the data"
    " set.",
)
@_options.seed
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Examples per batch. Affects speed and memory only.",
)
@_options.output("FILE.json", "Also write the scores to this file.")
def command(name, output, **settings):
    """Compute scores of a SavedModel.

    Each score is stored, with its protocol, in the card.json of the SavedModel. The card of a
    pretrained model is not changed.

    \b
    zoo evaluate pixelcnn
    zoo evaluate runs/20260101-120000-vae-mnist_binary
    zoo evaluate vae --metrics likelihood -k 5000 --limit 500 -o scores.json
    """  # noqa: D301
    from zoo.evaluation.evaluate import evaluate
    from zoo.exports import pretrained

    if output:
        check_suffix(output, ".json")
        with writing_to(output), tempfile.TemporaryFile(dir=output.parent):
            pass
    scores = []
    try:
        evaluate(name, on_score=scores.append, **settings)
    finally:  # scores that were computed before an error are reported
        if scores:
            _report(scores, output)
    if pretrained.is_name(name) and not output:
        echo(f"The card of {name} is read-only. To store the scores, add -o FILE.json.")


def _report(scores, output):
    """Prints a table of scores and writes them to a file if output is given."""
    from zoo import storage
    from zoo.evaluation.scores import table

    print_table(table(scores))
    if output:
        with writing_to(output):
            storage.write_json(output, scores)
