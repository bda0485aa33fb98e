"""The VAE: the shared conformance checks, and its mathematics against independent numbers."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make

import zoo
from zoo.models.vae import VAE

test_conformance = zoo.testing.conformance(VAE, filters=4, hidden_dim=16, latent_dim=4)


@pytest.fixture(scope="module")
def tiny():
    """A VAE of 2 x 2 binary images and one latent, with weights that are not near zero."""
    keras.utils.set_random_seed(2)
    model = make(VAE, (2, 2, 1), 2, latent_dim=1, filters=4, hidden_dim=16)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.15 * tf.random.stateless_normal(weight.shape, (1, 2)))
    images = np.array([*itertools.product([0.0, 1.0], repeat=4)], np.float32)
    return model, tf.constant(images.reshape(-1, 2, 2, 1))


def exact_log_prob(model, x):
    """log p(x) by the trapezoid rule over z, which one latent allows."""
    z = np.linspace(-8, 8, 2001, dtype=np.float32)[:, None]
    log_likelihood = model.likelihood(z).log_prob(x[:, None]).numpy()  # [n, 2001]
    prior = np.exp(-0.5 * z[:, 0] ** 2) / np.sqrt(2 * np.pi)
    return np.log(np.trapezoid(np.exp(log_likelihood) * prior, z[:, 0], axis=1))


def importance_weights(model, x, k):
    """k log importance weights of each image, [k, n]: noise is by example, so one batch does."""
    many = tf.tile(x, (k, 1, 1, 1))
    return model.log_prob(many, tf.constant([0, 0])).numpy().reshape(k, len(x))


def test_exact_probabilities_sum_to_one(tiny):
    model, x = tiny
    assert np.exp(exact_log_prob(model, x)).sum() == pytest.approx(1.0, abs=1e-4)


def test_elbo_below_importance_weighted_bound_below_exact(tiny):
    model, x = tiny
    exact = exact_log_prob(model, x)
    weights = importance_weights(model, x, 8192)  # [8192, 16]
    error = 4.5 * weights.std(0) / np.sqrt(len(weights))
    bounds = [np.log(np.exp(weights).reshape(-1, k, len(x)).mean(1)).mean(0) for k in (1, 8, 8192)]
    assert (bounds[0] <= exact + error).all()
    assert (np.diff(bounds, axis=0).mean(1) > 0.001).all()
    np.testing.assert_allclose(bounds[2], exact, atol=0.03)


def test_loss_is_the_negative_elbo(tiny):
    """The closed-form KL of the loss against the sampled one of `log_prob`."""
    model, x = tiny
    loss = model.compute_loss(tf.tile(x, (512, 1, 1, 1)), None, tf.constant([0, 0]), 0)
    elbo = importance_weights(model, x, 512).mean()
    assert -loss.numpy() == pytest.approx(elbo, abs=0.03)


def test_kl_is_the_textbook_formula(tiny):
    model, x = tiny
    normal = model.posterior(x).distribution
    loc, scale = normal.loc.numpy(), normal.scale.numpy()
    expected = 0.5 * (loc**2 + scale**2 - 1.0 - 2.0 * np.log(scale)).sum(1)
    model.rate.reset_state()
    model.compute_loss(x, None, tf.constant([0, 0]), 0)
    assert model.rate.result().numpy() == pytest.approx(expected.mean(), rel=1e-4)


def test_sample_has_the_frequencies_of_the_model(tiny):
    model, x = tiny
    samples = model.sample(20_000, tf.constant([1, 1])).numpy().reshape(-1, 4)
    counts = np.bincount((samples @ [8, 4, 2, 1]).astype(int), minlength=16) / len(samples)
    expected = np.exp(exact_log_prob(model, x))
    np.testing.assert_allclose(counts, expected, atol=4.5 * np.sqrt(expected.max() / 20_000))


def test_decode_is_the_mean_of_what_sample_draws():
    for levels in (2, 256):
        model = make(VAE, (8, 8, 1), levels, latent_dim=2, filters=4)
        z = tf.constant([[0.3, -1.2]])
        likelihood = model.likelihood(z).distribution
        u = (np.arange(4096, dtype=np.float32) + 0.5)[:, None, None, None] / 4096
        if levels == 2:
            samples = tf.cast(u < likelihood.probs_parameter(), tf.float32)
        else:
            samples = likelihood.quantile(u) / 255.0
        np.testing.assert_allclose(model.decode(z)[0], np.mean(samples, axis=0), atol=3e-3)


@pytest.mark.parametrize("shape", [(7, 9, 1), (1, 1, 1), (33, 20, 3)])
def test_any_size_of_image(shape):
    model = make(VAE, shape, 256, latent_dim=3, filters=4)
    x = model.sample(2, tf.constant([0, 0]))
    assert x.shape == (2, *shape)
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.slow
def test_the_first_steps_on_large_images_do_not_overflow():
    """Without `bounded` the loss of these steps is 1e18 nats, then NaN."""
    keras.utils.set_random_seed(3)
    model = make(VAE, (64, 64, 3), 256)
    model.compile(total_steps=40)
    x = np.full((32, 64, 64, 3), 240, np.float32) / np.float32(255)
    for k, image in enumerate(x):
        image[k : k + 30, 2 * k % 30 :, k % 3] = 40 / np.float32(255)
    history = model.fit(x, batch_size=32, epochs=8, shuffle=False, verbose=0).history
    assert max(history["loss"]) < 1e9
    assert history["loss"][-1] < 1.2 * history["loss"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"filters": -1}, "filters=-1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"levels": 0}, "levels=0"),
        ({"levels": 1}, "levels=1"),
        ({"shape": (0, 8, 1)}, "shape="),
        ({"num_classes": -1}, "levels=-1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(VAE, **{"shape": (8, 8, 1), **options})
