"""RealNVP: conformance tests, and the masks of its couplings."""

import keras
import numpy as np
import tensorflow as tf
from support.toys import make
from zoo_flows.realnvp import RealNVP

import zoo

test_conformance = zoo.testing.conformance(RealNVP, num_couplings=1, filters=8)


def test_the_masks_equal_those_of_the_paper():
    """Figure 3: the pixels of 4 x 4 that the first two and the last two couplings keep."""
    keras.utils.set_random_seed(1)
    model = make(RealNVP, (4, 4, 1), 256, num_scales=1, num_couplings=2, filters=2)
    for weight in model.trainable_weights:
        weight.assign(tf.ones_like(weight))
    (couplings,) = model.scales(tf.zeros([1, 0]))
    x = tf.random.stateless_normal((1, 2, 2, 4), (1, 2))
    kept = [
        tf.nn.depth_to_space(tf.cast(coupling.forward(x) == x, tf.int32), 2)[0, :, :, 0].numpy()
        for coupling in couplings
    ]
    rows, columns = np.mgrid[:4, :4]
    checkerboard, channels = (rows + columns) % 2 == 0, rows % 2 == 0
    for actual, mask in zip(kept, (checkerboard, ~checkerboard, channels, ~channels), strict=True):
        np.testing.assert_array_equal(actual, mask)
