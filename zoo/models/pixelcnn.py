"""PixelCNN: an autoregressive model of pixels, of convolutions that see what is above and left.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

with i the positions in raster order: pixels, or squares of `block` x `block` pixels. Within a
position its S values (pixels of the square, colours) depend each on those before it: binary values
by a table of every case, others by a mixture of discretised logistic distributions whose locations
move with the values before. Two stacks of convolutions give the parameters of all positions at
once: the vertical one sees the rows above, the horizontal one the row of the position, left of it,
and the vertical one; so nothing before a position is out of sight. The loss is -log p(x), in nats
per image, and exact.

Family: autoregressive

Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, Conditional Image
Generation with PixelCNN Decoders, NeurIPS 2016, https://arxiv.org/abs/1606.05328, equations 2 and 4
and figure 2. Mixture: Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017, section 2.1.
Sampling: Ramachandran et al., Fast Generation for Convolutional Autoregressive Models, 2017.

Differs from the source:

* squares of pixels as positions;
* kernels of 2 x 3 and 1 x 2, the unmasked part of 3 x 3 and 1 x 3;
* a bias for every position;
* a label biases each position (section 2.3 of the source) in the first layer, and all positions
  alike in the others;
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

__all__ = ["PixelCNN"]

REACH = 3  # rows above, and positions to the left, that the first layer sees
PLACES = 8  # channels of the map of places that a label stands for


class PixelCNN(RasterModel):
    """A gated PixelCNN.

    Args:
      spec: Spec of an image, the sides multiples of block.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      block: side of the squares of pixels that are drawn at once; 1 is a pixel at a time.
      filters: channels of the convolutions.
      num_layers: gated layers, each with a vertical and a horizontal convolution.
      mixtures: components of the mixture, for more than 2 levels.
      dropout_rate: share of the channels' values that training drops; None is 0.2 for 2
        levels, which a model of this size memorizes, and 0.1 for more.
      learning_rate: of Adam at its highest; it falls to 0 on a cosine.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="binarized_mnist", epochs=5, batch_size=128)

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        block: int = 2,
        filters: int = 64,
        num_layers: int = 8,
        mixtures: int = 10,
        dropout_rate: float | None = None,
        learning_rate: float = 2e-3,
    ):
        if dropout_rate is None:
            dropout_rate = 0.2 if spec.levels == 2 else 0.1
        super().__init__(spec, condition, block, mixtures, dropout_rate, learning_rate)
        self.require(filters >= 1, "filters must be positive.", filters=filters)
        self.require(num_layers >= 1, "num_layers must be positive.", num_layers=num_layers)
        height, width, size = self.raster.grid
        self.above = keras.layers.Conv2D(
            filters, (REACH, 2 * REACH + 1), use_bias=False, name="above"
        )
        self.left = keras.layers.Conv2D(filters, (1, REACH), use_bias=False, name="left")
        self.bias = self.add_weight(
            shape=(height, width, 2 * filters), initializer="zeros", name="bias"
        )
        self.places = self.label_bias = None
        if self.num_classes:
            self.places = Dense(height * width * PLACES, use_bias=False, name="places")
            self.label_bias = Dense(2 * filters, use_bias=False, name="label_bias")
        self.gated = [
            GatedLayer(filters, self.num_classes > 0, name=f"gated_{k}") for k in range(num_layers)
        ]
        self.hidden = Dense(2 * filters, activation="relu", name="hidden")
        self.head = Dense(self.raster.num_parameters, name="head")
        zeros = tf.zeros([1, height, width, size])
        self.parameters(
            zeros, self.one_hot(tf.zeros([1], tf.int32) if self.num_classes else None, 1)
        )
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
        # The networks see images turned by 180 degrees. The kernels, which are the unmasked part of
        # larger ones, have even sides, and TensorFlow pads those at the bottom and the right;
        # explicit padding on the other sides makes gradients on CPUs 50 times as slow.
        x = tf.reverse(x, [1, 2])
        bias_above, bias_left = self._biases(label)
        # What the first layer sees begins one row, or one position, behind.
        rows = tf.pad(x[:, 1:], [[0, 0], [0, REACH], [REACH, REACH], [0, 0]])
        row = tf.pad(x[:, :, 1:], [[0, 0], [0, 0], [0, REACH], [0, 0]])
        v = self.above(rows) + bias_above  # [B, H, W, C]
        h = self.left(row) + bias_left
        for k, layer in enumerate(self.gated):
            v, context = layer.look_up(layer.vertical(v), layer.label_bias(label, 2))
            update = layer.look_left(layer.horizontal(h), context)
            drawn = None if seed is None else zoo.random.fold_in(seed, k)
            h += dropout(update, self.dropout_rate, drawn, first)
        return self._head(tf.reverse(h, [1, 2]))

    def cache(self, label):
        """Returns what draws position by position, as of `RasterModel`."""
        n = tf.shape(label)[0]
        bias_above, bias_left = self._biases(label)
        told = [layer.label_bias(label, 1) for layer in self.gated]
        height, width, size = self.raster.grid

        def start_row(state, row, index):
            rows, inputs = state  # the last rows; what each layer had for the last one
            row = tf.reverse(row, [1])  # turned, as in `parameters`
            rows = tf.concat([row[:, None], rows[:, :-1]], axis=1)  # [n, REACH, W, S]
            seen = tf.pad(rows, [[0, 0], [0, 0], [REACH, REACH], [0, 0]])
            turned = height - 1 - index
            v = self.above(seen)[:, 0] + bias_above[:, turned]  # [n, W, C]
            contexts, new = [tf.transpose(bias_left[:, turned], [1, 0, 2])], []  # [W, n, C]
            for layer, below, bias in zip(self.gated, inputs, told, strict=True):
                new.append(v)
                v, context = layer.look_up(layer.vertical_row(v, below), bias)
                contexts.append(tf.transpose(context, [1, 0, 2]))  # [W, n, 2 C]
            contexts = [tf.reverse(context, [0]) for context in contexts]
            return (rows, new), contexts, (tf.zeros([n, REACH, size]), no_inputs(n))

        def step(state, left, contexts):
            row, inputs = state  # the last positions; what each layer had for the last one
            row = tf.concat([left[:, None], row[:, :-1]], axis=1)  # [n, REACH, S]
            h, new = self.left(row[:, None])[:, 0, 0] + contexts[0], []  # [n, C]
            for layer, right, context in zip(self.gated, inputs, contexts[1:], strict=True):
                new.append(h)
                h += layer.look_left(layer.horizontal_position(h, right), context)
            return (row, new), self._head(h)

        def no_inputs(*sizes):
            zeros = tf.zeros([*sizes, self.bias.shape[-1] // 2], self.compute_dtype)
            return [zeros] * len(self.gated)

        return (tf.zeros([n, REACH, width, size]), no_inputs(n, width)), start_row, step

    def _head(self, h):
        """Returns the parameters at positions, float32 [..., P], of what the stacks give."""
        # Not relu: TensorFlow's optimizer fuses it with the product and sum before it, fails on its
        # own result where that is in a loop, and leaves the whole sampler as it is.
        return tf.cast(self.head(self.hidden(tf.maximum(h, 0.0))), tf.float32)

    def _biases(self, label):
        """Returns the bias of each position, for both stacks: [n or 1, H, W, C] each."""
        bias = tf.cast(self.bias, self.compute_dtype)[None]
        if self.places is not None:
            places = tf.reshape(self.places(label), [-1, *self.bias.shape[:2], PLACES])
            bias += self.label_bias(places)
        return tf.split(bias, 2, axis=-1)


class GatedLayer(keras.layers.Layer):
    """One gated layer of both stacks; the two convolutions may also be had bit by bit.

    Args:
      filters: int; channels, C.
      conditional: bool, whether there is a label to depend on.
    """

    def __init__(self, filters, conditional, **kwargs):
        super().__init__(**kwargs)
        self.vertical = keras.layers.Conv2D(2 * filters, (2, 3), padding="same")
        self.horizontal = keras.layers.Conv2D(2 * filters, (1, 2), padding="same")
        self.link = Dense(2 * filters, use_bias=False)
        self.mix = Dense(filters)
        self.label = Dense(4 * filters, use_bias=False) if conditional else None
        self.built = True  # its layers are, when they are first called

    def label_bias(self, label, axes):
        """Returns what a label adds in `look_up`, [n, 1, ..., 4 C], or None without labels.

        Args:
          label: float32 [n, num_classes], one-hot.
          axes: int; axes between n and 4 C, of length 1.
        """
        if self.label is None:
            return None
        return tf.reshape(self.label(label), [-1, *axes * [1], self.label.units])

    def look_up(self, a, bias):
        """Ends the vertical stack's layer.

        Args:
          a: [n, ..., 2 C], of `vertical`.
          bias: [n, ..., 4 C], of `label_bias`, or None.

        Returns:
          The layer's output, [n, ..., C], and what it tells the horizontal stack, [n, ..., 2 C].
        """
        context = self.link(a)
        if bias is not None:
            own, told = tf.split(bias, 2, axis=-1)
            a, context = a + own, context + told
        return gate(a), context

    def look_left(self, b, context):
        """Ends the horizontal stack's layer: returns what it adds to its input, [n, ..., C].

        Args:
          b: [n, ..., 2 C], of `horizontal`.
          context: [n, ..., 2 C], of `look_up`.
        """
        return self.mix(gate(b + context))

    def vertical_row(self, v, below):
        """Returns one row of `vertical`, [n, W, 2 C], of its input there and in the row below."""
        rows = tf.pad(tf.stack([v, below], axis=1), [[0, 0], [0, 0], [1, 1], [0, 0]])
        kernel = tf.cast(self.vertical.kernel, v.dtype)
        a = tf.nn.conv2d(rows, kernel, 1, "VALID")[:, 0]
        return a + tf.cast(self.vertical.bias, v.dtype)

    def horizontal_position(self, h, right):
        """Returns one position of `horizontal`, [n, 2 C], of its input there and to the right."""
        kernel = tf.cast(self.horizontal.kernel, h.dtype)
        b = tf.concat([h, right], axis=-1) @ tf.reshape(kernel, [-1, kernel.shape[-1]])
        return b + tf.cast(self.horizontal.bias, h.dtype)


def gate(x):
    """Returns 2 tanh(a) sigmoid(2 b) of the halves a, b of the last axis: [..., 2 C] -> [..., C].

    Source: van den Oord et al., PixelCNN decoders, NeurIPS 2016, equation 2. The factors, which the
    weights around a gate can take up, make it tanh(a) (1 + tanh(b)): faster in bfloat16 on CPUs.
    """
    a, b = tf.split(x, 2, axis=-1)
    return tf.tanh(a) * (1.0 + tf.tanh(b))
