"""Both flows: couplings, `EndsToTails`, and a likelihood that sums to 1."""

import itertools
from statistics import NormalDist

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make
from zoo_flows.flow import CUT, MIDDLE, Coupling, EndsToTails, network
from zoo_flows.glow import Glow
from zoo_flows.realnvp import RealNVP

import zoo

SEED = tf.constant([0, 0])
FLOWS = pytest.mark.parametrize("cls", [Glow, RealNVP])
SMALL = {Glow: {"num_steps": 2}, RealNVP: {"num_couplings": 2}}


def perturbed(cls, shape, levels, by=0.1, **options):
    """Returns a model with perturbed weights, because its initial couplings are the identity."""
    keras.utils.set_random_seed(2)
    model = make(cls, shape, levels, filters=4, **SMALL[cls], **options)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + by * tf.random.stateless_normal(weight.shape, (1, k)))
    return model


def cells(model, n):
    """Returns n images of noise."""
    levels = np.random.default_rng(1).integers(0, model.levels, (n, *model.shape))
    return tf.constant(levels / (model.levels - 1), tf.float32)


@FLOWS
def test_the_log_determinant_equals_that_of_the_jacobian(cls):
    model = perturbed(cls, (4, 4, 1), 4, num_scales=2)
    s = tf.random.stateless_uniform((3, 4, 4, 1), (1, 2), maxval=4.0)
    x = tf.floor(s) / 3.0
    with tf.GradientTape() as tape:
        tape.watch(s)
        z, steps = model.latents(x, s - tf.floor(s), None)
    log_det = sum(step.forward_log_det_jacobian(h, event_ndims=3) for step, h in steps)
    jacobian = tf.reshape(tape.batch_jacobian(z, s), (3, 16, 16))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-4, atol=1e-4)


@FLOWS
@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 3)])
def test_decode_inverts_encode(cls, shape):
    model = perturbed(cls, shape, 256, by=0.05)
    x = cells(model, 4)
    np.testing.assert_allclose(model.decode(model.encode(x)), x, atol=1e-6)


@FLOWS
def test_decode_inverts_encode_after_training(cls):
    subject = zoo.testing.Subject(cls, "8-bit", {"filters": 16, **SMALL[cls]})
    model, (x, _) = subject.trained[0], subject.batch
    np.testing.assert_allclose(model.decode(model.encode(x)), x, atol=1e-6)


@FLOWS
def test_the_error_of_the_inverse_in_float32(cls):
    """Tests each bijector; the values are at most about 10."""
    model = perturbed(cls, (28, 28, 1), 256, by=0.05)
    _, steps = model.latents(cells(model, 4), 0.5, None)
    for bijector, h in steps[1:]:  # without EndsToTails, which has its own test
        back = bijector.inverse(tf.identity(bijector.forward(h)))
        np.testing.assert_allclose(back, h, atol=1e-4)


@pytest.fixture(scope="module", params=[Glow, RealNVP])
def tiny(request):
    """A flow of 2 x 2 binary images, and 8192 importance weights for each of the 16 images."""
    keras.utils.set_random_seed(2)
    model = make(request.param, (2, 2, 1), 2, filters=8, num_scales=1, **SMALL[request.param])
    images = np.array([*itertools.product([0.0, 1.0], repeat=4)], np.float32).reshape(-1, 2, 2, 1)
    model.compile()
    model.fit(np.tile(images, (1600, 1, 1, 1)), batch_size=128, shuffle=False, verbose=0)
    x = tf.constant(np.tile(images, (8192, 1, 1, 1)))
    return model, np.exp(model.log_prob(x, SEED).numpy()).reshape(8192, 16)


def test_the_density_integrates_to_one(tiny):
    _, weights = tiny
    error = np.sqrt((weights.var(axis=0) / len(weights)).sum())
    assert error < 0.02
    assert weights.mean(axis=0).sum() == pytest.approx(1.0, abs=4.5 * float(error))


def test_samples_have_the_frequencies_of_the_likelihood(tiny):
    model, weights = tiny
    samples = model.sample(20_000, SEED).numpy().reshape(-1, 4)
    counts = np.bincount((samples @ [8, 4, 2, 1]).astype(int), minlength=16) / len(samples)
    error = np.sqrt(weights.var(axis=0) / len(weights) + counts / len(samples)).max()
    np.testing.assert_allclose(counts, weights.mean(axis=0), atol=4.5 * error)


def test_bounds_increase_to_the_log_likelihood(tiny):
    _, weights = tiny
    exact = np.log(weights.mean(axis=0))
    bounds = [np.log(weights.reshape(-1, k, 16).mean(axis=1)).mean(axis=0) for k in (1, 8, 64)]
    assert (np.diff([*bounds, exact], axis=0) > 0.0).all()


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_end_cells_become_tails_of_normals(levels):
    bijector = EndsToTails(levels)
    middle = MIDDLE if levels > 2 else 0.0
    u = np.linspace(0.01, 0.99, 50, dtype=np.float32)
    y = bijector.forward(u).numpy()
    normal = NormalDist()
    expected = [normal.inv_cdf(v * normal.cdf(CUT)) - CUT - middle for v in u.tolist()]
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(bijector.forward(levels - u), np.negative(expected), atol=1e-2)
    s = tf.constant(np.linspace(0.02, levels - 0.02, 500, dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch(s)
        y = bijector.forward(s)
    assert (np.diff(y) > 0).all()
    log_slope = np.log(tape.gradient(y, s))
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(s), log_slope, atol=1e-3)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), s, atol=1e-3)


def test_a_coupling_equals_that_of_the_paper():
    keras.utils.set_random_seed(1)
    layers = network((2, 2, 4), 0, 3)
    layers.layers[-1].kernel.assign(np.random.default_rng(1).standard_normal((3, 3, 3, 4)))
    x = np.random.default_rng(2).standard_normal((1, 2, 2, 4)).astype(np.float32)
    label = tf.zeros([1, 0])
    y = Coupling(layers, label, kept=(1, 2)).forward(x).numpy()
    log_scale, shift = np.split(layers([tf.constant(x[..., 1:3]), label]), 2, axis=-1)
    np.testing.assert_array_equal(y[..., 1:3], x[..., 1:3])
    expected = np.exp(3.0 * np.tanh(log_scale / 3.0)) * x[..., [0, 3]] + shift
    np.testing.assert_allclose(y[..., [0, 3]], expected, rtol=1e-4, atol=1e-5)


@FLOWS
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters=0"),
        ({"num_scales": 0}, "num_scales=0"),
        ({"shape": (6, 8, 1)}, "num_scales=2"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"levels": 0}, "levels=0"),
    ],
)
def test_invalid_options_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        make(cls, **{"shape": (8, 8, 1), **options})
