"""`zoo sample NAME|DIR|RUN`: images from a SavedModel."""

import contextlib
import itertools
from pathlib import Path

import click

from zoo.commands import quiet_tensorflow
from zoo.errors import InputError


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN", type=click.Path())
@click.option("-n", "num_samples", type=click.IntRange(1), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--label", help="Class to draw, as its number or name. Default: all in turn.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png|FILE.npz|DIR",
    help="A grid, the numbers, or a picture an image. Default: samples.png, samples-2.png, …",
)
def command(name, num_samples, seed, label, output):
    """Draw images from a SavedModel.

    It may be named by a pretrained model, the folder of an export, or a finished run.

    \b
    zoo sample runs/20260101-120000-vae-mnist_binary
    zoo sample runs/20260101-120000-vae-mnist_binary -n 16 -o digits.png
    """  # noqa: D301
    output = output or _free_name()
    if not output.suffix and output.is_dir() and any(output.iterdir()):
        raise InputError(f"Expected a new or empty folder for -o. Received: {output}")
    if output.suffix not in ("", ".png", ".npz"):
        raise InputError(f"Expected FILE.png, FILE.npz or a folder for -o. Received: {output}")
    quiet_tensorflow()
    import numpy as np

    from zoo import images, saving

    model = saving.load(name)
    labels = _labels(model.card, label, num_samples)
    drawn = draw(model, num_samples, seed, labels)
    with placed(output):
        if output.suffix == ".npz":
            arrays = {"images": drawn} if labels is None else {"images": drawn, "labels": labels}
            np.savez_compressed(output, **arrays)
        elif output.suffix:
            images.save_grid(output, drawn, model.card["num_classes"] if label is None else 0)
        else:
            images.save_images(output, drawn)
    step = f", step {model.card['step']:,}" if "step" in model.card else ""
    click.echo(f"Wrote {num_samples} samples of {model.name}{step}, seed {seed}, to {output}")


@contextlib.contextmanager
def placed(output):
    """Makes the parent of what is written here, and tells in one line if it cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"Expected a place that can be written for -o. Received: {error}"
        ) from None


def _free_name():
    """Returns the first of samples.png, samples-2.png, … that is not there."""
    names = itertools.chain(["samples.png"], (f"samples-{k}.png" for k in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def draw(model, num_samples, seed, labels=None, batch_size=256):
    """Draws samples in parts, so that memory does not grow with the network's activations."""
    import numpy as np

    parts = []
    for first in range(0, num_samples, batch_size):
        part = None if labels is None else labels[first : first + batch_size]
        n = min(batch_size, num_samples - first)
        parts.append(model.sample(n, seed, part, first).numpy())
    return np.concatenate(parts)


def _labels(card, label, n):
    """Returns int32 [n] for a conditional model, else None."""
    import numpy as np

    classes = card["num_classes"]
    names = card.get("recipe", {}).get("data", {}).get("class_names", [])
    if not classes:
        if label is not None:
            raise InputError("This model was trained without labels: leave out --label.")
        return None
    if label is None:
        return np.arange(n, dtype=np.int32) % classes
    if label in names:
        return np.full(n, names.index(label), np.int32)
    if label.isdecimal() and int(label) < classes:
        return np.full(n, int(label), np.int32)
    known = f" ({', '.join(names)})" if names else ""
    raise InputError(f"Expected a label of 0 to {classes - 1}{known}. Received: {label!r}")
