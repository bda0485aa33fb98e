"""PixelRNN: an autoregressive model of pixels with GRUs along the columns and rows.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

with positions i in raster order: pixels, or squares of `block` x `block` pixels. Each of the S
values of a position (pixels of the square, colours) depends on the previous values. Binary values
have a table of all cases. Others have a mixture of discretized logistic distributions whose
locations depend on the previous values.

Every layer has two GRUs. The first runs down the rows, for all columns at once, with gates that are
convolutional along the row. The second runs along each row, with the state of the first as an
additional input. Together they see all previous positions. The loss is the exact -log p(x) in nats
per image.

Family: autoregressive

Source: van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016,
https://arxiv.org/abs/1601.06759, section 3.1 (Row LSTM). GRU: Cho et al., Learning Phrase
Representations using RNN Encoder-Decoder, EMNLP 2014. Mixture: Salimans, Karpathy, Chen and Kingma,
PixelCNN++, ICLR 2017, section 2.1.

Differs from the source:

* GRUs instead of LSTMs, with the reset gate after the matrix product;
* a GRU along the row instead of a masked convolution, which sees all positions to the left;
* squares of pixels as positions;
* a bias for every position;
* dropout;
* an EMA of the weights;
* Adam.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.layers import Dense, dropout
from zoo.raster import RasterModel
from zoo.spec import Spec

__all__ = ["PixelRNN"]

REACH = 3  # columns on each side in the row above, in the receptive field of the first layer


class PixelRNN(RasterModel):
    """A PixelRNN with GRUs.

    Args:
      spec: Spec of an image with sides that are multiples of block.
      condition: Spec of the label, or None for an unconditional model.
      block: side of the squares of pixels that are sampled in one step. 1 is a pixel per step.
      units: units of each GRU.
      num_layers: number of layers, each with a GRU down the rows and a GRU along the row.
      mixtures: number of mixture components, for more than 2 levels.
      dropout_rate: dropout rate of the layers.
      learning_rate: peak learning rate of Adam, with a cosine decay.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="binarized_mnist", epochs=4, batch_size=128)

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        block: int = 2,
        units: int = 64,
        num_layers: int = 4,
        mixtures: int = 5,
        dropout_rate: float = 0.2,
        learning_rate: float = 2e-3,
    ):
        super().__init__(spec, condition, block, mixtures, dropout_rate, learning_rate)
        self.require(units >= 1, "units must be positive.", units=units)
        self.require(num_layers >= 1, "num_layers must be positive.", num_layers=num_layers)
        height, width, size = self.raster.grid
        self.above = keras.layers.Conv2D(units, (1, 2 * REACH + 1), padding="same", name="above")
        self.left = Dense(units, name="left")
        self.bias = self.add_weight(
            shape=(height, width, 2 * units), initializer="zeros", name="bias"
        )
        self.recurrent = [
            RecurrentLayer(units, self.num_classes > 0, name=f"recurrent_{k}")
            for k in range(num_layers)
        ]
        self.hidden = Dense(2 * units, activation="relu", name="hidden")
        self.head = Dense(self.raster.num_parameters, name="head")
        label = self.one_hot(tf.zeros([1], tf.int32) if self.num_classes else None, 1)
        self.parameters(tf.zeros([1, height, width, size]), label)
        self.build()

    def parameters(self, x, label, seed=None, first=0):
        """Computes the parameters of all positions, each from the previous positions.

        Args:
          x: float32 [n, H, W, S], positions of the raster, in [0, 1].
          label: float32 [n, num_classes], one-hot.
          seed: int32 [2] for dropout, or None for no dropout.
          first: int32 []; index of the first image.

        Returns:
          float32 [n, H, W, P], the argument of `Raster.distribution`.
        """
        bias_above, bias_left = self._biases()
        # Inputs are shifted by one row or one position.
        v = self.above(tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]]))
        h = self.left(tf.pad(x[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]]))
        v, h = v + bias_above, h + bias_left  # [B, H, W, C]
        for k, layer in enumerate(self.recurrent):
            v += along(1, layer.down, layer.down_input(v))
            context = layer.context(v, label[:, None, None])
            update = along(2, layer.right, layer.right_input(h) + context)
            layer_seed = None if seed is None else zoo.random.fold_in(seed, k)
            h += dropout(update, self.dropout_rate, layer_seed, first)
        return self._head(h)

    def cache(self, label):
        """Returns the functions that compute one position at a time, as `RasterModel`."""
        n = tf.shape(label)[0]
        bias_above, bias_left = self._biases()
        width = self.raster.grid[1]

        def start_row(states, row, index):
            v, new = self.above(row[:, None])[:, 0] + bias_above[index], []
            contexts = [tf.tile(bias_left[index][:, None], [1, n, 1])]
            for layer, old in zip(self.recurrent, states, strict=True):
                new.append(layer.down(layer.down_input(v[:, None])[:, 0], old))  # [n, W, C]
                v += new[-1]
                contexts.append(tf.transpose(layer.context(v, label[:, None]), [1, 0, 2]))
            return new, contexts, no_states(n)

        def step(states, left, contexts):
            h, new = self.left(left) + contexts[0], []  # [n, C]
            for layer, old, context in zip(self.recurrent, states, contexts[1:], strict=True):
                new.append(layer.right(layer.right_input(h) + context, old))
                h += new[-1]
            return new, self._head(h)

        def no_states(*sizes):
            zeros = tf.zeros([*sizes, self.bias.shape[-1] // 2], self.compute_dtype)
            return [zeros] * len(self.recurrent)

        return no_states(n, width), start_row, step

    def _head(self, h):
        """Maps outputs of the layers, [..., C], to parameters of positions, float32 [..., P]."""
        return tf.cast(self.head(self.hidden(tf.nn.relu(h))), tf.float32)

    def _biases(self):
        """Returns the biases of positions, for the GRUs down the rows and along the row."""
        return tf.split(tf.cast(self.bias, self.compute_dtype), 2, axis=-1)  # [H, W, C] each


class RecurrentLayer(keras.layers.Layer):
    """A GRU down the rows and one along each row.

    Args:
      units: int; channels, C.
      conditional: bool; whether the layer receives a label.
    """

    def __init__(self, units, conditional, **kwargs):
        super().__init__(**kwargs)
        self.down_input = keras.layers.Conv2D(3 * units, (1, 3), padding="same")
        self.down = GRU(keras.layers.Conv1D(3 * units, 3, padding="same"))
        self.right_input = Dense(3 * units)
        self.right = GRU(Dense(3 * units))
        self.link = Dense(3 * units, use_bias=False)
        self.label = Dense(3 * units, use_bias=False) if conditional else None
        self.built = True  # its sublayers are built on their first call

    def context(self, v, label):
        """Returns the input of the GRU along the row from the rows above, [n, ..., 3 C].

        Args:
          v: [n, ..., C]; state of the GRU down the rows.
          label: float32 [n, ..., num_classes], one-hot.
        """
        context = self.link(v)
        return context if self.label is None else context + self.label(label)


class GRU(keras.layers.Layer):
    """One step of a GRU, given the input part of its gates.

    The gates use tanh scaled to 0 … 1 instead of sigmoid, which is faster in bfloat16 on CPUs.

    Args:
      recurrent: keras.layers.Layer, [n, ..., C] -> [n, ..., 3 C].
    """

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def call(self, inputs, state):
        """Returns the new state, [n, ..., C], of inputs, [n, ..., 3 C], and the old state."""
        update, reset, new = tf.split(inputs, 3, axis=-1)
        old_update, old_reset, old_new = tf.split(self.recurrent(state), 3, axis=-1)
        update = 0.5 + 0.5 * tf.tanh(update + old_update)
        reset = 0.5 + 0.5 * tf.tanh(reset + old_reset)
        new = tf.tanh(new + reset * old_new)
        return new + update * (state - new)


def along(axis, cell, inputs):
    """Runs a GRU along an axis of inputs, [n, H, W, 3 C], from zeros. Returns [n, H, W, C]."""
    order = [1, 0, 2, 3] if axis == 1 else [2, 0, 1, 3]
    inputs = tf.transpose(inputs, order)
    state = tf.zeros_like(tf.split(inputs[0], 3, axis=-1)[0])
    states = tf.scan(lambda state, step: cell(step, state), inputs, state)
    return tf.transpose(states, order if axis == 1 else [1, 2, 0, 3])
