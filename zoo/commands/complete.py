"""`zoo complete NAME|DIR|RUN`: test images, or a prompt, of which a model generates the rest."""

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import (
    check_suffix,
    condition_key,
    first_indices,
    in_batches,
    load_capable,
    picture_path,
    print_texts,
    sample_conditions,
    save_arrays,
    title,
    write_picture,
    writing_to,
)
from zoo.errors import InputError

HALVES = ("top", "bottom", "left", "right")
HIDDEN = 0.5  # the grey of pixels that the model is not given


@click.command()
@_options.test_images(8, "Number of images (one per row), or of completions of a prompt.")
@click.option(
    "--keep", type=click.Choice(HALVES), help="The half of the images to keep. Default: top."
)
@click.option("--times", type=click.IntRange(1), help="Completions per row. Default: 6.")
@click.option("--prompt", metavar="TEXT", help="The start of the text, for a text model.")
@_options.seed
@_options.output(
    "FILE.png|FILE.txt|FILE.npz",
    "A picture, the texts, or the arrays. Default: a new PNG in this folder; texts are printed.",
)
def command(name, trust, number, keep, times, prompt, seed, output, **source):
    """Complete halves of test images, or the start of a text.

    A row shows the image, the half that is kept, and completions. Pixels are generated in raster
    order, so kept pixels below, or to the right in the same row, are ignored.

    \b
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist
    zoo complete runs/20260101-120000-pixelcnn-binarized_mnist --keep left
    zoo complete runs/20260101-120000-char_rnn-tinyshakespeare --prompt "To be"
    """  # noqa: D301
    reason = "it cannot generate a part of an example given the rest"
    kinds = ("image", "tokens") if prompt is None else ("tokens",)
    model = load_capable(name, trust, "complete", ["complete"], reason, kinds)
    if model.spec.kind == "tokens":
        _complete_prompt(model, number, prompt, seed, output, keep=keep, times=times, **source)
    else:
        _complete_images(model, number, keep or "top", times or 6, seed, output, source)


def _complete_prompt(model, number, prompt, seed, output, **others):
    """Prints or writes texts that start with a prompt."""
    import numpy as np

    from zoo import render

    spec = model.spec
    (length,) = spec.shape
    if prompt is None:
        raise InputError(f"{model.name} is a model of texts. Add --prompt TEXT.")
    if given := [option for option, value in others.items() if value is not None]:
        raise InputError(f"--{given[0]} is for test images: leave it out with --prompt.")
    if output is not None:
        check_suffix(output, ".txt", ".npz")
    tokens = render.to_tokens(prompt, spec)
    if len(tokens) >= length:
        raise InputError(
            f"The prompt must be shorter than {length} tokens, the length of the texts of"
            f" {model.name}. Received: {len(tokens)} tokens"
        )
    x = np.zeros((number, length), np.int32)
    x[:, : len(tokens)] = tokens
    mask = np.zeros(x.shape, np.float32)
    mask[:, : len(tokens)] = 1.0
    condition = sample_conditions(model, number)

    def draw(first, *part):
        return model.complete(*part[:2], seed, part[2], first)

    texts = in_batches(draw, x, mask, condition)
    if output is None:
        print_texts(texts, spec)
        return
    with writing_to(output) as path:
        if output.suffix.lower() == ".npz":
            arrays = {"mask": mask, "completions": texts, condition_key(model): condition}
            save_arrays(path, **{k: v for k, v in arrays.items() if v is not None})
        else:
            render.save(path, texts, spec)
    echo(f"Wrote {number} completions by {title(model)}, seed {seed}, to {output}")


def _complete_images(model, number, keep, times, seed, output, source):
    """Draws test images, the half of each that is kept, and completions."""
    output = picture_path(output, "completions")
    import numpy as np

    from zoo.evaluation.inputs import load_matching_data

    test = load_matching_data(model, **source)[2]
    x, condition = test.take(number, model.condition is not None)
    mask = np.broadcast_to(keep_mask(keep, test.shape), x.shape)

    def draw(first, *part):
        return model.complete(*part[:2], seed, part[2], first)

    repeated = (a if a is None else a.repeat(times, axis=0) for a in (x * mask, mask, condition))
    completions = in_batches(draw, *repeated).reshape(len(x), times, *test.shape)

    kept = np.where(mask > 0, x, np.float32(HIDDEN))
    picture = np.concatenate([x[:, None], kept[:, None], completions], axis=1)
    labels = ["image", f"{keep} half", "completions", *[""] * (times - 1)]
    write_picture(
        output,
        model,
        f"{times} completions",
        f"for each of {len(x)} test images of {test.name}, seed {seed}",
        {
            "images": picture.reshape(-1, *test.shape),
            "columns": 2 + times,
            "column_labels": labels,
        },
        {"images": x, "mask": mask, "completions": completions, condition_key(model): condition},
        data=test.name,
        seed=seed,
        index=first_indices(len(x)),
    )


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
