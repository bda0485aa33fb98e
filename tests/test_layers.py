"""What networks share: dense layers on any rank, dropout by example."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import Dense, dropout

SEED = tf.constant([3, 7])


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (5, 2, 3), (5, 4, 2, 3), (0, 4, 3)])
def test_dense_is_that_of_keras(shape):
    x = tf.random.stateless_normal(shape, (1, 2))
    ours, keras_own = Dense(7, activation="relu"), keras.layers.Dense(7, activation="relu")
    keras_own.build(shape)
    ours.build(shape)
    ours.set_weights(keras_own.get_weights())
    np.testing.assert_allclose(ours(x), keras_own(x), atol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_dropout_keeps_the_mean(rate):
    dropped = dropout(tf.ones([1000, 300]), rate, SEED, 0).numpy()
    values = np.unique(dropped)
    assert len(values) == 2
    assert values[0] == 0.0
    share = 1.0 / values[1]
    assert share == pytest.approx(1.0 - rate, abs=1 / 256)
    assert dropped.mean() == pytest.approx(
        1.0, abs=4.5 * float(np.sqrt((1 / share - 1) / dropped.size))
    )


def test_dropout_is_a_function_of_seed_and_example():
    x = tf.random.stateless_normal([9, 4, 5], (1, 2))
    full = dropout(x, 0.5, SEED, 0).numpy()
    np.testing.assert_array_equal(dropout(x, 0.5, SEED, 0), full)
    np.testing.assert_array_equal(dropout(x[6:], 0.5, SEED, 6), full[6:])
    assert not np.array_equal(dropout(x, 0.5, [3, 8], 0), full)


@pytest.mark.parametrize(("rate", "seed"), [(0.0, SEED), (0.5, None)])
def test_no_dropout(rate, seed):
    x = tf.random.stateless_normal([9, 4], (1, 2))
    assert dropout(x, rate, seed, 0) is x


def test_dropout_keeps_the_dtype():
    x = tf.ones([4, 8], tf.bfloat16)
    assert dropout(x, 0.5, SEED, 0).dtype == tf.bfloat16
