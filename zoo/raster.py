"""The base class of autoregressive models of pixels in raster order.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

A position x_i is a square of `block` x `block` pixels with S = block^2 * channels values. Within a
position, the dependence of the values is a joint distribution of `zoo.distributions`. The networks
of the model determine how a position depends on previous positions.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.distributions import BernoulliTree, DiscretizedLogisticMixture
from zoo.model import GenerativeModel
from zoo.schedules import warm_cosine

__all__ = ["Raster", "RasterModel"]

WARMUP = 500  # steps of learning rate warm-up
AVERAGE = 0.999  # EMA decay of the weights


class Raster:
    """Converts images to positions, and computes their likelihood and samples.

    Args:
      shape: (height, width, channels) of an image.
      levels: int, at least 2.
      block: int; side of the square of pixels of a position.
      mixtures: int; mixture components per position, for more than 2 levels.

    Attributes:
      grid: (rows, columns, values per position) = (H, W, S).
      num_parameters: int; number P of parameters of the distribution of a position.

    Raises:
      ValueError: if an argument is invalid.
    """

    def __init__(self, shape, levels, block, mixtures):
        GenerativeModel.require(
            block >= 1 and not shape[0] % block and not shape[1] % block,
            "The sides must be multiples of block. Add --size N (size=N), or set block=1.",
            shape=shape,
            block=block,
        )
        size = block**2 * shape[2]
        GenerativeModel.require(
            levels > 2 or size <= 8,
            "A block of binary pixels can have at most 8 values. Use a smaller block.",
            shape=shape,
            block=block,
        )
        GenerativeModel.require(mixtures >= 1, "mixtures must be positive.", mixtures=mixtures)
        self.levels, self.block, self.mixtures = levels, block, mixtures
        self.grid = (shape[0] // block, shape[1] // block, size)
        # Parameters of a component: weight, location and scale per value, slope per pair.
        self._sizes = [1, size, size, size * (size - 1) // 2]
        self.num_parameters = 2**size - 1 if levels == 2 else mixtures * sum(self._sizes)

    def positions(self, x):
        """Converts images, [n, height, width, channels], to positions, [n, H, W, S]."""
        return tf.nn.space_to_depth(x, self.block) if self.block > 1 else x  # 1 raises

    def images(self, positions):
        """Converts positions to images, the inverse of `positions`."""
        return tf.nn.depth_to_space(positions, self.block) if self.block > 1 else positions

    def distribution(self, parameters):
        """Returns the joint distributions of the values 0 … levels - 1 at positions.

        Args:
          parameters: float32 [..., P], unbounded.
        """
        if self.levels == 2:
            return BernoulliTree(parameters)
        shape = [*tf.unstack(tf.shape(parameters))[:-1], self.mixtures, sum(self._sizes)]
        parameters = tf.split(tf.reshape(parameters, shape), self._sizes, axis=-1)
        logits, loc, log_scale, slopes = parameters
        # Bounded to 0.001 to 2.7 times the range, because the first steps would overflow.
        scale = self.levels * tf.exp(4.0 * tf.tanh(log_scale / 4.0) - 3.0)
        loc = self.levels * (loc + 0.5)
        return DiscretizedLogisticMixture(logits[..., 0], loc, scale, slopes, self.levels)

    def log_prob(self, x, parameters):
        """Returns log p(x) in nats, float32 [n].

        Args:
          x: float32 [n, H, W, S], positions in [0, 1].
          parameters: float32 [n, H, W, P], each computed from previous positions.
        """
        log_prob = self.distribution(parameters).log_prob(tf.round(x * (self.levels - 1.0)))
        return tf.reduce_sum(log_prob, axis=(1, 2))

    def complete(self, x, mask, seed, first, state, start_row, step):
        """Samples the values where mask is 0, in raster order, each given the previous values.

        The networks cache previous activations in a state, so that each position requires only its
        own computation. State and context are nests of tensors.

        Args:
          x: float32 [n, height, width, channels], in [0, 1]. Ignored where mask is 0.
          mask: float32 [n, height, width, channels]; 1 to keep the value of x, 0 to sample it.
          seed: int32 [2].
          first: int32 []; index of the first image.
          state: the initial state of rows.
          start_row: function (state, row, index) -> (state, context, begin). row, float32
            [n, W, S], is the previous row, or 0 for the first. index, int32 [], is the index of the
            new row. context is [W, ...]; a step receives its column. begin is the initial state of
            positions in the row.
          step: function (state, left, context) -> (state, parameters). left, float32 [n, S], is the
            previous position, or 0 for the first. parameters is float32 [n, P].

        Returns:
          float32 [n, height, width, channels], on the grid of the levels.
        """
        n, top = tf.shape(x)[0], self.levels - 1.0
        height, width, size = self.grid
        values, mask_positions = tf.round(self.positions(x) * top), self.positions(mask)
        u = zoo.random.uniform(seed, first, n, (*self.grid, 2))

        def draw_row(index, row, state, rows):
            state, context, begin = start_row(state, row, index)

            def draw_position(column, left, state, row):
                here = tf.nest.map_structure(lambda tensor: tensor[column], context)
                state, parameters = step(state, left, here)
                at = (slice(None), index, column)
                position = self.distribution(parameters).fill(values[at], mask_positions[at], u[at])
                position /= top
                position.set_shape([None, size])
                return column + 1, position, state, row.write(column, position)

            start = (0, tf.zeros([n, size]), begin, tf.TensorArray(tf.float32, width))
            *_, row = tf.while_loop(lambda column, *_: column < width, draw_position, start)
            row = tf.transpose(row.stack(), [1, 0, 2])  # [n, W, S]
            row.set_shape([None, width, size])
            return index + 1, row, state, rows.write(index, row)

        start = (0, tf.zeros([n, width, size]), state, tf.TensorArray(tf.float32, height))
        *_, rows = tf.while_loop(lambda index, *_: index < height, draw_row, start)
        images = self.images(tf.transpose(rows.stack(), [1, 0, 2, 3]))
        return tf.where(mask > 0.5, x, images)  # bit-equal, although graphs multiply by 1 / top


class RasterModel(GenerativeModel):
    """An autoregressive model of images in raster order. Abstract; a subclass has

    * `parameters(x, label, seed=None, first=0)`, which returns the parameters of all positions,
      float32 [n, H, W, P]. x is float32 [n, H, W, S], positions in [0, 1]. label is one-hot,
      float32 [n, num_classes]. seed is int32 [2] for dropout, or None. first is the index of the
      first image, int32 [];
    * `cache(label)`, which returns (state, start_row, step) as in `Raster.complete`.

    Args:
      spec: Spec of an image with sides that are multiples of block.
      condition: Spec of the label, or None for an unconditional model.
      block: int; as `Raster`.
      mixtures: int; as `Raster`.
      dropout_rate: float in [0, 1).
      learning_rate: float; peak learning rate of Adam.

    Raises:
      ValueError: if an argument is invalid.
    """

    log_prob_kind = "exact"

    def __init__(self, spec, condition, block, mixtures, dropout_rate, learning_rate):
        super().__init__(spec, condition)
        self.raster = Raster(self.shape, self.levels, block, mixtures)
        self.require_learning_rate(learning_rate)
        self.require(
            0 <= dropout_rate < 1, "dropout_rate must be in [0, 1).", dropout_rate=dropout_rate
        )
        self.learning_rate, self.dropout_rate = learning_rate, dropout_rate

    def call(self, x, condition=None):
        """Returns log p(x), as `log_prob`."""
        return self._log_prob(x, condition)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: Adam with learning rate warm-up and cosine decay."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        optimizer = optimizer or keras.optimizers.Adam(rate, global_clipnorm=1.0)
        super().compile(optimizer, average=AVERAGE, **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns the mean of -log p(x) in nats per image, float32 [], with dropout in training."""
        return -tf.reduce_mean(self._log_prob(x, condition, seed if training else None, first))

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns the exact log p(x) in nats.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: unused.
          condition: labels, int32 [n], or None for an unconditional model.
          first: unused.

        Returns:
          float32 [n].
        """
        return self._log_prob(x, condition)

    def _log_prob(self, x, condition, seed=None, first=0):
        x = self.raster.positions(self.on_grid(x))
        parameters = self.parameters(x, self.one_hot(condition, tf.shape(x)[0]), seed, first)
        return self.raster.log_prob(x, parameters)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples images, position by position.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        zeros = tf.zeros([num_samples, *self.shape])
        return self.complete(zeros, zeros, seed, condition, first)

    def complete(self, x, mask, seed, condition=None, first=0):
        """Samples the values where mask is 0, in raster order, each given the previous values.

        Other values are kept. A sampled value does not depend on kept values after it.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels. Ignored where mask is 0.
          mask: float32 [n, *shape]; 1 to keep the value of x, 0 to sample it.
          seed: int32 [2]; image k depends only on (seed, first + k) and its kept values.
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [n, *shape], in [0, 1] on the grid of the levels.
        """
        state, start_row, step = self.cache(self.one_hot(condition, tf.shape(x)[0]))
        x = self.on_grid(tf.where(mask > 0.5, x, 0.0))
        return self.raster.complete(x, mask, seed, first, state, start_row, step)
