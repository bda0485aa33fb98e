"""The base class of normalizing flows of images: dequantization, likelihood, latents, couplings.

    s = (levels - 1) x + u,   u ~ Uniform[0, 1)          a point of the cell of x, [H, W, C]
    z = f(s) ~ Normal(0, I),   f invertible              [H W C]
    log p(s) = log Normal(z; 0, I) + log |det dz / ds|

A cell has volume 1, so P(x), the integral of p over the cell, is E_u p(s). Thus p(s) is an
importance weight, with E_u log p(s) <= log P(x) (Theis, van den Oord and Bethge, A note on the
evaluation of generative models, ICLR 2016, section 3.1).

f begins with the elementwise `EndsToTails`. On each of `num_scales` scales, squares of 2 x 2 pixels
then become pixels with four times the channels, and the bijectors of the model follow. After them,
half of the channels become latents and the other half continues to the next scale. On the last
scale, all channels become latents (Dinh, Sohl-Dickstein and Bengio, Density estimation using Real
NVP, ICLR 2017, section 3.6).
"""

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

import zoo.random
from zoo.schedules import warm_cosine

__all__ = ["Coupling", "EndsToTails", "FlowModel", "network"]

tfb = tfp.bijectors

WARMUP = 200  # steps of learning rate warm-up
AVERAGE = 0.999  # EMA decay of the weights
MIDDLE = 4.0  # half the width of all cells between the first and the last, after `EndsToTails`
CUT = 2.0  # standard deviations at which the normals of the end cells are truncated
STEEPEST = 3.0  # maximum absolute log scale of a coupling


class FlowModel(zoo.GenerativeModel):
    """A flow of images. Abstract; a subclass has

    * `scales(label)`, which returns for each scale k the list of `tfb.Bijector`s from data to
      latents, of float32 [n, *sizes[k]]. label is one-hot, float32 [n, num_classes]. Bijectors are
      created at each call, because a stored bijector has no gradients for its weights.

    Args:
      spec: Spec of an image with sides that are multiples of 2^num_scales.
      condition: Spec of the label, or None for an unconditional model.
      num_scales: int; number of scales. Each halves the sides.
      learning_rate: float; peak learning rate of Adam.

    Attributes:
      sizes: (height, width, channels) of each scale.

    Raises:
      ValueError: if an argument is invalid.
    """

    log_prob_kind = "importance_weight"

    def __init__(self, spec, condition, num_scales, learning_rate):
        super().__init__(spec, condition)
        self.require(num_scales >= 1, "num_scales must be positive.", num_scales=num_scales)
        self.require(
            not any(side % 2**num_scales for side in spec.shape[:2]),
            "The sides must be multiples of 2^num_scales. Add --size N (size=N), or use fewer"
            " scales.",
            shape=spec.shape,
            num_scales=num_scales,
        )
        self.require_learning_rate(learning_rate)
        self.learning_rate = learning_rate
        height, width, channels = spec.shape
        self.sizes = [
            (height >> k, width >> k, 2 ** (k + 1) * channels) for k in range(1, num_scales + 1)
        ]

    def call(self, x, condition=None):
        """Returns the latents of x, as `encode`."""
        return self.encode(x, condition)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: Adam with learning rate warm-up and cosine decay."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        optimizer = optimizer or keras.optimizers.Adam(rate, global_clipnorm=1.0)
        super().compile(optimizer, average=AVERAGE, **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns the mean of -log p(s) in nats per image, float32 []."""
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns log p(s) of one random point s in the cell of each image, in nats.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: int32 [2]; the point of image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [n].
        """
        u = zoo.random.uniform(seed, first, tf.shape(x)[0], self.shape)
        z, steps = self.latents(x, u, condition)
        log_det = sum(step.forward_log_det_jacobian(h, event_ndims=3) for step, h in steps)
        return log_det - 0.5 * tf.reduce_sum(z**2 + math.log(2.0 * math.pi), axis=1)

    def encode(self, x, condition=None):
        """Returns z of the centre of the cell, float32 [n, H W C], with x as in `log_prob`."""
        return self.latents(x, 0.5, condition)[0]

    def decode(self, z, condition=None):
        """Returns the image whose cell contains the inverse of z.

        Args:
          z: float32 [n, H W C].
          condition: labels, int32 [n], or None for an unconditional model.

        Returns:
          float32 [n, *shape], in [0, 1] on the grid of the levels.
        """
        scales = self.scales(self.one_hot(condition, tf.shape(z)[0]))
        shapes = [(height, width, channels // 2) for height, width, channels in self.sizes[:-1]]
        shapes.append(self.sizes[-1])
        parts = tf.split(z, [math.prod(shape) for shape in shapes], axis=1)
        h = None
        for part, shape, bijectors in zip(parts[::-1], shapes[::-1], scales[::-1], strict=True):
            part = tf.reshape(part, [-1, *shape])
            h = part if h is None else tf.concat([h, part], axis=-1)
            for bijector in bijectors[::-1]:
                h = bijector.inverse(h)
            h = tf.nn.depth_to_space(h, 2)
        top = self.levels - 1.0
        return tf.clip_by_value(tf.floor(EndsToTails(self.levels).inverse(h)), 0.0, top) / top

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples z from Normal(0, I) and decodes it.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        z = zoo.random.normal(seed, first, num_samples, (math.prod(self.shape),))
        return self.decode(z, condition)

    def latents(self, x, u, condition):
        """Maps points in the cells of images, s = (levels - 1) x + u, to latents.

        Returns:
          (z, float32 [n, H W C]; list of (bijector, its input)).
        """
        scales = self.scales(self.one_hot(condition, tf.shape(x)[0]))
        h = tf.round(self.on_grid(x) * (self.levels - 1.0)) + u
        steps, parts = [(EndsToTails(self.levels), h)], []
        h = steps[0][0].forward(h)
        for k, bijectors in enumerate(scales, 1):
            h = tf.nn.space_to_depth(h, 2)
            for bijector in bijectors:
                steps.append((bijector, h))
                h = bijector.forward(h)
            if k < len(scales):
                h, part = tf.split(h, 2, axis=-1)
                parts.append(part)
        parts = [tf.reshape(part, [-1, math.prod(part.shape[1:])]) for part in [*parts, h]]
        return tf.concat(parts, axis=1), steps


class EndsToTails(tfb.Bijector):
    """Maps (0, levels) to the real line, and each end cell to a truncated normal.

    With d the distance of s to the nearer end, and y with the sign of s - levels / 2,

        |y| = MIDDLE + CUT - quantile(d cdf(CUT))                  if d < 1, in the end cells
        |y| = MIDDLE (levels / 2 - d) / (levels / 2 - 1)           between them

    where cdf and quantile are those of Normal(0, 1). For 2 levels, MIDDLE is 0. A value that is
    certainly black or white is uniform in an end cell. No affine map makes this normal, so without
    this bijector it would cost 0.25 bits.

    Args:
      levels: int, at least 2.
    """

    def __init__(self, levels):
        self.levels = levels
        self.middle = MIDDLE if levels > 2 else 0.0
        self.slope = self.middle / (levels / 2 - 1) if levels > 2 else 1.0
        self.mass = 0.5 * math.erfc(-CUT / math.sqrt(2.0))
        super().__init__(forward_min_event_ndims=0, dtype=tf.float32)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward(self, s):
        d, quantile = self._ends(s)
        between = self.slope * (self.levels / 2 - d)
        y = tf.where(d < 1.0, self.middle + CUT - quantile, between)
        return tf.sign(s - self.levels / 2) * y

    def _forward_log_det_jacobian(self, s):
        d, quantile = self._ends(s)
        end = 0.5 * quantile**2 + 0.5 * math.log(2.0 * math.pi) + math.log(self.mass)
        return tf.where(d < 1.0, end, math.log(self.slope))

    def _inverse(self, y):
        beyond = tf.abs(y) - self.middle
        end = tf.math.erfc((beyond - CUT) / math.sqrt(2.0)) / (2.0 * self.mass)
        d = tf.where(beyond > 0.0, end, 1.0 - beyond / self.slope)
        return tf.where(y < 0.0, d, self.levels - d)

    def _ends(self, s):
        d = tf.minimum(s, self.levels - s)
        # Rounding can move a point to an end, where y would be infinite.
        return d, tf.math.ndtri(self.mass * tf.clip_by_value(d, 1e-6, 1.0))


class Coupling(tfb.Bijector):
    """Scales and shifts half of the channels by the outputs of a network of the other half.

        b -> exp(log_scale(a)) b + shift(a),   a -> a

    Source: Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017, equations
    4 to 8.

    Args:
      network: keras.Model as returned by `network`.
      label: float32 [n, num_classes], one-hot.
      kept: indices of the two of four quarters of the channels that form a.
    """

    def __init__(self, network, label, kept=(0, 1)):
        self.network, self.label, self.kept = network, label, kept
        self._split_input = None
        super().__init__(forward_min_event_ndims=3, dtype=tf.float32)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward(self, x):
        b, log_scale, shift = self._parts(x)
        return self._merge(x, tf.exp(log_scale) * b + shift)

    def _inverse(self, y):
        b, log_scale, shift = self._parts(y)
        return self._merge(y, tf.exp(-log_scale) * (b - shift))

    def _forward_log_det_jacobian(self, x):
        return tf.reduce_sum(self._parts(x)[1], axis=(1, 2, 3))

    def _parts(self, x):
        """Returns b, log_scale and shift, float32 [n, H, W, C / 2] each."""
        if x is not self._split_input:  # the log determinant reuses the map
            quarters = tf.split(x, 4, axis=-1)
            a = tf.concat([quarters[k] for k in self.kept], axis=-1)
            b = tf.concat([quarters[k] for k in range(4) if k not in self.kept], axis=-1)
            outputs = tf.cast(self.network([a, self.label]), tf.float32)
            log_scale, shift = tf.split(outputs, 2, axis=-1)
            self._split_input = x
            self._split_output = b, STEEPEST * tf.tanh(log_scale / STEEPEST), shift
        return self._split_output

    def _merge(self, x, b):
        """Returns x, [n, H, W, C], with its part b replaced by b, [n, H, W, C / 2]."""
        quarters, replacements = tf.split(x, 4, axis=-1), iter(tf.split(b, 2, axis=-1))
        merged = [quarters[k] if k in self.kept else next(replacements) for k in range(4)]
        return tf.concat(merged, axis=-1)


def network(size, num_classes, filters):
    """Builds a network of three convolutions for `Coupling`, whose initial output is 0.

    Args:
      size: (height, width, channels).
      num_classes: int.
      filters: int; channels of the hidden layers.

    Returns:
      keras.Model: (a, [n, H, W, C / 2]; one-hot label) -> log scale and shift, [n, H, W, C].
    """
    height, width, channels = size
    a = keras.Input((height, width, channels // 2))
    label = keras.Input((num_classes,))
    h = keras.layers.Conv2D(filters, 3, padding="same")(a)
    if num_classes:
        embedding = keras.layers.Dense(filters, use_bias=False)(label)
        h = keras.layers.Add()([h, keras.layers.Reshape((1, 1, filters))(embedding)])
    h = keras.layers.Activation("relu")(h)
    h = keras.layers.Conv2D(filters, 1, activation="relu")(h)
    outputs = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(h)
    return keras.Model([a, label], outputs)
