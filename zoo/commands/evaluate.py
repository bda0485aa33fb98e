"""`zoo evaluate NAME|DIR|RUN`: how good a SavedModel is, each score with its protocol."""

import math
import shlex
import tempfile
from pathlib import Path

import click

from zoo.commands import matching_data, print_table, progress, quiet_tensorflow
from zoo.commands.sample import placed
from zoo.errors import InputError, UndefinedError

METRICS = ("likelihood", "samples", "reconstructions", "speed")
SPLITS = ("train", "validation", "test")
WEIGHTS = 128
UNITS = {"likelihood": "nats", "psnr": "dB", "ms_per_image": "ms"}


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option(
    "--metrics", help=f"Some of {','.join(METRICS)}, with commas. Default: all that are defined."
)
@click.option("--data", help="Name or path of a data set. Default: what it was trained on.")
@click.option("--size", type=click.IntRange(1, 4096), help="Resize the images to SIZE x SIZE.")
@click.option("--binarize", is_flag=True, default=None, help="Draw grey images as binary ones.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option(
    "-k",
    type=click.IntRange(1),
    help=f"Importance weights an image, where the model has them. Default: {WEIGHTS}.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="So many images for the likelihood, evenly spaced. Default: all.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    help="So many samples. Default: 10,000, or as many as training images where these are fewer.",
)
@click.option(
    "--features",
    type=click.Path(),
    metavar="DIR",
    help="The classifier whose features samples are compared by. Default: that of the data set.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the scores there too, not into the card of the model alone.",
)
def command(name, metrics, data, size, binarize, samples, features, output, **settings):
    """Score a SavedModel.

    \b
    likelihood       of images; elbo, iw_bound or lower_bound where a model has bounds alone
    samples          their distance from images, by the features of a classifier
    reconstructions  PSNR and SSIM
    speed            of drawing

    Every score is kept, with its protocol, in the card.json of the run or folder.

    \b
    zoo evaluate pixelcnn
    zoo evaluate runs/20260101-120000-vae-mnist_binary
    zoo evaluate vae --metrics likelihood -k 5000 --limit 500 -o scores.json
    """  # noqa: D301
    if output and (output.suffix != ".json" or output.is_dir()):
        raise InputError(f"Expected FILE.json for -o. Received: {output}")
    asked = METRICS
    if metrics is not None:
        asked = [*dict.fromkeys(metric.strip() for metric in metrics.split(","))]
    if unknown := [metric for metric in asked if metric not in METRICS]:
        raise InputError(f"Expected --metrics of {', '.join(METRICS)}. Received: {unknown[0]!r}")
    quiet_tensorflow()
    from zoo import datasets, saving
    from zoo.evaluation.features import Extractor
    from zoo.evaluation.samples import check_count

    # What can be refused is, before anything takes its time.
    if output:
        with placed(output), tempfile.TemporaryFile(dir=output.parent):
            pass
    model = saving.load(name)
    if settings["limit"] and ("likelihood" not in asked or "log_prob" not in model.card["can"]):
        raise InputError("--limit is for a likelihood, of which there is none: leave it out.")
    extractor = Extractor(features) if features else None
    splits = None
    if {*asked} != {"speed"}:
        splits = matching_data(model, data, size, binarize)
        click.echo(datasets.describe(splits))
        if samples:
            check_count(samples, splits[0])
    click.echo(f"{model.name}: {model.card['parameters']:,} parameters")
    scores, undefined = [], []
    try:
        with progress() as begin:
            for metric in asked:
                try:
                    found = _scores(
                        metric, model, splits, begin(metric), extractor, samples, **settings
                    )
                    for score in found:
                        scores.append(score)
                        if not saving.is_name(name):
                            _keep(model, score)
                except UndefinedError as error:
                    if metrics:
                        raise
                    undefined.append(str(error))
    finally:  # what was found stays, whatever goes wrong after it
        if scores:
            _tell(scores, output)
    for reason in undefined:
        click.echo(reason)
    if not scores:
        raise UndefinedError(f"No score is defined. {undefined[0]}")
    if saving.is_name(name) and not output:
        click.echo(f"The card of {name} stays as it came; -o FILE.json keeps these scores.")


def cells(score):
    """Writes a score for people: what it is, its value, that of real images, and on what."""
    from zoo.evaluation.comparison import quantity

    metric, protocol = score["metric"], score["protocol"]
    for key in ("k", "n"):
        if protocol.get(key, 1) > 1:
            metric += f", {key}={protocol[key]:,}"
    value = _written(score["value"], score["standard_error"])
    if unit := UNITS.get(quantity(score)):
        value += f" {unit}"
    if score.get("bits_per_dim"):
        value += f" ({score['bits_per_dim']:.3f} bits/dim)"
    on = protocol.get("device", "")
    if "split" in protocol:
        on = f"{protocol['count']:,} {protocol['split']} images of {protocol['dataset']}"
    if "samples" in protocol:
        on = f"{protocol['samples']:,} samples, {on}"
    if score.get("minus_infinity"):
        value, on = "-inf nats", f"{on}, -inf for {score['minus_infinity']:,} of them"
    return metric, value, _written(*score["real"]) if "real" in score else "", on


def _written(value, error):
    """Writes a number to the digits that its standard error leaves, and the error."""
    if value is None:
        return "not finite"
    digits = 2 if not error else min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f}" + ("" if error is None else f" +- {error:.{digits}f}")


def _scores(metric, model, splits, begin, extractor, samples, split, k, limit, seed, batch_size):
    """Yields the scores of a metric; raises UndefinedError if the model has none."""
    from zoo.evaluation import features
    from zoo.evaluation.likelihood import log_likelihood
    from zoo.evaluation.reconstruction import score_reconstructions
    from zoo.evaluation.samples import score_samples
    from zoo.evaluation.speed import score_speed

    if metric == "speed":
        yield from score_speed(model)
        return
    train, on = splits[0], splits[SPLITS.index(split)]
    if metric == "likelihood":
        weighted = model.card["log_prob_kind"] == "importance_weight"
        numbers = [1, k or WEIGHTS] if weighted and k != 1 else [k or 1]
        for n in numbers:
            yield log_likelihood(model, on, seed, batch_size, limit, n, begin)
    elif metric == "reconstructions":
        yield from score_reconstructions(model, on, batch_size, begin)
    elif extractor or (folder := features.find(on)):
        extractor = extractor or features.Extractor(folder)
        yield from score_samples(model, train, on, extractor, samples, seed, batch_size, begin)
    else:
        advice = "it has no labels to train one"
        if on.num_classes > 1:
            size = f" --size {on.source['size']}" if on.source["size"] else ""
            data = shlex.quote(on.source["name"])
            advice = f"zoo features train {data}{size}, then --features DIR"
        raise UndefinedError(
            f"Samples of {model.name} are not compared, because there is no classifier for"
            f" {on.name}: {advice}."
        )


def _keep(model, score):
    """Puts a score into the card of a model, or says that it cannot be written."""
    from zoo import saving

    try:
        saving.add_score(model.folder, score)
    except OSError as error:
        click.echo(f"Not kept in {model.folder / saving.CARD}: {error.strerror}.", err=True)


def _tell(scores, output):
    """Prints a table of scores, and writes them to a file."""
    from zoo import checkpoints

    table = [("METRIC", "VALUE", "REAL", "ON"), *map(cells, scores)]
    if not any(real for _, _, real, _ in table[1:]):
        table = [(metric, value, on) for metric, value, _, on in table]
    print_table(table)
    if output:
        with placed(output):
            checkpoints.write_json(output, scores)
