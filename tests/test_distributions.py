"""Distributions against their definitions in double precision, and draws against both."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import zoo.random
from zoo.distributions import BernoulliTree, DiscretizedLogistic, DiscretizedLogisticMixture

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
    possible = expected > 1e-30
    np.testing.assert_allclose(log_prob[possible], np.log(expected[possible]), rtol=2e-4, atol=2e-4)


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
    samples = distribution.quantile(u).numpy()
    expected = masses(loc, scale, 256)
    counts = np.bincount(samples.astype(int), minlength=256) / u.size
    np.testing.assert_allclose(counts, expected, atol=3e-4)
    assert distribution.mean().numpy() == pytest.approx(expected @ np.arange(256), abs=0.05)


@pytest.mark.parametrize("levels", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("scale", [0.03, 0.1, 1.0])
def test_the_mean_of_few_levels_is_exact(levels, scale):
    loc = np.linspace(-1.0, levels, 23)
    mean = DiscretizedLogistic(tf.constant(loc, tf.float32), tf.constant(scale), levels).mean()
    expected = [masses(x, scale, levels) @ np.arange(levels) for x in loc]
    np.testing.assert_allclose(mean, expected, atol=1e-4)


def test_ends_of_the_quantile_stay_on_the_levels():
    distribution = DiscretizedLogistic(tf.constant(4.0), tf.constant(1.0), 8)
    assert distribution.quantile([0.0, 1.0 - 2.0**-24]).numpy().tolist() == [0.0, 7.0]


def outcomes(levels, size):
    """All values of a position, float32 [levels^size, size]."""
    return np.array([*itertools.product(range(levels), repeat=size)], np.float32)


def assert_frequencies(samples, levels, probabilities):
    """Compares draws, [N, S], with the probabilities of all outcomes: within five sigma."""
    samples = samples.astype(int)
    assert samples.min() >= 0
    assert samples.max() < levels
    numbers = samples @ levels ** np.arange(samples.shape[1])[::-1]
    counts = np.bincount(numbers, minlength=len(probabilities))
    expected = len(samples) * probabilities
    np.testing.assert_array_less(np.abs(counts - expected), 5 * np.sqrt(expected) + 5)


def fill(distribution, n, x, mask):
    """Draws n times one position, [n, S], of which some values are known."""
    x, mask = (np.broadcast_to(np.float32(a), (n, len(x))) for a in (x, mask))
    u = zoo.random.uniform(tf.constant([1, 2]), 0, n, (x.shape[1], 2))
    return distribution.fill(tf.constant(x), tf.constant(mask), u).numpy()


def tree_probabilities(logits, x=(), mask=(0,) * 8):
    """P of every outcome, by walking down the tree, whose nodes are numbered level by level.

    A known value is certain, whatever the probability that the tree gives it.
    """
    size = (len(logits) + 1).bit_length() - 1
    probabilities = []
    for outcome in itertools.product([0, 1], repeat=size):
        nodes, p = [*logits], 1.0
        for s, value in enumerate(outcome):
            level, nodes = nodes[: 2**s], nodes[2**s :]
            number = int("0" + "".join(map(str, outcome[:s])), 2)
            heads = 1 / (1 + np.exp(-np.float64(level[number])))
            heads = x[s] if mask[s] else heads
            p *= heads if value else 1 - heads
        probabilities.append(p)
    return np.array(probabilities)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_tree_is_its_definition_and_sums_to_one(size):
    logits = 2 * np.random.default_rng(size).normal(size=2**size - 1).astype(np.float32)
    distribution = BernoulliTree(tf.constant(logits))
    x = outcomes(2, size)
    probabilities = np.exp(distribution.log_prob(x).numpy().astype(np.float64))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(probabilities, tree_probabilities(logits), rtol=1e-5)
    assert distribution.event_shape == [size]


def test_a_tree_is_any_distribution():
    """Logits made of the conditionals of some probabilities give these back."""
    expected = np.random.default_rng(1).dirichlet(np.ones(8)).reshape(2, 2, 2)
    logits = []
    for s in range(3):
        for before in itertools.product([0, 1], repeat=s):
            no, yes = expected[before].reshape(2, -1).sum(1)
            logits.append(np.log(yes / no))
    distribution = BernoulliTree(tf.constant(logits, tf.float32))
    actual = np.exp(distribution.log_prob(outcomes(2, 3)))
    np.testing.assert_allclose(actual, expected.ravel(), rtol=1e-4)


@pytest.mark.parametrize("mask", [(0, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 1, 1, 1)])
def test_tree_fill_samples_the_distribution_and_keeps_masked_values(mask):
    logits = np.random.default_rng(4).normal(size=15).astype(np.float32)
    x = (1, 0, 1, 1)
    samples = fill(BernoulliTree(tf.tile(logits[None], (20_000, 1))), 20_000, x, mask)
    assert_frequencies(samples, 2, tree_probabilities(logits, x, mask))


def test_trees_of_many_positions_are_each_their_own():
    logits = np.random.default_rng(5).normal(size=(2, 3, 7)).astype(np.float32)
    x = np.random.default_rng(6).integers(0, 2, (2, 3, 3)).astype(np.float32)
    u = np.random.default_rng(7).random((2, 3, 3, 2), np.float32)
    together = BernoulliTree(tf.constant(logits))
    log_prob, samples = together.log_prob(x), together.fill(x, tf.zeros_like(x), u)
    assert together.batch_shape == [2, 3]
    for at in np.ndindex(2, 3):
        alone = BernoulliTree(tf.constant(logits[at]))
        np.testing.assert_allclose(log_prob[at], alone.log_prob(x[at]), rtol=1e-5)
        np.testing.assert_array_equal(samples[at], alone.fill(x[at], tf.zeros(3), u[at]))


def mixture(levels, size, components, seed=1):
    """A mixture, and all its parameters in float64."""
    rng = np.random.default_rng(seed)
    parameters = (
        rng.normal(size=components),
        levels * rng.uniform(-0.2, 1.2, (components, size)),
        levels * np.exp(rng.normal(size=(components, size)) - 2.2),
        rng.normal(size=(components, size * (size - 1) // 2)),
    )
    parameters = [parameter.astype(np.float32) for parameter in parameters]
    distribution = DiscretizedLogisticMixture(*map(tf.constant, parameters), levels)
    return distribution, [parameter.astype(np.float64) for parameter in parameters]


def mixture_probabilities(logits, loc, scale, slopes, levels):
    """P of every outcome, from the definition."""
    probabilities = []
    for outcome in itertools.product(range(levels), repeat=loc.shape[1]):
        terms = np.exp(logits) / np.exp(logits).sum()
        for k, row in enumerate(slopes):
            row = iter(row)
            for s, value in enumerate(outcome):
                move = sum(next(row) * (outcome[t] - (levels - 1) / 2) for t in range(s))
                terms[k] *= masses(loc[k, s] + move, scale[k, s], levels)[value]
        probabilities.append(terms.sum())
    return np.array(probabilities)


@pytest.mark.parametrize(("levels", "size"), [(4, 1), (4, 2), (6, 2), (3, 3), (3, 4)])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_mixture_is_its_definition_and_sums_to_one(levels, size):
    distribution, parameters = mixture(levels, size, components=3)
    log_prob = distribution.log_prob(outcomes(levels, size)).numpy().astype(np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)
    expected = mixture_probabilities(*parameters, levels)
    assert expected.sum() == pytest.approx(1.0)
    possible = expected > 1e-30
    np.testing.assert_allclose(log_prob[possible], np.log(expected[possible]), rtol=2e-4, atol=2e-4)
    assert distribution.event_shape == [size]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_mixture_of_256_levels_with_its_tails(scale):
    parameters = (
        np.linspace(-1, 1, len(LOCS)),
        np.array(LOCS)[:, None],
        np.full((len(LOCS), 1), scale),
        np.zeros((len(LOCS), 0)),
    )
    distribution = DiscretizedLogisticMixture(*(np.float32(p) for p in parameters), levels=256)
    log_prob = distribution.log_prob(outcomes(256, 1)).numpy().astype(np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=2e-5)
    expected = mixture_probabilities(*parameters, 256)
    possible = expected > 1e-30
    np.testing.assert_allclose(log_prob[possible], np.log(expected[possible]), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("mask", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_mixture_fill_samples_the_distribution_and_keeps_masked_values(mask):
    distribution, parameters = mixture(4, 2, components=3, seed=3)
    x = (2, 1)
    joint = mixture_probabilities(*parameters, 4).reshape(4, 4)
    first = np.eye(4)[x[0]] if mask[0] else joint.sum(1)
    second = np.eye(4)[[x[1]] * 4] if mask[1] else joint / joint.sum(1, keepdims=True)
    samples = fill(distribution, 40_000, x, mask)
    assert_frequencies(samples, 4, (first[:, None] * second).ravel())


def test_mixtures_of_many_positions_are_each_their_own():
    rng = np.random.default_rng(5)
    shapes = [(2, 3, 2), (2, 3, 2, 3), (2, 3, 2, 3), (2, 3, 2, 3)]
    logits, loc, scale, slopes = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    parameters = logits, 8 + 8 * loc, 2 * np.exp(scale), slopes
    x = rng.integers(0, 16, (2, 3, 3)).astype(np.float32)
    u = rng.random((2, 3, 3, 2), np.float32)
    together = DiscretizedLogisticMixture(*map(tf.constant, parameters), levels=16)
    log_prob, samples = together.log_prob(x), together.fill(x, tf.zeros_like(x), u)
    assert together.batch_shape == [2, 3]
    for at in np.ndindex(2, 3):
        alone = DiscretizedLogisticMixture(*(tf.constant(p[at]) for p in parameters), levels=16)
        np.testing.assert_allclose(log_prob[at], alone.log_prob(x[at]), rtol=1e-4)
        np.testing.assert_array_equal(samples[at], alone.fill(x[at], tf.zeros(3), u[at]))
