"""Random numbers per example do not depend on the batch or on the execution mode."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.random import bernoulli, coins, fold_in, normal, uniform

SEED = tf.constant([3, 7])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (5,), (28, 28, 1)])
@pytest.mark.parametrize("draw", [normal, uniform])
def test_example_k_is_the_same_in_every_batch(draw, shape, jit):
    compiled = tf.function(lambda first, n: draw(SEED, first, n, shape), jit_compile=jit)
    full = compiled(0, 20).numpy()
    assert full.shape == (20, *shape)
    # Vectorized logarithms and cosines may differ in the last bit at the end of a batch.
    np.testing.assert_allclose(compiled(13, 7), full[13:], atol=0 if draw is uniform else 1e-6)
    np.testing.assert_allclose(draw(SEED, 0, 20, shape), full, atol=1e-6)


def test_a_far_example_does_not_repeat_the_near_ones():
    first = 2**40
    far = normal(SEED, tf.constant(first, tf.int64), 2, (784,))
    assert not np.intersect1d(far, normal(SEED, 0, 2, (784,))).size
    np.testing.assert_array_equal(far[1], normal(SEED, first + 1, 1, (784,))[0])


def test_other_seeds_give_independent_numbers():
    draws = [normal(seed, 0, 2000, (5,)) for seed in (SEED, [7, 3], fold_in(SEED, 0))]
    correlation = np.corrcoef(np.concatenate(draws, axis=1).T) - np.eye(15)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(2000)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_distribution(draw):
    from math import erf

    values = np.sort(draw(SEED, 0, 1000, (100,)).numpy().ravel())
    cdf = values if draw is uniform else np.vectorize(lambda v: (1 + erf(v / 2**0.5)) / 2)(values)
    # Kolmogorov-Smirnov test: 1.95 / sqrt(n) is exceeded for one seed in a thousand.
    gap = np.abs(cdf - (np.arange(values.size) + 0.5) / values.size).max()
    assert gap < 1.95 / np.sqrt(values.size)
    assert values[0] >= 0 or draw is normal
    assert values[-1] < (1 if draw is uniform else 6.8)


def test_bernoulli_follows_its_probabilities():
    probs = tf.broadcast_to(tf.constant([0.0, 0.2, 0.9, 1.0]), (20_000, 4))
    samples = bernoulli(SEED, 0, probs).numpy()
    assert set(np.unique(samples)) == {0.0, 1.0}
    np.testing.assert_allclose(samples.mean(0), [0.0, 0.2, 0.9, 1.0], atol=0.012)


@pytest.mark.parametrize("shape", [(), (3,), (16,), (28, 28, 3)])
def test_coins_of_example_k_are_the_same_in_every_batch_and_under_xla(shape):
    full = coins(SEED, 0, 20, shape, 0.7).numpy()
    assert full.shape == (20, *shape)
    np.testing.assert_array_equal(coins(SEED, 13, 7, shape, 0.7), full[13:])
    compiled = tf.function(lambda first, n: coins(SEED, first, n, shape, 0.7), jit_compile=True)
    np.testing.assert_array_equal(compiled(13, 7), full[13:])


@pytest.mark.parametrize("probability", [1 / 256, 0.3, 0.5, 0.9, 1.0])
def test_coins_follow_their_probability(probability):
    heads = coins(SEED, 0, 2000, (500,), probability).numpy()
    p = round(256 * probability) / 256
    assert heads.dtype == bool
    assert heads.mean() == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / heads.size))
    # The four coins of one integer, and those of two integers, are independent.
    if p < 1:
        first, *others = heads[:, :9].T
        correlations = [np.corrcoef(first, other)[0, 1] for other in others]
        assert np.abs(correlations).max() < 4.5 / np.sqrt(2000)


def test_fold_in_depends_on_every_number_and_on_their_order():
    seeds = [fold_in(SEED, *numbers) for numbers in ((), (0,), (1,), (0, 1), (1, 0), (2**40,))]
    assert len({tuple(np.asarray(seed)) for seed in seeds}) == 6


@pytest.mark.parametrize("seed", [(0, 0), (3, 7), (-5, 2**31 - 1), (-(2**31), -1)])
def test_seeds_are_the_same_under_xla(seed):
    compiled = tf.function(lambda seed: fold_in(seed, 1, 0), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(seed)), fold_in(seed, 1, 0))


def test_random_numbers_equal_golden_values():
    """Golden values, because samples of pretrained models must not change."""
    np.testing.assert_allclose(normal(SEED, 5, 1, (3,))[0], GOLDEN_NORMAL, atol=1e-6)
    np.testing.assert_array_equal(fold_in(SEED, 4), GOLDEN_SEED)
    np.testing.assert_array_equal(coins(SEED, 5, 1, (12,), 0.5)[0], GOLDEN_COINS)


GOLDEN_NORMAL = (-0.1472939, -0.8724856, 1.4204080)
GOLDEN_SEED = (-603057591, 1374429633)
GOLDEN_COINS = (0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1)
