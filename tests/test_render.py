"""How pictures are laid out, captioned and stored."""

import numpy as np
import pytest
from PIL import Image

from zoo import render
from zoo.render import grid, num_in_picture, stacked
from zoo.spec import Spec

LABELS = {n: [str(k) for k in range(n)] for n in (2, 3, 10)}


def cells(picture):
    """The numbers of columns and rows of black images."""
    ink = picture < 255
    return [np.diff(ink.any(axis=axis).astype(int)).tolist().count(1) for axis in (0, 1)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 8, 8), [8, 8]),
        ((60, 8, 8), [10, 6]),
        ((12, 8, 8), [4, 3]),
        ((7, 8, 8), [7, 1]),
        ((2, 8, 8), [2, 1]),
        ((17, 8, 8), [5, 4]),  # no rectangle is as wide as that
        ((64, 8, 32), [4, 16]),
    ],
)
def test_a_grid_has_full_rows_and_is_about_square(shape, expected):
    assert cells(grid(np.zeros((*shape, 1)))) == expected


@pytest.mark.parametrize(("n", "classes", "columns"), [(63, 3, 9), (60, 10, 10), (64, 2, 8)])
def test_a_column_shows_one_class(n, classes, columns):
    assert num_in_picture(Spec((), classes, "label")) == n
    shades = np.arange(n) % classes / 16
    images = np.broadcast_to(shades[:, None, None, None], (n, 8, 8, 1))
    picture = grid(images, column_labels=LABELS[classes])
    below = picture[picture.shape[0] // 2 :]
    for column in below.T:
        assert len({*np.unique(column)} - {255}) <= 1
    assert cells(below)[0] == columns


def test_many_classes_have_no_columns():
    many = Spec((), 100, "label")
    assert num_in_picture(many) == num_in_picture(None) == 64
    assert num_in_picture(Spec((), 10, "label"), 16) == 10


@pytest.mark.parametrize(("side", "zoom"), [(28, 4), (64, 2), (200, 1)])
def test_images_are_enlarged_by_an_integer(side, zoom):
    image = np.random.default_rng(0).random((1, side, side, 3))
    picture = grid(image)
    gap = (picture.shape[0] - zoom * side) // 2
    inside = picture[gap:-gap, gap:-gap]
    assert np.array_equal(inside, render.to_bytes(image)[0].repeat(zoom, 0).repeat(zoom, 1))
    assert (np.delete(picture, np.s_[gap:-gap], 0) == 255).all()


def test_a_wide_grid_is_enlarged_less():
    assert grid(np.zeros((30, 28, 28, 1)), columns=30).shape[1] <= 2000


def test_captions_are_outside_of_the_images():
    images = np.random.default_rng(0).random((10, 28, 28, 1))
    plain = grid(images, columns=5)
    captions = dict(title="vae: " + "long " * 40, row_labels=["a", "b"], column_labels=[*"vwxyz"])
    picture = grid(images, columns=5, **captions)
    height, width = plain.shape
    # The last rows and columns are those of the plain grid, but for its first gap.
    assert np.array_equal(picture[-height + 4 :, 4 - width :], plain[4:, 4:])
    above, left = picture[: 4 - height], picture[4 - height :, : 4 - width]
    assert (above < 128).any()
    assert (left < 128).any()
    for other in ({"title": "b"}, {"row_labels": ["a"]}, {"column_labels": [*"vwx", "", "z"]}):
        assert not np.array_equal(grid(images, columns=5, **captions | other), picture)


def test_a_title_makes_a_small_picture_wider_up_to_a_limit():
    image = np.zeros((1, 28, 28, 1))
    assert grid(image).shape[1] < grid(image, title="a title of five words").shape[1] < 480
    assert grid(image, title="word " * 100).shape[1] == 480


def test_a_caption_in_other_scripts_is_drawn():
    image = np.zeros((1, 28, 28, 1))
    same = [grid(image, title=title) for title in ("Fréchet", "Fre?chet")]
    assert np.array_equal(*same)


def test_kinds_of_images_are_stacked_in_rows():
    grey, colour = np.zeros((6, 8, 8, 1)), np.full((6, 10, 10, 3), 0.5)
    layout = stacked({"given": grey, "sample": colour})
    assert layout["row_labels"] == ["given", "sample"]
    rows = layout["images"].reshape(-1, layout["columns"], 10, 10, 3)
    assert (rows[::2, :, :8, :8] == 0.0).all()
    assert (rows[::2, :, 8:] == 1.0).all()
    assert (rows[1::2] == 0.5).all()


def test_a_png_stores_its_origin_and_a_jpeg_is_written(tmp_path):
    spec, x = Spec((8, 8, 1)), np.zeros((4, 8, 8, 1))
    title, info = render.describe("x.py:Mine", 1200, 4, 7, first=3, means=True)
    assert title == "Mine, step 1,200: means of 4 samples, seed 7"
    render.save(tmp_path / "x.png", x, spec, title=title, info=info)
    render.save_one(tmp_path / "one.png", x[0], spec, info | {"index": 5})
    for name, index in (("x", "3-6"), ("one", "5")):
        with Image.open(tmp_path / f"{name}.png") as picture:
            text = {"model": "Mine", "step": "1200", "seed": "7", "index": index}
            assert picture.text == text
    render.save(tmp_path / "x.jpg", x, spec, title=title, info=info)
    with Image.open(tmp_path / "x.jpg") as picture:
        assert picture.format == "JPEG"
    assert render.describe("gan", None, 1, 0, label="7")[0] == "gan: 1 sample of class 7, seed 0"


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_film_has_frames_of_one_size(tmp_path, suffix):
    frames = [np.full((20, 30), 90, np.uint8), np.full((24, 20), 10, np.uint8)]
    render.save_film(tmp_path / f"x{suffix}", frames, [100, 700])
    with Image.open(tmp_path / f"x{suffix}") as film:
        assert (film.size, film.n_frames, film.info["loop"]) == ((30, 24), 2, 0)
        for k, (value, inside) in enumerate(((90, (29, 19)), (10, (19, 23)))):
            film.seek(k)
            frame = film.convert("L")
            assert frame.getpixel(inside) == value
            assert frame.getpixel((29, 23)) == 255
