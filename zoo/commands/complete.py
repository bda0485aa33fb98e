"""`zoo complete NAME|DIR|RUN`: test images of which a model generates one half."""

import click

from zoo.commands import _options
from zoo.commands._pictures import in_batches, load_capable, picture_path, title, write_picture

HALVES = ("top", "bottom", "left", "right")
HIDDEN = 0.5  # the grey of pixels that the model is not given


@click.command()
@_options.test_images(8, "Number of images. Each is a row.")
@click.option(
    "--keep",
    type=click.Choice(HALVES),
    default="top",
    show_default=True,
    help="The half that the model is given.",
)
@click.option(
    "--times", type=click.IntRange(1), default=6, show_default=True, help="Completions per row."
)
@_options.seed
def command(name, number, keep, times, seed, output, **source):
    """Generate one half of test images, given the other half.

    A row shows the image, the half that is kept, and completions. Pixels are generated in raster
    order, so kept pixels below, or to the right in the same row, are ignored.

    \b
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist --keep left -o digits.png
    """  # noqa: D301
    output = picture_path(output, "completions")
    import numpy as np

    from zoo.evaluation.inputs import load_matching_data

    reason = "it cannot generate a part of an image given the rest"
    model = load_capable(name, "complete", ["complete"], reason)
    test = load_matching_data(model, **source)[2]
    x, labels = test.take(number, model.card["num_classes"] > 0)
    mask = np.broadcast_to(keep_mask(keep, test.shape), x.shape)

    def draw(first, *part):
        return model.complete(*part[:2], seed, part[2], first)

    repeated = (a if a is None else a.repeat(times, axis=0) for a in (x * mask, mask, labels))
    completions = in_batches(draw, *repeated).reshape(len(x), times, *test.shape)

    kept = np.where(mask > 0, x, np.float32(HIDDEN))
    picture = np.concatenate([x[:, None], kept[:, None], completions], axis=1)
    what = (
        f"{times} completions by {title(model)}, for each of {len(x)} test images of {test.name},"
        f" seed {seed}"
    )
    legend = f"each row shows the image, its {keep} half and the completions"
    arrays = {"images": x, "mask": mask, "completions": completions, "labels": labels}
    write_picture(output, what, picture.reshape(-1, *test.shape), 2 + times, legend, arrays)


def keep_mask(keep, shape):
    """Returns a mask, float32 [height, width, channels]: 1 in the half that is kept, else 0."""
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
