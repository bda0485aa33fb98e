"""Distributions that TFP lacks, with quantiles, so that a draw is a function of stateless noise."""

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["DiscretizedLogistic"]


class DiscretizedLogistic(tfp.distributions.Distribution):
    """A logistic distribution rounded to 0 … levels - 1, the tails falling to the ends.

        P(i) = sigmoid((i + 1/2 - loc) / scale) - sigmoid((i - 1/2 - loc) / scale)

    Source: Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017, equation 2. The difference
    is taken as sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), which is exact in
    the tails too, where the source has to fall back on the density.

    Args:
      loc: float32 [...], on the scale of the levels.
      scale: float32 [...], positive, on the scale of the levels.
      levels: int, at least 2.
    """

    def __init__(self, loc, scale, levels, name="DiscretizedLogistic"):
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfp.distributions.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = tfp.util.ParameterProperties
        return dict(loc=properties(), scale=properties(), levels=properties(event_ndims=None))

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _log_prob(self, x):
        above = tf.math.log_sigmoid((x + 0.5 - self.loc) / self.scale)
        below = tf.math.log_sigmoid((self.loc - x + 0.5) / self.scale)
        inside = tf.math.log(-tf.math.expm1(-1.0 / self.scale))
        return tf.where(
            x <= 0.0, above, tf.where(x >= self.levels - 1.0, below, above + below + inside)
        )

    def _quantile(self, u):
        x = tf.round(self.loc + self.scale * (tf.math.log(u) - tf.math.log1p(-u)))
        return tf.clip_by_value(x, 0.0, self.levels - 1.0)

    def _mean(self):
        # E x is the sum of P(x > i) over i = 0 … levels - 2: an integral, by the midpoint rule.
        rise = tf.nn.softplus(self.loc / self.scale)
        return self.scale * (rise - tf.nn.softplus((self.loc - self.levels + 1.0) / self.scale))
