"""`zoo reconstruct NAME|DIR|RUN`: test images and their reconstructions."""

import click

from zoo.commands import _options
from zoo.commands._pictures import (
    condition_key,
    in_batches,
    load_capable,
    picture_path,
    title,
    write_picture,
)

COLUMNS = 16


@click.command()
@_options.test_images(COLUMNS, "Number of images.")
@_options.picture
def command(name, number, output, **source):
    """Plot test images and their reconstructions.

    A reconstruction is the mean of the images for the latent code, so it can be blurred.

    \b
    zoo reconstruct runs/20260101-120000-vae-mnist_binary
    zoo reconstruct runs/20260101-120000-vae-mnist_binary -n 64 -o digits.png
    """  # noqa: D301
    output = picture_path(output, "reconstructions")
    import numpy as np

    from zoo.evaluation.inputs import load_matching_data

    model = load_capable(name, "reconstruct", ["reconstruct"], "it does not reconstruct images")
    test = load_matching_data(model, **source)[2]
    x, condition = test.take(number, model.condition is not None)
    means = in_batches(lambda _, *part: model.reconstruct(*part), x, condition)

    columns = min(len(x), COLUMNS)
    blank = np.ones((-len(x) % columns, *test.shape), np.float32)
    rows = [np.concatenate([a, blank]).reshape(-1, columns, *test.shape) for a in (x, means)]
    picture = np.stack(rows, axis=1).reshape(-1, *test.shape)
    what = f"{len(x)} reconstructions (means) by {title(model)}, of test images of {test.name}"
    legend = "each row of images is followed by the row of their reconstructions"
    arrays = {"images": x, "reconstructions": means, condition_key(model): condition}
    write_picture(output, what, picture, columns, legend, arrays)
