"""What a notebook shows: tables as HTML, images as a picture."""

import base64
import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zoo.errors import InputError

__all__ = ["Table", "format_value", "html_picture", "html_table", "show"]

_PICTURE_WIDTH = 480  # pixels, of a picture that a notebook shows below a table


class Table(list):
    """A list that a notebook shows as a table.

    Args:
      items: the items.
      rows: function of the list that returns the rows of its table, as of `html_table`.
    """

    def __init__(self, items: Iterable, rows: Callable[[list], Sequence[Sequence[str]]]):
        super().__init__(items)
        self._rows = rows

    def _repr_html_(self):
        return html_table(self._rows(self))


def html_table(rows: Sequence[Sequence[str]], lines: Iterable[str] = ()) -> str:
    """Returns a table as HTML, with lines of text below it.

    Args:
      rows: rows of text, each of one length. The first is the header.
      lines: lines of text.
    """
    tags = ["th", *["td"] * (len(rows) - 1)]
    table = "".join(map(_html_row, tags, rows))
    return f"<table>{table}</table>" + "".join(f"<div>{html.escape(line)}</div>" for line in lines)


def html_picture(path: Path) -> str:
    """Returns a PNG file as HTML that contains it."""
    content = base64.b64encode(path.read_bytes()).decode()
    style, name = f"max-width: {_PICTURE_WIDTH}px", html.escape(path.stem)
    return f'<img alt="{name}" style="{style}" src="data:image/png;base64,{content}">'


def format_value(value) -> str:
    """Formats a value of a table: four digits of a float, and "-" for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(images, columns: int | None = None):
    """Returns a picture of images, which a notebook shows.

        zoo.show(model.sample(16, seed=0))

    Args:
      images: [n, height, width, 1 or 3] array or tensor, in [0, 1].
      columns: int, images per row. Default: a grid that is about square.

    Returns:
      PIL.Image.Image.

    Raises:
      InputError: if these are not images.
    """
    import numpy as np
    from PIL import Image

    from zoo import render

    images = np.asarray(images)
    if images.ndim != 4 or not images.size or images.shape[-1] not in (1, 3):
        raise InputError(
            "Expected images [n, height, width, 1 or 3], with n at least 1."
            f" Received: images of shape {images.shape}"
        )
    return Image.fromarray(render.grid(images, columns=columns))


def _html_row(tag, cells):
    # A notebook aligns cells to the right, as numbers.
    cells = (f'<{tag} style="text-align: left">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{''.join(cells)}</tr>"
