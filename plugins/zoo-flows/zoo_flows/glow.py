"""Glow: a flow whose couplings take turns with invertible 1 x 1 convolutions.

    z = f(x + noise within its level) ~ Normal(0, I)

On each scale f has `num_steps` steps, of images h, [H, W, C],

    h -> scale * h + bias                                  actnorm, by channel
    h -> W h,   W = P L U                                  at every pixel
    (a, b) -> (a, exp(log_scale(a)) b + shift(a))          coupling, (a, b) the halves of h

and where half of the channels become latents, these are scaled and shifted by what a network says
of the other half: the prior that the source has for them. The loss is the mean of -log p of an
image with noise, in nats: a bound, as `zoo_flows.flow` has it, which is what f begins and ends by.

Family: normalizing flow

Source: Kingma and Dhariwal, Glow: generative flow with invertible 1x1 convolutions, NeurIPS 2018,
https://arxiv.org/abs/1807.03039, table 1, equations 10 and 11, figure 2.

Differs from the source:

* the first and the last level become tails of normals (`EndsToTails`);
* actnorm starts as the identity, not with statistics of the first batch, because everything else
  starts as a rotation of data of known scale;
* U has a diagonal of its own, not that of a vector s;
* P, L and U start as those of a random rotation;
* a tanh, not a sigmoid, bounds log scales;
* labels bias the hidden layer of every network;
* twice as many filters on each scale as on the one before;
* Adam, with a learning rate that rises and falls and a bound on the norm of the gradient;
* a moving average of the weights.
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
    """Glow.

    Args:
      spec: Spec of an image, the sides multiples of 2^num_scales.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      num_scales: times that the sides are halved.
      num_steps: steps of flow on each scale.
      filters: channels of the networks' hidden layers on the first scale, doubled on each other.
      learning_rate: of Adam at its highest; it falls to 0 on a cosine.

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
        """Returns the bijectors, as of `FlowModel`."""
        scales = [[b for step in steps for b in step.bijectors(label)] for steps in self.steps]
        for bijectors, prior in zip(scales, self.priors, strict=False):
            bijectors.append(Coupling(prior, label))
        return scales


class Step(keras.layers.Layer):
    """The weights of a step of flow.

    Args:
      size: (height, width, channels) of the images.
      num_classes: int.
      filters: int; channels of the network's hidden layers.
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
        # Not of integers: those are not stored together with other weights.
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
    """Actnorm, then W = P L U at every pixel: h -> W (exp(log_scale) h + bias).

    Args:
      step: `Step`, whose weights these are.
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
    """Returns matrix x at each pixel: float32 [n, H, W, C]."""
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), matrix, transpose_b=True)
    return tf.reshape(flat, [-1, *x.shape[1:]])
