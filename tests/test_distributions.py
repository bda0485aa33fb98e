"""The discretised logistic against its definition in double precision."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.distributions import DiscretizedLogistic

LOCS = (-300.0, -3.0, 0.0, 0.5, 100.2, 255.0, 400.0)
SCALES = (0.05, 0.7, 8.0, 1000.0)


def masses(loc, scale, levels):
    """P(i) from the definition, in float64; tails by survival, which keeps their precision."""
    edges = (np.arange(levels - 1) + 0.5 - loc) / scale
    below = np.concatenate([[0.0], 1 / (1 + np.exp(-edges)), [1.0]])
    above = np.concatenate([[1.0], 1 / (1 + np.exp(edges)), [0.0]])
    return np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))


@pytest.mark.parametrize("loc", LOCS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_masses(loc, scale):
    levels = np.arange(256, dtype=np.float32)
    log_prob = DiscretizedLogistic(tf.constant(loc), tf.constant(scale), 256).log_prob(levels)
    log_prob = log_prob.numpy().astype(np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=2e-5)
    expected = masses(loc, scale, 256)
    seen = expected > 1e-30
    np.testing.assert_allclose(log_prob[seen], np.log(expected[seen]), rtol=2e-4, atol=2e-4)


def test_gradient_is_finite_far_out():
    loc, scale = tf.Variable(500.0), tf.Variable(0.01)
    with tf.GradientTape() as tape:
        log_prob = DiscretizedLogistic(loc, scale, 256).log_prob([0.0, 100.0, 255.0])
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, [loc, scale])).all()


@pytest.mark.parametrize(("loc", "scale"), [(0.3, 1.5), (120.0, 20.0), (250.0, 6.0), (2.0, 0.4)])
def test_quantile_and_mean(loc, scale):
    distribution = DiscretizedLogistic(tf.constant(loc), tf.constant(scale), 256)
    u = (np.arange(100_000, dtype=np.float32) + 0.5) / 100_000
    drawn = distribution.quantile(u).numpy()
    expected = masses(loc, scale, 256)
    counts = np.bincount(drawn.astype(int), minlength=256) / u.size
    np.testing.assert_allclose(counts, expected, atol=3e-4)
    assert distribution.mean().numpy() == pytest.approx(expected @ np.arange(256), abs=0.05)


def test_ends_of_the_quantile_stay_on_the_levels():
    distribution = DiscretizedLogistic(tf.constant(4.0), tf.constant(1.0), 8)
    assert distribution.quantile([0.0, 1.0 - 2.0**-24]).numpy().tolist() == [0.0, 7.0]
