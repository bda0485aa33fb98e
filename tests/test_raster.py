"""Images in raster order: positions, distributions, and sampling with a state."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.raster import Raster

SEED = tf.constant([1, 2])


@pytest.mark.parametrize(("shape", "block"), [((4, 6, 3), 1), ((4, 6, 3), 2), ((6, 3, 1), 3)])
def test_positions_are_squares_of_pixels(shape, block):
    raster = Raster(shape, 256, block, mixtures=1)
    x = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    positions = raster.positions(tf.constant(x)).numpy()
    assert positions.shape[1:] == raster.grid
    for row, column in np.ndindex(raster.grid[:2]):
        square = x[:, row * block : (row + 1) * block, column * block : (column + 1) * block]
        np.testing.assert_array_equal(positions[:, row, column], square.reshape(2, -1))
    np.testing.assert_array_equal(raster.images(tf.constant(positions)), x)


@pytest.mark.parametrize(
    ("levels", "channels", "block"), [(2, 1, 1), (2, 1, 2), (4, 2, 1), (8, 1, 1), (3, 1, 2)]
)
def test_a_position_of_any_parameters_sums_to_one(levels, channels, block):
    raster = Raster((block, block, channels), levels, block, mixtures=3)
    shape = (5, 1, raster.num_parameters)
    parameters = 3 * np.random.default_rng(2).normal(size=shape).astype(np.float32)
    x = np.array([*itertools.product(range(levels), repeat=raster.grid[2])], np.float32)
    log_prob = raster.distribution(tf.constant(parameters)).log_prob(x)
    np.testing.assert_allclose(np.exp(log_prob).sum(1), np.ones(5), atol=1e-4)


@pytest.mark.parametrize(("channels", "block"), [(1, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("levels", [2, 256])
def test_extreme_parameters_give_finite_values(levels, channels, block):
    raster = Raster((block, block, channels), levels, block, mixtures=5)
    size = raster.grid[2]
    rng = np.random.default_rng(3)
    wild = rng.choice([-1e3, -30, 0, 30, 1e3], (64, raster.num_parameters))
    wild = tf.Variable(tf.constant(wild, tf.bfloat16))
    x = np.float32(rng.choice([0, 1, levels - 1], (64, size)))
    with tf.GradientTape() as tape:
        log_prob = raster.distribution(tf.cast(wild, tf.float32)).log_prob(x)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tf.cast(tape.gradient(log_prob, wild), tf.float32)).all()
    u = zoo.random.uniform(SEED, 0, 64, (size, 2))
    samples = raster.distribution(tf.cast(wild, tf.float32)).fill(x, tf.zeros_like(x), u)
    assert np.isin(samples, range(levels)).all()


class Constant:
    """A distribution whose samples are a constant plus noise."""

    def __init__(self, value):
        self.value = value

    def fill(self, x, mask, u):
        return tf.where(mask > 0.5, x, self.value + u[..., 0])


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function])
def test_drawing_in_raster_order(wrap, monkeypatch):
    """A value depends on its position, its left neighbour, sums of previous values and noise."""
    raster = Raster((3, 4, 2), 256, 1, mixtures=1)
    monkeypatch.setattr(raster, "distribution", Constant)
    rng = np.random.default_rng(1)
    shape = (2, 3, 4, 2)  # [n, H, W, S]
    mask = rng.integers(0, 2, shape).astype(np.float32)
    x = rng.integers(0, 256, shape).astype(np.float32) / np.float32(255)

    def start_row(total, row, index):
        total += tf.reduce_sum(row, axis=[1, 2])  # [n], of all rows so far
        numbers = 4.0 * tf.cast(index, tf.float32) + tf.range(4.0)
        return total, [numbers], (total, tf.zeros([]))

    def step(state, left, context):
        total, column = state
        return (total, column + 1.0), context[0] + left + total[:, None] + column

    draw = wrap(lambda x, mask: raster.complete(x, mask, SEED, 5, tf.zeros([2]), start_row, step))
    samples = draw(tf.constant(x), tf.constant(mask)).numpy()

    u = zoo.random.uniform(SEED, 5, 2, (3, 4, 2, 2)).numpy()[..., 0]
    expected = np.zeros(shape)
    for row in range(3):
        total, left = expected.sum((1, 2, 3)), np.zeros((2, 2))
        for column in range(4):
            value = 4 * row + column + left + total[:, None] + column + u[:, row, column]
            left = np.where(mask[:, row, column] > 0.5, x[:, row, column], value / 255)
            expected[:, row, column] = left
    np.testing.assert_allclose(samples, expected, rtol=1e-5)
    np.testing.assert_array_equal(samples[mask == 1], x[mask == 1])


def test_odd_sides_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"Add --size N \(size=N\), or set block=1\..*block=2"):
        Raster((28, 27, 1), levels=2, block=2, mixtures=1)
