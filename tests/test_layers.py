"""What networks share: dropout by example, the gate, positions and the order of drawing."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import draw_in_raster_order, dropout, gate, to_images, to_positions

SEED = tf.constant([3, 7])


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
    whole = dropout(x, 0.5, SEED, 0).numpy()
    np.testing.assert_array_equal(dropout(x, 0.5, SEED, 0), whole)
    np.testing.assert_array_equal(dropout(x[6:], 0.5, SEED, 6), whole[6:])
    assert not np.array_equal(dropout(x, 0.5, [3, 8], 0), whole)


@pytest.mark.parametrize(("rate", "seed"), [(0.0, SEED), (0.5, None)])
def test_no_dropout(rate, seed):
    x = tf.random.stateless_normal([9, 4], (1, 2))
    assert dropout(x, rate, seed, 0) is x


def test_dropout_keeps_the_dtype():
    x = tf.ones([4, 8], tf.bfloat16)
    assert dropout(x, 0.5, SEED, 0).dtype == tf.bfloat16


def test_gate():
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    expected = 2.0 * np.tanh(a) / (1.0 + np.exp(-2.0 * b))
    np.testing.assert_allclose(gate(tf.concat([a, b], axis=1)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "block"), [((4, 6, 3), 1), ((4, 6, 3), 2), ((6, 3, 1), 3)])
def test_positions_are_squares_of_pixels(shape, block):
    x = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    positions = to_positions(tf.constant(x), block).numpy()
    for row, column in np.ndindex(positions.shape[1:3]):
        square = x[:, row * block : (row + 1) * block, column * block : (column + 1) * block]
        np.testing.assert_array_equal(positions[:, row, column], square.reshape(2, -1))
    np.testing.assert_array_equal(to_images(tf.constant(positions), block), x)


class Given:
    """The distribution that always draws the same."""

    def __init__(self, value):
        self.value = value

    def fill(self, x, known, u):
        return tf.where(known > 0.5, x, self.value + u[..., 0])


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function])
def test_drawing_in_raster_order(wrap):
    """A position is its number, the one on its left, its row's sum above, and its noise."""
    rng = np.random.default_rng(1)
    shape = (2, 3, 4, 2)  # [n, H, W, S]
    known = rng.integers(0, 2, shape).astype(np.float32)
    x, u = rng.random(shape, np.float32), rng.random((*shape, 2), np.float32)
    tensors = [*map(tf.constant, (x, known, u))]

    def start_row(total, row, index):
        total += tf.reduce_sum(row, axis=[1, 2])  # [n], of all rows so far
        numbers = 4.0 * tf.cast(index, tf.float32) + tf.range(4.0)
        return total, [numbers], [total]

    def step(state, context, left, column):
        given = context[0] + left + 0.1 * state[0][:, None]
        return [state[0] + tf.cast(column, tf.float32)], Given(given)

    draw = wrap(lambda: draw_in_raster_order(*tensors, tf.zeros([2]), start_row, step))
    drawn = draw().numpy()

    expected = np.zeros(shape)
    for row in range(3):
        total = expected.sum((1, 2, 3))
        left = np.zeros((2, 2))
        for column in range(4):
            value = 4 * row + column + left + 0.1 * total[:, None] + u[:, row, column, :, 0]
            left = np.where(known[:, row, column] > 0.5, x[:, row, column], value)
            expected[:, row, column] = left
            total = total + column
    np.testing.assert_allclose(drawn, expected, rtol=1e-5)
