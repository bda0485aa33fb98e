"""`zoo reconstruct NAME|DIR|RUN`: test images and their reconstructions."""

import click

from zoo.commands import _options
from zoo.commands._pictures import (
    condition_key,
    first_indices,
    in_batches,
    load_capable,
    picture_path,
    write_picture,
)


@click.command()
@_options.test_images(16, "Number of images.")
@_options.picture
def command(name, trust, number, output, **source):
    """Plot test images and their reconstructions.

    A reconstruction is the mean of the images for the latent code, so it can be blurred.

    \b
    zoo reconstruct runs/20260101-120000-vae-mnist_binary
    zoo reconstruct runs/20260101-120000-vae-mnist_binary -n 64 -o digits.png
    """  # noqa: D301
    output = picture_path(output, "reconstructions")
    from zoo import render
    from zoo.evaluation.inputs import load_matching_data

    reason = "it does not reconstruct images"
    model = load_capable(name, trust, "reconstruct", ["reconstruct"], reason)
    test = load_matching_data(model, **source)[2]
    x, condition = test.take(number, model.condition is not None)
    means = in_batches(lambda _, *part: model.reconstruct(*part), x, condition)

    write_picture(
        output,
        model,
        f"{len(x)} reconstructions (means)",
        f"of test images of {test.name}",
        render.stacked({"image": x, "reconstruction": means}),
        {"images": x, "reconstructions": means, condition_key(model): condition},
        data=test.name,
        index=first_indices(len(x)),
    )
