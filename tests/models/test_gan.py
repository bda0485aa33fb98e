"""GAN: conformance tests, and losses and steps that equal independent computations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make

import zoo
from zoo.models.gan import GAN

test_conformance = zoo.testing.conformance(GAN, hidden_dim=128, latent_dim=8, learning_rate=2e-3)


@pytest.fixture
def tiny():
    """A GAN, four 2 x 2 images of 256 levels, and their labels."""
    keras.utils.set_random_seed(1)
    model = make(GAN, (2, 2, 1), 256, num_classes=2, latent_dim=3, hidden_dim=5, dropout_rate=0.3)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (3, k)))
    x = np.random.default_rng(1).integers(0, 256, (4, 2, 2, 1)).astype(np.float32) / 255.0
    return model, tf.constant(x), tf.constant([0, 1, 1, 0])


def by_hand(layers, h, label, slope=0.2):
    """Computes dense layers in float64, with the label as an additional input if given."""
    for k, (kernel, bias) in enumerate(layers):
        if label is not None and (k == 0 or len(kernel) > h.shape[1]):
            h = np.concatenate([h, label], axis=1)
        h = h @ kernel + bias
        if k < len(layers) - 1:
            h = np.where(h > 0.0, h, slope * h)
    return h


def pairs(weights):
    values = [w.numpy().astype(np.float64) for w in weights]
    return [*zip(values[::2], values[1::2], strict=True)]


def test_the_losses_are_those_of_the_paper_computed_by_hand(tiny):
    model, x, y = tiny
    model.compile()
    actual = {key: float(value) for key, value in model.test_step((x, y)).items()}
    seed = model.step_seed(0)
    z = zoo.random.normal(seed, 0, 4, (3,)).numpy().astype(np.float64)
    label = np.eye(2)[y.numpy()]
    fakes = 1.0 / (1.0 + np.exp(-by_hand(pairs(model.generator.weights), z, label)))
    fakes = np.round(fakes * 255.0) / 255.0
    discriminator = pairs(model.discriminator.weights)
    images = 2.0 * np.concatenate([x.numpy().reshape(4, 4), fakes]) - 1.0
    logits = by_hand(discriminator, images, np.concatenate([label, label]))[:, 0]
    probability = 1.0 / (1.0 + np.exp(-logits))  # that it is data
    on_data, on_fakes = probability[:4], probability[4:]
    assert actual["generator_loss"] == pytest.approx(-np.log(on_fakes).mean(), rel=1e-5)
    loss = -np.log(on_data).mean() - np.log(1.0 - on_fakes).mean()
    assert actual["discriminator_loss"] == pytest.approx(loss, rel=1e-5)
    assert actual["discriminator_accuracy"] == pytest.approx(np.mean(on_data > on_fakes))


def test_a_sample_is_the_rounded_image_of_its_latents(tiny):
    model, _, y = tiny
    z = zoo.random.normal(zoo.random.as_seed(5), 2, 4, model.latent_shape)
    image = model.decode(z, y).numpy()
    np.testing.assert_array_equal(model.sample(4, 5, y, 2), np.round(image * 255.0) / 255.0)
    assert 0 < image.min() < image.max() < 1


def test_one_pass_gives_the_gradients_of_both_losses(tiny):
    """Compares with two passes and two tapes, one per loss."""
    model, x, y = tiny
    model.compile()
    seed, label = zoo.random.fold_in(tf.zeros([2], tf.int32), 0, 1), tf.one_hot(y, 2)
    z = zoo.random.normal(zoo.random.fold_in(seed, 0), 0, 4, (3,))
    noise_seed = zoo.random.fold_in(seed, 1)

    def judged(images, k):
        both = tf.reshape(tf.stack([images, images], axis=1), [-1, 2, 2, 1])
        return model.discriminate(both, tf.repeat(label, 2, axis=0), noise_seed, 0)[k::2]

    def rounded(images):
        return tf.grad_pass_through(lambda i: tf.round(255.0 * i) / 255.0)(images)

    with tf.GradientTape(persistent=True) as tape:
        fakes = rounded(model.generator([z, label]))
        discriminator_loss = -tf.reduce_mean(tf.math.log_sigmoid(judged(x, 0)))
        discriminator_loss -= tf.reduce_mean(tf.math.log_sigmoid(-judged(fakes, 1)))
        generator_loss = -tf.reduce_mean(tf.math.log_sigmoid(judged(fakes, 1)))
    expected = [
        tape.gradient(generator_loss, model.generator.trainable_variables),
        tape.gradient(discriminator_loss, model.discriminator.trainable_variables),
    ]
    for moves, gradients in zip(
        zoo.testing.moves_of_one_step(model, (x, y), 1.0, 1.0), expected, strict=True
    ):
        assert max(np.abs(gradient).max() for gradient in gradients) > 1e-3
        for move, gradient in zip(moves, gradients, strict=True):
            np.testing.assert_allclose(move, -gradient, atol=1e-6)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, 0.0)])
def test_an_update_of_one_network_does_not_change_the_other(tiny, rates):
    model, x, y = tiny
    for moves, rate in zip(
        zoo.testing.moves_of_one_step(model, (x, y), *rates), rates, strict=True
    ):
        assert all(move.any() == bool(rate) for move in moves)


def test_a_confident_discriminator_still_gives_gradients(tiny):
    """For large logits the loss is linear, so its gradient does not vanish."""
    model, x, y = tiny
    moves = []
    for bias in (-30.0, -55.0, -500.0):
        model.discriminator.head.bias.assign([bias])
        olds = [w.numpy() for w in model.generator.trainable_variables]
        moves.append(zoo.testing.moves_of_one_step(model, (x, y), 1.0, 0.0)[0])
        for weight, old in zip(model.generator.trainable_variables, olds, strict=True):
            weight.assign(old)
        model.step.assign(0)
    assert max(np.abs(move).max() for move in moves[0]) > 1e-3
    for sure, surer, surest in zip(*moves, strict=True):
        np.testing.assert_allclose(surer, sure, atol=1e-6)
        assert np.isfinite(surest).all()


def test_the_discriminator_uses_dropout_only_in_training(tiny):
    model, x, y = tiny
    label = tf.one_hot(y, 2)
    full, again = (model.discriminate(x, label).numpy() for _ in range(2))
    np.testing.assert_array_equal(again, full)
    dropped = [model.discriminate(x, label, tf.constant([1, k]), 0).numpy() for k in range(2)]
    for logits, other in ((dropped[0], full), (dropped[1], full), (*dropped,)):
        assert np.abs(logits - other).max() > 1e-2


def test_the_learning_rate_decays_to_zero(tiny):
    model, *_ = tiny
    for total, shares in ((100, (1.0, 0.0)), (None, (1.0, 1.0))):
        model.compile(total_steps=total)
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            for step, share in zip((0, 100), shares, strict=True):
                optimizer.iterations.assign(step)
                assert float(optimizer.learning_rate) == pytest.approx(model.learning_rate * share)


def test_what_samples_is_the_average_of_the_generator_alone(tiny):
    model, x, y = tiny
    model.compile()
    assert len(model.moved_weights) == len(model.generator.trainable_variables)
    before = [w.numpy() for w in model.generator.trainable_variables]
    model.train_step((x, y))
    share = 9.0 / 11.0  # 1 - (1 + step) / (10 + step) after one step
    weights = model.generator.trainable_variables
    for weight, moved, old in zip(weights, model.moved_weights, before, strict=True):
        np.testing.assert_allclose(weight, old + share * (moved.numpy() - old), atol=1e-7)


def test_fakes_are_on_the_grid_and_still_have_a_gradient():
    model = make(GAN, (2, 2, 1), levels=2, latent_dim=3, hidden_dim=5)
    with tf.GradientTape() as tape:
        x = model.sample(50, tf.constant([1, 2]))
    assert set(np.unique(x)) == {0.0, 1.0}
    assert any(np.any(g) for g in tape.gradient(x, model.generator.trainable_variables))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (4, 4)}, r"shape=\(4, 4\)"),
        ({"levels": 0}, "levels=0"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(GAN, **{"shape": (4, 4, 1), **options})


SMALL = dict(hidden_dim=32, latent_dim=4, learning_rate=1e-3)


def test_a_discriminator_that_is_right_has_not_won_before_it_is_sure():
    model = make(GAN, (8, 8, 1), 256, **SMALL)
    log = [
        {"step": 10 * k, "discriminator_accuracy": 1.0, "generator_loss": 9.0} for k in range(300)
    ]
    assert model.diagnose(log) is None
    surer = [{**line, "generator_loss": 11.0} for line in log]
    assert "the discriminator dominates" in model.diagnose(surer)
    assert model.diagnose(surer[:99]) is None
    assert model.diagnose([*surer[:-1], log[-1]]) is None
