"""Example: each pixel is a logistic regression on the previous pixels.

    p(x) = prod_d Bernoulli(x_d; sigmoid(b_d + sum_{j<d} W_jd x_j))

Family: autoregressive
Source: Frey, Graphical models for machine learning and digital communication, MIT Press 1998.
"""

import math

import keras
import tensorflow as tf
import zoo

ZOO_API = 2


class Example(zoo.GenerativeModel):
    """A fully visible sigmoid belief network for binary images."""

    recipe = dict(data="mnist_binary", epochs=10, batch_size=100)
    log_prob_kind = "exact"

    def __init__(self, spec: zoo.Spec):
        super().__init__(spec)
        self.require(
            spec.levels == 2, "spec must be binary. Add --binarize (binarize=True).", spec=spec
        )
        self.size = math.prod(spec.shape)
        self.kernel = self.add_weight(shape=(self.size, self.size), initializer="zeros")  # W
        self.bias = self.add_weight(shape=(self.size,), initializer="zeros")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(3e-3), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns log p(x) in nats, float32 [n]."""
        self.one_hot(condition, 0)  # raises if a condition is given
        x = tf.reshape(self.on_grid(x), [-1, self.size])
        before = tf.linalg.set_diag(tf.linalg.band_part(self.kernel, 0, -1), tf.zeros([self.size]))
        logits = tf.matmul(x, before) + self.bias
        return -tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(x, logits), axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Returns images, float32 [num_samples, *shape]. Image k depends on (seed, first + k)."""
        self.one_hot(condition, 0)
        u = zoo.random.uniform(seed, first, num_samples, (self.size,))

        def draw(d, x):  # x is 0 from pixel d on
            logit = tf.matmul(x, self.kernel[:, d : d + 1]) + self.bias[d]  # [n, 1]
            pixel = tf.cast(u[:, d : d + 1] < tf.sigmoid(logit), tf.float32)
            return d + 1, x + pixel * tf.one_hot(d, self.size)

        _, x = tf.while_loop(lambda d, x: d < self.size, draw, [0, tf.zeros_like(u)])
        return tf.reshape(x, (num_samples, *self.shape))
