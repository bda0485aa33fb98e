"""Conformance tests, and a check that the probabilities of all images sum to 1."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import zoo
from zoo_example.model import Example

test_conformance = zoo.testing.conformance(Example)


def test_probabilities_of_all_images_sum_to_one():
    model = Example(zoo.Spec((2, 2, 1), levels=2))
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    images = np.array([*itertools.product([0.0, 1.0], repeat=4)], np.float32)
    log_prob = model.log_prob(tf.constant(images.reshape(16, 2, 2, 1)), seed=0)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)
