"""A loaded SavedModel: its methods and arguments, and how damage is refused."""

from copy import copy as shallow_copy

import numpy as np
import pytest
from support.shell import assert_refused, flip, here

import zoo
from zoo.errors import ArtefactError, InputError


def test_a_seed_may_be_one_int_and_a_draw_may_be_made_in_parts(plain):
    full = plain.sample(6, seed=5).numpy()
    assert np.array_equal(full, plain.sample(6, [0, 5]))
    assert np.array_equal(full, plain.sample(num_samples=6, seed=np.int64(5), first=0))
    assert np.array_equal(full[4:], plain.sample(2, 5, first=4))
    assert not np.array_equal(full, plain.sample(6, seed=6))


def test_models_are_shown_with_their_specs_and_methods(conditional):
    saved, model = conditional
    assert repr(saved).startswith("<SavedModel vae of images of shape (8, 8, 1) and 2 levels in ")
    assert repr(saved).endswith(": sample, log_prob, encode, decode, reconstruct>")
    assert "labels of 3 classes" in saved._repr_html_()
    count = sum(weight.shape.num_elements() for weight in model.trainable_weights)
    shown = "<VAE of images of shape (8, 8, 1) and 2 levels, given labels of 3 classes:"
    assert repr(model) == f"{shown} {count:,} trainable parameters>"


def test_an_empty_batch_is_empty(conditional, plain):
    empty = np.zeros((0, 8, 8, 1), np.float32)
    assert plain.sample(0, seed=5).shape == empty.shape
    assert plain.log_prob(empty, seed=0).shape == (0,)
    assert conditional[0].encode(empty, np.zeros(0, np.int32)).shape[0] == 0


@pytest.mark.parametrize("seed", [2**32, -(2**31) - 1, [0, 2**31], [1], [1, 2, 3], 0.5, "1", None])
def test_bad_seeds_are_told(plain, seed):
    with pytest.raises(InputError, match="seed must be one int32 or two"):
        plain.sample(1, seed)


def test_a_loaded_model_can_be_copied(plain):
    assert np.array_equal(shallow_copy(plain).sample(2, 0), plain.sample(2, 0))


@pytest.mark.parametrize(
    "labels", [None, [0, 1], [[0, 1, 2]], [0, 1, 3], [0, 1, -1], [0.0, 1.0, 2.0]]
)
def test_bad_labels_are_told(conditional, labels):
    with pytest.raises(
        InputError, match=r"integer labels of shape \(n,\) from 0 to 2|same number of examples"
    ):
        conditional[0].sample(3, 0, labels)


def test_labels_for_an_unconditional_model_are_told(plain):
    with pytest.raises(InputError, match=r"not conditional\. Omit the condition"):
        plain.sample(3, 0, [0, 1, 2])


def test_grey_data_for_a_binary_model_are_told(conditional, plain):
    grey = np.full((3, 8, 8, 1), 0.5, np.float32)
    message = (
        r"Data must be one of 2 values from 0 to 1, evenly spaced\. Binarize it, or train with"
        r" 256 levels\.$"
    )
    with pytest.raises(InputError, match=message):
        plain.log_prob(grey, seed=0)
    with pytest.raises(InputError, match=message):
        conditional[0].encode(grey, [0, 1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.log_prob(np.zeros((3, 9, 9, 1), np.float32), seed=0),
        lambda model: model.log_prob(np.zeros((8, 8, 1), np.float32), seed=0),
        lambda model: model.log_prob("photo.png", seed=0),
        lambda model: model.sample(4, seed=[1, 2, 3]),
        lambda model: model.sample(4, seed="dice"),
        lambda model: model.sample(-1, seed=0),
        lambda model: model.sample("four", seed=0),
    ],
    ids=["size", "no batch", "path", "seed of 3", "seed of str", "negative", "number as str"],
)
def test_an_invalid_argument_is_refused_with_one_line(plain, call):
    with pytest.raises(InputError) as caught:
        call(plain)
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_dir_lists_what_it_can(plain, conditional):
    assert {"sample", "log_prob", "card", "name"} <= {*dir(plain)}
    assert "encode" not in dir(plain)
    assert "encode" in dir(conditional[0])


def test_what_a_model_cannot_is_no_attribute(plain):
    assert not hasattr(plain, "encode")
    with pytest.raises(AttributeError, match="has no 'encode': it can sample, log_prob"):
        plain.encode(np.zeros((1, 8, 8, 1)))
    with pytest.raises(TypeError, match="num"):
        plain.sample(3, seed=0, num=4)


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "golden.npz",
    ],
)
def test_a_damaged_file_is_refused_and_named(copy, name):
    flip(copy / name)
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        zoo.load(copy)
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / name} is damaged")
    (copy / name).unlink()
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / name} is missing")
    assert not (copy.parent / "samples.png").exists()
