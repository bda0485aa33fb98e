"""DDPM: conformance tests, and formulas that equal independent computations."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make
from zoo_diffusion.ddpm import DDPM

import zoo

test_conformance = zoo.testing.conformance(
    DDPM, diffusion_steps=50, num_steps=5, filters=8, num_blocks=1
)

SEED = tf.constant([1, 2])


def small(shape=(2, 2, 1), levels=2, **options):
    """Returns a small DDPM with perturbed weights, so that its predictions are not near 0."""
    keras.utils.set_random_seed(1)
    model = make(DDPM, shape, levels, filters=4, num_blocks=1, **options)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.2 * tf.random.stateless_normal(weight.shape, (3, k)))
    return model


def alphas(model):
    """Returns 1 - beta_t of the paper for t = 1 … T in float64. Their product is a_t^2."""
    return np.cos(model.angles[1:]) ** 2 / np.cos(model.angles[:-1]) ** 2


def by_hand(model, t):
    """Returns beta_t, alpha_t, and the products of all alphas up to t and up to t - 1."""
    alpha = alphas(model)
    return 1.0 - alpha[t - 1], alpha[t - 1], np.prod(alpha[:t]), np.prod(alpha[: t - 1])


def images(model):
    """Returns all possible images of a model."""
    grid = np.linspace(0.0, 1.0, model.levels)
    values = np.array([*itertools.product(grid, repeat=int(np.prod(model.shape)))], np.float32)
    return tf.constant(values.reshape(-1, *model.shape))


def bounds(model, x, count, first=0):
    """Returns repeated estimates of `log_prob` per image, [count, n]."""
    many = tf.tile(x, (count, 1, 1, 1))
    return model.log_prob(many, SEED, first=first).numpy().reshape(count, len(x)).astype(np.float64)


def test_noise_is_added_step_by_step():
    """Means and variances of the chain of x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) noise."""
    model = small(diffusion_steps=9, num_steps=3)
    mean, variance = 1.0, 0.0
    for t, alpha in enumerate(alphas(model), start=1):
        mean, variance = np.sqrt(alpha) * mean, alpha * variance + 1.0 - alpha
        ones, zeros = tf.ones([1, 2, 2, 1]), tf.zeros([1, 2, 2, 1])
        np.testing.assert_allclose(model.diffused(ones, zeros, [t]), mean * ones, atol=1e-6)
        deviation = np.sqrt(variance) * ones
        np.testing.assert_allclose(model.diffused(zeros, ones, [t]), deviation, atol=1e-6)
    assert mean == pytest.approx(0.0, abs=1e-12)
    assert variance == pytest.approx(1.0)


@pytest.mark.parametrize("levels", [2, 256])
def test_the_first_noise_is_a_quarter_of_a_level(levels):
    a, s = small(levels=levels).coefficients([1])
    assert float(s[0, 0, 0, 0] / a[0, 0, 0, 0]) * (levels - 1) / 2 == pytest.approx(1 / 4)


def test_the_posterior_equals_that_of_the_paper():
    """Ho et al., equations 6 and 7."""
    model = small(diffusion_steps=6, num_steps=6, sampler="ddpm")
    x0, x = np.random.default_rng(1).standard_normal((2, 1, 2, 2, 1)).astype(np.float32)
    for t in range(1, 6):
        beta, alpha, bar, before = by_hand(model, t)
        loc, scale = model.posterior(x0, x, [t], [t - 1])
        expected = np.sqrt(before) * beta * x0 + np.sqrt(alpha) * (1.0 - before) * x
        np.testing.assert_allclose(loc, expected / (1.0 - bar), rtol=1e-4, atol=1e-5)
        variance = float(scale[0, 0, 0, 0]) ** 2
        assert variance == pytest.approx(beta * (1.0 - before) / (1.0 - bar), rel=1e-3, abs=1e-9)


def test_a_ddpm_step_equals_algorithm_2():
    model = small(diffusion_steps=6, num_steps=6, sampler="ddpm")
    x = tf.constant([[[[0.1], [-0.2]], [[0.0], [0.3]]]])
    for t in range(2, 6):
        beta, alpha, bar, _ = by_hand(model, t)
        v = model.velocity(x, [t], None)
        noise = (
            np.sqrt(1.0 - bar) * x + np.sqrt(bar) * v
        )  # as x = a x_0 + s noise, v = a noise - s x_0
        expected = (x - beta / np.sqrt(1.0 - bar) * noise) / np.sqrt(alpha)
        denoised = model.denoised(x, [t])
        loc, _ = model.posterior(denoised, x, [t], [t - 1])
        inside = np.abs(denoised) < 1.0
        assert inside.any()
        np.testing.assert_allclose(loc[inside], expected[inside], rtol=1e-4, atol=1e-5)


def test_the_noise_of_a_short_step_is_accurate():
    model = small(levels=256, diffusion_steps=1000, sampler="ddpm")
    t = np.arange(2, 1001)
    bar = np.cos(model.angles) ** 2
    expected = (1.0 - bar[t - 1]) / (1.0 - bar[t]) * (1.0 - bar[t] / bar[t - 1])  # in float64
    x = tf.zeros([len(t), *model.shape])
    _, scale = model.posterior(x, x, t, t - 1)
    np.testing.assert_allclose(scale[:, 0, 0, 0], np.sqrt(expected), rtol=1e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("num_steps", [1, 3, 7])
def test_samples_follow_the_steps_of_song_et_al(sampler, num_steps):
    """Equation 12 with the sigma of equation 16 and eta of 1 or 0, for a subset of the steps."""
    model = small(levels=256, diffusion_steps=7, sampler=sampler, num_steps=num_steps)
    times = [7 * k // num_steps for k in range(num_steps + 1)]
    bar = np.cos(model.angles) ** 2

    def noise(k):
        return zoo.random.normal(zoo.random.fold_in(SEED, k), 3, 5, model.shape).numpy()

    x = noise(num_steps + 1)
    for k in range(num_steps, 0, -1):
        t, to = times[k], times[k - 1]
        x0 = model.denoised(tf.constant(x, tf.float32), tf.fill([5], t)).numpy()
        sigma = np.sqrt((1 - bar[to]) / (1 - bar[t])) * np.sqrt(1 - bar[t] / bar[to])
        sigma *= sampler == "ddpm"
        direction = (x - np.sqrt(bar[t]) * x0) / np.sqrt(1 - bar[t])
        x = np.sqrt(bar[to]) * x0 + np.sqrt(np.maximum(1 - bar[to] - sigma**2, 0)) * direction
        x += sigma * noise(k)
    expected = 127.5 * (x + 1.0)
    if sampler == "ddpm":
        u = zoo.random.uniform(zoo.random.fold_in(SEED, 0), 3, 5, model.shape).numpy()
        expected += np.log(u / (1.0 - u)) / 12.0
    levels = 255.0 * model.sample(5, SEED, first=3).numpy()
    np.testing.assert_allclose(levels, np.clip(expected, 0.0, 255.0), atol=0.51)


def test_the_loss_is_equation_14_divided_by_a_squared():
    model = small(diffusion_steps=5, num_steps=5)
    x = tf.repeat(images(model)[5:6], 64, axis=0)
    u = zoo.random.uniform(zoo.random.fold_in(SEED, 0), 0, 64, ())
    t = 1 + np.floor(5.0 * u).astype(np.int32)
    keep = np.cos(model.angles[t])[:, None, None, None]
    assert set(t) == {1, 2, 3, 4, 5}
    noise = zoo.random.normal(zoo.random.fold_in(SEED, 1), 0, 64, model.shape).numpy()
    x_t = keep * (2.0 * x - 1.0) + np.sqrt(1.0 - keep**2) * noise
    v = model.velocity(tf.cast(x_t, tf.float32), t, None)
    error = (noise - np.sqrt(1.0 - keep**2) * x_t - keep * v) / keep  # of the noise it sees
    # At t = T, a is 0, and the noise does not determine v.
    expected = np.where(keep > 1e-9, error, 2.0 * x - 1.0 + v)
    loss = model.compute_loss(x, None, SEED, 0)
    assert float(loss) == pytest.approx((expected**2).mean(), rel=1e-4)


@pytest.mark.parametrize("steps", [2, 6])
def test_the_bound_is_unbiased(steps):
    """Compares with the KL divergences of the paper and an explicit sum over the decoder."""
    model = small(levels=4, diffusion_steps=steps, num_steps=steps, sampler="ddpm")
    x = images(model)[37]
    rng, count = np.random.default_rng(1), 4096
    x0 = np.repeat(2.0 * x[None] - 1.0, count, axis=0)
    total = np.zeros(count)
    for t in range(1, 1 + steps):
        noise = rng.standard_normal(x0.shape)
        x_t = np.cos(model.angles[t]) * x0 + np.sin(model.angles[t]) * noise
        x_t, times = tf.cast(x_t, tf.float32), tf.fill([count], t)
        denoised = model.denoised(x_t, times).numpy()
        if t == 1:
            edges = (np.arange(5) - 0.5 - 1.5 * (denoised[..., None] + 1.0)) * 12.0
            edges[..., 0], edges[..., -1] = -np.inf, np.inf
            probs = np.diff(1.0 / (1.0 + np.exp(-edges)), axis=-1)
            np.testing.assert_allclose(probs.sum(-1), 1.0)
            index = np.round(3.0 * x).astype(int)[None, ..., None]
            total += np.log(np.take_along_axis(probs, index, -1)).sum((1, 2, 3, 4))
        else:
            to = times - 1
            (loc, scale), (guess, _) = (model.posterior(z, x_t, times, to) for z in (x0, denoised))
            total -= (0.5 * ((loc - guess) / scale) ** 2).numpy().sum((1, 2, 3))
    estimates = bounds(model, x[None], count)[:, 0]
    error = np.hypot(estimates.std(), total.std()) / np.sqrt(count)
    assert estimates.mean() == pytest.approx(total.mean(), abs=4.5 * error)
    assert error < 0.05 * abs(total.mean())


def test_the_bound_is_tight_for_the_optimal_network():
    """Two fair coins: the mean of x_0 given x_t is tanh(a x_t / s^2), and log p(x) = -2 log 2."""
    model = small((1, 2, 1), num_steps=5)

    def denoised(x, t, condition=None):
        a, s = model.coefficients(t)
        return tf.tanh(a * x / s**2)

    model.denoised = denoised
    values = bounds(model, images(model), 8192)
    error = values.std() / np.sqrt(values.size)
    assert error < 0.01
    assert -2.0 * np.log(2.0) - 0.2 < values.mean() < -2.0 * np.log(2.0) + 4.5 * error


def test_bounds_of_all_images_sum_to_less_than_one():
    model = small(diffusion_steps=40, num_steps=5)
    values = bounds(model, images(model), 512)
    error = values.std(0) / np.sqrt(len(values))
    assert np.exp(values.mean(0) + 3.0 * error).sum() < 1.0


@pytest.mark.parametrize("shape", [(7, 9, 1), (1, 1, 1), (33, 20, 3)])
def test_images_of_any_size(shape):
    model = small(shape, 256, diffusion_steps=4, num_steps=2)
    x = model.sample(2, SEED)
    assert x.shape == (2, *shape)
    assert model.log_prob(x, SEED).shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 8)}, r"shape=\(8, 8\)"),
        ({"levels": 0}, "levels=0"),
        ({"sampler": "euler"}, "sampler='euler'"),
        ({"diffusion_steps": 1, "num_steps": 1}, "diffusion_steps=1"),
        ({"diffusion_steps": 10, "num_steps": 11}, "num_steps=11"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"filters": 1}, "filters=1"),
        ({"num_blocks": 0}, "num_blocks=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(DDPM, **{"shape": (8, 8, 1), **options})
