"""`zoo interpolate NAME|DIR|RUN`: interpolations between the latents of images."""

import operator

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import (
    FILMS,
    first_indices,
    in_batches,
    load_capable,
    picture_path,
    sample_conditions,
    title,
    write_picture,
    writing_to,
)
from zoo.errors import InputError

STEPS, FILM_STEPS = 8, 24
FRAME, HOLD = 80, 800  # milliseconds of a frame of a film, and of its first and middle one


@click.command()
@_options.test_images(8, "Number of interpolations. Each is a row.")
@click.option(
    "--steps",
    type=click.IntRange(2),
    help=f"Images per interpolation. Default: {STEPS}, or {FILM_STEPS} in an animation.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    help="Interpolate between random latents instead of test images. Default for a model that"
    " cannot encode images: 0.",
)
@_options.output(
    "FILE.png|FILE.gif|FILE.npz",
    "A picture, an animation (.gif, .webp), or the arrays. Default: a new PNG in this folder.",
)
def command(name, trust, number, steps, seed, output, **source):
    """Interpolate between images in the latent space of a model.

    Each row interpolates between two test images. Between them are the means that the model decodes
    from spherically interpolated latents. If there are labels, the two images are from different
    classes. For a conditional model both are from the class that it is given.

    With --seed, each row interpolates between two random latents, and all images are decoded. An
    animation shows one step of all rows per frame, forwards and backwards.

    \b
    zoo interpolate runs/20260101-120000-vae-mnist_binary
    zoo interpolate runs/20260101-120000-vae-mnist_binary --seed 1 -o digits.gif
    """  # noqa: D301
    output = picture_path(output, "interpolations", *FILMS)
    import numpy as np

    from zoo import render

    model = load_capable(
        name, trust, "interpolate", ["decode"], "it does not decode images from latents"
    )
    is_film = output.suffix.lower() in FILMS
    steps = steps or (FILM_STEPS if is_film else STEPS)
    if seed is None and hasattr(model, "encode"):
        images, ends, labels, between = _ends_of_test_images(model, number, source)
        info = {"data": model.trained_on.get("name")}
    else:
        if given := [option for option, value in source.items() if value is not None]:
            raise InputError(f"--{given[0]} is for test images. Omit it with --seed.")
        images, between = None, f"between random latents, seed {seed or 0}"
        labels = sample_conditions(model, number)
        ends, info = _random_ends(model, number, seed or 0), {"seed": seed or 0}
    z = np.stack([slerp(*pair, steps) for pair in zip(*ends, strict=True)])  # [P, steps, ...]
    flat = z.reshape(-1, *z.shape[2:])
    repeated = None if labels is None else labels.repeat(steps, axis=0)
    means = in_batches(lambda _, *part: model.decode(*part), flat, repeated)
    means = means.reshape(len(z), steps, *model.spec.shape)

    what = f"{len(z)} interpolation{'s' if len(z) > 1 else ''}"
    if hasattr(model, "encode"):  # else an image is a function of its latents
        what += " (means)"
    if is_film:
        _write_film(output, means, f"{title(model)}: {what} {between}")
        echo(f"Wrote {what} by {title(model)}, {between}, to {output}")
        return
    rows = means if images is None else np.concatenate([images[:, :1], means, images[:, 1:]], 1)
    layout = {"images": rows.reshape(-1, *model.spec.shape), "columns": rows.shape[1]}
    if images is None:
        layout["column_labels"] = ["start", *[""] * (steps - 2), "end"]
    else:
        layout["column_labels"] = ["image", "means", *[""] * (steps - 1), "image"]
    if labels is not None and model.condition.kind == "label":
        names = render.class_names(model.condition)
        layout["row_labels"] = [f"class {names[label]}" for label in labels]
    arrays = {"images": images, "latents": z, "interpolations": means, "labels": labels}
    info["index"] = first_indices(len(z))
    write_picture(output, model, what, between, layout, arrays, **info)


def _write_film(output, means, title):
    """Writes an animation of means, [P, steps, *shape], forwards and backwards."""
    from zoo import render

    frames = [render.grid(step, title=title) for step in means.swapaxes(0, 1)]
    durations = [HOLD, *[FRAME] * (len(frames) - 2), HOLD]
    with writing_to(output) as path:
        render.save_film(path, frames + frames[-2:0:-1], durations + durations[-2:0:-1])


def _random_ends(model, number, seed):
    """Returns the latents at both ends, float32 [2, number, …], from the prior."""
    import numpy as np

    from zoo.random import as_seed
    from zoo.sampling import latents

    z = np.asarray(latents(model, 2 * number, as_seed(seed)))
    return z.reshape(number, 2, *z.shape[1:]).swapaxes(0, 1)


def _ends_of_test_images(model, number, source):
    """Chooses pairs of test images and encodes them.

    Returns:
      (images [P, 2, *shape], latents [2, P, …], labels [P] or None, what the pairs are).
    """
    import numpy as np

    from zoo.evaluation.inputs import load_matching_data

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
    return x[ends.T], latents, labels, f"between test images of {test.name} {which}"


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
