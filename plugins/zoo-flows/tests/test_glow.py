"""Glow: conformance tests, and a convolution that equals an independent computation."""

import keras
import numpy as np
import tensorflow as tf
from zoo_flows.glow import Convolution, Glow, Step

import zoo

test_conformance = zoo.testing.conformance(Glow, num_steps=1, filters=8)


def perturbed_step():
    """Returns a step with perturbed weights, and images."""
    keras.utils.set_random_seed(1)
    step = Step((3, 5, 8), 0, 4)
    for k, weight in enumerate((step.log_scale, step.bias, step.lower_upper)):
        weight.assign(weight + 0.1 * tf.random.stateless_normal(weight.shape, (1, k)))
    return step, tf.random.stateless_normal((2, 3, 5, 8), (1, 9))


def matrix(step):
    """Returns P L U, computed with NumPy."""
    packed = step.lower_upper.numpy().astype(np.float64)
    lower = np.tril(packed, -1) + np.eye(len(packed))
    return step.permutation.numpy() @ lower @ np.triu(packed)


def test_actnorm_and_convolution_equal_those_of_the_paper():
    step, x = perturbed_step()
    bijector = Convolution(step)
    h = np.exp(step.log_scale.numpy()) * x.numpy() + step.bias.numpy()
    expected = np.einsum("ij,nhwj->nhwi", matrix(step), h)
    actual = bijector.forward(x)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(bijector.inverse(tf.identity(actual)), x, atol=1e-5)
    log_det = np.linalg.slogdet(matrix(step))[1] + step.log_scale.numpy().sum()
    actual = bijector.forward_log_det_jacobian(x, event_ndims=3)
    np.testing.assert_allclose(actual, 3 * 5 * log_det, rtol=1e-4)


def test_a_step_is_initialized_as_a_rotation():
    keras.utils.set_random_seed(1)
    step = Step((2, 2, 8), 0, 4)
    np.testing.assert_allclose(matrix(step) @ matrix(step).T, np.eye(8), atol=1e-5)
    x = tf.random.stateless_normal((2, 2, 2, 8), (1, 9))
    h = x
    for bijector in step.bijectors(tf.zeros([2, 0])):
        h = bijector.forward(h)
    np.testing.assert_allclose(h, np.einsum("ij,nhwj->nhwi", matrix(step), x), atol=1e-5)
