"""PixelRNN: an autoregressive model of pixels, of GRUs down the image and along its rows.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

with i the positions in raster order: pixels, or squares of `block` x `block` pixels. Within a
position its S values (pixels of the square, colours) depend each on those before it: binary values
by a table of every case, others by a mixture of discretised logistic distributions whose locations
move with the values before. In every layer a GRU goes down the rows, all columns of a row at once,
with gates convolutional along the row, and another GRU along each row, which is told what the first
one knows of the rows above: together they have seen all that was drawn. The loss is -log p(x), in
nats per image, and exact.

Family: autoregressive

Source: van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016,
https://arxiv.org/abs/1601.06759, section 3.1 (Row LSTM). GRU: Cho et al., Learning Phrase
Representations using RNN Encoder-Decoder, EMNLP 2014. Mixture: Salimans, Karpathy, Chen and Kingma,
PixelCNN++, ICLR 2017, section 2.1.

Differs from the source:

* GRUs instead of LSTMs, with the reset gate after the product;
* a GRU along the row instead of a masked convolution, so that the whole row to the left is visible;
* squares of pixels as positions;
* a bias for every position;
* dropout;
* a moving average of the weights;
* Adam.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.layers import Dense, dropout
from zoo.raster import RasterModel
from zoo.spec import Spec

__all__ = ["PixelRNN"]

REACH = 3  # columns on either side, of the row above, that the first layer sees at once


class PixelRNN(RasterModel):
    """A PixelRNN of GRUs.

    Args:
      spec: Spec of an image, the sides multiples of block.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      block: side of the squares of pixels that are drawn at once; 1 is a pixel at a time.
      units: channels of every GRU.
      num_layers: layers, each of a GRU down the rows and one along the row.
      mixtures: components of the mixture, for more than 2 levels.
      dropout_rate: share of each layer's values that training drops.
      learning_rate: of Adam at its highest; it falls to 0 on a cosine.

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
        """Computes the parameters of all positions, each from those before it.

        Args:
          x: float32 [n, H, W, S], positions of the raster, in [0, 1].
          label: float32 [n, num_classes], one-hot.
          seed: int32 [2], of the dropout, or None for none.
          first: int32 []; index of the first image.

        Returns:
          float32 [n, H, W, P], what the raster makes a distribution of.
        """
        bias_above, bias_left = self._biases()
        # Everything begins one row, or one position, behind.
        v = self.above(tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]]))
        h = self.left(tf.pad(x[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]]))
        v, h = v + bias_above, h + bias_left  # [B, H, W, C]
        for k, layer in enumerate(self.recurrent):
            v += along(1, layer.down, layer.down_input(v))
            context = layer.context(v, label[:, None, None])
            update = along(2, layer.right, layer.right_input(h) + context)
            drawn = None if seed is None else zoo.random.fold_in(seed, k)
            h += dropout(update, self.dropout_rate, drawn, first)
        return self._head(h)

    def cache(self, label):
        """Returns what draws position by position, as of `RasterModel`."""
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
        """Returns the parameters at positions, float32 [..., P], of what the layers give."""
        return tf.cast(self.head(self.hidden(tf.nn.relu(h))), tf.float32)

    def _biases(self):
        """Returns the bias of each position, for the way down and along the row."""
        return tf.split(tf.cast(self.bias, self.compute_dtype), 2, axis=-1)  # [H, W, C] each


class RecurrentLayer(keras.layers.Layer):
    """A GRU down the rows and one along each row.

    Args:
      units: int; channels, C.
      conditional: bool, whether there is a label to depend on.
    """

    def __init__(self, units, conditional, **kwargs):
        super().__init__(**kwargs)
        self.down_input = keras.layers.Conv2D(3 * units, (1, 3), padding="same")
        self.down = GRU(keras.layers.Conv1D(3 * units, 3, padding="same"))
        self.right_input = Dense(3 * units)
        self.right = GRU(Dense(3 * units))
        self.link = Dense(3 * units, use_bias=False)
        self.label = Dense(3 * units, use_bias=False) if conditional else None
        self.built = True  # its layers are, when they are first called

    def context(self, v, label):
        """Returns what the row is told of the rows above, [n, ..., 3 C].

        Args:
          v: [n, ..., C], of the GRU down the rows.
          label: float32 [n, ..., num_classes], one-hot.
        """
        context = self.link(v)
        return context if self.label is None else context + self.label(label)


class GRU(keras.layers.Layer):
    """One step of a GRU, given the share of the input in its gates.

    The gates are tanh where others have sigmoid, scaled to 0 … 1: faster in bfloat16 on CPUs.

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
    """Runs a GRU along an axis of inputs, [n, H, W, 3 C], from a state of zeros: [n, H, W, C]."""
    order = [1, 0, 2, 3] if axis == 1 else [2, 0, 1, 3]
    inputs = tf.transpose(inputs, order)
    state = tf.zeros_like(tf.split(inputs[0], 3, axis=-1)[0])
    states = tf.scan(lambda state, step: cell(step, state), inputs, state)
    return tf.transpose(states, order if axis == 1 else [1, 2, 0, 3])
