"""DCGAN: conformance tests, and networks that equal independent computations."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make

import zoo
from zoo.models.dcgan import DCGAN, Kernel, augmented

test_conformance = zoo.testing.conformance(DCGAN, filters=16, latent_dim=32, learning_rate=2e-3)


@pytest.fixture
def tiny():
    """A DCGAN, four 8 x 8 images of 256 levels, and their labels."""
    keras.utils.set_random_seed(1)
    model = make(DCGAN, (8, 8, 1), 256, num_classes=2, latent_dim=3, filters=4)
    x = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1)).astype(np.float32) / 255.0
    return model, tf.constant(x), tf.constant([0, 1, 1, 0])


SIDES = [(side, side) for side in (8, 14, 16, 28, 32, 56, 64, 112, 128)]


@pytest.mark.parametrize("sides", [*SIDES, (9, 50)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_side_and_colour(sides, channels):
    model = make(DCGAN, (*sides, channels), 256, latent_dim=4, filters=2)
    x = model.sample(2, tf.constant([0, 1]))
    assert x.shape == (2, *sides, channels)
    assert model.discriminate(x, tf.zeros([2, 0])).shape == (2,)
    model.compile()
    assert all(np.isfinite(float(value)) for value in model.train_step((x,)).values())


def test_a_kernel_is_divided_by_its_largest_singular_value():
    keras.utils.set_random_seed(1)
    kernel = Kernel((4, 4, 3, 5))
    before = np.linalg.svd(kernel.kernel.numpy().reshape(-1, 5))[1][0]
    assert not 0.9 < before < 1.1
    for _ in range(100):
        weight, _ = kernel.normalized(training=True)
    assert np.linalg.svd(weight.numpy().reshape(-1, 5))[1][0] == pytest.approx(1.0, abs=1e-3)


def test_the_singular_value_has_its_gradient():
    """Miyato et al., equation 9: of a sum of products with c, (c - <c, w> u v^T) / sigma."""
    keras.utils.set_random_seed(1)
    kernel = Kernel((7, 4))
    c, random = np.random.default_rng(1).standard_normal((2, 7, 4))
    u, _, v = np.linalg.svd(random, full_matrices=False)
    kernel.kernel.assign(u * [0.4, 0.2, 0.1, 0.05] @ v)
    for _ in range(100):
        kernel.normalized(training=True)
    with tf.GradientTape() as tape:
        weight, _ = kernel.normalized(training=False)
        value = tf.reduce_sum(weight * tf.constant(c, tf.float32))
    actual = tape.gradient(value, kernel.kernel)
    u, s, v = np.linalg.svd(kernel.kernel.numpy().astype(np.float64))
    normalized = kernel.kernel.numpy() / s[0]
    expected = (c - (c * normalized).sum() * np.outer(u[:, 0], v[0])) / s[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_singular_vectors_change_only_in_training(tiny):
    model, x, y = tiny
    model.compile()

    def vectors():
        return np.concatenate(
            [w.numpy().ravel() for w in model.discriminator.non_trainable_variables]
        )

    before = vectors()
    model.test_step((x, y))
    assert np.array_equal(vectors(), before)
    model.train_step((x, y))
    assert not np.any(vectors() == before)


def test_a_logit_depends_only_on_its_image(tiny):
    model, x, y = tiny
    label = tf.one_hot(y, 2)
    for _ in range(200):  # until the singular vectors converge
        together = model.discriminate(x, label, tf.constant([1, 2]), 0)
    for k in range(4):
        alone = model.discriminate(x[k : k + 1], label[k : k + 1])
        assert float(alone[0]) == pytest.approx(float(together[k]), abs=1e-5)


def leaky(h):
    return np.where(h > 0.0, h, 0.2 * h)


def normalised(kernel):
    """Returns a kernel divided by its largest singular value, and the bias, in float64."""
    weight, bias = (w.numpy().astype(np.float64) for w in (kernel.kernel, kernel.bias))
    return weight / np.linalg.svd(weight.reshape(-1, weight.shape[-1]))[1][0], bias


def test_the_discriminator_is_that_of_the_papers_computed_by_hand(tiny):
    model, x, y = tiny
    for k, weight in enumerate(model.discriminator.trainable_weights):
        weight.assign(weight + 0.1 * tf.random.stateless_normal(weight.shape, (3, k)))
    for _ in range(300):
        model.discriminate(x, tf.zeros([4, 2]), tf.constant([1, 2]), 0)
    (convolution,) = model.discriminator.convolutions
    weight, bias = normalised(convolution)
    h = np.pad(2.0 * x.numpy().astype(np.float64) - 1.0, ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps = np.zeros((4, 4, 4, 4))
    for i, j in np.ndindex(4, 4):
        maps[:, i, j] = np.einsum(
            "nabc,abcd->nd", h[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], weight
        )
    features = leaky(maps + bias).reshape(4, -1)
    weight, bias = normalised(model.discriminator.head)
    logits = features @ weight + bias  # one column for all images, and one per label
    expected = logits[:, 0] + logits[np.arange(4), 1 + y.numpy()]
    actual = model.discriminate(x, tf.one_hot(y, 2))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_the_generator_is_that_of_the_papers_computed_by_hand(tiny):
    model, _, y = tiny
    for k, weight in enumerate(model.generator.weights):
        weight.assign(weight + 0.3 * tf.random.stateless_uniform(weight.shape, (3, k)))
    weights = iter([w.numpy().astype(np.float64) for w in model.generator.weights])

    def activated(h):
        gamma, beta, mean, variance = (next(weights) for _ in range(4))
        return leaky((h - mean) / np.sqrt(variance + 1e-3) * gamma + beta)

    z = np.random.default_rng(1).standard_normal((4, 3))
    label = np.eye(2)[y.numpy()]
    h = np.concatenate([z, label], axis=1) @ next(weights)
    h = np.pad(activated(h.reshape(4, 4, 4, 4)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps, kernel = np.zeros((4, 4, 4, 4)), next(weights)
    for i, j in np.ndindex(4, 4):
        maps[:, i, j] = np.einsum("nabc,abcd->nd", h[:, i : i + 3, j : j + 3], kernel)
    h = activated(maps)
    image, kernel = np.zeros((4, 10, 10, 1)), next(weights)  # with a border of 1, removed below
    for i, j in np.ndindex(4, 4):
        image[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum(
            "nc,abdc->nabd", h[:, i, j], kernel
        )
    expected = 1.0 / (1.0 + np.exp(-(image[:, 1:9, 1:9] + next(weights))))
    actual = model.generate(tf.constant(z, tf.float32), tf.constant(label, tf.float32))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_samples_are_normalized_by_training_statistics(tiny):
    model, x, y = tiny
    model.compile()
    for _ in range(5):
        model.train_step((x, y))
    means = [w for w in model.generator.non_trainable_variables if w.path.endswith("moving_mean")]
    assert means
    assert all(np.any(w.numpy()) for w in means)
    seed = tf.constant([1, 2])
    z = zoo.random.normal(seed, 0, 6, (3,))
    label = tf.one_hot([0, 1, 0, 1, 0, 1], 2)
    full = model.generate(z, label)
    for first in (0, 4):
        part = model.generate(z[first : first + 2], label[first : first + 2])
        np.testing.assert_allclose(part, full[first : first + 2], atol=1e-6)
    by_batch = [model.generate(z[k : k + 2], label[k : k + 2], training=True) for k in (0, 4)]
    assert np.abs(by_batch[0] - full[:2]).max() > 1e-3
    assert np.abs(by_batch[1] - full[4:]).max() > 1e-3


def test_images_are_augmented_as_computed_by_hand():
    x = np.random.default_rng(1).uniform(size=(9, 16, 24, 3))
    actual = augmented(tf.constant(x, tf.float32), tf.constant([3, 4]), 5).numpy()
    draws = zoo.random.uniform(tf.constant([3, 4]), 5, 9, (7,)).numpy()
    for image, u, changed in zip(x, draws, actual, strict=True):
        h = 2.0 * image - 1.0 + (u[0] - 0.5)
        grey = h.mean(axis=2, keepdims=True)
        h = grey + 2.0 * u[1] * (h - grey)
        h = h.mean() + (u[2] + 0.5) * (h - h.mean())
        top, left = int(5 * u[3]), int(7 * u[4])  # 0 … 4 and 0 … 6: by -2 … 2 and -3 … 3
        h = np.pad(h, ((top, 4 - top), (left, 6 - left), (0, 0)))[2:18, 3:27]
        row, column = int(17 * u[5]), int(25 * u[6])
        h[max(row - 4, 0) : row + 4, max(column - 6, 0) : column + 6] = 0.0
        np.testing.assert_allclose(2.0 * changed - 1.0, h, atol=1e-5)


def test_the_discriminator_receives_augmented_images_only_in_training(tiny):
    plain, x, y = tiny
    model = make(DCGAN, (8, 8, 1), 256, num_classes=2, latent_dim=3, filters=4, augment=True)
    model.set_weights(plain.get_weights())
    label, seed = tf.one_hot(y, 2), tf.constant([1, 2])
    expected = plain.discriminate(augmented(x, seed, 6), label)
    np.testing.assert_array_equal(model.discriminate(x, label), plain.discriminate(x, label))
    actual = model.discriminate(x, label, seed, 6)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(actual - plain.discriminate(x, label)).max() > 1e-5
    model.compile()
    before = [w.numpy() for w in model.generator.trainable_weights]
    model.train_step((x, y))
    moved = [np.any(w != v) for w, v in zip(model.generator.trainable_weights, before, strict=True)]
    assert all(moved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (7, 7, 1)}, r"must be 8 to 128.*shape=\(7, 7, 1\)"),
        ({"shape": (28, 129, 1)}, r"shape=\(28, 129, 1\)"),
        ({"shape": (28, 28)}, r"shape=\(28, 28\)"),
        ({"levels": 0}, "levels=0"),
        ({"filters": 0}, "filters=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(DCGAN, **{"shape": (8, 8, 1), **options})
