"""Scores of exported models equal numbers that were computed without zoo."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.examples import Arrays
from support.toys import Duel, Pixels, make

import zoo
import zoo.random
from zoo.datasets import load_dataset
from zoo.errors import ArtefactError, InputError, UndefinedError
from zoo.evaluation.evaluate import compute
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.metrics import find_group
from zoo.evaluation.scores import PROTOCOL
from zoo.exports import cards
from zoo.model import GenerativeModel
from zoo.spec import Spec

PREPARED = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
LN2 = math.log(2.0)


SIX = Spec((6, 1), 0, "audio", rate=8000)


class Categories(GenerativeModel):
    """Independent 256-way pixels.

    Args:
      spec: Spec of an 8-bit image.
    """

    log_prob_kind = "exact"

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.table = self.add_weight(
            shape=(math.prod(self.shape), self.levels), initializer="zeros"
        )
        self.build()

    def log_prob(self, x, seed, condition=None, first=0):
        level = tf.cast(tf.round(tf.reshape(x, (tf.shape(x)[0], -1)) * 255.0), tf.int32)
        pixel = tf.range(self.table.shape[0]) * self.levels
        log_probs = tf.reshape(tf.nn.log_softmax(self.table.value), (-1,))
        return tf.reduce_sum(tf.gather(log_probs, pixel + level), axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        return tf.zeros((num_samples, *self.shape))


class LinearGaussian(GenerativeModel):
    """z ~ Normal(0, I), x | z ~ Normal(W z + b, 0.5^2), q(z | x) the posterior or a wrong one.

    Args:
      spec: Spec of audio with any value.
      shift: of the mean of q from that of the posterior, in scales of the posterior.
      scale: of q, likewise.
    """

    kinds = ("audio",)
    log_prob_kind = "importance_weight"
    noise = 0.5

    def __init__(
        self,
        spec: Spec,
        shift: float = 0.0,
        scale: float = 1.0,
    ):
        super().__init__(spec)
        rng = np.random.default_rng(0)
        self.shift, self.scale = shift, scale
        self.W = rng.normal(size=(math.prod(self.shape), 2)).astype(np.float32)
        self.b = rng.normal(size=math.prod(self.shape)).astype(np.float32)
        precision = np.eye(2) + self.W.T @ self.W / self.noise**2
        self.cholesky = np.linalg.cholesky(np.linalg.inv(precision)).astype(np.float32)
        self.build()

    def log_prob(self, x, seed, condition=None, first=0):
        x = tf.reshape(x, (tf.shape(x)[0], -1))
        covariance = self.cholesky @ self.cholesky.T
        mean = (x - self.b) @ (self.W @ covariance / self.noise**2)
        noise = zoo.random.normal(seed, first, tf.shape(x)[0], (2,))
        z = mean + (self.shift + self.scale * noise) @ self.cholesky.T
        log_q = log_normal(noise) - float(np.log(self.scale * np.diag(self.cholesky)).sum())
        misfit = (x - z @ self.W.T - self.b) / self.noise
        log_likelihood = log_normal(misfit) - len(self.b) * math.log(self.noise)
        return log_normal(z) + log_likelihood - log_q

    def sample(self, num_samples, seed, condition=None, first=0):
        z = zoo.random.normal(seed, first, num_samples, (2,))
        noise = zoo.random.normal(zoo.random.fold_in(seed, 1), first, num_samples, (len(self.b),))
        return tf.reshape(z @ self.W.T + self.b + self.noise * noise, (-1, *self.shape))

    def exact(self, x):
        """log p(x) in float64, from the covariance of x."""
        x = x.reshape(len(x), -1).astype(np.float64) - self.b
        W = self.W.astype(np.float64)
        covariance = W @ W.T + self.noise**2 * np.eye(len(W))
        distance = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
        return -0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])


def log_normal(x):
    return -0.5 * tf.reduce_sum(x**2 + math.log(2 * math.pi), axis=1)


class Broken(Pixels):
    """Pixels with a fixed log_prob for images whose first pixel is white.

    Args:
      spec: Spec of a binary image.
      value: that value, as `float` reads it.
    """

    def __init__(self, spec: Spec, value: str = "nan"):
        super().__init__(spec)
        self.value = value

    def log_prob(self, x, seed, condition=None, first=0):
        return tf.where(
            x[:, 0, 0, 0] > 0, float(self.value), super().log_prob(x, seed, condition, first)
        )


def binary_images(count):
    return np.random.default_rng(0).integers(0, 2, (count, 2, 2, 1)).astype(np.float32)


def categories(images):
    """Returns Categories with probabilities (count + 1/2) / (n + 128) per level and pixel."""
    model = make(Categories, images.shape[1:], 256)
    flat = images.reshape(len(images), -1)
    counts = np.stack([np.bincount(pixel, minlength=256) for pixel in flat.T])
    model.table.assign(np.log(counts + 0.5))
    return model


def test_independent_pixels_on_the_static_test_set(exported):
    """205.79 nats with probabilities (ones + 1/2) / (n + 1) from the 50,000 training images."""
    train, _, test = load_dataset("binarized_mnist")
    ones = train.arrays()[0].sum(axis=0)
    model = make(Pixels, (28, 28, 1))
    model.table.assign(np.log((ones + 0.5) / (len(train) - ones + 0.5))[None])
    score = log_likelihood(exported(model), test)
    assert score["value"] == pytest.approx(-205.7922, abs=2e-4)
    assert score["bits_per_dim"] == pytest.approx(205.7922 / 784 / LN2, abs=1e-6)
    assert 0.4 < score["standard_error"] < 0.5
    assert score["metric"] == "log_likelihood"
    assert score["protocol"] == {
        "version": PROTOCOL,
        "kind": "exact",
        "k": 1,
        "seed": None,
        "conditional": False,
        "trained_on": None,
        "trained_on_fingerprint": None,
        "dataset": "binarized_mnist",
        "fingerprint": test.fingerprint,
        "split": "test",
        "count": 10000,
    }


def test_independent_levels_on_grey_mnist(exported):
    """1.689 bits/dim with (count + 1/2) / (n + 128) from the 55,000 training images."""
    train, _, test = load_dataset("mnist")
    score = log_likelihood(exported(categories(train.arrays()[0])), test)
    assert score["bits_per_dim"] == pytest.approx(1.6890, abs=1e-4)


@pytest.mark.skipif(
    not (PREPARED / "fashion_mnist").is_dir(),
    reason="needs fashion_mnist, prepared by TFDS in TFDS_DATA_DIR",
)
def test_independent_levels_on_fashion_mnist(exported):
    """4.588 bits/dim, computed like 1.689 bits/dim for MNIST."""
    train, _, test = load_dataset("fashion_mnist")
    score = log_likelihood(exported(categories(train.arrays()[0])), test)
    assert score["bits_per_dim"] == pytest.approx(4.5877, abs=1e-4)


def test_a_uniform_model_has_8_bits_per_dim(exported):
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3)) / 255.0
    score = log_likelihood(exported(make(Categories, (8, 8, 3), 256)), Arrays(images, levels=256))
    assert score["bits_per_dim"] == pytest.approx(8.0, abs=1e-6)
    assert score["standard_error"] == pytest.approx(0.0, abs=1e-4)


def test_bounds_rise_to_the_exact_value(exported):
    model = LinearGaussian(SIX, shift=0.8, scale=1.3)
    loaded = exported(model)
    x = model.sample(2000, [0, 5]).numpy()
    elbo, four, many = (log_likelihood(loaded, Arrays(x), k=k) for k in (1, 4, 32))
    assert [s["metric"] for s in (elbo, four, many)] == ["elbo", "iw_bound", "iw_bound"]
    exact = model.exact(x)
    assert elbo["value"] + 0.2 < four["value"] < many["value"] - 0.02 < exact.mean()
    assert many["value"] == pytest.approx(exact.mean(), abs=0.05)
    assert many["standard_error"] == pytest.approx(exact.std(ddof=1) / len(x) ** 0.5, rel=0.05)
    gap = 1.3**2 - 1 + 0.8**2 - 2 * math.log(1.3)  # KL(q || posterior), in two dimensions
    error = np.std(loaded.log_prob(x, 0).numpy() - exact) / len(x) ** 0.5
    assert elbo["value"] == pytest.approx(exact.mean() - gap, abs=4 * error)


@pytest.mark.parametrize("k", [1, 3, 16])
def test_with_the_posterior_every_bound_is_exact(exported, k):
    model = LinearGaussian(SIX)
    x = model.sample(100, [0, 5]).numpy()
    score = log_likelihood(exported(model), Arrays(x), k=k)
    assert score["value"] == pytest.approx(model.exact(x).mean(), abs=1e-4)


def test_a_bound_depends_on_seed_and_image_but_not_on_the_batch(exported, progress):
    model = LinearGaussian(SIX, shift=0.8, scale=1.3)
    loaded = exported(model)
    x = model.sample(50, [0, 5]).numpy()
    score = log_likelihood(loaded, Arrays(x), seed=3, batch_size=7, k=5, progress=progress)
    log_weights = [loaded.log_prob(x, [j, 3]).numpy().astype(np.float64) for j in range(5)]
    expected = np.log(np.mean(np.exp(log_weights), axis=0))
    assert score["value"] == pytest.approx(expected.mean(), abs=1e-5)
    assert progress.totals == progress.done == {"likelihood": 50 * 5}
    others = [log_likelihood(loaded, Arrays(x), seed, 50, k=5)["value"] for seed in (3, 4)]
    assert others[0] == pytest.approx(score["value"], abs=1e-5)
    assert abs(others[1] - score["value"]) > 1e-3


def test_a_limit_selects_evenly_spaced_images(exported):
    model = make(Pixels, (2, 2, 1), num_classes=5)
    model.table.assign(np.random.default_rng(0).normal(size=(5, 2, 2, 1)))
    loaded = exported(model)
    x, labels = binary_images(50), np.repeat(np.arange(5, dtype=np.int32), 10)
    for limit, chosen in ((5, slice(None, None, 10)), (50, slice(None)), (900, slice(None))):
        score = log_likelihood(loaded, Arrays(x, labels, levels=2), batch_size=3, limit=limit)
        expected = loaded.log_prob(x[chosen], 0, labels[chosen]).numpy()
        assert score["value"] == pytest.approx(expected.mean(), abs=1e-5)
        assert score["protocol"]["count"] == len(expected)


def test_one_image_has_no_standard_error(exported):
    score = log_likelihood(
        exported(make(Categories, (2, 2, 1), 256)), Arrays(binary_images(1), levels=256)
    )
    assert score["standard_error"] is None
    assert score["value"] == pytest.approx(-4 * math.log(256))


def test_impossible_images_are_counted(exported):
    loaded = exported(make(Broken, (2, 2, 1), value="-inf"))
    x = binary_images(40)
    score = log_likelihood(loaded, Arrays(x, levels=2))
    assert score["minus_infinity"] == x[:, 0, 0, 0].sum() > 0
    assert score["value"] is score["standard_error"] is score["bits_per_dim"] is None
    cards.add_score(loaded.folder, score)
    kept = json.loads((loaded.folder / cards.CARD).read_text(), parse_constant=pytest.fail)
    assert kept["scores"] == [score]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_invalid_log_probabilities_are_refused(exported, value):
    loaded = exported(make(Broken, (2, 2, 1), value=value))
    x = np.zeros((9, 2, 2, 1), np.float32)
    x[[4, 7]] = 1.0
    with pytest.raises(
        ArtefactError, match=f"Received: {value} for image 4 of 9 of the test split"
    ):
        log_likelihood(loaded, Arrays(x, levels=2), batch_size=4)


def test_undefined_likelihoods_are_refused(exported):
    none = Arrays(np.zeros((0, 2, 2, 1), np.float32), levels=2)
    subset = Arrays(binary_images(4), levels=2)
    pixels, duel = exported(make(Pixels, (2, 2, 1))), exported(make(Duel, (2, 2, 1)))
    with pytest.raises(InputError, match="at least one image in the test split of arrays"):
        log_likelihood(pixels, none)
    with pytest.raises(InputError, match="at least one image"):
        log_likelihood(pixels, subset, limit=0)
    with pytest.raises(InputError, match=r"k must be 1.* Received: k=2 .* log_prob is exact"):
        log_likelihood(pixels, subset, k=2)
    message = (
        "not defined for Duel, because the model has no method log_prob. Supported methods: sample"
    )
    with pytest.raises(UndefinedError, match=message):
        compute(find_group("log_likelihood"), duel)
