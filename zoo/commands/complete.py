"""`zoo complete NAME|DIR|RUN`: test images with a part hidden, which a model draws anew."""

import click

from zoo.commands import matching_data, quiet_tensorflow
from zoo.commands.reconstruct import load_able, of_test_images, place_for, write
from zoo.commands.sample import in_parts, title

HALVES = ("top", "bottom", "left", "right")
HIDDEN = 0.5  # the grey that is shown where nothing is known


@click.command()
@of_test_images(8, "Images, a row each.")
@click.option(
    "--keep",
    type=click.Choice(HALVES),
    default="top",
    show_default=True,
    help="The half that the model is given.",
)
@click.option(
    "--times", type=click.IntRange(1), default=6, show_default=True, help="Completions in a row."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
def command(name, number, keep, times, seed, output, **source):
    """Hide a half of test images and let a model draw it anew.

    A row shows the image, the half that was kept, and what the model draws for the rest: in raster
    order, so what is drawn does not know of what is kept below it, or right of it in its row.

    \b
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist --keep left -o digits.png
    """  # noqa: D301
    output = place_for(output, "completions")
    quiet_tensorflow()
    import numpy as np

    why_not = "it cannot draw a part of an image given what is before it"
    model = load_able(name, "complete", ["complete"], why_not)
    test = matching_data(model, **source)[2]
    x, labels = test.take(number, model.card["num_classes"] > 0)
    mask = np.broadcast_to(known(keep, test.shape), x.shape)

    def draw(first, *part):
        return model.complete(*part[:2], seed, part[2], first)

    repeated = (a if a is None else a.repeat(times, axis=0) for a in (x * mask, mask, labels))
    drawn = in_parts(draw, *repeated).reshape(len(x), times, *test.shape)

    kept = np.where(mask > 0, x, np.float32(HIDDEN))
    picture = np.concatenate([x[:, None], kept[:, None], drawn], axis=1)
    what = (
        f"{times} completions of {title(model)}, for each of {len(x)} test images of {test.name},"
        f" seed {seed}"
    )
    legend = f"a row is the image, its {keep} half, the completions"
    arrays = {"images": x, "mask": mask, "completions": drawn, "labels": labels}
    write(output, what, picture.reshape(-1, *test.shape), 2 + times, legend, arrays)


def known(keep, shape):
    """Returns float32 of shape (height, width, channels), 1 in the half that is kept, else 0."""
    import numpy as np

    height, width, _ = shape
    half = {
        "top": np.s_[: -(-height // 2)],
        "bottom": np.s_[height // 2 :],
        "left": np.s_[:, : -(-width // 2)],
        "right": np.s_[:, width // 2 :],
    }
    mask = np.zeros(shape, np.float32)
    mask[half[keep]] = 1.0
    return mask
