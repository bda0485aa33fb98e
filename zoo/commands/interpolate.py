"""`zoo interpolate NAME|DIR|RUN`: interpolations between the latents of test images."""

import operator

import click

from zoo.commands import _options
from zoo.commands._pictures import in_batches, load_capable, picture_path, title, write_picture
from zoo.errors import InputError


@click.command()
@_options.test_images(8, "Number of pairs of images. Each is a row.")
@click.option(
    "--steps", type=click.IntRange(2), default=8, show_default=True, help="Means per row."
)
@_options.picture
def command(name, number, steps, output, **source):
    """Interpolate between test images in the latent space of a model.

    Each row interpolates between two images. Between them are the means that the model decodes
    from spherically interpolated latents. If there are labels, the two images are from different
    classes. For a conditional model both are from the class that it is given.

    \b
    zoo interpolate runs/20260101-120000-vae-mnist_binary
    zoo interpolate runs/20260101-120000-vae-mnist_binary -n 4 --steps 12 -o digits.png
    """  # noqa: D301
    output = picture_path(output, "interpolations")
    import numpy as np

    from zoo.evaluation.inputs import load_matching_data

    reason = "it does not map images to latents and back"
    model = load_capable(name, "interpolate", ["encode", "decode"], reason)
    test = load_matching_data(model, **source)[2]
    conditional = model.condition is not None
    # This many always contain the pairs within classes, and usually those between classes.
    x, labels = test.take(8 * number + test.num_classes, test.num_classes > 0)
    if conditional:
        pairs, which = pair_up(labels, number, operator.eq), "from one class"
    elif test.num_classes > 1:
        pairs, which = pair_up(labels, number, operator.ne), "from different classes"
    else:
        pairs, which = pair_up(range(len(x)), number, operator.ne), "from any class"
    if not pairs:
        raise InputError(
            f"Expected two test images {which}. Received: {test.name} with {len(test):,} images"
        )
    ends = np.transpose(pairs)  # [2, P]
    labels = labels[ends[0]] if conditional else None
    latents = [in_batches(lambda _, *part: model.encode(*part), x[end], labels) for end in ends]
    z = np.stack([slerp(*pair, steps) for pair in zip(*latents, strict=True)])  # [P, steps, ...]
    flat = z.reshape(-1, *z.shape[2:])
    repeated = None if labels is None else labels.repeat(steps)
    means = in_batches(lambda _, *part: model.decode(*part), flat, repeated)
    means = means.reshape(len(pairs), steps, *test.shape)

    first, last = x[ends][:, :, None]
    picture = np.concatenate([first, means, last], axis=1)
    what = (
        f"{len(pairs)} interpolations (means) by {title(model)}, between test images of {test.name}"
        f" {which}"
    )
    legend = f"each row shows an image, {steps} steps and the other image"
    arrays = {"images": x[ends.T], "latents": z, "interpolations": means, "labels": labels}
    write_picture(output, what, picture.reshape(-1, *test.shape), steps + 2, legend, arrays)


def pair_up(labels, number, fits):
    """Pairs each example with the first earlier one that fits and has no pair yet.

    Args:
      labels: sequence of n labels.
      number: int; the maximum number of pairs.
      fits: function of two labels that returns a bool.

    Returns:
      list of (index, index).
    """
    free, pairs = [], []
    for k, label in enumerate(labels):
        mate = next((j for j in free if fits(labels[j], label)), None)
        if mate is None:
            free.append(k)
        else:
            free.remove(mate)
            pairs.append((mate, k))
    return pairs[:number]


def slerp(start, end, steps):
    """Interpolates spherically between two latents; the norm changes linearly.

    Latents of a standard normal prior lie near a sphere, which a straight line leaves. Where the
    arc is not unique, because the two are parallel or one is zero, the path is the straight line.

    Source: Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985.

    Args:
      start: float32 [...].
      end: float32 [...].
      steps: int, at least 2; the first step is start and the last is end.

    Returns:
      float32 [steps, ...].
    """
    import numpy as np

    a, b = (np.asarray(z, np.float64).reshape(-1) for z in (start, end))
    t = np.linspace(0.0, 1.0, steps)[:, None]
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    path = (1.0 - t) * a + t * b
    if min(lengths) > 0.0:
        u, v = a / lengths[0], b / lengths[1]
        # Unlike the arc cosine, exact for angles near 0 and pi.
        angle = 2.0 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
        if np.sin(angle) > 1e-6:
            direction = (np.sin((1.0 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
            path = ((1.0 - t) * lengths[0] + t * lengths[1]) * direction
    return path.reshape(steps, *np.shape(start)).astype(np.float32)
