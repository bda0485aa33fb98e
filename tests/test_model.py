"""The contract: a moving average of weights, by the recurrence written out, and its options."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from toys import Pixels

import zoo
from zoo import training
from zoo.model import GenerativeModel

SHAPE = (4, 4, 1)
RATE, DECAY, BATCH, STEPS = 2.0, 0.5, 8, 12  # the decay is below (1 + t) / (10 + t) from step 8


class Averaged(Pixels):
    """Pixels whose weights are a moving average of those that plain gradient descent moves."""

    def compile(self, total_steps=None):
        GenerativeModel.compile(self, keras.optimizers.SGD(RATE), average=DECAY)


def images(n=BATCH * STEPS):
    x = np.random.default_rng(1).random((n, *SHAPE)) < np.linspace(0.1, 0.9, 16).reshape(SHAPE)
    return x.astype(np.float32)


def nats(table, x):
    """-log p(x), the mean over images, in float64."""
    p = 1 / (1 + np.exp(-table))
    return -np.mean(np.sum(np.where(x > 0.5, np.log(p), np.log(1 - p)), axis=(1, 2, 3)))


def recurrence(table, x):
    """Returns the weights that the gradient moves, their average, and the mean of the losses."""
    moved = average = table.astype(np.float64)
    losses = []
    for step, batch in enumerate(np.split(x, len(x) // BATCH), start=1):
        losses.append(nats(moved, batch))
        moved = moved - RATE * (1 / (1 + np.exp(-moved)) - batch.mean(0))
        decay = min(DECAY, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * moved
    return moved, average, np.mean(losses)


def fitted(**settings):
    keras.utils.set_random_seed(1)
    model = Averaged(SHAPE)
    model.compile()
    table, x = model.table.numpy(), images()
    history = model.fit(x, batch_size=BATCH, shuffle=False, verbose=0, **settings).history
    return model, recurrence(table, x), history


@pytest.fixture(scope="module")
def trained():
    return fitted(validation_data=(images(40),))


def test_the_weights_are_the_average_of_those_that_the_gradient_moves(trained):
    model, (moved, average, _), _ = trained
    assert np.abs(moved - average).max() > 0.1
    np.testing.assert_allclose(model.moved_weights[0], moved, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.table, average, rtol=1e-4, atol=1e-5)


def test_training_measures_the_moved_weights_and_everything_else_the_average(trained):
    model, (_, average, loss), history = trained
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)
    x = images(40)
    expected = nats(average, x)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert -np.mean(model.log_prob(x, None)) == pytest.approx(expected, rel=1e-5)
    seed = tf.constant([1, 2])
    u = zoo.random.uniform(seed, 0, 50, SHAPE)
    np.testing.assert_array_equal(model.sample(50, seed), u < 1 / (1 + np.exp(-average)))


def test_the_same_under_xla():
    keras.utils.set_random_seed(1)
    model = Averaged(SHAPE)
    model.compile()
    model.jit_compile = True
    table, x = model.table.numpy(), images()
    model.fit(x, batch_size=BATCH, shuffle=False, verbose=0)
    moved, average, _ = recurrence(table, x)
    np.testing.assert_allclose(model.moved_weights[0], moved, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.table, average, rtol=1e-4, atol=1e-5)


def test_the_moved_weights_are_no_weights_of_the_model(trained):
    model, *_ = trained
    assert [w.name for w in model.trainable_weights] == ["table"]
    assert len(model.get_weights()) == len(Pixels(SHAPE).get_weights())


def test_without_an_average_there_is_one_set_of_weights():
    model = Pixels(SHAPE)
    model.compile()
    assert not model.moved_weights
    before = model.table.numpy()
    with model.training_weights():
        model.table.assign_add(tf.ones_like(model.table))
    np.testing.assert_array_equal(model.table, before + 1)


def test_an_export_holds_the_average_alone(trained, tmp_path):
    model, (_, average, _), _ = trained
    folder = zoo.export(model, tmp_path / "model")
    variables = tf.train.list_variables(str(folder / "variables" / "variables"))
    assert [shape for _, shape in variables if shape] == [[1, *SHAPE]]
    x = images(40)
    log_prob = zoo.load(folder).log_prob(x, 0)
    assert -np.mean(log_prob) == pytest.approx(nats(average, x), rel=1e-5)


def test_a_checkpoint_restores_the_moved_weights(trained, tmp_path):
    model, *_ = trained
    path = training._checkpoint(model).write(str(tmp_path / "variables"))
    again = Averaged(SHAPE)
    again.compile()
    training._checkpoint(again).read(path).assert_consumed()
    np.testing.assert_array_equal(again.moved_weights[0], model.moved_weights[0])
    np.testing.assert_array_equal(again.table, model.table)


def test_an_option_that_a_recipe_cannot_hold_is_refused_by_name():
    with pytest.raises(ValueError, match=r"learning_rate must be of numbers.*Received: <ufunc"):
        Pixels((8, 8, 1), learning_rate=np.tanh)
