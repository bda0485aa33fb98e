"""PixelCNN: an autoregressive model of pixels with two stacks of masked convolutions.

    p(x) = prod_i p(x_i | x_0 … x_{i-1})

with positions i in raster order: pixels, or squares of `block` x `block` pixels. Each of the S
values of a position (pixels of the square, colours) depends on the previous values. Binary values
have a table of all cases. Others have a mixture of discretized logistic distributions whose
locations depend on the previous values.

Two stacks of convolutions compute the parameters of all positions at once. The vertical stack sees
the rows above. The horizontal stack sees the positions to the left and the vertical stack. Together
they have no blind spot. The loss is the exact -log p(x) in nats per image.

Family: autoregressive

Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, Conditional Image
Generation with PixelCNN Decoders, NeurIPS 2016, https://arxiv.org/abs/1606.05328, equations 2 and 4
and figure 2. Mixture: Salimans, Karpathy, Chen and Kingma, PixelCNN++, ICLR 2017, section 2.1.
Sampling: Ramachandran et al., Fast Generation for Convolutional Autoregressive Models, 2017.

Differs from the source:

* squares of pixels as positions;
* kernels of 2 x 3 and 1 x 2, the unmasked part of 3 x 3 and 1 x 3;
* a bias for every position;
* a label adds a bias per position (section 2.3 of the source) in the first layer, and the same bias
  for all positions in the other layers;
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

__all__ = ["PixelCNN"]

REACH = 3  # rows above, and positions to the left, in the receptive field of the first layer
PLACES = 8  # channels of the class embedding per position


class PixelCNN(RasterModel):
    """A gated PixelCNN.

    Args:
      spec: Spec of an image with sides that are multiples of block.
      condition: Spec of the label, or None for an unconditional model.
      block: side of the squares of pixels that are sampled in one step. 1 is a pixel per step.
      filters: channels of the convolutions.
      num_layers: number of gated layers, each with a vertical and a horizontal convolution.
      mixtures: number of mixture components, for more than 2 levels.
      dropout_rate: dropout rate of the channels. Default: 0.2 for 2 levels, because the model
        overfits binary images, else 0.1.
      learning_rate: peak learning rate of Adam, with a cosine decay.

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
        """Computes the parameters of all positions, each from the previous positions.

        Args:
          x: float32 [n, H, W, S], positions of the raster, in [0, 1].
          label: float32 [n, num_classes], one-hot.
          seed: int32 [2] for dropout, or None for no dropout.
          first: int32 []; index of the first image.

        Returns:
          float32 [n, H, W, P], the argument of `Raster.distribution`.
        """
        # The networks process images rotated by 180 degrees. The kernels, the unmasked parts of
        # larger kernels, have even sides, which TensorFlow pads at the bottom and right. Explicit
        # padding at the top and left makes gradients on CPUs 50 times as slow.
        x = tf.reverse(x, [1, 2])
        bias_above, bias_left = self._biases(label)
        # Inputs of the first layer are shifted by one row or one position.
        rows = tf.pad(x[:, 1:], [[0, 0], [0, REACH], [REACH, REACH], [0, 0]])
        row = tf.pad(x[:, :, 1:], [[0, 0], [0, 0], [0, REACH], [0, 0]])
        v = self.above(rows) + bias_above  # [B, H, W, C]
        h = self.left(row) + bias_left
        for k, layer in enumerate(self.gated):
            v, context = layer.vertical_output(layer.vertical(v), layer.label_bias(label, 2))
            update = layer.horizontal_update(layer.horizontal(h), context)
            layer_seed = None if seed is None else zoo.random.fold_in(seed, k)
            h += dropout(update, self.dropout_rate, layer_seed, first)
        return self._head(tf.reverse(h, [1, 2]))

    def cache(self, label):
        """Returns the functions that compute one position at a time, as `RasterModel`."""
        n = tf.shape(label)[0]
        bias_above, bias_left = self._biases(label)
        biases = [layer.label_bias(label, 1) for layer in self.gated]
        height, width, size = self.raster.grid

        def start_row(state, row, index):
            rows, inputs = state  # the previous rows; the inputs of each layer for the last row
            row = tf.reverse(row, [1])  # rotated, as in `parameters`
            rows = tf.concat([row[:, None], rows[:, :-1]], axis=1)  # [n, REACH, W, S]
            padded = tf.pad(rows, [[0, 0], [0, 0], [REACH, REACH], [0, 0]])
            rotated_index = height - 1 - index
            v = self.above(padded)[:, 0] + bias_above[:, rotated_index]  # [n, W, C]
            contexts, new = [tf.transpose(bias_left[:, rotated_index], [1, 0, 2])], []  # [W, n, C]
            for layer, below, bias in zip(self.gated, inputs, biases, strict=True):
                new.append(v)
                v, context = layer.vertical_output(layer.vertical_row(v, below), bias)
                contexts.append(tf.transpose(context, [1, 0, 2]))  # [W, n, 2 C]
            contexts = [tf.reverse(context, [0]) for context in contexts]
            return (rows, new), contexts, (tf.zeros([n, REACH, size]), no_inputs(n))

        def step(state, left, contexts):
            row, inputs = state  # the previous positions; the inputs of each layer for the last one
            row = tf.concat([left[:, None], row[:, :-1]], axis=1)  # [n, REACH, S]
            h, new = self.left(row[:, None])[:, 0, 0] + contexts[0], []  # [n, C]
            for layer, right, context in zip(self.gated, inputs, contexts[1:], strict=True):
                new.append(h)
                h += layer.horizontal_update(layer.horizontal_position(h, right), context)
            return (row, new), self._head(h)

        def no_inputs(*sizes):
            zeros = tf.zeros([*sizes, self.bias.shape[-1] // 2], self.compute_dtype)
            return [zeros] * len(self.gated)

        return (tf.zeros([n, REACH, width, size]), no_inputs(n, width)), start_row, step

    def _head(self, h):
        """Maps outputs of the stacks, [..., C], to parameters of positions, float32 [..., P]."""
        # Not tf.nn.relu: TensorFlow's graph optimizer fuses it with the operations before it, fails
        # on the result inside a loop, and leaves the sampler unoptimized.
        return tf.cast(self.head(self.hidden(tf.maximum(h, 0.0))), tf.float32)

    def _biases(self, label):
        """Returns the biases of positions for both stacks, [n or 1, H, W, C] each."""
        bias = tf.cast(self.bias, self.compute_dtype)[None]
        if self.places is not None:
            places = tf.reshape(self.places(label), [-1, *self.bias.shape[:2], PLACES])
            bias += self.label_bias(places)
        return tf.split(bias, 2, axis=-1)


class GatedLayer(keras.layers.Layer):
    """A gated layer of both stacks. Its convolutions can also be computed for one row or position.

    Args:
      filters: int; channels, C.
      conditional: bool; whether the layer receives a label.
    """

    def __init__(self, filters, conditional, **kwargs):
        super().__init__(**kwargs)
        self.vertical = keras.layers.Conv2D(2 * filters, (2, 3), padding="same")
        self.horizontal = keras.layers.Conv2D(2 * filters, (1, 2), padding="same")
        self.link = Dense(2 * filters, use_bias=False)
        self.mix = Dense(filters)
        self.label = Dense(4 * filters, use_bias=False) if conditional else None
        self.built = True  # its sublayers are built on their first call

    def label_bias(self, label, axes):
        """Returns the biases for `vertical_output`, [n, 1, ..., 4 C], or None if unconditional.

        Args:
          label: float32 [n, num_classes], one-hot.
          axes: int; number of axes of length 1 between n and 4 C.
        """
        if self.label is None:
            return None
        return tf.reshape(self.label(label), [-1, *axes * [1], self.label.units])

    def vertical_output(self, a, bias):
        """Computes the output of the layer in the vertical stack.

        Args:
          a: [n, ..., 2 C], output of `vertical`.
          bias: [n, ..., 4 C], output of `label_bias`, or None.

        Returns:
          (output, [n, ..., C]; context for the horizontal stack, [n, ..., 2 C]).
        """
        context = self.link(a)
        if bias is not None:
            vertical_bias, horizontal_bias = tf.split(bias, 2, axis=-1)
            a, context = a + vertical_bias, context + horizontal_bias
        return gate(a), context

    def horizontal_update(self, b, context):
        """Computes the residual update of the layer in the horizontal stack, [n, ..., C].

        Args:
          b: [n, ..., 2 C], output of `horizontal`.
          context: [n, ..., 2 C], from `vertical_output`.
        """
        return self.mix(gate(b + context))

    def vertical_row(self, v, below):
        """Computes one row of `vertical`, [n, W, 2 C], from its input and that of the row below."""
        rows = tf.pad(tf.stack([v, below], axis=1), [[0, 0], [0, 0], [1, 1], [0, 0]])
        kernel = tf.cast(self.vertical.kernel, v.dtype)
        a = tf.nn.conv2d(rows, kernel, 1, "VALID")[:, 0]
        return a + tf.cast(self.vertical.bias, v.dtype)

    def horizontal_position(self, h, right):
        """Computes one position of `horizontal`, [n, 2 C], from its input and that to the right."""
        kernel = tf.cast(self.horizontal.kernel, h.dtype)
        b = tf.concat([h, right], axis=-1) @ tf.reshape(kernel, [-1, kernel.shape[-1]])
        return b + tf.cast(self.horizontal.bias, h.dtype)


def gate(x):
    """Returns 2 tanh(a) sigmoid(2 b), with a, b the halves of x: [..., 2 C] -> [..., C].

    Source: van den Oord et al., PixelCNN decoders, NeurIPS 2016, equation 2. The factors of 2, that
    adjacent weights can absorb, give tanh(a) (1 + tanh(b)), which is faster in bfloat16 on CPUs.
    """
    a, b = tf.split(x, 2, axis=-1)
    return tf.tanh(a) * (1.0 + tf.tanh(b))
