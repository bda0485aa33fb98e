"""The GAN: the conformance checks, and its losses and steps against independent numbers."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from shell import saved_steps

import zoo
from zoo import runs, training
from zoo.errors import TrainingError
from zoo.evaluation.watch import Watch
from zoo.models.gan import GAN

test_conformance = zoo.testing.conformance(GAN, hidden_dim=128, latent_dim=8, learning_rate=2e-3)


@pytest.fixture
def tiny():
    """A GAN of 2 x 2 images of 256 levels, four of them, and their labels."""
    keras.utils.set_random_seed(1)
    model = GAN((2, 2, 1), num_classes=2, latent_dim=3, hidden_dim=5, dropout_rate=0.3)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (3, k)))
    x = np.random.default_rng(1).integers(0, 256, (4, 2, 2, 1)).astype(np.float32) / 255.0
    return model, tf.constant(x), tf.constant([0, 1, 1, 0])


def by_hand(layers, h, label, slope=0.2):
    """What dense layers give in double precision; the label goes in where it is given."""
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
    found = {key: float(value) for key, value in model.test_step((x, y)).items()}
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
    assert found["generator_loss"] == pytest.approx(-np.log(on_fakes).mean(), rel=1e-5)
    loss = -np.log(on_data).mean() - np.log(1.0 - on_fakes).mean()
    assert found["discriminator_loss"] == pytest.approx(loss, rel=1e-5)
    assert found["discriminator_accuracy"] == pytest.approx(np.mean(on_data > on_fakes))


def stepped(model, data, generator_rate, discriminator_rate):
    """How far one step of gradient descent moves the weights of either network."""
    model.compile()
    for name, rate in (("generator", generator_rate), ("discriminator", discriminator_rate)):
        optimizer = keras.optimizers.SGD(rate)
        optimizer.build(getattr(model, name).trainable_variables)
        setattr(model, f"{name}_optimizer", optimizer)
    networks = (model.moved_weights, model.discriminator.trainable_variables)
    before = [[w.numpy() for w in network] for network in networks]
    model.train_step(data)
    return [
        [w.numpy() - old for w, old in zip(network, olds, strict=True)]
        for network, olds in zip(networks, before, strict=True)
    ]


def test_one_pass_gives_the_gradients_of_both_losses(tiny):
    """Against two passes and two tapes, one for each loss as it is written."""
    model, x, y = tiny
    model.compile()
    seed, label = zoo.random.fold_in(tf.zeros([2], tf.int32), 0, 1), tf.one_hot(y, 2)
    z = zoo.random.normal(zoo.random.fold_in(seed, 0), 0, 4, (3,))
    drawn = zoo.random.fold_in(seed, 1)

    def judged(images, k):
        both = tf.reshape(tf.stack([images, images], axis=1), [-1, 2, 2, 1])
        return model.discriminate(both, tf.repeat(label, 2, axis=0), drawn, 0)[k::2]

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
    for moves, gradients in zip(stepped(model, (x, y), 1.0, 1.0), expected, strict=True):
        assert max(np.abs(gradient).max() for gradient in gradients) > 1e-3
        for move, gradient in zip(moves, gradients, strict=True):
            np.testing.assert_allclose(move, -gradient, atol=1e-6)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (1.0, 0.0)])
def test_an_update_of_one_network_leaves_the_other_alone(tiny, rates):
    model, x, y = tiny
    for moves, rate in zip(stepped(model, (x, y), *rates), rates, strict=True):
        assert all(move.any() == bool(rate) for move in moves)


def test_a_discriminator_that_is_sure_teaches_the_generator_as_well(tiny):
    """Far from zero the loss is a line: its gradient does not depend on how sure D is."""
    model, x, y = tiny
    moves = []
    for bias in (-30.0, -55.0, -500.0):
        model.discriminator.head.bias.assign([bias])
        olds = [w.numpy() for w in model.generator.trainable_variables]
        moves.append(stepped(model, (x, y), 1.0, 0.0)[0])
        for weight, old in zip(model.generator.trainable_variables, olds, strict=True):
            weight.assign(old)
        model.step.assign(0)
    assert max(np.abs(move).max() for move in moves[0]) > 1e-3
    for sure, surer, surest in zip(*moves, strict=True):
        np.testing.assert_allclose(surer, sure, atol=1e-6)
        assert np.isfinite(surest).all()


def test_the_discriminator_drops_units_in_training_alone(tiny):
    model, x, y = tiny
    label = tf.one_hot(y, 2)
    whole, again = (model.discriminate(x, label).numpy() for _ in range(2))
    np.testing.assert_array_equal(again, whole)
    drawn = [model.discriminate(x, label, tf.constant([1, k]), 0).numpy() for k in range(2)]
    for logits, other in ((drawn[0], whole), (drawn[1], whole), (*drawn,)):
        assert np.abs(logits - other).max() > 1e-2


def test_the_learning_rate_falls_to_nothing_over_the_steps_of_a_run(tiny):
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
    model = GAN((2, 2, 1), levels=2, latent_dim=3, hidden_dim=5)
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
        GAN(**{"shape": (4, 4, 1), **options})


class Collapsed(GAN):
    """A GAN whose generator does not see z."""

    def generate(self, z, label, training=False):
        return super().generate(0.0 * z, label, training)


class Outclassed(GAN):
    """A GAN whose generator is as diverse as data, and does not learn."""

    def compile(self, total_steps=None):
        for weight in self.generator.trainable_variables:
            weight.assign(4.0 * weight)
        super().compile(total_steps)
        self.generator_optimizer = keras.optimizers.SGD(0.0)
        self.generator_optimizer.build(self.generator.trainable_variables)


@pytest.fixture(scope="module")
def patterns():
    """Images of 8 x 8 pixels with three patterns, 8-bit: (train, validation, test)."""
    return zoo.testing.Subject(GAN, "8-bit").data


SMALL = dict(hidden_dim=32, latent_dim=4, learning_rate=1e-3)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_collapse_is_caught_and_named(patterns, tmp_path, num_classes):
    keras.utils.set_random_seed(1)
    model = Collapsed((8, 8, 1), num_classes=num_classes, **SMALL)
    said = []
    with pytest.raises(TrainingError, match=r"At step 1,080 the samples have coll") as caught:
        training.train(model, patterns, tmp_path, epochs=100, batch_size=32, say=said.append)
    assert caught.value.exit_code == 4
    assert "pixel_diversity, which is 1 for images and should rise above 0.1" in said[0]
    assert "export" in str(caught.value)
    assert "the newest checkpoint, step-00001068" in str(caught.value)
    assert saved_steps(tmp_path)[-1] == 1068
    looks = {line["step"]: line.get("pixel_diversity") for line in runs.read_metrics(tmp_path)}
    assert looks[1068] is None
    assert max(looks[600], looks[1080]) < 1e-6


@pytest.mark.parametrize(
    ("diversities", "said"),
    [
        ([0.9, 0.05, 0.9, 0.05], None),
        ([0.9, 0.05, 0.05], "fell below 0.1 and is 0.050. A smaller"),
        ([0.05, 0.05, 0.05, 0.05], None),
        ([0.01, 0.05, 0.05, 0.05, 0.12, 0.05], None),
        ([0.01, 0.05, 0.05, 0.05, 0.06], "never rose above 0.1 and is 0.060. A larger"),
    ],
)
def test_a_collapse_is_a_fall_or_no_rise(patterns, diversities, said):
    watch = Watch(None, *patterns[:2], 0)
    log = []
    for k, value in enumerate(diversities):
        log += [{"step": 1000 * k + 500}, {"step": 1000 * k + 1000, "pixel_diversity": value}]
        if k < len(diversities) - 1:
            assert watch.trouble(log) is None
    assert (watch.trouble(log) is None) if said is None else said in watch.trouble(log)
    early = [{**line, "step": line["step"] // 100} for line in log]
    assert watch.trouble(early) is None


def test_a_discriminator_that_is_right_has_not_won_before_it_is_sure():
    model = GAN((8, 8, 1), **SMALL)
    log = [
        {"step": 10 * k, "discriminator_accuracy": 1.0, "generator_loss": 9.0} for k in range(300)
    ]
    assert model.trouble(log) is None
    surer = [{**line, "generator_loss": 11.0} for line in log]
    assert "the discriminator has won" in model.trouble(surer)
    assert model.trouble(surer[:99]) is None
    assert model.trouble([*surer[:-1], log[-1]]) is None


def test_a_discriminator_that_has_won_is_caught_and_named(patterns, tmp_path):
    keras.utils.set_random_seed(1)
    model = Outclassed((8, 8, 1), **SMALL)
    with pytest.raises(TrainingError, match="the discriminator has won") as caught:
        training.train(model, patterns, tmp_path, epochs=150, batch_size=32)
    assert caught.value.exit_code == 4
    log = runs.read_metrics(tmp_path)
    assert 1000 <= log[-1]["step"] < 1800
    recent = [x["generator_loss"] for x in log if x["step"] > log[-1]["step"] - 1000]
    assert min(recent) >= 10.0


def test_what_is_not_finite_is_caught_and_the_run_keeps_its_last_good_checkpoint(
    patterns, tmp_path
):
    model = GAN((8, 8, 1), **{**SMALL, "learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"is (nan|inf)|not finite"):
        training.train(model, patterns, tmp_path, epochs=3, batch_size=32)
    assert saved_steps(tmp_path) == [0]


def test_the_best_checkpoint_is_that_of_the_samples_nearest_to_validation_images(tmp_path):
    data = zoo.load_dataset("mnist")
    keras.utils.set_random_seed(1)
    model = GAN((28, 28, 1), hidden_dim=8, latent_dim=4, learning_rate=5e-2)
    said = []
    folder = training.train(
        model, data, tmp_path / "run", epochs=4, batch_size=512, say=said.append
    )
    log = runs.read_metrics(tmp_path / "run")
    distances = {line["step"]: line["frechet_distance"] for line in log}
    assert len(distances) == 4
    best = min(distances, key=distances.get)
    assert best < max(distances)
    assert json.loads((folder / "card.json").read_text())["step"] == best
    real = re.search(r"frechet_distance: ([0-9.]+) for images", said[1])
    assert 0.0 < float(real[1]) < 0.1 * min(distances.values())
    so_far = [x == min([*distances.values()][: k + 1]) for k, x in enumerate(distances.values())]
    assert so_far == [text.endswith("best so far") for text in said if text.startswith("epoch ")]
