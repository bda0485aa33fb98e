"""`zoo reconstruct NAME|DIR|RUN`: test images, and what a model gives back of them."""

from pathlib import Path

import click

from zoo.commands import matching_data, quiet_tensorflow
from zoo.commands.sample import free_name, in_parts, placed, title
from zoo.errors import InputError

COLUMNS = 16


def of_test_images(number, what):
    """Gives a command the arguments of one that shows test images.

    They are name, number, output, and the rest of those of `matching_data`.

    Args:
      number: int, the default of -n.
      what: str, of which -n is the number.
    """
    options = (
        click.argument("name", metavar="NAME|DIR|RUN", type=click.Path()),
        click.option("--data", help="Name or path of a data set. Default: what it was trained on."),
        click.option(
            "--size", type=click.IntRange(1, 4096), help="Resize the images to SIZE x SIZE."
        ),
        click.option(
            "--binarize", is_flag=True, default=None, help="Draw grey images as binary ones."
        ),
        click.option(
            "-n", "number", type=click.IntRange(1), default=number, show_default=True, help=what
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            metavar="FILE.png|FILE.npz",
            help="The picture, or the numbers. Default: a new .png here.",
        ),
    )

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command()
@of_test_images(COLUMNS, "Images.")
def command(name, number, output, **source):
    """Draw test images, and under them what a model gives back of each.

    That is the mean of what it would draw for the code of the image, so it may be blurred.

    \b
    zoo reconstruct runs/20260101-120000-vae-mnist_binary
    zoo reconstruct runs/20260101-120000-vae-mnist_binary -n 64 -o digits.png
    """  # noqa: D301
    output = place_for(output, "reconstructions")
    quiet_tensorflow()
    import numpy as np

    model = load_able(name, "reconstruct", ["reconstruct"], "it gives back no images")
    test = matching_data(model, **source)[2]
    x, labels = test.take(number, model.card["num_classes"] > 0)
    means = in_parts(lambda _, *part: model.reconstruct(*part), x, labels)

    columns = min(len(x), COLUMNS)
    blank = np.ones((-len(x) % columns, *test.shape), np.float32)
    rows = [np.concatenate([a, blank]).reshape(-1, columns, *test.shape) for a in (x, means)]
    picture = np.stack(rows, axis=1).reshape(-1, *test.shape)
    what = f"{len(x)} reconstructions (means) of {title(model)}, of test images of {test.name}"
    legend = "below each row of images, theirs"
    arrays = {"images": x, "reconstructions": means, "labels": labels}
    write(output, what, picture, columns, legend, arrays)


def place_for(output, stem):
    """Returns where to write to: what was asked for, or the first free name.

    Raises:
      InputError: if it is neither a picture nor numbers.
    """
    output = output or free_name(stem)
    if output.suffix not in (".png", ".npz"):
        raise InputError(f"Expected FILE.png or FILE.npz for -o. Received: {output}")
    return output


def load_able(name, verb, needs, why_not):
    """Loads a SavedModel.

    Raises:
      InputError: if it has not all methods that the verb needs.
    """
    from zoo import saving

    model = saving.load(name)
    can = model.card["can"]
    if not set(needs) <= set(can):
        raise InputError(
            f"zoo {verb} is not defined for {model.name}, because {why_not}:"
            f" it can {', '.join(can)}."
        )
    return model


def write(output, what, picture, columns, legend, arrays):
    """Writes a picture or numbers, and says so in a line.

    Args:
      output: Path, as of `place_for`.
      what: str, for people.
      picture: float32 [n, *shape], in rows of so many columns.
      columns: int.
      legend: str; what a row shows.
      arrays: dict, the numbers; those that are None are left out.
    """
    import numpy as np

    from zoo import images

    with placed(output):
        if output.suffix == ".png":
            images.save_grid(output, picture, columns=columns)
        else:
            kept = {key: array for key, array in arrays.items() if array is not None}
            np.savez_compressed(output, **kept)
            legend = ", ".join(kept)
    click.echo(f"Wrote {what}, to {output}: {legend}")
