"""Distributions of values 0 … levels - 1 that TFP lacks. Samples are functions of uniform noise.

A position of an autoregressive model has several values: the channels of a pixel, or all values of
a small square of pixels. `BernoulliTree` and `DiscretizedLogisticMixture` are joint distributions
of these values, in which each value depends on the previous ones.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["BernoulliTree", "DiscretizedLogistic", "DiscretizedLogisticMixture"]


class BernoulliTree(tfp.distributions.Distribution):
    """Joint distribution of S binary values, each given the previous ones, without restrictions.

        P(x) = prod_s Bernoulli(x_s; sigmoid(logits[node of x_0 … x_{s-1}]))

    Node 2^s - 1 + (x_0 … x_{s-1} as a binary number) has the logit of x_s.

    Args:
      logits: float32 [..., 2^S - 1].
    """

    def __init__(self, logits):
        self.logits = logits
        self.size = (logits.shape[-1] + 1).bit_length() - 1
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfp.distributions.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=dict(logits=logits),
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return dict(logits=tfp.util.ParameterProperties(event_ndims=1))

    def _event_shape(self):
        return tf.TensorShape([self.size])

    def _event_shape_tensor(self):
        return tf.constant([self.size], tf.int32)

    def _log_prob(self, x):
        places = 2 ** np.arange(self.size, dtype=np.float32)[::-1]
        outcome = tf.cast(tf.reduce_sum(tf.round(x) * places, axis=-1), tf.int32)
        # For every outcome, the branch at each node: 1, -1, or 0 if the path does not visit it.
        branches = np.zeros((2**self.size, 2**self.size - 1), np.float32)
        for row in range(2**self.size):
            for s in range(self.size):
                node = 2**s - 1 + (row >> (self.size - s))
                branches[row, node] = 1.0 if row >> (self.size - 1 - s) & 1 else -1.0
        branches = tf.gather(branches, outcome)  # [..., 2^S - 1]
        return -tf.reduce_sum(tf.abs(branches) * tf.nn.softplus(-branches * self.logits), axis=-1)

    def fill(self, x, mask, u):
        """Samples the values where mask is 0, in order, each given the previous ones.

        Args:
          x: float32 [..., S].
          mask: float32 [..., S]; 1 to keep the value of x, 0 to sample it.
          u: float32 [..., S, 2], uniform in [0, 1). The second of each pair is unused.

        Returns:
          float32 [..., S].
        """
        values = []
        node = tf.zeros(tf.shape(x)[:-1], tf.int32)
        for value, keep, noise in _unstack(x, mask > 0.5, u[..., 0]):
            logit = tf.gather(self.logits, node, axis=-1, batch_dims=node.shape.rank)
            draw = tf.cast(noise < tf.sigmoid(logit), tf.float32)
            values.append(tf.where(keep, value, draw))
            node = 2 * node + 1 + tf.cast(values[-1] > 0.5, tf.int32)
        return tf.stack(values, axis=-1)


FEW = 16  # maximum number of levels for which a mean is an exact sum


class DiscretizedLogistic(tfp.distributions.Distribution):
    """A logistic distribution rounded to 0 … levels - 1. The end values include the tails.

        P(i) = sigmoid((i + 1/2 - loc) / scale) - sigmoid((i - 1/2 - loc) / scale)

    Source: Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017, equation 2. The difference
    is computed as sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), which is also
    exact in the tails, where the source approximates it by the density.

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
        # E x is the sum of P(x > i) over i = 0 … levels - 2.
        if self.levels <= FEW:
            i = tf.range(self.levels - 1.0)
            above = tf.sigmoid((self.loc[..., None] - i - 0.5) / self.scale[..., None])
            return tf.reduce_sum(above, axis=-1)
        # An integral by the midpoint rule. Its error is up to half a level if the scale is small.
        rise = tf.nn.softplus(self.loc / self.scale)
        return self.scale * (rise - tf.nn.softplus((self.loc - self.levels + 1.0) / self.scale))


class DiscretizedLogisticMixture(tfp.distributions.Distribution):
    """Joint distribution of S values 0 … levels - 1: a mixture, shifted by the previous values.

        P(x) = sum_k w_k prod_s DiscretizedLogistic(x_s; loc_ks + sum_{t<s} slope_kst c_t, scale_ks)
        c_t = x_t - (levels - 1) / 2

    Source: Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017, equations 1 to 3, where the
    values are the colours of a pixel.

    Args:
      logits: float32 [..., K]; logits of the weights w.
      loc: float32 [..., K, S], on the scale of the levels.
      scale: float32 [..., K, S], positive, on the scale of the levels.
      slopes: float32 [..., K, S (S - 1) / 2], in the order (1, 0), (2, 0), (2, 1), (3, 0), …
      levels: int, at least 2.
    """

    def __init__(self, logits, loc, scale, slopes, levels):
        self.logits, self.loc, self.scale, self.slopes = logits, loc, scale, slopes
        self.levels, self.size = levels, loc.shape[-1]
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfp.distributions.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=dict(logits=logits, loc=loc, scale=scale, slopes=slopes, levels=levels),
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = tfp.util.ParameterProperties
        return dict(
            logits=properties(event_ndims=1),
            loc=properties(event_ndims=2),
            scale=properties(event_ndims=2),
            slopes=properties(event_ndims=2),
            levels=properties(event_ndims=None),
        )

    def _event_shape(self):
        return tf.TensorShape([self.size])

    def _event_shape_tensor(self):
        return tf.constant([self.size], tf.int32)

    def _log_prob(self, x):
        values = tf.unstack(x, axis=-1)
        zero = tf.zeros_like(x[..., :1])  # broadcasts the parameters to the shape of the batch
        loc = tf.stack([zero + self._loc(s, values) for s in range(self.size)], -1)  # [..., K, S]
        terms = DiscretizedLogistic(loc, self.scale, self.levels).log_prob(x[..., None, :])
        log_weights = tf.nn.log_softmax(self.logits)
        return tf.reduce_logsumexp(log_weights + tf.reduce_sum(terms, axis=-1), axis=-1)

    def fill(self, x, mask, u):
        """Samples the values where mask is 0, in order, each given the previous ones.

        Args:
          x: float32 [..., S].
          mask: float32 [..., S]; 1 to keep the value of x, 0 to sample it.
          u: float32 [..., S, 2], uniform in [0, 1), for the component and for the value.

        Returns:
          float32 [..., S].
        """
        values, logits = [], self.logits  # of the components, given the values so far
        parts = _unstack(x, mask > 0.5, u[..., 0], u[..., 1])
        for s, (value, keep, choice, noise) in enumerate(parts):
            component = DiscretizedLogistic(self._loc(s, values), self.scale[..., s], self.levels)
            below = tf.cumsum(tf.nn.softmax(logits), axis=-1)[..., :-1]
            k = tf.reduce_sum(tf.cast(below <= choice[..., None], tf.int32), axis=-1)
            draws = component.quantile(noise[..., None])
            draw = tf.gather(draws, k, axis=-1, batch_dims=k.shape.rank)
            values.append(tf.where(keep, value, draw))
            if len(values) < self.size:
                logits += component.log_prob(values[-1][..., None])
        return tf.stack(values, axis=-1)

    def _loc(self, s, values):
        """Returns the location of value s per component, [..., K], given the previous values."""
        loc = self.loc[..., s]
        for t in range(s):
            slope = self.slopes[..., s * (s - 1) // 2 + t]
            loc += slope * (values[t] - 0.5 * (self.levels - 1))[..., None]
        return loc


def _unstack(*tensors):
    """Unstacks tensors along the last axis: [(part of each tensor, …), …]."""
    return list(zip(*(tf.unstack(tensor, axis=-1) for tensor in tensors), strict=True))
