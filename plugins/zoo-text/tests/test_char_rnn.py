"""CharRNN: conformance tests, and outputs that equal independent computations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo_text.char_rnn import CharRNN, along_time, gru, product

import zoo

test_conformance = zoo.testing.conformance(CharRNN, num_layers=2, units=16)


def small(length=7, levels=5, **options):
    keras.utils.set_random_seed(1)
    model = CharRNN(zoo.Spec((length,), levels, "tokens"), **dict(num_layers=2, units=6) | options)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.5 * tf.random.stateless_normal(weight.shape, (3, k)))
    return model


def test_logits_equal_those_of_keras_grus():
    """Keras also applies the reset gate after the product, with gates in the same order."""
    model = small()
    x = tf.random.stateless_uniform([4, 7], (1, 2), maxval=5, dtype=tf.int32)
    h = tf.gather(model.embedding, np.pad(x[:, :-1], [[0, 0], [1, 0]], constant_values=5))
    for kernel, bias, recurrent in model.grus:
        layer = keras.layers.GRU(6, return_sequences=True)
        layer.build(h.shape)
        layer.set_weights([kernel, recurrent, np.stack([bias, np.zeros_like(bias)])])
        h += layer(h)
    expected = h @ model.head + model.head_bias
    np.testing.assert_allclose(model.logits(x), expected, rtol=1e-4, atol=1e-4)


def test_the_custom_gradient_equals_that_of_the_steps():
    inputs = tf.random.stateless_normal([5, 3, 12], (1, 2))
    kernel = tf.random.stateless_normal([4, 12], (1, 3))
    weight = tf.random.stateless_normal([5, 3, 4], (1, 4))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([inputs, kernel])
        state, steps = tf.zeros([3, 4]), []
        for step in tf.unstack(inputs):
            state, *_ = gru(step, product(state, kernel), state)
            steps.append(state)
        ours, plain = along_time(inputs, kernel), tf.stack(steps)
        losses = [tf.reduce_sum(weight * states) for states in (ours, plain)]
    np.testing.assert_allclose(ours, plain, atol=1e-6)
    pairs = zip(*(tape.gradient(loss, [inputs, kernel]) for loss in losses), strict=True)
    for gradient, expected in pairs:
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_dropout_uses_one_mask_per_text():
    """A dropped channel is dropped for every token of a text."""
    model = small(num_layers=1, dropout_rate=0.5, units=64)
    x, seed = tf.zeros([3, 7], tf.int32), tf.constant([1, 2])
    states = {}
    for name, dropout_seed in (("with", seed), ("without", None)):
        model._logits = lambda h, name=name: states.setdefault(name, h)[:, :5]
        model.logits(x, dropout_seed, first=0)
    h = tf.reshape(model.embedded(tf.transpose(model.delayed(x))), [7, 3, 64])
    dropped, without_dropout = (
        tf.reshape(states[name], [7, 3, 64]) - h for name in ("with", "without")
    )
    factors = np.round(dropped / without_dropout, 3)  # [L, B, C]
    assert {*np.unique(factors)} == {0.0, 2.0}
    assert (factors == factors[:1]).all()
    assert (factors[0, 0] != factors[0, 1]).any()


@pytest.mark.parametrize(
    ("options", "message"), [({"num_layers": 0}, "num_layers=0"), ({"units": 0}, "units=0")]
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CharRNN(zoo.Spec((8,), 5, "tokens"), **options)
