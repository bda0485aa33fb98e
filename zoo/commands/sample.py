"""`zoo sample NAME|DIR|RUN`: images from a SavedModel."""

import contextlib
import itertools
from pathlib import Path

import click

from zoo.commands import quiet_tensorflow
from zoo.errors import InputError

BATCH_SIZE = 256


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
    output = output or free_name("samples")
    if not output.suffix and output.is_dir() and any(output.iterdir()):
        raise InputError(f"Expected a new or empty folder for -o. Received: {output}")
    if output.suffix not in ("", ".png", ".npz"):
        raise InputError(f"Expected FILE.png, FILE.npz or a folder for -o. Received: {output}")
    quiet_tensorflow()
    import numpy as np

    from zoo import images, saving

    model = saving.load(name)
    labels = labels_of(model, num_samples, label)
    drawn = draw(model, num_samples, seed, labels)
    with placed(output):
        if output.suffix == ".npz":
            arrays = {"images": drawn} if labels is None else {"images": drawn, "labels": labels}
            np.savez_compressed(output, **arrays)
        elif output.suffix:
            images.save_grid(output, drawn, model.card["num_classes"] if label is None else 0)
        else:
            images.save_images(output, drawn)
    click.echo(f"Wrote {num_samples} samples of {title(model)}, seed {seed}, to {output}")


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


def free_name(stem):
    """Returns the first of stem.png, stem-2.png, … that is not there."""
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{k}.png" for k in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def title(model):
    """Says which model, and how far it is trained: "vae, step 1,000"."""
    return f"{model.name}, step {model.card['step']:,}" if "step" in model.card else model.name


def draw(model, num_samples, seed, labels=None):
    """Draws samples in parts."""
    import numpy as np

    def sample(first, k, labels):
        return model.sample(len(k), seed, labels, first)

    return in_parts(sample, np.arange(num_samples), labels)


def in_parts(function, *arrays):
    """Applies a function in parts, so that memory does not grow with the network's activations.

    Args:
      function: of (first, *parts), with the index of the first example of the parts of arrays.
      *arrays: [n, …] each, or None, which stays None.

    Returns:
      [n, …] array.
    """
    import numpy as np

    results = []
    for first in range(0, len(arrays[0]), BATCH_SIZE):
        parts = (a if a is None else a[first : first + BATCH_SIZE] for a in arrays)
        results.append(np.asarray(function(first, *parts)))
    return np.concatenate(results)


def labels_of(model, n, label=None):
    """Returns int32 [n] for a conditional model, of one label or of all in turn; else None."""
    import numpy as np

    classes = model.card["num_classes"]
    names = model.trained_on.get("class_names", [])
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
