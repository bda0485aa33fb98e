"""CharGPT: an autoregressive model of text with a decoder-only transformer.

    p(x) = prod_i p(x_i | start, x_0 … x_{i-1})

The embedding of the previous token passes through residual blocks of causal attention and an MLP.
The loss is -log p(x) / L in nats per token, and `log_prob` is exact.

Family: autoregressive

Source: Radford, Wu, Child, Luan, Amodei and Sutskever, Language models are unsupervised multitask
learners, 2019, section 2.3 (pre-normalization, initial weights scaled by the number of residual
layers). Attention: Vaswani et al., Attention is all you need, NeurIPS 2017,
https://arxiv.org/abs/1706.03762.

Differs from the source:

* attention with linear biases instead of position embeddings (Press, Smith and Lewis, Train short,
  test long: attention with linear biases, ICLR 2022);
* RMS normalization (Zhang and Sennrich, NeurIPS 2019) without a gain;
* squared ReLUs (So et al., Primer, NeurIPS 2021);
* no biases, and no weight sharing between embedding and logits;
* no dropout of the attention weights;
* AdamW with learning rate warm-up and cosine decay.
"""

import keras
import numpy as np
import tensorflow as tf

import zoo.random
from zoo.layers import dropout
from zoo.schedules import warm_cosine
from zoo_text.tokens import CHUNK, TokenModel

__all__ = ["CharGPT"]

ZOO_API = 2

WARMUP = 200  # steps of learning rate warm-up
WEIGHT_DECAY = 0.1  # of AdamW, times the learning rate
STDDEV = 0.02  # of the initial weights
EPSILON = 1e-6  # of the RMS normalization
SLOPES = 1.0, 1 / 64  # linear biases of the first and last head, in nats per token of distance
FUTURE = -1e9  # added to the attention scores of future tokens


class CharGPT(TokenModel):
    """A decoder-only transformer.

    Args:
      spec: Spec of tokens.
      num_layers: number of residual blocks.
      units: dimensions of the residual stream, a multiple of num_heads.
      num_heads: number of attention heads.
      dropout_rate: dropout rate of the residual branches and the embedding.
      temperature: divides the logits in sampling. Below 1, probable tokens become more probable.
      top_k: number of most probable tokens from which to sample, or 0 for all.
      learning_rate: peak learning rate of AdamW, with a cosine decay.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="tinyshakespeare", epochs=40, batch_size=16)

    def __init__(
        self,
        spec: zoo.Spec,
        num_layers: int = 6,
        units: int = 192,
        num_heads: int = 3,
        dropout_rate: float = 0.1,
        temperature: float = 1.0,
        top_k: int = 0,
        learning_rate: float = 2e-3,
    ):
        super().__init__(spec, dropout_rate, temperature, top_k, learning_rate)
        self.require(num_layers >= 1, "num_layers must be positive.", num_layers=num_layers)
        self.require(
            num_heads >= 1 and units >= 1 and not units % num_heads,
            "units must be a multiple of num_heads.",
            units=units,
            num_heads=num_heads,
        )
        self.num_layers, self.units, self.num_heads = num_layers, units, num_heads

        def weight(name, *shape, stddev=STDDEV):
            initializer = keras.initializers.RandomNormal(stddev=stddev)
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        residual = STDDEV / (2 * num_layers) ** 0.5
        self.embedding = weight("embedding", self.levels + 1, units)
        self.blocks = [
            (
                weight(f"qkv_{k}", units, 3 * units),
                weight(f"projection_{k}", units, units, stddev=residual),
                weight(f"expansion_{k}", units, 4 * units),
                weight(f"contraction_{k}", 4 * units, units, stddev=residual),
            )
            for k in range(num_layers)
        ]
        self.head = weight("head", units, self.levels)
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: AdamW with learning rate warm-up and cosine decay."""
        if optimizer is None:
            optimizer = keras.optimizers.AdamW(
                warm_cosine(self.learning_rate, total_steps, WARMUP),
                weight_decay=WEIGHT_DECAY,
                beta_2=0.99,  # for batches with few tokens, as nanoGPT for characters
                global_clipnorm=1.0,
            )
            optimizer.exclude_from_weight_decay([self.embedding])
        super().compile(optimizer, **kwargs)

    def logits(self, x, seed=None, first=0):
        """Returns the logits of every token, as `TokenModel`."""
        n, length, size = tf.shape(x)[0], x.shape[1], self.units // self.num_heads
        bias = self.bias(tf.range(length), length)

        def attend(k, qkv):
            qkv = tf.reshape(qkv, [n, length, 3, self.num_heads, size])
            q, keys, values = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # [B, H, L, D] each
            y = attention(q * tf.cast(size**-0.5, q.dtype), keys, values, bias)
            return tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [-1, self.units])

        def drop(site, h):
            if seed is None:
                return h
            h = tf.reshape(h, [n, length, self.units])
            h = dropout(h, self.dropout_rate, zoo.random.fold_in(seed, site), first)
            return tf.reshape(h, [-1, self.units])

        h = tf.cast(self.embedded(self.delayed(x)), self.compute_dtype)  # [B, L, C]
        h = tf.reshape(h, [-1, self.units])
        logits = self._network(self.cast_blocks(), h, attend, drop)
        return tf.reshape(logits, [n, length, self.levels])

    def cache(self, n):
        """Returns the functions that compute one token at a time, as `TokenModel`.

        `past` has the keys, [B, H, D, P], and values, [B, H, P, D], of each block, for complete
        chunks of tokens. `recent` has those of the current chunk, with P = CHUNK.
        """
        blocks, dtype = self.cast_blocks(), self.compute_dtype
        heads, size = self.num_heads, self.units // self.num_heads

        def step(i, token, past, recent):
            at, written = i % CHUNK, []
            here = tf.one_hot(at, CHUNK, dtype=dtype)
            bias = self.bias(tf.reshape(i, [1]), i - at + CHUNK)

            def attend(k, qkv):
                q, key, value = tf.split(qkv, 3, axis=1)  # for one token, without a transpose
                q = tf.reshape(q * tf.cast(size**-0.5, dtype), [n, heads, 1, size])
                old_keys, old_values = past[k]
                keys, values = recent[k]
                keys += here * tf.reshape(key, [n, heads, size, 1])
                values += here[:, None] * tf.reshape(value, [n, heads, 1, size])
                written.append((keys, values))
                weights = tf.nn.softmax(tf.concat([q @ old_keys, q @ keys], axis=3) + bias)
                number = tf.shape(old_values)[2]
                y = weights[..., :number] @ old_values + weights[..., number:] @ values
                return tf.reshape(y, [n, self.units])

            h = tf.cast(self.embedded(token), dtype)  # [B, C]
            return self._network(blocks, h, attend), written

        def join(past, recent):
            joined = [
                (tf.concat([old_keys, keys], axis=3), tf.concat([old_values, values], axis=2))
                for (old_keys, old_values), (keys, values) in zip(past, recent, strict=True)
            ]
            return joined, tf.nest.map_structure(tf.zeros_like, recent)

        def empty(number):
            shapes = [n, heads, size, number], [n, heads, number, size]
            return [tuple(tf.zeros(shape, dtype) for shape in shapes)] * self.num_layers

        return step, join, empty(0), empty(CHUNK)

    def bias(self, positions, number):
        """Returns the causal linear biases of attention scores, [H, m, number].

        Args:
          positions: int32 [m]; positions of the queries.
          number: int32 []; number of keys, whose positions start at 0.
        """
        distance = tf.cast(positions[:, None] - tf.range(number), tf.float32)
        slopes = tf.constant(np.geomspace(*SLOPES, self.num_heads), tf.float32)[:, None, None]
        return tf.cast(tf.where(distance < 0.0, FUTURE, -slopes * distance), self.compute_dtype)

    def cast_blocks(self):
        """Returns the kernels of every block in the compute dtype."""
        return tf.nest.map_structure(lambda w: tf.cast(w, self.compute_dtype), [*self.blocks])

    def _network(self, blocks, h, attend, drop=lambda site, h: h):
        """Returns the logits of positions, float32 [m, V].

        Args:
          blocks: as returned by `cast_blocks`.
          h: [m, C]; embeddings.
          attend: function (index of the block, [m, 3 C] of queries, keys and values) -> [m, C].
          drop: function (index of the dropout, [m, C]) -> [m, C].
        """
        h = drop(2 * len(blocks), h)
        for k, (qkv, projection, expansion, contraction) in enumerate(blocks):
            h += drop(2 * k, attend(k, rms_norm(h) @ qkv) @ projection)
            h += drop(2 * k + 1, tf.square(tf.nn.relu(rms_norm(h) @ expansion)) @ contraction)
        return tf.cast(rms_norm(h), tf.float32) @ self.head


@tf.custom_gradient
def attention(q, keys, values, bias):
    """Returns softmax(q keys^T + bias) values, with q, keys, values and the result [n, H, L, D].

    The custom gradient makes two passes over [n, H, L, L] instead of the four of softmax. With
    attention weights A and result Y, the row sums of dA * A equal those of dY * Y.
    """
    weights = tf.nn.softmax(tf.matmul(q, keys, transpose_b=True) + bias)  # [B, H, L, L]
    y = weights @ values

    def gradient(upstream):
        sums = tf.reduce_sum(tf.cast(upstream * y, tf.float32), axis=3, keepdims=True)
        by_weights = tf.matmul(upstream, values, transpose_b=True)
        by_scores = weights * (by_weights - tf.cast(sums, y.dtype))
        by_values = tf.matmul(weights, upstream, transpose_a=True)
        return by_scores @ keys, tf.matmul(by_scores, q, transpose_a=True), by_values, None

    return y, gradient


def rms_norm(h):
    """Divides h, [m, C], by its root mean square, which is computed in float32."""
    mean = tf.reduce_mean(tf.square(tf.cast(h, tf.float32)), axis=1, keepdims=True)
    return h * tf.cast(tf.math.rsqrt(mean + EPSILON), h.dtype)
