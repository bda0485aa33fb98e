"""The networks equal convolutions computed with NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo_gans import networks


def perturbed(network):
    """Perturbs the weights of a network. Returns the network and an iterator of float64 weights."""
    for k, weight in enumerate(network.weights):
        weight.assign(weight + 0.3 * tf.random.stateless_uniform(weight.shape, (3, k)))
    return network, iter([w.numpy().astype(np.float64) for w in network.weights])


def leaky(h):
    return np.where(h > 0.0, h, 0.2 * h)


def test_the_discriminator_computed_by_hand():
    keras.utils.set_random_seed(1)
    network, weights = perturbed(networks.discriminator((8, 8, 1), 2, filters=4, use_bias=True))
    x = np.random.default_rng(1).random((4, 8, 8, 1))
    h = np.pad(2.0 * x - 1.0, ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps, kernel = np.zeros((4, 4, 4, 4)), next(weights)
    for i, j in np.ndindex(4, 4):
        window = h[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        maps[:, i, j] = np.einsum("nabc,abcd->nd", window, kernel)
    h = leaky(maps + next(weights)).reshape(4, -1) @ next(weights) + next(weights)
    y = np.array([0, 1, 1, 0])
    expected = h[:, 0] + h[np.arange(4), 1 + y]
    np.testing.assert_allclose(
        network([tf.constant(x, tf.float32), tf.one_hot(y, 2)]), expected, 1e-4
    )


def test_the_generator_computed_by_hand():
    keras.utils.set_random_seed(1)
    sizes = dict(num_classes=2, latent_dim=3, filters=4)
    network, weights = perturbed(networks.generator((8, 8, 1), **sizes))

    def activated(h):
        gamma, beta, mean, variance = (next(weights) for _ in range(4))
        return leaky((h - mean) / np.sqrt(variance + 1e-3) * gamma + beta)

    z, label = np.random.default_rng(1).standard_normal((4, 3)), np.eye(2)[[0, 1, 1, 0]]
    h = np.concatenate([z, label], axis=1) @ next(weights)
    h = np.pad(activated(h.reshape(4, 4, 4, 4)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps, kernel = np.zeros((4, 4, 4, 4)), next(weights)
    for i, j in np.ndindex(4, 4):
        maps[:, i, j] = np.einsum("nabc,abcd->nd", h[:, i : i + 3, j : j + 3], kernel)
    h = activated(maps)
    image, kernel = np.zeros((4, 10, 10, 1)), next(weights)  # with a border of 1, removed below
    for i, j in np.ndindex(4, 4):
        square = np.einsum("nc,abdc->nabd", h[:, i, j], kernel)
        image[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += square
    expected = 1.0 / (1.0 + np.exp(-(image[:, 1:9, 1:9] + next(weights))))
    x = network([tf.constant(z, tf.float32), tf.constant(label, tf.float32)])
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 3), (9, 50, 1), (32, 32, 3)])
def test_images_of_every_size(shape):
    x = networks.generator(shape, 0, latent_dim=4, filters=2)([tf.zeros([2, 4]), tf.zeros([2, 0])])
    assert x.shape == (2, *shape)
    assert networks.discriminator(shape, 0, 2, use_bias=False)([x, tf.zeros([2, 0])]).shape == (2,)
