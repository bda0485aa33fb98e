"""Glow: a normalizing flow of affine couplings and invertible 1 x 1 convolutions.

    z = f(x + uniform noise of one level) ~ Normal(0, I)

On each scale, f has `num_steps` steps of h, [H, W, C],

    h -> scale * h + bias                                  actnorm, per channel
    h -> W h,   W = P L U                                  1 x 1 convolution
    (a, b) -> (a, exp(log_scale(a)) b + shift(a))          coupling of the halves (a, b) of h

When half of the channels become latents, a network of the other half scales and shifts them, which
is the learned prior of the source. The loss is the mean of -log p of dequantized images in nats, an
upper bound of -log P. `zoo_flows.flow` contains the loss and the parts of f that flows share.

Family: normalizing flow

Source: Kingma and Dhariwal, Glow: generative flow with invertible 1x1 convolutions, NeurIPS 2018,
https://arxiv.org/abs/1807.03039, table 1, equations 10 and 11, figure 2.

Differs from the source:

* the first and the last level become tails of normals (`EndsToTails`);
* actnorm starts as the identity instead of with statistics of the first batch, because the other
  parts start as rotations of data with a known scale;
* U contains its diagonal, which is a separate vector s in the source;
* P, L and U start as those of a random rotation;
* log scales are bounded by a tanh instead of a sigmoid;
* labels add a bias to the hidden layer of every network;
* the number of filters doubles on each scale;
* Adam with learning rate warm-up, cosine decay and gradient clipping;
* an EMA of the weights.
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

import zoo
from zoo_flows.flow import Coupling, FlowModel, network

__all__ = ["Glow"]

ZOO_API = 2

tfb = tfp.bijectors


class Glow(FlowModel):
    """A Glow model.

    Args:
      spec: Spec of an image with sides that are multiples of 2^num_scales.
      condition: Spec of the label, or None for an unconditional model.
      num_scales: number of scales. Each halves the sides.
      num_steps: steps of flow per scale.
      filters: channels of the hidden layers on the first scale. Each further scale doubles them.
      learning_rate: peak learning rate of Adam, with a cosine decay.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=10, batch_size=128)

    def __init__(
        self,
        spec: zoo.Spec,
        condition: zoo.Spec | None = None,
        num_scales: int = 2,
        num_steps: int = 8,
        filters: int = 64,
        learning_rate: float = 4e-3,
    ):
        super().__init__(spec, condition, num_scales, learning_rate)
        self.require(num_steps >= 1, "num_steps must be positive.", num_steps=num_steps)
        self.require(filters >= 1, "filters must be positive.", filters=filters)
        sizes = [(size, self.num_classes, filters * 2**k) for k, size in enumerate(self.sizes)]
        self.steps = [[Step(*size) for _ in range(num_steps)] for size in sizes]
        self.priors = [network(*size) for size in sizes[:-1]]
        self.build()

    def scales(self, label):
        """Returns the bijectors, as `FlowModel`."""
        scales = [[b for step in steps for b in step.bijectors(label)] for steps in self.steps]
        for bijectors, prior in zip(scales, self.priors, strict=False):
            bijectors.append(Coupling(prior, label))
        return scales


class Step(keras.layers.Layer):
    """The weights of a step of flow.

    Args:
      size: (height, width, channels).
      num_classes: int.
      filters: int; channels of the hidden layers of the network.
    """

    def __init__(self, size, num_classes, filters):
        super().__init__(autocast=False)
        channels = size[-1]
        self.log_scale = self.add_weight(shape=(channels,), initializer="zeros", autocast=False)
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", autocast=False)
        rotation = keras.initializers.Orthogonal()((channels, channels))
        lower_upper, order = tf.linalg.lu(rotation)
        self.lower_upper = self.add_weight(shape=(channels, channels), autocast=False)
        self.lower_upper.assign(lower_upper)
        # Float, because integers are not stored together with the other weights.
        self.permutation = self.add_weight(
            shape=(channels, channels), trainable=False, autocast=False
        )
        self.permutation.assign(tf.transpose(tf.one_hot(order, channels)))
        self.network = network(size, num_classes, filters)
        self.built = True

    def bijectors(self, label):
        """Returns the bijectors of the step, in order."""
        return [Convolution(self), Coupling(self.network, label)]


class Convolution(tfb.Bijector):
    """Actnorm and a 1 x 1 convolution with W = P L U: h -> W (exp(log_scale) h + bias).

    Args:
      step: `Step` with the weights.
    """

    def __init__(self, step):
        self.log_scale, self.bias, self.permutation, self.lower_upper = map(
            tf.convert_to_tensor, (step.log_scale, step.bias, step.permutation, step.lower_upper)
        )
        super().__init__(forward_min_event_ndims=3, dtype=tf.float32)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _matrix(self):
        """Returns W, float32 [C, C]."""
        upper = tf.linalg.band_part(self.lower_upper, 0, -1)
        lower = self.lower_upper - upper + tf.eye(self.lower_upper.shape[0])
        return tf.matmul(self.permutation, tf.matmul(lower, upper))

    def _forward(self, x):
        return _product(tf.exp(self.log_scale) * x + self.bias, self._matrix())

    def _inverse(self, y):
        x = _product(y, tf.linalg.inv(self._matrix()))
        return tf.exp(-self.log_scale) * (x - self.bias)

    def _forward_log_det_jacobian(self, x):
        log_diagonal = tf.math.log(tf.abs(tf.linalg.diag_part(self.lower_upper)))
        return x.shape[1] * x.shape[2] * tf.reduce_sum(self.log_scale + log_diagonal)


def _product(x, matrix):
    """Multiplies the channels of each pixel of x, float32 [n, H, W, C], by a matrix."""
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), matrix, transpose_b=True)
    return tf.reshape(flat, [-1, *x.shape[1:]])
