"""`zoo complete`, `interpolate` and `reconstruct`, as typed: what they draw and refuse."""

import errno
import operator
import os
import shlex

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.shell import assert_refused, here, write_data
from support.toys import Pixels, make

import zoo
from zoo import datasets, render
from zoo.commands import sample
from zoo.commands._pictures import draw_samples
from zoo.commands.complete import keep_mask
from zoo.commands.interpolate import pair_up, slerp
from zoo.exports import export
from zoo.models.gan import GAN
from zoo.models.vae import VAE
from zoo.random import as_seed
from zoo.render import grid
from zoo.sampling import latents


class Filler(Pixels):
    """Pixels that also complete images."""

    def complete(self, x, mask, seed, condition=None, first=0):
        drawn = self.sample(tf.shape(x)[0], seed, condition, first)
        return mask * x + (1.0 - mask) * drawn


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, and the SavedModels filler, vae and, with 3 classes, conditional, gan."""
    folder = tmp_path_factory.mktemp("pictures")
    write_data(folder)
    sizes = dict(levels=2, filters=4, latent_dim=4, hidden_dim=8)
    data = {"name": str(folder / "classes.npz"), "size": None, "binarize": False}
    for name, model in (
        ("filler", make(Filler, (8, 8, 1), num_classes=3)),
        ("vae", make(VAE, (8, 8, 1), **sizes)),
        ("conditional", make(VAE, (8, 8, 1), num_classes=3, **sizes)),
        ("gan", make(GAN, (8, 8, 1), num_classes=3, latent_dim=4, hidden_dim=8)),
    ):
        card = {"model": name, "step": 7000, "recipe": {"data": data}}
        with pytest.MonkeyPatch.context() as patch:
            # Other tests verify exports in another process, which takes seconds.
            patch.setattr(export, "check_in_clean_process", lambda: lambda path: {})
            zoo.export(model, folder / name, card)
    return folder


def numbers(place, tmp_path, verb, *arguments):
    """What a verb writes as numbers: {name: array}."""
    result = here(verb, *arguments, "-o", tmp_path / "x.npz", cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    with np.load(tmp_path / "x.npz") as file:
        assert result.stdout.endswith(f"x.npz: {', '.join(file)}\n")
        return dict(file)


def picture(place, tmp_path, verb, *arguments):
    """What a verb draws, and what it says."""
    result = here(verb, *arguments, "-o", tmp_path / "new" / "x.png", cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(tmp_path / "new" / "x.png") as image:
        return np.asarray(image), result.stdout


def test_complete_keeps_a_part_and_draws_the_rest_as_the_model_does(place, tmp_path):
    arguments = ("./filler", "-n", 39, "--keep", "left", "--times", 7, "--seed", 3)
    found = numbers(place, tmp_path, "complete", *arguments)
    x, mask, drawn = found["images"], found["mask"], found["completions"]
    assert drawn.shape == (39, 7, 8, 8, 1)
    assert np.array_equal(mask, np.broadcast_to(np.arange(8)[:, None] < 4, mask.shape))
    assert np.array_equal(drawn[..., :4, :], np.repeat(x[:, None, :, :4], 7, axis=1))
    assert len(np.unique(drawn[0], axis=0)) == 7
    repeated = (a.repeat(7, axis=0) for a in (x, mask))
    whole = zoo.load(place / "filler").complete(*repeated, 3, found["labels"].repeat(7))
    assert np.array_equal(drawn.reshape(whole.shape), whole)


def test_the_completions_of_an_image_are_the_same_whatever_their_number(place, tmp_path):
    few = numbers(place, tmp_path, "complete", "./filler", "-n", 2)
    many = numbers(place, tmp_path, "complete", "./filler", "-n", 5)
    for name in ("images", "labels", "completions"):
        assert np.array_equal(few[name], many[name][:2])


def test_a_row_of_completions_shows_the_image_the_part_and_the_draws(place, tmp_path):
    arguments = ("complete", "./filler", "-n", 3, "--times", 2)
    found = numbers(place, tmp_path, *arguments)
    x, mask = found["images"], found["mask"]
    drawn, said = picture(place, tmp_path, *arguments)
    rows = np.stack([x, np.where(mask, x, 0.5), *found["completions"].swapaxes(0, 1)], axis=1)
    title = "filler, step 7,000: 2 completions for each of 3 test images of classes, seed 0"
    labels = ["image", "top half", "completions", ""]
    layout = {"columns": 4, "title": title, "column_labels": labels}
    assert np.array_equal(drawn, grid(rows.reshape(-1, 8, 8, 1), **layout))
    assert said == (
        "Wrote 2 completions by filler, step 7,000, for each of 3 test images of classes, seed 0,"
        f" to {tmp_path / 'new' / 'x.png'}\n"
    )
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.text == {
            "model": "filler",
            "step": "7000",
            "sha256": zoo.load(place / "filler").sha256,
            "data": "classes",
            "seed": "0",
            "index": "0-2",
        }


@pytest.mark.parametrize(
    ("keep", "rows", "columns"),
    [
        ("top", [0, 1, 2], [0, 1]),
        ("bottom", [2, 3, 4], [0, 1]),
        ("left", range(5), [0]),
        ("right", range(5), [1]),
    ],
)
def test_the_half_that_is_known(keep, rows, columns):
    mask = keep_mask(keep, (5, 2, 3))
    expected = np.zeros((5, 2, 3), np.float32)
    expected[np.ix_(rows, columns)] = 1.0
    assert mask.dtype == np.float32
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("name", ["vae", "conditional"])
def test_reconstruct_gives_what_the_model_gives(place, tmp_path, name):
    found = numbers(place, tmp_path, "reconstruct", f"./{name}", "-n", 20)
    assert [*found] == ["images", "reconstructions", *["labels"][: name == "conditional"]]
    means = zoo.load(place / name).reconstruct(found["images"], found.get("labels"))
    np.testing.assert_allclose(found["reconstructions"], means, atol=1e-6)


def test_reconstructions_are_below_their_images(place, tmp_path):
    found = numbers(place, tmp_path, "reconstruct", "./vae", "-n", 20)
    drawn, said = picture(place, tmp_path, "reconstruct", "./vae", "-n", 20)
    x, means = found["images"], found["reconstructions"]
    title = "vae, step 7,000: 20 reconstructions (means) of test images of classes"
    rows = np.concatenate([a for k in range(0, 20, 5) for a in (x[k : k + 5], means[k : k + 5])])
    labels = ["image", "reconstruction"]
    layout = {"columns": 5, "title": title, "row_labels": labels, "group": 2}
    assert np.array_equal(drawn, grid(rows, **layout))
    assert "Wrote 20 reconstructions (means) by vae, step 7,000, of test images of" in said


@pytest.mark.parametrize("name", ["vae", "conditional"])
def test_interpolate_walks_from_the_one_reconstruction_to_the_other(place, tmp_path, name):
    found = numbers(place, tmp_path, "interpolate", f"./{name}", "-n", 9, "--steps", 30)
    x, z, means = found["images"], found["latents"], found["interpolations"]
    assert (x.shape, z.shape, means.shape) == ((9, 2, 8, 8, 1), (9, 30, 4), (9, 30, 8, 8, 1))
    model, labels = zoo.load(place / name), found.get("labels")
    for image, step in ((0, 0), (1, -1)):
        np.testing.assert_allclose(z[:, step], model.encode(x[:, image], labels), atol=1e-5)
        np.testing.assert_allclose(
            means[:, step], model.reconstruct(x[:, image], labels), atol=1e-5
        )
    between = model.decode(z[:, 10], labels)
    np.testing.assert_allclose(means[:, 10], between, atol=1e-5)


def test_a_row_of_interpolations_shows_the_images_at_its_ends(place, tmp_path):
    arguments = ("interpolate", "./vae", "-n", 2, "--steps", 3)
    found = numbers(place, tmp_path, *arguments)
    drawn, said = picture(place, tmp_path, *arguments)
    x, means = found["images"], found["interpolations"]
    rows = np.concatenate([x[:, :1], means, x[:, 1:]], axis=1)
    title = (
        "vae, step 7,000: 2 interpolations (means) between test images of classes from different"
        " classes"
    )
    labels = ["image", "means", "", "", "image"]
    layout = {"columns": 5, "title": title, "column_labels": labels}
    assert np.array_equal(drawn, grid(rows.reshape(-1, 8, 8, 1), **layout))
    assert "2 interpolations (means) by vae, step 7,000, between test images" in said


def test_with_a_seed_interpolations_are_between_random_latents(place, tmp_path):
    arguments = ("./conditional", "-n", 4, "--steps", 3, "--seed", 5)
    values = numbers(place, tmp_path, "interpolate", *arguments)
    assert [*values] == ["latents", "interpolations", "labels"]
    z, means = values["latents"], values["interpolations"]
    assert values["labels"].tolist() == [0, 1, 2, 0]
    model = zoo.load(place / "conditional")
    expected = model.decode(z[:, 2], values["labels"])
    np.testing.assert_allclose(means[:, 2], expected, atol=1e-6)
    prior = latents(model, 8, as_seed(5)).numpy().reshape(4, 2, 4)
    np.testing.assert_allclose(z[:, [0, 2]], prior, rtol=1e-5)
    _, said = picture(place, tmp_path, "interpolate", *arguments)
    assert "between random latents, seed 5" in said


def test_a_model_without_an_encoder_interpolates_between_random_latents(place, tmp_path):
    values = numbers(place, tmp_path, "interpolate", "./gan", "-n", 3, "--steps", 4)
    assert [*values] == ["latents", "interpolations", "labels"]
    expected = zoo.load(place / "gan").decode(values["latents"][:, 1], [0, 1, 2])
    np.testing.assert_allclose(values["interpolations"][:, 1], expected, atol=1e-6)
    result = here("interpolate", "./gan", "--data", "./classes.npz", cwd=place)
    assert_refused(result, 2, "--data is for test images")
    _, said = picture(place, tmp_path, "sample", "./gan", "-n", 3)
    assert said.startswith("Wrote 3 samples")  # its images are no speckle


def test_an_animation_of_interpolations_goes_forwards_and_backwards(place, tmp_path):
    for suffix in ("gif", "webp"):
        output = tmp_path / f"x.{suffix}"
        arguments = ("interpolate", "./vae", "-n", 2, "--steps", 3, "-o", output)
        assert here(*arguments, cwd=place).returncode == 0
        with Image.open(output) as film:
            assert (film.format, film.n_frames) == (suffix.upper(), 4)


def test_binary_pixels_are_shown_as_means_and_stored_as_draws(place, tmp_path):
    arguments = ("sample", "./vae", "-n", 6, "--seed", 3)
    for more, name in (((), "draws"), (("--mean",), "means")):
        here(*arguments, *more, "-o", tmp_path / f"{name}.npz", cwd=place)
    with np.load(tmp_path / "draws.npz") as draws, np.load(tmp_path / "means.npz") as means:
        draws, means = draws["images"], means["means"]
    assert {*np.unique(draws)} == {0.0, 1.0}
    # Sample k is drawn from mean k: the pixels are 1 where a uniform number is below the mean.
    u = zoo.random.uniform(zoo.random.fold_in(as_seed(3), 1), 0, 6, (8, 8, 1))
    np.testing.assert_array_equal(draws, np.asarray(u) < means)
    title = "vae, step 7,000: {}6 samples, seed 3"
    for more, images, what in (((), means, "means of "), (("--no-mean",), draws, "")):
        shown, said = picture(place, tmp_path, *arguments, *more)
        assert np.array_equal(shown, grid(images, title=title.format(what)))
        assert said.startswith(f"Wrote 6 {what}samples of vae")
    here(*arguments, "--mean", "-o", tmp_path / "folder", cwd=place)
    with Image.open(tmp_path / "folder" / "000005.png") as image:
        assert np.array_equal(np.asarray(image), np.round(means[5, ..., 0] * 255))
        digest = zoo.load(place / "vae").sha256
        text = {"model": "vae", "sha256": digest, "seed": "3", "index": "5", "step": "7000"}
        assert image.text == text


def classes_of(place, images):
    x, y = datasets.load_dataset(str(place / "classes.npz"))[2].take(400, condition=True)
    return [int(y[(x == image).all(axis=(1, 2, 3))][0]) for image in images]


@pytest.mark.parametrize(
    ("name", "data", "which"),
    [
        ("vae", (), "from different classes"),
        ("vae", ("--data", "./binary.npz"), "from any class"),
        ("conditional", (), "from one class"),
    ],
)
def test_pairs_are_of_different_classes_or_for_a_conditional_model_of_one(
    place, tmp_path, name, data, which
):
    arguments = ("interpolate", f"./{name}", "-n", 5, *data)
    assert which in picture(place, tmp_path, *arguments)[1]
    found = numbers(place, tmp_path, *arguments)
    if not data:
        first, second = (classes_of(place, images) for images in found["images"].swapaxes(0, 1))
        if name == "conditional":
            assert first == second == found["labels"].tolist()
        else:
            assert all(map(operator.ne, first, second))


def test_each_example_is_in_one_pair():
    labels = np.array([0, 0, 1, 2, 2, 1, 0, 2])
    assert pair_up(labels, 9, operator.ne) == [(0, 2), (1, 3), (4, 5), (6, 7)]
    assert pair_up(labels, 9, operator.eq) == [(0, 1), (3, 4), (2, 5)]
    assert pair_up(labels, 2, operator.eq) == [(0, 1), (3, 4)]
    assert pair_up(np.zeros(4), 9, operator.ne) == []


def test_a_walk_turns_and_grows_evenly():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 3, 2, 5)).astype(np.float32) * [[[[1.0]]], [[[4.0]]]]
    way = slerp(start, end, 7)
    assert (way.shape, way.dtype) == ((7, 3, 2, 5), np.float32)
    np.testing.assert_allclose(way[[0, -1]], [start, end], rtol=1e-6)
    flat = way.reshape(7, -1).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(np.diff(lengths), (lengths[-1] - lengths[0]) / 6, rtol=1e-4)
    units = flat / lengths[:, None]
    turns = np.arccos((units[1:] * units[:-1]).sum(axis=1))
    np.testing.assert_allclose(turns, np.arccos(units[0] @ units[-1]) / 6, rtol=1e-4)


def test_a_quarter_of_a_circle():
    way = slerp(np.array([1.0, 0.0]), np.array([0.0, 3.0]), 3)
    np.testing.assert_allclose(way, [[1, 0], [2**0.5, 2**0.5], [0, 3]], atol=1e-6)


@pytest.mark.parametrize(
    ("start", "end", "middle"),
    [
        ([1, 2], [3, 6], [2, 4]),
        ([1, 2], [1, 2], [1, 2]),
        ([1, 0], [-3, 0], [-1, 0]),
        ([0, 0], [2, 4], [1, 2]),
        ([2, 4], [0, 0], [1, 2]),
        ([0, 0], [0, 0], [0, 0]),
        ([1e-30, 0], [3e-30, 0], [2e-30, 0]),
        ([1, 1e-7], [1, 0], [1, 5e-8]),
    ],
)
def test_a_walk_without_one_arc_is_straight(start, end, middle):
    way = slerp(np.float32(start), np.float32(end), 3)
    np.testing.assert_allclose(way, [start, middle, end], rtol=1e-6)


def test_images_are_taken_from_all_of_a_sorted_set_and_more_of_them_begin_alike(place):
    labels = np.arange(200) // 50
    images = np.broadcast_to(labels[:, None, None] * 60, (200, 4, 4)).astype(np.uint8)
    np.savez(
        place / "sorted.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    test = datasets.load_dataset(str(place / "sorted.npz"))[2]
    x, y = test.take(16, condition=True)
    assert {*y} == {0, 1, 2, 3}
    assert np.array_equal(np.rint(x[:, 0, 0, 0] * 255), y * 60)
    many, none = test.take(500, condition=False)
    assert none is None
    assert np.array_equal(many[:16], x)
    assert len(many) == 200


@pytest.mark.parametrize("verb", ["complete", "interpolate", "reconstruct"])
def test_a_picture_takes_the_next_free_name_and_says_how_many_there_are(place, verb):
    model = place / ("filler" if verb == "complete" else "vae")
    stem = {"complete": "completion", "reconstruct": "reconstruction"}.get(verb, "interpolation")
    for name in (f"{stem}s.png", f"{stem}s-2.png"):
        result = here(verb, model, "-n", 1000, cwd=place)
        assert name in result.stdout
        assert (place / name).stat().st_size > 500
    number = {"complete": "40 test images", "reconstruct": "40 rec", "interpolate": "20 int"}
    assert number[verb] in result.stdout


@pytest.mark.parametrize(
    ("verb", "name", "message"),
    [
        ("complete", "vae", "because it cannot generate a part of an example given the rest"),
        (
            "interpolate",
            "filler",
            "because it does not decode images from latents. It supports: sample, log_prob,"
            " complete. Pretrained models that can: vae-mnist_binary",
        ),
        (
            "reconstruct",
            "filler",
            "because it does not reconstruct images. It supports: sample, log_prob, comp",
        ),
    ],
)
def test_what_a_model_cannot_do_is_not_defined(place, verb, name, message):
    result = here(verb, f"./{name}", cwd=place)
    assert_refused(result, 2, f"zoo {verb} is not defined for {name}, {message}")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["reconstruct", "./vae", "-o", "x.gif"],
            ["must end in one of .png, .jpg, .jpeg, .npz", "x.gif"],
        ),
        (["interpolate", "./vae", "-o", "folder"], ["must end in one of .png"]),
        (["complete", "./filler", "-o", "grey.npz/x.png"], ["Cannot write grey.npz/x.png"]),
        (["reconstruct", "./vae", "--data", "./grey.npz"], ["2 levels", "Add --binarize"]),
        (["complete", "./filler", "--data", "./binary.npz"], ["labels of 3 classes"]),
        (["reconstruct", "./nowhere"], ["./nowhere does not exist"]),
        (["complete", "./filler", "--keep", "middle"], ["'--keep'", "'bottom'"]),
        (["complete", "./filler", "--times", "0"], ["'--times'", "x>=1"]),
        (["interpolate", "./vae", "--steps", "1"], ["'--steps'", "x>=2"]),
        (["reconstruct", "./vae", "-n", "0"], ["'-n'", "x>=1"]),
        (["interpolate", "./vae", "--seed", "1", "--data", "x"], ["--data", "with --seed"]),
        (["sample", "./filler", "--mean"], ["--mean is not defined for filler"]),
        (["film", "."], ["Not a run"]),
    ],
)
def test_what_cannot_be_drawn_is_one_line(place, arguments, parts):
    before = {*place.iterdir()}
    assert_refused(here(*arguments, cwd=place), 2, *parts)
    assert {*place.iterdir()} == before


def test_a_walk_needs_two_images(place):
    images = np.zeros((10, 8, 8), bool)
    np.savez(place / "one.npz", images=images, labels=np.arange(10) % 3)
    result = here("interpolate", "./vae", "--data", "./one.npz", cwd=place)
    assert_refused(result, 2, "test images from different classes. Received: one with 1 images")


def test_grey_data_are_binarized_when_asked(place, tmp_path):
    arguments = ("reconstruct", "./vae", "--data", "./grey.npz", "--binarize")
    assert {*numbers(place, tmp_path, *arguments)["images"].ravel()} == {0.0, 1.0}


def pixels(folder):
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [f"{k:06}.png" for k in range(len(paths))]
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def test_a_folder_of_samples_is_written_batch_by_batch_and_can_be_continued(
    place, tmp_path, monkeypatch
):
    arguments = ("sample", place / "filler", "-n", 300, "--seed", 3)
    assert here(*arguments, "-o", "all.npz", cwd=tmp_path).returncode == 0
    with np.load(tmp_path / "all.npz") as file:
        expected = file["images"][..., 0] * 255

    def interrupt(model, count, seed, labels, first, means):
        if first:
            raise KeyboardInterrupt
        return draw_samples(model, count, seed, labels, first, means)

    monkeypatch.setattr(sample, "draw_samples", interrupt)
    result = here(*arguments, "-o", "samples.v2", cwd=tmp_path)
    monkeypatch.undo()
    assert result.returncode == 130
    assert len(pixels(tmp_path / "samples.v2")) == 256
    assert "Wrote 256 of 300 samples to samples.v2." in result.stdout
    command = shlex.split(result.stdout.partition("Continue with: ")[2])
    assert here(*command[1:], cwd=tmp_path).returncode == 0
    assert np.array_equal(pixels(tmp_path / "samples.v2"), expected)


def test_samples_are_not_mixed_with_other_files(place, tmp_path):
    (tmp_path / "precious").touch()
    result = here("sample", place / "filler", "-o", tmp_path)
    assert_refused(result, 2, "must be a new or empty folder")


@pytest.mark.parametrize(
    ("name", "kind"), [("A.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("A.PNG", "PNG")]
)
def test_the_suffix_of_a_picture_may_be_in_capitals(place, tmp_path, name, kind):
    for verb, model in (("sample", "filler"), ("reconstruct", "vae")):
        result = here(verb, place / model, "-n", 4, "-o", f"{verb}-{name}", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        with Image.open(tmp_path / f"{verb}-{name}") as image:
            assert image.format == kind
    assert here("sample", place / "filler", "-o", "A.NPZ", cwd=tmp_path).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"A.NPZ", f"sample-{name}"}


@pytest.mark.parametrize("output", ["x.png", "x.npz", "folder"])
def test_a_full_disk_is_named_and_leaves_no_torn_file(place, tmp_path, monkeypatch, output):
    def fill(path, *_, **__):
        path.write_bytes(b"torn")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(render, "save", fill)
    monkeypatch.setattr(render, "save_one", fill)
    monkeypatch.setattr(sample, "save_arrays", fill)
    (tmp_path / "folder").mkdir()
    result = here("sample", place / "filler", "-o", output, cwd=tmp_path)
    assert_refused(result, 2, "No space left on device. Choose another place with -o")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]
