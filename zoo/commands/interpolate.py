"""`zoo interpolate NAME|DIR|RUN`: walks between the latents of test images."""

import operator

import click

from zoo.commands import matching_data, quiet_tensorflow
from zoo.commands.reconstruct import load_able, of_test_images, place_for, write
from zoo.commands.sample import in_parts, title
from zoo.errors import InputError


@click.command()
@of_test_images(8, "Pairs of images, a row each.")
@click.option(
    "--steps", type=click.IntRange(2), default=8, show_default=True, help="Means in a row."
)
def command(name, number, steps, output, **source):
    """Walk between test images through the latents of a model.

    A row shows an image at either end, and between them the means that the model decodes on the
    way from the latents of the one to those of the other: the direction turns evenly, the length
    changes evenly. The two are of different classes if there are labels, but of one class, which
    the walk stays in, if the model is conditional.

    \b
    zoo interpolate runs/20260101-120000-vae-mnist_binary
    zoo interpolate runs/20260101-120000-vae-mnist_binary -n 4 --steps 12 -o digits.png
    """  # noqa: D301
    output = place_for(output, "interpolations")
    quiet_tensorflow()
    import numpy as np

    why_not = "it does not map images to latents and back"
    model = load_able(name, "interpolate", ["encode", "decode"], why_not)
    test = matching_data(model, **source)[2]
    conditional = model.card["num_classes"] > 0
    # So many hold the pairs of one class for certain, those of different classes as a rule.
    x, labels = test.take(8 * number + test.num_classes, test.num_classes > 0)
    if conditional:
        pairs, which = pair_up(labels, number, operator.eq), "of one class"
    elif test.num_classes > 1:
        pairs, which = pair_up(labels, number, operator.ne), "of different classes"
    else:
        pairs, which = pair_up(range(len(x)), number, operator.ne), "of any kind"
    if not pairs:
        raise InputError(
            f"Expected two test images {which}. Received: {test.name} with {len(test):,} of them"
        )
    ends = np.transpose(pairs)  # [2, P]
    labels = labels[ends[0]] if conditional else None
    latents = [in_parts(lambda _, *part: model.encode(*part), x[end], labels) for end in ends]
    z = np.stack([walk(*pair, steps) for pair in zip(*latents, strict=True)])  # [P, steps, ...]
    flat = z.reshape(-1, *z.shape[2:])
    repeated = None if labels is None else labels.repeat(steps)
    means = in_parts(lambda _, *part: model.decode(*part), flat, repeated)
    means = means.reshape(len(pairs), steps, *test.shape)

    first, last = x[ends][:, :, None]
    picture = np.concatenate([first, means, last], axis=1)
    what = (
        f"{len(pairs)} interpolations (means) of {title(model)}, between test images of"
        f" {test.name} {which}"
    )
    legend = f"a row is the one image, {steps} steps, the other"
    arrays = {"images": x[ends.T], "latents": z, "interpolations": means, "labels": labels}
    write(output, what, picture.reshape(-1, *test.shape), steps + 2, legend, arrays)


def pair_up(labels, number, fits):
    """Pairs each example with the first one before it that fits and is still free.

    Args:
      labels: n of them.
      number: int, the most pairs.
      fits: function of two labels.

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


def walk(start, end, steps):
    """Walks from start to end on the arc between their directions, its length changing evenly.

    Latents of a standard normal prior lie near a sphere, which a straight line leaves. Where there
    is no one arc, as the two are parallel or one is zero, the way is the straight line.

    Source: Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985.

    Args:
      start: float32 [...].
      end: float32 [...].
      steps: int, at least 2: the first is start, the last is end.

    Returns:
      float32 [steps, ...].
    """
    import numpy as np

    a, b = (np.asarray(z, np.float64).reshape(-1) for z in (start, end))
    t = np.linspace(0.0, 1.0, steps)[:, None]
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    way = (1.0 - t) * a + t * b
    if min(lengths) > 0.0:
        u, v = a / lengths[0], b / lengths[1]
        # Exact for small angles and for those near pi, as the arc cosine is not.
        angle = 2.0 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))
        if np.sin(angle) > 1e-6:
            direction = (np.sin((1.0 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
            way = ((1.0 - t) * lengths[0] + t * lengths[1]) * direction
    return way.reshape(steps, *np.shape(start)).astype(np.float32)
