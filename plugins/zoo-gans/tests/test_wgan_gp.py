"""WGAN-GP: conformance tests, and losses and steps that equal independent computations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make
from zoo_gans import networks
from zoo_gans.wgan_gp import WGANGP

import zoo

test_conformance = zoo.testing.conformance(
    WGANGP, filters=8, latent_dim=16, num_critic_steps=2, learning_rate=2e-3
)


def create():
    """Returns a WGAN-GP, four 8 x 8 images of 256 levels, and their labels."""
    keras.utils.set_random_seed(1)
    model = make(WGANGP, (8, 8, 1), 256, num_classes=2, latent_dim=3, filters=4, num_critic_steps=3)
    x = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1)).astype(np.float32) / 255.0
    return model, tf.constant(x), tf.constant([0, 1, 1, 0])


@pytest.fixture
def tiny():
    return create()


def values(weights):
    return [w.numpy() for w in weights]


def test_the_losses_equal_those_of_the_paper(tiny):
    model, x, y = tiny
    model.compile()
    metrics = {key: float(value) for key, value in model.test_step((x, y)).items()}
    fakes = model.sample(4, model.step_seed(0), condition=y)
    on_data, on_fakes = (
        model.discriminate(images, tf.one_hot(y, 2)).numpy().astype(np.float64)
        for images in (x, fakes)
    )
    assert metrics["discriminator_loss"] == pytest.approx((on_fakes - on_data).mean(), abs=1e-6)
    assert metrics["generator_loss"] == pytest.approx(-on_fakes.mean(), abs=1e-6)
    assert metrics["discriminator_accuracy"] == pytest.approx(np.mean(on_data > on_fakes))


def test_the_penalty_uses_gradients_between_data_and_fakes(tiny):
    """Uses a quadratic critic, whose gradient is a matrix product."""
    model, x, _ = tiny
    rng = np.random.default_rng(2)
    fakes = rng.random((4, 8, 8, 1)).astype(np.float32)
    a, b = rng.standard_normal((64, 64)) / 64.0, rng.standard_normal(64) / 4.0

    def critic(images, label):
        h = tf.reshape(images, [-1, 64])
        return tf.reduce_sum(h * (h @ tf.constant(a, tf.float32) + tf.constant(b, tf.float32)), 1)

    model.discriminate = critic
    seed = tf.constant([1, 2])
    u = zoo.random.uniform(seed, 5, 4, (1,)).numpy().astype(np.float64)
    assert len(np.unique(u)) == 4
    y = u * x.numpy().reshape(4, 64) + (1.0 - u) * fakes.reshape(4, 64)
    slopes = np.linalg.norm(y @ (a + a.T) + b, axis=1)
    penalty = model.gradient_penalty(x, fakes, None, seed, 5)
    assert float(penalty) == pytest.approx(np.mean((slopes - 1.0) ** 2), rel=1e-4)


def test_a_constant_critic_has_finite_gradients(tiny):
    model, x, y = tiny
    kernel = model.discriminator.trainable_variables[-1]
    kernel.assign(tf.zeros_like(kernel))
    with tf.GradientTape() as tape:
        penalty = model.gradient_penalty(x, x, tf.one_hot(y, 2), tf.constant([1, 2]), 0)
    assert float(penalty) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(tape.gradient(penalty, kernel)).all()


def linear(shape, num_classes, filters, use_bias):
    """Builds a linear critic with one weight vector."""
    image, label = keras.Input(shape), keras.Input((num_classes,))
    product = keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(image))
    return keras.Model([image, label], product[:, 0] + keras.ops.sum(0.0 * label, axis=1))


def test_a_critic_step_equals_the_closed_form(monkeypatch):
    """Uses a linear critic w, whose penalty is 10 (|w| - 1)^2 everywhere."""
    monkeypatch.setattr(networks, "discriminator", linear)
    model, x, y = create()
    (weight,) = model.discriminator.weights
    w = weight.numpy()[:, 0].astype(np.float64)
    zoo.testing.compile_with_descent(model, 0.0, 0.5)
    seed = zoo.random.fold_in(zoo.random.fold_in(tf.zeros([2], tf.int32), 0, 1), 0)
    fakes = model.fakes(seed, 0, tf.one_hot(y, 2), training=True).numpy()
    model.train_step((x, y))
    gradient = fakes.reshape(4, 64).mean(0) - x.numpy().reshape(4, 64).mean(0)
    size = np.linalg.norm(w)
    assert abs(size - 1.0) > 0.1
    gradient += 10.0 * 2.0 * (size - 1.0) * w / size
    np.testing.assert_allclose(weight.numpy()[:, 0], w - 0.5 * gradient, atol=1e-5)


def test_the_generator_is_updated_every_num_critic_steps(tiny):
    model, x, y = tiny
    model.compile()
    step = tf.function(model.train_step)
    moved = []
    for _ in range(7):
        both = (model.moved_weights, model.discriminator.trainable_variables)
        before = [*map(values, both)]
        step((x, y))
        pairs = zip(before, map(values, both), strict=True)
        moved.append(tuple(any(map(np.any, map(np.subtract, *pair))) for pair in pairs))
    assert [critic for _, critic in moved] == 7 * [True]
    assert [generator for generator, _ in moved] == [False, False, True, False, False, True, False]


def test_a_generator_step_follows_the_gradient_of_the_critic(tiny):
    model, x, y = tiny
    zoo.testing.compile_with_descent(model, 1.0, 0.0)
    model.step.assign(2)
    label = tf.one_hot(y, 2)
    seed = zoo.random.fold_in(zoo.random.fold_in(tf.zeros([2], tf.int32), 0, 3), 2)
    z = zoo.random.normal(seed, 0, 4, (3,))
    rounded = tf.grad_pass_through(lambda images: tf.round(255.0 * images) / 255.0)
    with tf.GradientTape() as tape:
        fakes = rounded(model.generator([z, label], training=True))
        worth = tf.reduce_mean(model.discriminator([fakes, label]))
    expected = tape.gradient(worth, model.generator.trainable_variables)
    before, critic = values(model.moved_weights), values(model.discriminator.weights)
    model.train_step((x, y))
    for new, old, gradient in zip(values(model.moved_weights), before, expected, strict=True):
        np.testing.assert_allclose(new - old, gradient, atol=1e-6)
    assert all(map(np.array_equal, critic, values(model.discriminator.weights)))


def test_both_learning_rates_decay_to_0(tiny):
    model, x, y = tiny
    model.compile(total_steps=6)
    rates = []
    for _ in range(6):
        optimizers = (model.generator_optimizer, model.discriminator_optimizer)
        rates.append([float(optimizer.learning_rate) for optimizer in optimizers])
        model.train_step((x, y))
    generator, critic = zip(*rates, strict=True)
    assert [int(optimizer.iterations) for optimizer in optimizers] == [2, 6]
    assert generator[0] == critic[0] == pytest.approx(model.learning_rate)
    assert [float(optimizer.learning_rate) for optimizer in optimizers] == [0.0, 0.0]


def test_diagnose_ignores_the_value_of_the_critic():
    model = make(WGANGP, (8, 8, 1), 256, filters=4)
    assert model.diagnose([{"step": 10 * k, "generator_loss": 99.0} for k in range(300)]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (7, 28, 1)}, r"must be 8 or more.*shape=\(7, 28, 1\)"),
        ({"shape": (28, 28)}, r"shape=\(28, 28\)"),
        ({"levels": 0}, "levels=0"),
        ({"filters": 0}, "filters=0"),
        ({"num_critic_steps": 0}, "num_critic_steps=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(WGANGP, **{"shape": (8, 8, 1), **options})
