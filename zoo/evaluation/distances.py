"""Computes distances between samples and images from their features.

Features are float32 or float64 [n, d], in any order, because they are split at random by a seed.
Sums are float64. A score is (value, standard error), two floats. The error is that of new samples
and new images, unless the docstring states otherwise. Most scores also have a bias that depends on
the counts, so they are comparable only at equal counts.

Sources:
* Fréchet distance: Dowson and Landau, The Fréchet distance between multivariate normal
  distributions, 1982; Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017.
* Kernel distance: Bińkowski et al., Demystifying MMD GANs, ICLR 2018.
* Classifier score: Salimans et al., Improved techniques for training GANs, NeurIPS 2016.
* Precision and recall: Kynkäänniemi et al., Improved precision and recall metric for assessing
  generative models, NeurIPS 2019.
* Density, coverage, and the strict comparison in all four: Naeem et al., Reliable fidelity and
  diversity metrics for generative models, ICML 2020.
* Authenticity: Alaa et al., How faithful is your synthetic data?, ICML 2022.
* Jackknife: Busing, Meijer and van der Leeden, Delete-m jackknife for unequal m, 1999.
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
MANIFOLD_K = 3  # nearest neighbours for precision and recall
DENSITY_K = 5  # nearest neighbours for density and coverage
BLOCK = 2**22  # distances computed at a time


def moments(batches, seed=0):
    """Accumulates the moments of a stream of features, for the Fréchet distance.

    Args:
      batches: iterable of float [b, d]. The result does not depend on the batch sizes.
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
            f"Too few features for {SPLITS} random splits. Use 100 or more."
            f" Received: {counts.sum()}"
        )
    return np.stack(sums)


def frechet_distance(samples, images):
    """Computes |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of means m and unbiased covariances C.

    Args:
      samples: float64 [10, 1 + d, 1 + d]; moments of the features of the samples.
      images: float64 [10, 1 + d, 1 + d]; moments of the features of the images.

    Returns:
      (distance, standard error). The error is estimated by the jackknife over ten splits of each
      set. It is too large if the distance is mostly bias.
    """
    a, b = samples.sum(axis=0), images.sum(axis=0)
    distance = _between_normals(a, b)
    variance = _jackknife(distance, samples, [_between_normals(a - split, b) for split in samples])
    variance += _jackknife(distance, images, [_between_normals(a, b - split) for split in images])
    return distance, math.sqrt(variance)


def kernel_distance(samples, images, seed=0):
    """Computes an unbiased estimate of the squared MMD with the kernel (x . y / d + 1)^3.

    The estimate is the mean over 100 pairs of subsets of 1000. The standard error combines the
    error of the random subsets and that of the U-statistic of all features,

        sqrt(4 Var a / n + 4 Var b / m),   a(x) = mean k(x, x') - mean k(x, y),

    with b(y) defined likewise.

    Args:
      samples: float [n, d].
      images: float [m, d].
      seed: int; draws the subsets, without replacement.

    Returns:
      (distance, standard error). The distance of equal distributions can be negative.

    Raises:
      InputError: if there are 1000 or fewer samples or images.
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
    """Computes exp(E KL(p(y | x) || p(y))), the inception score with another classifier.

    Args:
      logits: float [n, classes]; logits or log-probabilities of the samples.
      seed: int; splits the samples.

    Returns:
      (mean over ten splits, standard error). The mean is from 1 to the number of classes.

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
    """Compares two sets by balls around features. A radius is the distance to the k-th neighbour.

    * precision (k = 3): share of samples inside balls of images.
    * recall (k = 3): share of images inside balls of samples.
    * density (k = 5): mean number of balls of images that contain a sample, divided by k.
    * coverage (k = 5): share of images whose balls contain samples.

    Args:
      samples: float [n, d].
      images: float [m, d].
      seed: int; splits both sets into halves.

    Returns:
      dict from name to (value, standard error). The error is half the root mean square difference
      between two halves of both sets, over five random halvings. Binomial errors would ignore the
      variation of the balls. Tenths of the sets would differ too much from the complete sets.

    Raises:
      InputError: if a half has too few features for k neighbours.
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
    """Computes the mean distance between samples divided by that between images.

    Args:
      samples: float [n, d].
      images: float [m, d].

    Returns:
      (ratio, standard error). The ratio is 1 if samples are as diverse as images, and 0 if all
      samples are equal.

    Raises:
      InputError: if there are fewer than two samples or images, or all images are equal.
    """
    x, y = _checked(samples, images, least=2)
    if (y == y[0]).all():
        raise InputError("The images must differ. Received: images with equal features")
    (mean_x, error_x), (mean_y, error_y) = _mean_pairwise_distance(x), _mean_pairwise_distance(y)
    ratio = mean_x / mean_y
    return ratio, math.hypot(error_x, ratio * error_y) / mean_y


def nearest(samples, images, exclude=None):
    """Returns the nearest image of each sample.

    Args:
      samples: float [n, d].
      images: float [m, d].
      exclude: int [n]; for each sample the index of an image to exclude, such as itself.

    Returns:
      (distance float64 [n], index int64 [n]).
    """
    x, y = _checked(samples, images)
    index = np.empty(len(x), np.int64)
    for rows, block in _squared_distances(x, y, exclude):
        index[rows] = block.argmin(axis=1)
    return np.linalg.norm(x - y[index], axis=1), index  # the distance of a copy is exactly 0


def authenticity(distances, index, images):
    """Computes the share of samples that are not copies of training images.

    A sample counts as a copy if no other image is nearer to its nearest image than the sample. Many
    new images satisfy this by chance. The expected share is therefore the score of held-out images.
    A lower share indicates memorization.

    Args:
      distances: float [n]; from `nearest(samples, images)`.
      index: int [n]; from the same call.
      images: float [m, d]; features of the training images.

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
    root = vectors * np.sqrt(values.clip(0.0)) @ vectors.T  # rounding can make zeros negative
    # C C' and C^(1/2) C' C^(1/2) have the same eigenvalues, and the second is symmetric.
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0.0)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross)


def _mean_and_covariance(sums):
    n, mean = sums[0, 0], sums[0, 1:] / sums[0, 0]
    return mean, (sums[1:, 1:] - n * np.outer(mean, mean)) / (n - 1.0)


def _jackknife(value, splits, values):
    """Returns the variance of a value from `values`, each computed without one of the splits."""
    share = 1.0 - splits[:, 0, 0] / splits[:, 0, 0].sum()  # of features without each split
    values = np.array(values)
    pseudo = (value - share * values) / (1.0 - share)
    estimate = np.sum(value - share * values)
    return np.mean((pseudo - estimate) ** 2 * (1.0 - share) / share)


def _kernel(a, b):
    k = a @ b.T / a.shape[1] + 1.0
    return k * k * k


def _kernel_differences(x, y):
    """Returns mean k(x, x') - mean k(x, y) for each x, [n], and likewise for each y, [m]."""
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
    return float(to_others.mean()), 2.0 * _error(to_others)  # the error of a U-statistic of pairs


def _squared_distances(x, y, exclude=None):
    """Yields slices of x and squared distances to y, which are infinite for excluded rows."""
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
    # Labels may have been drawn with default_rng(seed), so splits use a different generator.
    return np.random.default_rng((seed, SPLITS))


def _checked(*features, least=1):
    features = [np.asarray(x, np.float64) for x in features]
    for x in features:
        if x.ndim != 2 or x.shape[1] != features[0].shape[-1] or len(x) < least:
            raise InputError(
                f"Features must have shape (n, d) with equal d and n of {least} or more."
                f" Received: {', '.join(str(x.shape) for x in features)}"
            )
        if not np.isfinite(x).all():
            raise InputError(f"Features must be finite. Received: {x[~np.isfinite(x)][0]}")
    return features
