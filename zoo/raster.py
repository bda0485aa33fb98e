"""An image as positions in raster order: what autoregressive models of pixels share.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

A position x_i is a square of `block` x `block` pixels, and holds S = block^2 channels values. How
each of them depends on those before it there is a joint distribution of `zoo.distributions`; how a
position depends on earlier ones is the networks of the model.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.distributions import BernoulliTree, DiscretizedLogisticMixture
from zoo.model import GenerativeModel
from zoo.schedules import warm_cosine

__all__ = ["Raster", "RasterModel"]

WARMUP = 500  # steps in which the learning rate rises
AVERAGE = 0.999  # decay of the average of the weights


class Raster:
    """Images as positions, and the likelihood and the drawing of them.

    Args:
      shape: (height, width, channels) of an image.
      levels: int, at least 2.
      block: int; side of the square of pixels of a position.
      mixtures: int; components of the mixture that each position has, for more than 2 levels.

    Attributes:
      grid: (rows, columns, values at a position) = (H, W, S).
      num_parameters: int; parameters of the joint distribution of a position, P.

    Raises:
      ValueError: if an argument is invalid.
    """

    def __init__(self, shape, levels, block, mixtures):
        GenerativeModel.require(
            block >= 1 and not shape[0] % block and not shape[1] % block,
            "Sides must be multiples of block. Add --size N (size=N), or set block=1.",
            shape=shape,
            block=block,
        )
        size = block**2 * shape[2]
        GenerativeModel.require(
            levels > 2 or size <= 8,
            "A block of binary pixels may have at most 8 values. Choose a smaller block.",
            shape=shape,
            block=block,
        )
        GenerativeModel.require(mixtures >= 1, "mixtures must be positive.", mixtures=mixtures)
        self.levels, self.block, self.mixtures = levels, block, mixtures
        self.grid = (shape[0] // block, shape[1] // block, size)
        # Of a component: its weight, the location and scale of each value, a slope for each pair.
        self._sizes = [1, size, size, size * (size - 1) // 2]
        self.num_parameters = 2**size - 1 if levels == 2 else mixtures * sum(self._sizes)

    def positions(self, x):
        """Cuts images, [n, height, width, channels], into positions, [n, H, W, S]."""
        return tf.nn.space_to_depth(x, self.block) if self.block > 1 else x  # it refuses 1

    def images(self, positions):
        """Undoes `positions`."""
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
        # Bounded, or the first steps overflow: 0.001 to 2.7 of the range.
        scale = self.levels * tf.exp(4.0 * tf.tanh(log_scale / 4.0) - 3.0)
        loc = self.levels * (loc + 0.5)
        return DiscretizedLogisticMixture(logits[..., 0], loc, scale, slopes, self.levels)

    def log_prob(self, x, parameters):
        """Returns log p(x) in nats, float32 [n].

        Args:
          x: float32 [n, H, W, S], positions in [0, 1].
          parameters: float32 [n, H, W, P], each of what is before it.
        """
        log_prob = self.distribution(parameters).log_prob(tf.round(x * (self.levels - 1.0)))
        return tf.reduce_sum(log_prob, axis=(1, 2))

    def complete(self, x, mask, seed, first, state, start_row, step):
        """Draws what is hidden, in raster order: each value given all before it.

        The networks keep what they need of the past in a state, so that a position costs no more
        than its own work. State and context are nests of tensors.

        Args:
          x: float32 [n, height, width, channels], in [0, 1]; any value where hidden.
          mask: as x; 1 where x is known, 0 where it is drawn.
          seed: int32 [2].
          first: int32 []; index of the first image.
          state: the state of the rows before the first.
          start_row: function (state, row, index) -> (state, context, begin). row is float32
            [n, W, S], the one before, of 0 at the first, and index int32 [], the new one's; the
            context is of [W, ...], and a step is given its column of it; begin is the state of the
            positions before the row's first.
          step: function (state, left, context) -> (state, parameters), with left float32 [n, S],
            the position before, of 0 at the first, and parameters float32 [n, P].

        Returns:
          float32 [n, height, width, channels], on the grid of the levels.
        """
        n, top = tf.shape(x)[0], self.levels - 1.0
        height, width, size = self.grid
        given, known = tf.round(self.positions(x) * top), self.positions(mask)
        u = zoo.random.uniform(seed, first, n, (*self.grid, 2))

        def draw_row(index, row, state, rows):
            state, context, begin = start_row(state, row, index)

            def draw_position(column, left, state, row):
                here = tf.nest.map_structure(lambda tensor: tensor[column], context)
                state, parameters = step(state, left, here)
                at = (slice(None), index, column)
                values = self.distribution(parameters).fill(given[at], known[at], u[at]) / top
                values.set_shape([None, size])
                return column + 1, values, state, row.write(column, values)

            start = (0, tf.zeros([n, size]), begin, tf.TensorArray(tf.float32, width))
            *_, row = tf.while_loop(lambda column, *_: column < width, draw_position, start)
            row = tf.transpose(row.stack(), [1, 0, 2])  # [n, W, S]
            row.set_shape([None, width, size])
            return index + 1, row, state, rows.write(index, row)

        start = (0, tf.zeros([n, width, size]), state, tf.TensorArray(tf.float32, height))
        *_, rows = tf.while_loop(lambda index, *_: index < height, draw_row, start)
        drawn = self.images(tf.transpose(rows.stack(), [1, 0, 2, 3]))
        return tf.where(mask > 0.5, x, drawn)  # to the last bit: graphs multiply by 1 / top


class RasterModel(GenerativeModel):
    """What every model of a raster does, given its networks. Abstract: a subclass has

    * `parameters(x, label, seed=None, first=0)`, of all positions at once: float32 [n, H, W, P] of
      x, float32 [n, H, W, S], positions in [0, 1]; label, float32 [n, num_classes], one-hot; seed,
      int32 [2] of the dropout, or None for none; and first, int32 [], the index of the first image;
    * `cache(label)`, the same position by position: (state, start_row, step) as of
      `Raster.complete`.

    Args:
      spec: Spec of an image, the sides multiples of block.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      block: int, as of `Raster`.
      mixtures: int, as of `Raster`.
      dropout_rate: float in [0, 1).
      learning_rate: float; of Adam at its highest.

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
        """Compiles; Adam, the default, has a rate that rises and falls over total_steps."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        optimizer = optimizer or keras.optimizers.Adam(rate, global_clipnorm=1.0)
        super().compile(optimizer, average=AVERAGE, **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns -log p(x), float32 [], in nats per image, with dropout in training."""
        return -tf.reduce_mean(self._log_prob(x, condition, seed if training else None, first))

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns log p(x), exactly, in nats.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: not used.
          condition: int32 [n], labels; or None where the model is unconditional.
          first: not used.

        Returns:
          float32 [n].
        """
        return self._log_prob(x, condition)

    def _log_prob(self, x, condition, seed=None, first=0):
        x = self.raster.positions(self.on_grid(x))
        parameters = self.parameters(x, self.one_hot(condition, tf.shape(x)[0]), seed, first)
        return self.raster.log_prob(x, parameters)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Draws images, position after position.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends on (seed, first + k) alone.
          condition: int32 [n], labels; or None where the model is unconditional.
          first: int32 []; index of the first image, to draw many in parts.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        nothing = tf.zeros([num_samples, *self.shape])
        return self.complete(nothing, nothing, seed, condition, first)

    def complete(self, x, mask, seed, condition=None, first=0):
        """Draws what is hidden of images, in raster order: each value given all before it.

        What is known is kept, and what follows a value has no influence on it.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels; any value where hidden.
          mask: float32 [n, *shape]; 1 where x is known, 0 where it is sampled.
          seed: int32 [2]; image k depends on (seed, first + k) and what is known of it alone.
          condition: int32 [n], labels; or None where the model is unconditional.
          first: int32 []; index of the first image.

        Returns:
          float32 [n, *shape], in [0, 1] on the grid of the levels.
        """
        state, start_row, step = self.cache(self.one_hot(condition, tf.shape(x)[0]))
        x = self.on_grid(tf.where(mask > 0.5, x, 0.0))
        return self.raster.complete(x, mask, seed, first, state, start_row, step)
