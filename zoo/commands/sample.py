"""`zoo sample NAME|DIR|RUN`: samples from a SavedModel."""

import shlex

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import (
    BATCH_SIZE,
    PICTURES,
    check_suffix,
    draw_samples,
    load_saved_model,
    sample_labels,
    save_arrays,
    title,
    unused_name,
    writing_to,
)
from zoo.errors import InputError

# Types of files that cannot be written. A name with any other suffix is a folder.
_OTHER_FILES = (".bmp", ".csv", ".gif", ".json", ".npy", ".pdf", ".tif", ".tiff", ".txt", ".webp")


@click.command()
@_options.saved_model
@click.option("-n", "num_samples", type=click.IntRange(1), default=64, show_default=True)
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
@_options.output(
    "FILE.png|FILE.npz|DIR",
    "A grid, the arrays, or one file per image. Default: samples.png, samples-2.png, …",
)
def command(name, num_samples, seed, first, label, output):
    """Generate images with a SavedModel.

    The argument is the name of a pretrained model, or the folder of a SavedModel or of a finished
    run. A folder of images is written batch by batch. To continue one that was interrupted, use
    --first.

    \b
    zoo sample runs/20260101-120000-vae-mnist_binary
    zoo sample runs/20260101-120000-vae-mnist_binary -n 16 -o digits.png
    """  # noqa: D301
    output = output or unused_name("samples")
    suffix = output.suffix.lower()
    is_folder = output.is_dir() or suffix not in (*PICTURES, ".npz", *_OTHER_FILES)
    if not is_folder:
        check_suffix(output, *PICTURES, ".npz")
    elif not first and output.is_dir() and any(output.iterdir()):
        raise InputError(
            f"-o must be a new or empty folder, unless --first is given. Received: {output}"
        )
    model = load_saved_model(name)
    labels = sample_labels(model, num_samples, label, first)
    if is_folder:
        _write_images(model, output, num_samples, seed, first, labels, name)
    else:
        samples = draw_samples(model, num_samples, seed, labels, first)
        with writing_to(output):
            if suffix == ".npz":
                arrays = {"images": samples} | ({} if labels is None else {"labels": labels})
                save_arrays(output, **arrays)
            else:
                from zoo import render

                classes = model.card["num_classes"] if label is None else 0
                render.save_grid(output, samples, classes)
    echo(f"Wrote {num_samples} samples of {title(model)}, seed {seed}, to {output}")


def _write_images(model, folder, num_samples, seed, first, labels, name):
    """Writes a file per sample, batch by batch; one that cannot be written leaves no torn file."""
    from zoo import render

    done = 0
    try:
        for start in range(0, num_samples, BATCH_SIZE):
            count = min(BATCH_SIZE, num_samples - start)
            part = None if labels is None else labels[start : start + count]
            for image in draw_samples(model, count, seed, part, first + start):
                with writing_to(folder / f"{first + done:06}.png"):
                    render.save_images(folder, image[None], first + done)
                done += 1
    except (KeyboardInterrupt, InputError):
        if done:
            again = shlex.join(
                ["zoo", "sample", str(name), "-n", str(num_samples - done), "--seed", str(seed)]
            )
            echo(
                f"Wrote {done} of {num_samples} samples to {folder}."
                f" Continue with: {again} --first {first + done} -o {shlex.quote(str(folder))}"
            )
        raise
