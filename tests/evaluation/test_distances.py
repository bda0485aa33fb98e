"""Distances between sets of features equal closed forms and explicit definitions."""

import math

import numpy as np
import pytest

from zoo.errors import InputError
from zoo.evaluation import distances
from zoo.evaluation.distances import (
    authenticity,
    classifier_score,
    diversity,
    frechet_distance,
    kernel_distance,
    moments,
    nearest,
    precision_recall_density_coverage,
)

COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


def features(n, d=6, seed=0, scale=1.0, shift=0.0):
    return np.random.default_rng((seed, n, d)).normal(shift, scale, size=(n, d))


def pairwise(x, y):
    return np.linalg.norm(x[:, None] - y, axis=2)


def exact_moments(mean, covariance, n=1000):
    one = np.concatenate([[1.0], mean])
    sums = n * np.outer(one, one)
    sums[1:, 1:] += (n - 1) * covariance
    return np.stack([sums / 10] * 10)


def assert_honest(scores):
    """Asserts that the spread of repeated scores is at most about their standard error."""
    values, errors = np.array(scores).T
    assert 0.5 < values.std(ddof=1) / math.sqrt(np.mean(errors**2)) < 1.4


@pytest.fixture
def small_subsets(monkeypatch):
    monkeypatch.setattr(distances, "KERNEL_SUBSETS", 20)
    monkeypatch.setattr(distances, "KERNEL_SUBSET_SIZE", 50)


def test_frechet_distance_of_independent_normals():
    a = exact_moments(np.array([1.0, -2.0, 0.0]), np.diag([1.0, 4.0, 9.0]))
    b = exact_moments(np.array([1.0, 1.0, 0.5]), np.diag([4.0, 4.0, 0.25]))
    distance, error = frechet_distance(a, b)
    assert distance == pytest.approx(9.0 + 0.25 + 1.0 + 0.0 + 2.5**2, rel=1e-12)
    assert type(distance) is type(error) is float


def test_frechet_distance_of_a_scaled_covariance():
    # C' = s^2 C, so that (C C')^(1/2) = s C.
    a, b = exact_moments(np.zeros(3), COVARIANCE), exact_moments(np.ones(3), 9.0 * COVARIANCE)
    assert frechet_distance(a, b)[0] == pytest.approx(3.0 + 4.0 * np.trace(COVARIANCE), rel=1e-12)


def test_frechet_distance_by_other_roots():
    x, y = features(200) @ features(6), features(300, seed=1) @ features(6, seed=1) + 1.0
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    rest = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b)
    distance, _ = frechet_distance(moments([x]), moments([y]))
    cross = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert distance == pytest.approx(rest - 2.0 * cross, rel=1e-9)
    linalg = pytest.importorskip("scipy.linalg")
    assert distance == pytest.approx(rest - 2.0 * np.trace(linalg.sqrtm(a @ b)).real, rel=1e-9)


def test_frechet_distance_to_itself_and_with_dead_features():
    x, y = features(200), features(200, seed=1)
    assert frechet_distance(moments([x]), moments([x]))[0] == pytest.approx(0.0, abs=1e-12)
    dead = np.full((200, 3), 0.1)
    distance, _ = frechet_distance(moments([np.hstack([x, dead])]), moments([np.hstack([y, dead])]))
    assert distance == pytest.approx(frechet_distance(moments([x]), moments([y]))[0], abs=1e-6)


def test_frechet_distance_states_the_error_of_new_features():
    scores = []
    for seed in range(60):
        samples, images = features(120, 3, seed), features(150, 3, seed, shift=0.5)
        scores.append(frechet_distance(moments([samples]), moments([images])))
    assert_honest(scores)


def test_jackknife_of_a_mean():
    x = features(10)[:, 0]
    counts = np.ones((10, 1, 1))
    left_out = [np.delete(x, i).mean() for i in range(10)]
    variance = distances._jackknife(x.mean(), counts, left_out)
    assert variance == pytest.approx(x.var(ddof=1) / 10, rel=1e-12)


def test_moments_do_not_depend_on_batches():
    x = features(257).astype(np.float32)
    full = moments([x])
    np.testing.assert_allclose(moments(np.split(x, [7, 8, 100])), full, rtol=1e-12)
    assert full.dtype == np.float64
    np.testing.assert_allclose(full.sum(0)[1:, 0], x.sum(0, dtype=np.float64))
    assert not np.array_equal(moments([x], seed=1), full)


def test_splits_do_not_follow_labels_of_the_same_seed():
    labels = np.random.default_rng(0).integers(10, size=1000)
    sums = moments([np.eye(10)[labels]])
    assert np.all(sums[:, 1:, 0] > 0)  # every label in every split


def test_kernel_distance_against_its_definition(monkeypatch):
    monkeypatch.setattr(distances, "KERNEL_SUBSETS", 2)
    monkeypatch.setattr(distances, "KERNEL_SUBSET_SIZE", 30)
    x, y = features(41), features(45, seed=1, scale=1.3)

    def k(a, b):
        return (a @ b / 6 + 1.0) ** 3

    def unbiased(x, y):
        pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
        xx, yy = (np.mean([k(z[i], z[j]) for i, j in pairs]) for z in (x, y))
        return xx + yy - 2.0 * np.mean([k(a, b) for a in x for b in y])

    generator = distances._generator(3)
    subsets = [
        [generator.choice(z, 30, replace=False, shuffle=False) for z in (x, y)] for _ in range(2)
    ]
    expected = np.mean([unbiased(a, b) for a, b in subsets])
    assert kernel_distance(x, y, seed=3)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("small_subsets")
def test_kernel_distance_of_equal_distributions_is_unbiased():
    values = [
        kernel_distance(features(200, seed=s), features(200, seed=999 + s))[0] for s in range(100)
    ]
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0 < max(values)


@pytest.mark.usefixtures("small_subsets")
@pytest.mark.parametrize(("n", "m"), [(400, 410), (51, 500), (500, 60)])
def test_kernel_distance_states_the_error_of_new_features(n, m):
    scores = [
        kernel_distance(features(n, 4, seed), features(m, 4, 999 + seed, shift=1.0))
        for seed in range(60)
    ]
    assert_honest(scores)


def test_classifier_score_against_its_definition():
    logits = features(500, 7, scale=3.0)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    parts = np.array_split(distances._generator(3).permutation(probs), 10)
    scores = [
        math.exp(np.mean([np.sum(p * np.log(p / part.mean(axis=0))) for p in part]))
        for part in parts
    ]
    score, error = classifier_score(logits.astype(np.float64), seed=3)
    assert score == pytest.approx(np.mean(scores), rel=1e-12)
    assert error == pytest.approx(np.std(scores, ddof=1) / math.sqrt(10), rel=1e-12)
    assert classifier_score(np.log(probs), seed=3)[0] == pytest.approx(score, rel=1e-12)


def test_classifier_score_from_one_to_the_number_of_classes():
    assert classifier_score(np.tile(features(1, 10), (100, 1))) == pytest.approx((1.0, 0.0))
    with_none = np.tile([0.0, -1000.0], (100, 1))  # a class whose probability underflows
    assert classifier_score(with_none) == pytest.approx((1.0, 0.0))
    sure = np.eye(10)[np.arange(10_000) % 10] * 1e4  # in an order that is a trap for plain splits
    assert 9.9 < classifier_score(sure)[0] <= 10.0


@pytest.mark.parametrize("k", [(3, 5), (5, 5), (4, 2)])
def test_balls_against_their_definition(monkeypatch, k):
    monkeypatch.setattr(distances, "BLOCK", 1000)
    monkeypatch.setattr(distances, "MANIFOLD_K", k[0])
    monkeypatch.setattr(distances, "DENSITY_K", k[1])
    # Integers give many equal distances. A feature on the edge of a ball is not inside.
    x, y = np.round(features(300, scale=2.0)), np.round(features(280, seed=1, scale=2.4))
    near_x, near_y = np.sort(pairwise(x, x))[:, k[0]], np.sort(pairwise(y, y))[:, k[0]]
    dense_y = np.sort(pairwise(y, y))[:, k[1]]
    between = pairwise(y, x)
    expected = {
        "precision": np.mean([np.any(between[:, j] < near_y) for j in range(300)]),
        "recall": np.mean([np.any(between[i] < near_x) for i in range(280)]),
        "density": np.mean([np.sum(between[:, j] < dense_y) / k[1] for j in range(300)]),
        "coverage": np.mean([np.any(between[i] < dense_y[i]) for i in range(280)]),
    }
    scores = precision_recall_density_coverage(x, y)
    assert {name: score[0] for name, score in scores.items()} == pytest.approx(expected, rel=1e-12)


def test_balls_of_a_set_and_itself():
    x = features(300)
    scores = precision_recall_density_coverage(x, x)
    assert {value for value, _ in scores.values()} == {1.0}


@pytest.mark.parametrize(("n", "m"), [(600, 610), (100, 100), (300, 150)])
def test_balls_state_the_error_of_new_features(n, m):
    scores = [
        precision_recall_density_coverage(
            features(n, 8, seed), features(m, 8, 999 + seed, scale=1.2)
        )
        for seed in range(40)
    ]
    for name in scores[0]:
        assert_honest([score[name] for score in scores])


def test_scores_equal_those_of_public_implementations():
    """Reference values: prdc 0.2 with nearest_k of 3 and 5, and formulas of torch-fidelity 0.4.0.

    Its random subsets and splits are others than here, which moves the last two.
    """
    x, y = features(2000, 16, scale=1.2, shift=0.1), features(2100, 16, seed=1)
    actual = precision_recall_density_coverage(x, y)
    expected = {"precision": 0.5235, "recall": 0.94381, "density": 0.4233, "coverage": 0.79238}
    assert {name: value for name, (value, _) in actual.items()} == pytest.approx(expected, abs=1e-5)
    assert frechet_distance(moments([x]), moments([y]))[0] == pytest.approx(0.8185913, rel=1e-6)
    assert kernel_distance(x, y)[0] == pytest.approx(0.0680917, abs=1e-3)
    assert classifier_score(3.0 * x[:, :10])[0] == pytest.approx(4.459, abs=0.02)


@pytest.mark.slow
def test_balls_against_published_numbers(monkeypatch):
    # The example of the package prdc by the authors of density and coverage.
    monkeypatch.setattr(distances, "MANIFOLD_K", 5)
    scores = precision_recall_density_coverage(
        features(10_000, 1000), features(10_000, 1000, seed=1)
    )
    published = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}
    for name, (value, error) in scores.items():
        assert abs(value - published[name]) < 4 * error


def test_nearest_against_its_definition(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 1000)
    x, y = features(70), features(300, seed=1)
    y[13] = x[5]
    distance, index = nearest(x, y)
    np.testing.assert_array_equal(index, pairwise(x, y).argmin(axis=1))
    np.testing.assert_allclose(distance, pairwise(x, y).min(axis=1))
    assert distance[5] == 0.0
    assert index[5] == 13
    among, index = nearest(y, y, exclude=np.arange(300))
    np.testing.assert_allclose(among, np.sort(pairwise(y, y))[:, 1])
    assert np.all(index != np.arange(300))


def test_authenticity_against_its_definition():
    x, y = features(70), features(300, seed=1)
    to_itself = pairwise(y, y) + np.diag(np.full(300, np.inf))
    to_images = pairwise(x, y)
    expected = [row.min() > to_itself[row.argmin()].min() for row in to_images]
    share, error = authenticity(*nearest(x, y), y)
    assert share == pytest.approx(np.mean(expected))
    assert error == pytest.approx(math.sqrt(share * (1 - share) / 69))


def test_authenticity_detects_copies():
    trained_on, held_out = features(1000), features(1000, seed=1)
    expected, error = authenticity(*nearest(held_out, trained_on), trained_on)
    copies = trained_on[:200] + features(200, seed=2, scale=0.01)
    assert authenticity(*nearest(copies, trained_on), trained_on)[0] < 0.01
    subset = np.concatenate([held_out[:800], copies])
    assert authenticity(*nearest(subset, trained_on), trained_on)[0] < expected - 4 * error


def test_diversity_against_its_definition(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 1000)
    x, y = features(100), features(80, seed=1)
    expected = pairwise(x, x).sum() / 9900 / (pairwise(y, y).sum() / 6320)
    assert diversity(x, y)[0] == pytest.approx(expected, rel=1e-7)
    assert diversity(2.0 * y + 1.0, y)[0] == pytest.approx(2.0, rel=1e-7)
    assert diversity(np.tile(x[:1], (50, 1)), y)[0] == pytest.approx(0.0, abs=1e-6)


def test_diversity_of_equal_images_is_refused():
    with pytest.raises(InputError, match="The images must differ"):
        diversity(features(50, 64), np.tile(features(1, 64), (50, 1)))


def test_diversity_states_the_error_of_new_features():
    scores = [
        diversity(features(50, 2, seed), features(60, 2, seed, scale=2.0)) for seed in range(60)
    ]
    assert_honest(scores)


@pytest.mark.parametrize(
    "score",
    [kernel_distance, precision_recall_density_coverage, diversity, nearest],
    ids=lambda score: score.__name__,
)
def test_features_of_wrong_shapes_are_refused(score):
    x = features(1001, 3)
    with pytest.raises(InputError, match=r"with equal d .* \(1001, 3\), \(1001, 2\)"):
        score(x, x[:, :2])
    with pytest.raises(InputError, match=r"Received: \(1001, 3\), \(0, 3\)"):
        score(x, x[:0])
    with pytest.raises(InputError, match="Received: nan"):
        score(x, np.where(x == x[7, 1], np.nan, x))


def test_too_few_features_are_refused():
    with pytest.raises(InputError, match="and n of 1001 or more"):
        kernel_distance(features(1000), features(2000))
    with pytest.raises(InputError, match="and n of 12 or more"):
        precision_recall_density_coverage(features(100), features(11))
    with pytest.raises(InputError, match="and n of 20 or more"):
        classifier_score(features(19))
    for stream in [], [features(9)]:
        with pytest.raises(InputError, match=f"10 random splits.* Received: {9 * len(stream)}"):
            moments(stream)
