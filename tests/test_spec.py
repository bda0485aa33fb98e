"""Spec: validation, conversion of examples, and whether data fit a model."""

import types

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.errors import InputError
from zoo.spec import Spec, check_fit, upgrade

IMAGE = Spec((28, 28, 1))
BINARY = Spec((28, 28, 1), levels=2)
LABEL = Spec((), 10, "label")
TEXT = Spec((4,), 3, "tokens", names="abc")
SOUND = Spec((8, 2), 256, "audio", rate=8000)
REAL = Spec((8, 2), 0, "audio", rate=8000)
ALL = pytest.mark.parametrize(
    "spec", [IMAGE, BINARY, LABEL, TEXT, SOUND, REAL], ids=lambda spec: f"{spec.kind}{spec.levels}"
)


def split(spec=IMAGE, condition=LABEL):
    return types.SimpleNamespace(name="digits", spec=spec, condition=condition)


@ALL
def test_json_and_back_is_the_same_spec(spec):
    assert Spec.from_json(spec.to_json()) == spec == Spec.from_json(spec)
    assert zoo.Spec is Spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 8),), r"shape of image must be \(height, width, channels\).*shape=\(8, 8\)"),
        (((0, 8, 1),), "each at least 1"),
        (((8, 8, 1), 0), "levels must be 2 to 65536. Received: levels=0"),
        (((8, 8, 1), 2**16 + 1), "levels=65537"),
        (((8, 1), 1, "audio"), "levels must be 0, or 2 to 65536"),
        (((4,), 3, "tokens", "ab"), "one name per level, 3 in total. Received: 2 names"),
        (
            ((), 3, "class"),
            "kind must be one of image, tokens, audio, label, domain. Received: kind=class",
        ),
        (((8, 1), 0, "audio"), "must be positive for audio, and 0 for other kinds. .*rate=0"),
        (((8, 8, 1), 2, "image", (), 8000), "rate=8000, kind=image"),
    ],
)
def test_invalid_specs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spec(*arguments)


@ALL
def test_every_value_of_a_spec_is_on_its_grid_and_survives_being_stored(spec):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, spec.levels or 1, (300, *spec.shape))
    x = levels.astype(np.int32)
    if spec.dtype == "float32":
        x = (spec.low + levels / max(1, spec.levels - 1) * (spec.high - spec.low)).astype("float32")
    if not spec.levels:
        x = rng.uniform(-1.0, 1.0, levels.shape).astype(np.float32)
    spec.check(x, "vae")
    assert spec.off_grid(x) < 5e-3
    stored = spec.store(x)
    assert np.array_equal(stored, levels if spec.levels else x)
    assert stored.itemsize == (1 if spec.levels else 4)
    np.testing.assert_allclose(spec.scale(stored), x, atol=1e-7)
    assert spec.scale(stored).dtype == spec.tensor_spec().dtype == spec.dtype


def test_sixteen_bits_are_kept():
    spec = Spec((1, 2**16, 1), 2**16)
    x = (np.arange(2**16) / (2**16 - 1)).astype(np.float32).reshape(1, 1, -1, 1)
    spec.check(x, "vae")
    assert np.array_equal(spec.store(x).reshape(-1), np.arange(2**16))


@pytest.mark.parametrize(
    ("value", "levels", "distance"),
    [(0.5, 2, 0.5), (1.25, 2, 0.25), (-0.125, 2, 0.125), (0.25 / 255, 256, 0.25)],
)
@pytest.mark.parametrize("make", [np.array, tf.constant], ids=["array", "tensor"])
def test_distances_are_in_levels(make, value, levels, distance):
    x = make([0.0, value, 1.0], "float32")
    assert float(Spec((1, 1, 1), levels).off_grid(x)) == pytest.approx(distance, abs=1e-4)


def test_sound_reaches_from_minus_one_to_one():
    three = Spec((1, 1), 3, "audio", rate=1)
    assert float(three.off_grid(np.float32([-1.0, 0.0, 1.0]))) == 0.0
    assert float(three.off_grid(np.float32([-0.5]))) == pytest.approx(0.5)
    np.testing.assert_array_equal(three.nearest(tf.constant([-0.9, -0.4, 0.6])), [-1, 0, 1])
    assert float(REAL.off_grid(np.float32([1.01]))) == np.inf


def test_integers_outside_are_off_by_their_distance():
    assert float(TEXT.off_grid(np.array([0, 2]))) == 0.0
    assert float(TEXT.off_grid(np.array([-2, 4]))) == 2.0


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("spec", [BINARY, SOUND, REAL], ids=["binary", "sound", "real"])
def test_nan_is_off_the_grid(spec, position):
    x = np.zeros(3, np.float32)
    x[position] = np.nan
    assert spec.off_grid(x) == np.inf


SMALL = Spec((8, 8, 1), levels=2)


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        (SMALL, np.zeros((2, 8, 8, 1), bool), r"bool of shape \(2, 8, 8, 1\)\. Cast it: x\.astype"),
        (SMALL, np.zeros((2, 8, 8, 1), np.uint8), r"0 or 1\. Received: uint8 .* Binarize it"),
        (SMALL, np.zeros((2, 8, 8), np.float32), r"Add the last axis: x\[\.\.\., None\]"),
        (SMALL, np.zeros((0, 8, 8, 1), np.float32), "Received: no examples"),
        (SMALL, np.full((2, 8, 8, 1), np.nan, np.float32), "a value that is NaN or infinite"),
        (SMALL, np.full((2, 8, 8, 1), np.inf, np.float32), "a value that is NaN or infinite"),
        (SMALL, np.full((2, 8, 8, 1), 0.5, np.float32), r"0\.5 levels from .*\. Binarize it"),
        (SMALL, None, r"vae expects floats of shape .*, 0 or 1\. Received: None. Pass an array"),
        (IMAGE, np.zeros((2, 28, 28, 1), np.uint8), r"Scale it: x\.astype\('float32'\) / 255"),
        (
            LABEL,
            np.arange(3.0),
            r"integer labels of shape \(n,\) from 0 to 9\. Received: float64",
        ),
        (LABEL, np.zeros((3, 1), int), r"Remove the last axis: y\[\.\.\., 0\]"),
        (LABEL, np.array([3, 10]), "Received: values from 3 to 10"),
        (LABEL, 3, "Received: int. Pass an array"),
        (LABEL, None, "Received: no labels. Pass one label per example"),
        (
            TEXT,
            np.array([[0, 1, 2, 3]]),
            r"shape \(n, 4\) from 0 to 2\. Received: values from 0 to 3",
        ),
        (REAL, np.full((1, 8, 2), 1.5), "a value that is NaN or not from -1 to 1"),
    ],
)
def test_arrays_that_do_not_match_are_refused(spec, x, message):
    with pytest.raises(InputError, match=message):
        spec.check(x, "vae")


def test_an_invalid_value_is_detected_at_any_position():
    x = np.zeros((3000, 8, 8, 1), np.float32)
    x[2500, 4, 4, 0] = 0.5
    with pytest.raises(InputError, match="levels from the nearest"):
        SMALL.check(x, "vae")


def test_specs_match_by_what_a_model_depends_on():
    assert LABEL.matches(Spec((), 10, "label", names="0123456789"))
    assert not LABEL.matches(Spec((), 3, "label"))
    assert not LABEL.matches(None)
    assert TEXT.matches(Spec((4,), 3, "tokens", names="abc"))
    assert not TEXT.matches(Spec((4,), 3, "tokens", names="abd"))
    assert not SOUND.matches(Spec((8, 2), 256, "audio", rate=16000))
    assert not IMAGE.matches(BINARY)


@pytest.mark.parametrize("condition", [None, LABEL], ids=["unconditional", "conditional"])
def test_data_that_fit_are_accepted(condition):
    check_fit(split(), "vae", IMAGE, condition)


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (
            split(Spec((32, 32, 1))),
            r"vae expects images of shape \(28, 28, 1\) and 2 levels\. Received: digits with images"
            r" of shape \(32, 32, 1\) and 256 levels\. Add size=28\.",
        ),
        (split(Spec((28, 28, 3))), r"shape \(28, 28, 3\) and 256 levels\. Use other data\."),
        (split(IMAGE), r"and 256 levels\. Add binarize=True"),
        (split(TEXT), r"Received: digits with texts of 4 tokens out of 3\. Use other data\."),
        (split(BINARY, None), r"labels of 10 classes\. Received: digits with no labels"),
        (
            split(BINARY, Spec((), 3, "label")),
            r"labels of 10 classes\. .* with labels of 3 classes",
        ),
    ],
    ids=["size", "channels", "levels", "kind", "no labels", "other labels"],
)
def test_data_that_do_not_fit_are_refused_with_advice(received, message):
    with pytest.raises(InputError, match=message):
        check_fit(received, "vae", BINARY, LABEL)


@pytest.mark.parametrize(
    ("expected", "received", "advice"),
    [
        (TEXT, Spec((8,), 3, "tokens", names="abc"), r"Add length=4\."),
        (TEXT, Spec((4,), 3, "tokens", names="abd"), r"Its characters differ\."),
        (Spec((4,), 256, "tokens"), TEXT, r"Add bytes=True\."),
        (SOUND, Spec((8, 2), 256, "audio", rate=9), r"Add rate=8000\."),
        (SOUND, Spec((9, 2), 256, "audio", rate=8000), r"Add length=8\."),
    ],
)
def test_texts_and_sounds_that_do_not_fit_are_refused_with_advice(expected, received, advice):
    with pytest.raises(InputError, match=advice):
        check_fit(split(received), "model", expected)


def test_options_of_schema_1_are_upgraded():
    old = {"shape": [8, 8, 1], "levels": 2, "num_classes": 3, "filters": 4}
    new = {
        "spec": SMALL.to_json(),
        "condition": Spec((), 3, "label", "abc").to_json(),
        "filters": 4,
    }
    assert upgrade(old, "abc") == new == upgrade(new)
    assert upgrade({**old, "num_classes": 0})["condition"] is None
    assert "condition" not in upgrade({"shape": [8, 8, 1], "levels": 2})
