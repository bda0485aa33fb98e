"""`zoo film RUN`: the sample grids of a run as an animation."""

from pathlib import Path

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.commands._pictures import FILMS, check_suffix, unused_name, writing_to
from zoo.errors import ArtefactError, InputError

LAST = 2000  # milliseconds of the last grid


@click.command()
@click.argument("run", metavar="RUN", type=_options.PathType(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(0.02, 60),
    default=0.4,
    show_default=True,
    help="Time per grid.",
)
@_options.output("FILE.gif|FILE.webp", "The animation. Default: a new film.gif in this folder.")
def command(run, seconds, output):
    """Animate the sample grids of a run, to show how samples improve.

    \b
    zoo film runs/20260101-120000-vae-mnist_binary
    zoo film runs/20260101-120000-vae-mnist_binary --seconds 0.2 -o digits.webp
    """  # noqa: D301
    output = output or unused_name("film", FILMS[0])
    check_suffix(output, *FILMS)
    import numpy as np
    from PIL import Image

    from zoo import render
    from zoo.runs.folder import Run

    name = Run(run).recipe["model"]
    paths = sorted(Run(run).samples.glob("step-*.png"))
    if not paths:
        raise InputError(f"{run} has no pictures of samples yet. Train it, or choose another run.")
    frames = []
    for path in paths:
        try:
            frames.append(np.asarray(Image.open(path)))
        except OSError as error:
            raise ArtefactError(f"{path} is damaged: {error}.") from None
    durations = [round(1000 * seconds)] * (len(frames) - 1) + [LAST]
    with writing_to(output) as path:
        render.save_film(path, frames, durations)
    echo(f"Wrote {len(frames)} grids of samples of {render.short_name(name)} to {output}")
