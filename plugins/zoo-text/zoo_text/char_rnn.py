"""CharRNN: an autoregressive model of text with stacked GRUs.

    p(x) = prod_i p(x_i | start, x_0 … x_{i-1})

The embedding of the previous token is the input of a residual stack of GRUs: every GRU adds its
output to the sum so far. The final sum gives the logits. The loss is -log p(x) / L in nats per
token, and `log_prob` is exact.

Family: autoregressive

Source: Graves, Generating sequences with recurrent neural networks, 2013,
https://arxiv.org/abs/1308.0850, section 2 (stacked layers with skip connections). Karpathy, The
unreasonable effectiveness of recurrent neural networks, 2015,
https://karpathy.github.io/2015/05/21/rnn-effectiveness/. GRU: Cho et al., Learning Phrase
Representations using RNN Encoder-Decoder, EMNLP 2014, https://arxiv.org/abs/1406.1078.

Differs from the source:

* GRUs instead of LSTMs, with the reset gate after the matrix product;
* skip connections are sums without weights;
* every text starts from a state of zeros, and gradients are not truncated;
* dropout between layers, with one mask for all tokens of a text (Gal and Ghahramani, A
  theoretically grounded application of dropout in recurrent neural networks, NeurIPS 2016);
* Adam with learning rate warm-up and cosine decay.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.layers import dropout
from zoo.schedules import warm_cosine
from zoo_text.tokens import TokenModel

__all__ = ["CharRNN"]

ZOO_API = 2

WARMUP = 200  # steps of learning rate warm-up


class CharRNN(TokenModel):
    """A stack of GRUs.

    Args:
      spec: Spec of tokens.
      num_layers: number of GRUs.
      units: units of each GRU and dimensions of the embedding.
      dropout_rate: dropout rate of the outputs of the GRUs, with one mask per text.
      temperature: divides the logits in sampling. Below 1, probable tokens become more probable.
      top_k: number of most probable tokens from which to sample, or 0 for all.
      learning_rate: peak learning rate of Adam, with a cosine decay.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="tinyshakespeare", epochs=30, batch_size=32)

    def __init__(
        self,
        spec: zoo.Spec,
        num_layers: int = 3,
        units: int = 216,
        dropout_rate: float = 0.1,
        temperature: float = 1.0,
        top_k: int = 0,
        learning_rate: float = 4e-3,
    ):
        super().__init__(spec, dropout_rate, temperature, top_k, learning_rate)
        self.require(num_layers >= 1, "num_layers must be positive.", num_layers=num_layers)
        self.require(units >= 1, "units must be positive.", units=units)
        self.units = units
        self.embedding = self.add_weight(
            shape=(self.levels + 1, units),
            initializer=keras.initializers.RandomNormal(stddev=0.1),
            name="embedding",
        )
        self.grus = [
            [
                self.add_weight(shape=shape, initializer=initializer, name=f"{name}_{k}")
                for name, shape, initializer in (
                    ("kernel", (units, 3 * units), "glorot_uniform"),
                    ("bias", (3 * units,), "zeros"),
                    ("recurrent", (units, 3 * units), "orthogonal"),
                )
            ]
            for k in range(num_layers)
        ]
        self.head = self.add_weight(shape=(units, self.levels), name="head")
        self.head_bias = self.add_weight(
            shape=(self.levels,), initializer="zeros", name="head_bias"
        )
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: Adam with learning rate warm-up and cosine decay."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        super().compile(optimizer or keras.optimizers.Adam(rate, global_clipnorm=1.0), **kwargs)

    def logits(self, x, seed=None, first=0):
        """Returns the logits of every token, as `TokenModel`."""
        n, dtype = tf.shape(x)[0], self.compute_dtype
        h = self.embedded(tf.transpose(self.delayed(x)))  # [L, B, C], also below
        h = tf.cast(h, dtype)
        for k, (kernel, bias, recurrent) in enumerate(self.cast_weights()):
            inputs = tf.reshape(tf.reshape(h, [-1, self.units]) @ kernel, [self.length, n, -1])
            states = tf.cast(along_time(tf.cast(inputs, tf.float32) + bias, recurrent), dtype)
            if seed is not None:
                ones = tf.ones([n, self.units], dtype)
                states *= dropout(ones, self.dropout_rate, zoo.random.fold_in(seed, k), first)
            h += states
        logits = self._logits(tf.reshape(h, [-1, self.units]))
        return tf.transpose(tf.reshape(logits, [self.length, n, self.levels]), [1, 0, 2])

    def cache(self, n):
        """Returns the functions that compute one token at a time, as `TokenModel`."""
        layers, dtype = self.cast_weights(), self.compute_dtype

        def step(i, token, past, states):
            h, new = tf.cast(self.embedded(token), dtype), []  # [B, C]
            for (kernel, bias, recurrent), state in zip(layers, states, strict=True):
                inputs = tf.cast(h @ kernel, tf.float32) + bias
                new.append(gru(inputs, product(state, recurrent), state)[0])
                h += tf.cast(new[-1], dtype)
            return self._logits(h), new

        start = [tf.zeros([n, self.units])] * len(layers)
        return step, lambda *both: both, [], start

    def cast_weights(self):
        """Returns (kernel, bias, recurrent kernel) per GRU, with kernels in the compute dtype."""
        dtype = self.compute_dtype
        return [
            (tf.cast(kernel, dtype), tf.convert_to_tensor(bias), tf.cast(recurrent, dtype))
            for kernel, bias, recurrent in self.grus
        ]

    def _logits(self, h):
        """Maps outputs of the layers, [m, C], to logits, float32 [m, V]."""
        return tf.cast(h, tf.float32) @ self.head + self.head_bias


def gru(inputs, products, state):
    """Computes one step of a GRU, or many independent steps.

    Args:
      inputs: float32 [..., 3 C]; terms of the input in the update gate, reset gate and new value.
      products: float32 [..., 3 C]; terms of the old state.
      state: float32 [..., C]; the old state.

    Returns:
      (new state, update gate, reset gate, new value), float32 [..., C] each.
    """
    update, reset, new = tf.split(inputs, 3, axis=-1)
    old_update, old_reset, old_new = tf.split(products, 3, axis=-1)
    update = tf.sigmoid(update + old_update)
    reset = tf.sigmoid(reset + old_reset)
    new = tf.tanh(new + reset * old_new)
    return new + update * (state - new), update, reset, new


def product(state, kernel):
    """Multiplies a float32 state by a kernel, in the dtype of the kernel. Returns float32."""
    return tf.cast(tf.cast(state, kernel.dtype) @ kernel, tf.float32)


@tf.custom_gradient
def along_time(inputs, kernel):
    """Runs a GRU along the first axis from a state of zeros, with a custom gradient.

    The gradient of TensorFlow's loop is 10 times slower, and accumulates the gradient of the kernel
    in the dtype of the kernel. Here, the gates and the gradient of the kernel are computed for all
    steps at once.

    Args:
      inputs: float32 [L, B, 3 C], as `gru`.
      kernel: [C, 3 C]; the recurrent kernel.

    Returns:
      float32 [L, B, C], the states.
    """
    length, (_, batch, channels) = inputs.shape[0], tf.unstack(tf.shape(inputs))
    channels = inputs.shape[2] // 3
    zeros = tf.zeros([batch, channels])

    def forward(t, state, states):
        state, *_ = gru(steps.read(t), product(state, kernel), state)
        return t + 1, state, states.write(t, state)

    steps = tf.TensorArray(tf.float32, length).unstack(inputs)
    loop = (0, zeros, tf.TensorArray(tf.float32, length, element_shape=[None, channels]))
    *_, states = tf.while_loop(lambda t, *_: t < length, forward, loop)
    states = states.stack()  # [L, B, C]
    states.set_shape([length, None, channels])

    def gradient(upstream):
        old = tf.concat([zeros[None], states[:-1]], axis=0)
        flat = tf.cast(tf.reshape(old, [-1, channels]), kernel.dtype)
        products = tf.reshape(tf.cast(flat @ kernel, tf.float32), tf.shape(inputs))
        _, update, reset, new = gru(inputs, products, old)
        old_new = products[..., 2 * channels :]
        # Derivatives of a state by the pre-activations of its gates and new value, [L, B, C] each.
        by_update = (old - new) * update * (1.0 - update)
        by_new = (1.0 - update) * (1.0 - new**2)
        by_reset = by_new * old_new * reset * (1.0 - reset)
        by_inputs = tf.concat([by_update, by_reset, by_new], axis=2)
        by_products = tf.concat([by_update, by_reset, by_new * reset], axis=2)

        def backward(t, carried, totals):
            total = carried + upstreams.read(t)
            carried = product(tf.tile(total, [1, 3]) * factors.read(t), transposed)
            return t - 1, carried + total * updates.read(t), totals.write(t, total)

        transposed = tf.transpose(kernel)
        upstreams, factors, updates = (
            tf.TensorArray(tf.float32, length).unstack(values)
            for values in (upstream, by_products, update)
        )
        loop = (
            length - 1,
            zeros,
            tf.TensorArray(tf.float32, length, element_shape=[None, channels]),
        )
        *_, totals = tf.while_loop(lambda t, *_: t >= 0, backward, loop)
        totals = tf.tile(totals.stack(), [1, 1, 3])  # [L, B, 3 C]
        of_products = tf.cast(tf.reshape(totals * by_products, [-1, 3 * channels]), kernel.dtype)
        return totals * by_inputs, tf.matmul(flat, of_products, transpose_a=True)

    return states, gradient
