"""LSGAN: conformance tests, and losses and steps that equal independent computations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make
from zoo_gans.lsgan import LSGAN

import zoo

test_conformance = zoo.testing.conformance(LSGAN, filters=8, latent_dim=16, learning_rate=2e-3)


@pytest.fixture
def tiny():
    """An LSGAN, four 8 x 8 images of 256 levels, and their labels."""
    keras.utils.set_random_seed(1)
    model = make(LSGAN, (8, 8, 1), 256, num_classes=2, latent_dim=3, filters=4)
    x = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1)).astype(np.float32) / 255.0
    return model, tf.constant(x), tf.constant([0, 1, 1, 0])


def test_the_losses_equal_those_of_the_paper(tiny):
    model, x, y = tiny
    model.compile()
    metrics = {key: float(value) for key, value in model.test_step((x, y)).items()}
    fakes = model.sample(4, model.step_seed(0), condition=y)
    on_data, on_fakes = (
        model.discriminate(images, tf.one_hot(y, 2)).numpy().astype(np.float64)
        for images in (x, fakes)
    )
    loss = 0.5 * np.mean((on_data - 1.0) ** 2) + 0.5 * np.mean(on_fakes**2)
    assert metrics["discriminator_loss"] == pytest.approx(loss, rel=1e-5)
    loss = 0.5 * np.mean((on_fakes - 1.0) ** 2)
    assert metrics["generator_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["discriminator_accuracy"] == pytest.approx(np.mean(on_data > on_fakes))


@pytest.mark.parametrize("scale", [1.0, 1e-12])
def test_one_pass_gives_the_gradients_of_both_losses(tiny, scale):
    """Compares with two tapes, also for outputs of D near 0, its target for fakes."""
    model, x, y = tiny
    kernel, bias = model.discriminator.trainable_variables[-2:]
    kernel.assign(scale * kernel)
    bias.assign(tf.zeros_like(bias))
    label = tf.one_hot(y, 2)
    seed = zoo.random.fold_in(zoo.random.fold_in(tf.zeros([2], tf.int32), 0, 1), 0)
    z = zoo.random.normal(seed, 0, 4, (3,))
    rounded = tf.grad_pass_through(lambda images: tf.round(255.0 * images) / 255.0)
    with tf.GradientTape(persistent=True) as tape:
        fakes = rounded(model.generator([z, label], training=True))
        on_data, on_fakes = (model.discriminator([images, label]) for images in (x, fakes))
        generator_loss = tf.reduce_mean(0.5 * (on_fakes - 1.0) ** 2)
        discriminator_loss = tf.reduce_mean(0.5 * (on_data - 1.0) ** 2 + 0.5 * on_fakes**2)
    expected = [
        tape.gradient(generator_loss, model.generator.trainable_variables),
        tape.gradient(discriminator_loss, model.discriminator.trainable_variables),
    ]
    assert np.abs(expected[0][-1]).max() > 1e-3 * scale
    # The learning rate is large, so that steps exceed the rounding errors of the weights.
    for moves, gradients, rate in zip(
        zoo.testing.moves_of_one_step(model, (x, y), 1.0 / scale, 1.0),
        expected,
        (1.0 / scale, 1.0),
        strict=True,
    ):
        for move, gradient in zip(moves, gradients, strict=True):
            np.testing.assert_allclose(move, -rate * gradient, rtol=1e-3, atol=1e-6)


def test_an_output_of_exactly_0_gives_finite_zero_gradients(tiny):
    model, x, y = tiny
    for weight in model.discriminator.trainable_variables[-2:]:
        weight.assign(tf.zeros_like(weight))
    generator, discriminator = zoo.testing.moves_of_one_step(model, (x, y), 1.0, 1.0)
    assert not any(np.any(move) for move in generator)
    assert np.isfinite(discriminator[-1]).all()
    assert discriminator[-1].any()


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, 0.0)])
def test_an_update_of_one_network_does_not_change_the_other(tiny, rates):
    model, x, y = tiny
    for moves, rate in zip(
        zoo.testing.moves_of_one_step(model, (x, y), *rates), rates, strict=True
    ):
        assert any(move.any() for move in moves) == (rate > 0)


def test_a_perfect_discriminator_does_not_stop_the_run():
    """The gradient of the generator's loss is largest for a perfect discriminator."""
    model = make(LSGAN, (8, 8, 1), 256, filters=4)
    fakes = tf.constant([0.0, 0.5, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(fakes)
        loss = model.objectives(tf.ones([3]), fakes)[1]
    np.testing.assert_allclose(tape.gradient(loss, fakes), [-1.0, -0.5, 0.0])
    assert model.diagnose([{"step": 10 * k, "generator_loss": 20.0} for k in range(300)]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (7, 28, 1)}, r"must be 8 or more.*shape=\(7, 28, 1\)"),
        ({"shape": (28, 28)}, r"shape=\(28, 28\)"),
        ({"levels": 0}, "levels=0"),
        ({"filters": 0}, "filters=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(LSGAN, **{"shape": (8, 8, 1), **options})
