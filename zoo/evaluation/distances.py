"""How far samples are from images, by the features of both.

Features are float32 or float64 [n, d], in any order: splits are random, from a seed. Sums are
float64. A score is a pair of floats, the value and its standard error, which is that of new samples
and new images unless the function says otherwise. Most scores have a bias besides, which depends on
the counts: they compare only at equal counts.

Sources: Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982,
and Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017 (Fréchet distance);
Bińkowski et al., Demystifying MMD GANs, ICLR 2018 (kernel distance); Salimans et al., Improved
techniques for training GANs, NeurIPS 2016 (classifier score); Kynkäänniemi et al., Improved
precision and recall metric for assessing generative models, NeurIPS 2019; Naeem et al., Reliable
fidelity and diversity metrics for generative models, ICML 2020 (density, coverage, and the strict
comparison in all four); Alaa et al., How faithful is your synthetic data?, ICML 2022
(authenticity); Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, 1999.
"""

import math

import numpy as np

from zoo.errors import InputError

__all__ = [
    "authenticity",
    "classifier_score",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "moments",
    "nearest",
    "precision_recall_density_coverage",
]

SPLITS = 10
HALVINGS = 5
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 100, 1000
MANIFOLD_K = 3  # of precision and recall
DENSITY_K = 5  # of density and coverage
BLOCK = 2**22  # distances in memory at a time


def moments(batches, seed=0):
    """Sums up a stream of features, for the Fréchet distance.

    Args:
      batches: iterable of float [b, d]; how the stream is cut into batches does not matter.
      seed: int; assigns each feature to one of ten splits.

    Returns:
      float64 [10, 1 + d, 1 + d]: the sum of [1, x]^T [1, x] over each split.

    Raises:
      InputError: if a split has no features.
    """
    generator = _generator(seed)
    sums = [0.0] * SPLITS
    counts = np.zeros(SPLITS, np.int64)
    for batch in batches:
        (x,) = _checked(batch)
        x = np.insert(x, 0, 1.0, axis=1)  # [b, 1 + d]
        split = generator.integers(SPLITS, size=len(x))
        counts += np.bincount(split, minlength=SPLITS)
        for j in range(SPLITS):
            sums[j] = sums[j] + x[split == j].T @ x[split == j]
    if not counts.all():
        raise InputError(
            f"Expected features for {SPLITS} random splits: a hundred are enough."
            f" Received: {counts.sum()}"
        )
    return np.stack(sums)


def frechet_distance(samples, images):
    """Computes |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of means m and unbiased covariances C.

    Args:
      samples: float64 [10, 1 + d, 1 + d]; the moments of the samples' features.
      images: the same for the images.

    Returns:
      (distance, standard error): by the jackknife over ten splits of either set, which is too large
      where the distance is mostly bias.
    """
    a, b = samples.sum(axis=0), images.sum(axis=0)
    distance = _between_normals(a, b)
    variance = _jackknife(distance, samples, [_between_normals(a - split, b) for split in samples])
    variance += _jackknife(distance, images, [_between_normals(a, b - split) for split in images])
    return distance, math.sqrt(variance)


def kernel_distance(samples, images, seed=0):
    """Estimates without bias the squared maximum mean discrepancy of k(x, y) = (x . y / d + 1)^3.

    It is the mean over 100 pairs of subsets of 1000. The standard error is that of the U-statistic
    of all features, sqrt(4 Var a / n + 4 Var b / m) with a(x) = mean k(x, x') - mean k(x, y) and
    the same for b(y), combined with the error of the random subsets.

    Args:
      samples: float [n, d].
      images: float [m, d].
      seed: int; draws the subsets, without replacement.

    Returns:
      (distance, standard error); the estimate can be negative for equal distributions.

    Raises:
      InputError: if there are no more than 1000 samples or images.
    """
    size = KERNEL_SUBSET_SIZE
    x, y = _checked(samples, images, least=size + 1)
    generator = _generator(seed)
    distances = []
    for _ in range(KERNEL_SUBSETS):
        a, b = (generator.choice(z, size, replace=False, shuffle=False) for z in (x, y))
        aa, bb = _kernel(a, a), _kernel(b, b)
        within = (aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (size * (size - 1))
        distances.append(within - 2.0 * _kernel(a, b).mean())
    errors = [_error(distances), *(2.0 * _error(of) for of in _kernel_differences(x, y))]
    return float(np.mean(distances)), math.hypot(*errors)


def classifier_score(logits, seed=0):
    """Computes exp(E KL(p(y | x) || p(y))), the inception score of another classifier.

    Args:
      logits: float [n, classes] of the samples; log-probabilities are logits too.
      seed: int; splits the samples.

    Returns:
      (mean over ten splits, standard error), from 1 to the number of classes.

    Raises:
      InputError: if there are fewer than two samples per split.
    """
    (x,) = _checked(logits, least=2 * SPLITS)
    log_p = x - np.logaddexp.reduce(x, axis=1, keepdims=True)
    scores = []
    for split in np.array_split(_generator(seed).permutation(log_p), SPLITS):
        log_mean = np.logaddexp.reduce(split, axis=0) - math.log(len(split))
        kl = np.sum(np.exp(split) * (split - log_mean), axis=1)
        scores.append(np.exp(kl.mean()))
    return float(np.mean(scores)), _error(scores)


def precision_recall_density_coverage(samples, images, seed=0):
    """Compares two sets by balls around features, each up to the k-th nearest of its set.

    With k = 3, precision is the share of samples inside balls of images, and recall that of images
    inside balls of samples. With k = 5, density is the number of balls of images around a sample
    over k, on average, and coverage the share of images with samples inside their balls.

    Args:
      samples: float [n, d].
      images: float [m, d].
      seed: int; splits both sets into halves.

    Returns:
      dict of name to (value, standard error): half the difference between two halves of both sets,
      over five halvings. Binomial errors would ignore that the balls vary, and scores of
      tenths of the sets would differ too much from those of all.

    Raises:
      InputError: if a half is too small to have a k-th nearest.
    """
    x, y = _checked(samples, images, least=2 * (max(MANIFOLD_K, DENSITY_K) + 1))
    generator, squares = _generator(seed), dict.fromkeys(values := _balls(x, y), 0.0)
    for _ in range(HALVINGS):
        halves = [np.array_split(generator.permutation(z), 2) for z in (x, y)]
        one, other = (_balls(*half) for half in zip(*halves, strict=True))
        for name in squares:
            squares[name] += (one[name] - other[name]) ** 2
    return {
        name: (value, 0.5 * math.sqrt(squares[name] / HALVINGS)) for name, value in values.items()
    }


def diversity(samples, images):
    """Divides the mean distance of two samples by that of two images.

    Args:
      samples: float [n, d].
      images: float [m, d].

    Returns:
      (ratio, standard error): 1 where samples are as far apart as images, 0 where all are equal.

    Raises:
      InputError: if there are fewer than two samples or images, or all images are alike.
    """
    x, y = _checked(samples, images, least=2)
    if (y == y[0]).all():
        raise InputError("Expected different images. Received: images that all have equal features")
    (mean_x, error_x), (mean_y, error_y) = _mean_pairwise_distance(x), _mean_pairwise_distance(y)
    ratio = mean_x / mean_y
    return ratio, math.hypot(error_x, ratio * error_y) / mean_y


def nearest(samples, images, exclude=None):
    """Returns the nearest image of each sample.

    Args:
      samples: float [n, d].
      images: float [m, d].
      exclude: int [n]; for each sample the index of an image to exclude: itself.

    Returns:
      (distance float64 [n], index int64 [n]).
    """
    x, y = _checked(samples, images)
    index = np.empty(len(x), np.int64)
    for rows, block in _squared_distances(x, y, exclude):
        index[rows] = block.argmin(axis=1)
    return np.linalg.norm(x - y[index], axis=1), index  # exactly 0 for copies


def authenticity(distances, index, images):
    """Computes the share of samples that are not copies of the images a model was trained on.

    A sample counts as a copy if its nearest image is no nearer to any other image than to it. This
    holds for many new images too. The same score of held-out images, instead of samples, is the
    share to expect; a lower share means memorization.

    Args:
      distances: float [n]; from `nearest(samples, images)`.
      index: int [n]; from the same call.
      images: float [m, d]; features of the images that the model was trained on.

    Returns:
      (share, standard error), for new samples of the same trained model.

    Raises:
      InputError: if there are fewer than two images.
    """
    (y,) = _checked(images, least=2)
    chosen, position = np.unique(index, return_inverse=True)
    spacing, _ = nearest(y[chosen], y, exclude=chosen)
    authentic = distances > spacing[position]
    return float(authentic.mean()), _error(authentic)


def _between_normals(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = _mean_and_covariance(a), _mean_and_covariance(b)
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0.0)) @ vectors.T  # rounding makes zeros negative
    # C C' and C^(1/2) C' C^(1/2) have the same eigenvalues, and the second is symmetric.
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0.0)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross)


def _mean_and_covariance(sums):
    n, mean = sums[0, 0], sums[0, 1:] / sums[0, 0]
    return mean, (sums[1:, 1:] - n * np.outer(mean, mean)) / (n - 1.0)


def _jackknife(value, splits, left_out):
    rest = 1.0 - splits[:, 0, 0] / splits[:, 0, 0].sum()  # share that is left; splits are unequal
    left_out = np.array(left_out)
    pseudo = (value - rest * left_out) / (1.0 - rest)
    estimate = np.sum(value - rest * left_out)
    return np.mean((pseudo - estimate) ** 2 * (1.0 - rest) / rest)


def _kernel(a, b):
    k = a @ b.T / a.shape[1] + 1.0
    return k * k * k


def _kernel_differences(x, y):
    """Returns mean k(x, x') - mean k(x, y) of each x, [n], and the same with y for x, [m]."""
    return [_kernel_means(u, u, same=True) - _kernel_means(u, v) for u, v in ((x, y), (y, x))]


def _kernel_means(x, y, same=False):
    step = max(1, BLOCK // len(y))
    sums = [_kernel(x[k : k + step], y).sum(axis=1) for k in range(0, len(x), step)]
    if not same:
        return np.concatenate(sums) / len(y)
    return (np.concatenate(sums) - (np.sum(x * x, axis=1) / x.shape[1] + 1.0) ** 3) / (len(y) - 1)


def _balls(x, y):
    near_x, _ = _squared_radii(x)
    near_y, dense_y = _squared_radii(y)
    precise, density = np.zeros(len(x), bool), np.zeros(len(x))
    recalled, covered = np.zeros(len(y), bool), np.zeros(len(y), bool)
    for rows, block in _squared_distances(y, x):
        precise |= (block < near_y[rows, None]).any(axis=0)
        recalled[rows] = (block < near_x).any(axis=1)
        inside = block < dense_y[rows, None]
        density += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
    return {
        "precision": float(precise.mean()),
        "recall": float(recalled.mean()),
        "density": float(density.mean() / DENSITY_K),
        "coverage": float(covered.mean()),
    }


def _squared_radii(x):
    radii = np.empty((2, len(x)))
    order = [MANIFOLD_K - 1, DENSITY_K - 1]
    for rows, block in _squared_distances(x, x, exclude=np.arange(len(x))):
        block.partition(order, axis=1)
        radii[:, rows] = block[:, order].T
    return radii


def _mean_pairwise_distance(x):
    to_others = np.empty(len(x))
    for rows, block in _squared_distances(x, x):
        to_others[rows] = np.sqrt(block).sum(axis=1) / (len(x) - 1)
    return float(to_others.mean()), 2.0 * _error(to_others)  # of a U-statistic of pairs


def _squared_distances(x, y, exclude=None):
    """Yields a slice of the rows of x and their squared distances to y, infinite to excluded."""
    norms, doubled = np.sum(y * y, axis=1), -2.0 * y.T
    step = max(1, BLOCK // len(y))
    for first in range(0, len(x), step):
        rows = slice(first, first + step)
        block = x[rows] @ doubled
        block += norms
        block += np.sum(x[rows] ** 2, axis=1)[:, None]
        np.maximum(block, 0.0, out=block)
        if exclude is not None:
            block[np.arange(len(block)), exclude[rows]] = np.inf
        yield rows, block


def _error(values):
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _generator(seed):
    # Labels may have been drawn by default_rng(seed): splits must not follow them.
    return np.random.default_rng((seed, SPLITS))


def _checked(*features, least=1):
    features = [np.asarray(x, np.float64) for x in features]
    for x in features:
        if x.ndim != 2 or x.shape[1] != features[0].shape[-1] or len(x) < least:
            raise InputError(
                f"Expected features of shape (n, d), all of one d, with n of {least} or more."
                f" Received: {', '.join(str(x.shape) for x in features)}"
            )
        if not np.isfinite(x).all():
            raise InputError(f"Expected finite features. Received: {x[~np.isfinite(x)][0]}")
    return features
