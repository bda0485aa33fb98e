"""`zoo sample NAME|DIR|RUN`: samples from a SavedModel."""

import shlex
from pathlib import Path

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import (
    BATCH_SIZE,
    PICTURES,
    check_suffix,
    condition_key,
    draw_samples,
    load_saved_model,
    model_info,
    print_texts,
    sample_conditions,
    save_arrays,
    title,
    unused_name,
    writing_to,
)
from zoo.errors import InputError

# Types of files, of which few can be written. A name with any other suffix is a folder.
_FILES = (
    *(".bmp", ".csv", ".gif", ".jpeg", ".jpg", ".json", ".mp3", ".npy", ".npz", ".pdf", ".png"),
    *(".tif", ".tiff", ".txt", ".wav", ".webp"),
)


@click.command()
@_options.saved_model
@click.option(
    "-n",
    "num_samples",
    type=click.IntRange(1),
    help="Number of samples. Default: 64, or fewer for complete rows of all classes.",
)
@_options.seed
@click.option(
    "--first",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Index of the first sample. Sample i depends only on the seed and i.",
)
@click.option(
    "--label", help="Number or name of the class to generate. Default: all classes in turn."
)
@click.option(
    "--condition",
    metavar="PATH",
    type=_options.PathType(path_type=Path),
    help="An image, or a folder of images, for a model that is conditional on images.",
)
@click.option(
    "--mean/--no-mean",
    "means",
    default=None,
    help="Show the mean of each image given its latents, instead of random pixels. Default: means"
    " in a picture of a latent variable model of binary images.",
)
@_options.output(
    "FILE|DIR",
    "A picture (.png, .jpg), text (.txt), sound (.wav), the arrays (.npz), or a folder with one"
    " file per sample. Default: samples.png or samples.wav, or text on the terminal.",
)
def command(name, trust, num_samples, seed, first, label, condition, means, output):
    """Generate samples with a SavedModel.

    The argument is the name of a pretrained model, or the folder of a SavedModel or of a finished
    run. A folder of samples is written batch by batch. To continue one that was interrupted, use
    --first. A PNG stores the model, its sha256, the seed and the index of the samples as text.

    \b
    zoo sample runs/20260101-120000-vae-mnist_binary
    zoo sample runs/20260101-120000-vae-mnist_binary -n 16 -o digits.png
    """  # noqa: D301
    from zoo.exports import pretrained
    from zoo.exports.cards import read_card

    kind = read_card(pretrained.find(name)).get("spec", {}).get("kind", "image")
    suffixes = {"image": PICTURES, "tokens": (".txt",), "audio": (".wav",)}[kind]
    if output is None and kind != "tokens":
        output = unused_name("samples", suffixes[0])
    is_folder = False
    if output is not None:
        suffix = output.suffix.lower()
        is_folder = output.is_dir() or suffix not in _FILES
        if not is_folder:
            check_suffix(output, *suffixes, ".npz")
        elif not first and output.is_dir() and any(output.iterdir()):
            raise InputError(
                f"-o must be a new or empty folder, unless --first is given. Received: {output}"
            )
    model = load_saved_model(name, trust)
    from zoo import render
    from zoo.sampling import shows_means

    if num_samples is None:
        num_samples = render.num_in_picture(None if label else model.condition)
    if means and not (kind == "image" and hasattr(model, "decode")):
        raise InputError(
            f"--mean is not defined for {model.name}, because it does not decode images from"
            " latents."
        )
    if means is None:
        means = output is not None and suffix in PICTURES and shows_means(model)
    conditions = sample_conditions(model, num_samples, label, first, condition)
    step = model.card.get("step")
    heading, info = render.describe(model.name, step, num_samples, seed, first, means, label)
    info |= model_info(model)
    if is_folder:
        _write_files(model, output, num_samples, seed, first, conditions, means, info, name)
    else:
        samples = draw_samples(model, num_samples, seed, conditions, first, means)
        if output is None:
            print_texts(samples, model.spec, first)
            return
        with writing_to(output) as path:
            if suffix == ".npz":
                key = "means" if means else "images" if kind == "image" else "samples"
                arrays = {key: samples, condition_key(model): conditions}
                save_arrays(path, **{k: v for k, v in arrays.items() if v is not None})
            else:
                shown = None if label else model.condition
                render.save(path, samples, model.spec, shown, conditions, heading, info)
    what = "means of samples" if means else "samples"
    echo(f"Wrote {num_samples} {what} of {title(model)}, seed {seed}, to {output}")


def _write_files(model, folder, num_samples, seed, first, conditions, means, info, name):
    """Writes a file per sample, batch by batch; one that cannot be written leaves no torn file."""
    from zoo import render

    suffix, done = render.SUFFIXES[model.spec.kind], 0
    try:
        for start in range(0, num_samples, BATCH_SIZE):
            count = min(BATCH_SIZE, num_samples - start)
            part = None if conditions is None else conditions[start : start + count]
            for example in draw_samples(model, count, seed, part, first + start, means):
                path = folder / f"{first + done:06}{suffix}"
                with writing_to(path) as aside:
                    render.save_one(aside, example, model.spec, info | {"index": first + done})
                done += 1
    except (KeyboardInterrupt, InputError):
        if done:
            again = shlex.join(
                ["zoo", "sample", str(name), "-n", str(num_samples - done), "--seed", str(seed)]
                + ["--mean"] * means
            )
            echo(
                f"Wrote {done} of {num_samples} samples to {folder}."
                f" Continue with: {again} --first {first + done} -o {shlex.quote(str(folder))}"
            )
        raise
