"""The base class of autoregressive models of tokens.

    p(x) = prod_i p(x_i | start, x_0 … x_{i-1})

for texts x of L tokens from a vocabulary of V. The network computes the logits of every factor. The
first token is preceded by a learned start token, so p is a distribution over all V^L texts.
"""

import tensorflow as tf

import zoo.random

__all__ = ["CHUNK", "TokenModel"]

CHUNK = 16  # tokens sampled between two calls of `join`


class TokenModel(zoo.GenerativeModel):
    """An autoregressive model of tokens. Abstract; a subclass has

    * `logits(x, seed=None, first=0)`, which returns logits, float32 [n, L, V], for x, int32 [n, L].
      Logits at i depend only on tokens before i. seed is int32 [2] for dropout, or None;
    * `cache(n)`, which returns functions and states that compute the same for one token at a time,
      for n texts: (step, join, past, recent), where

          step(i, token, past, recent) -> (logits of the token at i, float32 [n, V], recent)
          join(past, recent) -> (past, recent)

      receive the token at i - 1, int32 [n], and two nests of tensors. `join` is called after every
      CHUNK tokens. Between these calls, `past` does not change.

    Args:
      spec: Spec of tokens.
      dropout_rate: float in [0, 1).
      temperature: float; divides the logits in sampling.
      top_k: int; number of most probable tokens from which to sample, or 0 for all.
      learning_rate: float; peak learning rate.

    Raises:
      ValueError: if an argument is invalid.
    """

    kinds = ("tokens",)
    log_prob_kind = "exact"

    def __init__(self, spec, dropout_rate, temperature, top_k, learning_rate):
        super().__init__(spec)
        self.require(
            0 <= dropout_rate < 1, "dropout_rate must be in [0, 1).", dropout_rate=dropout_rate
        )
        self.require(
            0 < temperature < float("inf"),
            "temperature must be positive and finite.",
            temperature=temperature,
        )
        self.require(
            0 <= top_k <= spec.levels,
            f"top_k must be 0 to {spec.levels}, the vocabulary size.",
            top_k=top_k,
        )
        self.require_learning_rate(learning_rate)
        self.dropout_rate, self.learning_rate = dropout_rate, learning_rate
        self.temperature, self.top_k = temperature, top_k

    @property
    def length(self):
        """The number of tokens per text."""
        return self.shape[0]

    def delayed(self, x):
        """Returns x shifted by one token, starting with the start token, int32 [n, L]."""
        return tf.pad(x[:, :-1], [[0, 0], [1, 0]], constant_values=self.levels)

    def embedded(self, tokens):
        """Returns the embeddings of tokens, int32 of any shape. The last row is the start token.

        Returns:
          float32 [..., C], so that gradients of rows are summed in float32.
        """
        return tf.gather(tf.convert_to_tensor(self.embedding), tokens)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns the mean of -log p(x) / L in nats per token, float32 [], with dropout."""
        log_prob = self._log_prob(x, condition, seed if training else None, first)
        return -tf.reduce_mean(log_prob) / self.length

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns the exact log p(x) in nats.

        Args:
          x: int32 [n, L].
          seed: unused.
          condition: None.
          first: unused.

        Returns:
          float32 [n].
        """
        return self._log_prob(x, condition)

    def _log_prob(self, x, condition, seed=None, first=0):
        self.one_hot(condition, 0)  # raises if a condition is given
        x = self.on_grid(x)
        logits = self.logits(x, seed, first)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=logits)
        return -tf.reduce_sum(nats, axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples texts, token by token.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; text k depends only on (seed, first + k).
          condition: None.
          first: int32 []; index of the first text.

        Returns:
          int32 [num_samples, L].
        """
        zeros = tf.zeros([num_samples, self.length], tf.int32)
        return self.complete(zeros, tf.cast(zeros, tf.float32), seed, condition, first)

    def complete(self, x, mask, seed, condition=None, first=0):
        """Samples the tokens where mask is 0, in order, each given the previous tokens.

        Other tokens are kept. A sampled token does not depend on kept tokens after it.

        Args:
          x: int32 [n, L]. Ignored where mask is 0.
          mask: float32 [n, L]; 1 to keep the token of x, 0 to sample it.
          seed: int32 [2]; text k depends only on (seed, first + k) and its kept tokens.
          condition: None.
          first: int32 []; index of the first text.

        Returns:
          int32 [n, L].
        """
        self.one_hot(condition, 0)  # raises if a condition is given
        n, keep = tf.shape(x)[0], mask > 0.5
        x = self.on_grid(tf.where(keep, x, 0))
        u = zoo.random.uniform(seed, first, n, (self.length,))
        step, join, past, recent = self.cache(n)

        # `past` grows, and the static number of texts may be unknown.
        past_shapes = tf.nest.map_structure(lambda p: tf.TensorShape([None] * p.shape.rank), past)
        shapes = tf.nest.map_structure(lambda p: tf.TensorShape([None, *p.shape[1:]]), recent)
        scalar, tokens, array = map(tf.TensorShape, ([], [None], None))

        def draw_chunk(start, token, past, recent, texts):
            stop = tf.minimum(start + CHUNK, self.length)

            def draw(i, token, recent, texts):
                logits, recent = step(i, token, past, recent)
                token = tf.where(keep[:, i], x[:, i], self.draw(logits, u[:, i]))
                return i + 1, token, recent, texts.write(i, token)

            _, token, recent, texts = tf.while_loop(
                lambda i, *_: i < stop,
                draw,
                (start, token, recent, texts),
                shape_invariants=(scalar, tokens, shapes, array),
            )
            return stop, token, *join(past, recent), texts

        texts = tf.TensorArray(tf.int32, self.length, element_shape=[None])
        *_, texts = tf.while_loop(
            lambda i, *_: i < self.length,
            draw_chunk,
            (tf.constant(0), tf.fill([n], self.levels), past, recent, texts),
            shape_invariants=(scalar, tokens, past_shapes, shapes, array),
        )
        return tf.ensure_shape(tf.transpose(texts.stack()), [None, self.length])

    def draw(self, logits, u):
        """Samples one token per row by inverting the cumulative distribution.

        Args:
          logits: float32 [n, V].
          u: float32 [n], in [0, 1).

        Returns:
          int32 [n].
        """
        logits /= self.temperature
        if self.top_k:
            lowest = tf.math.top_k(logits, self.top_k).values[:, -1:]
            logits = tf.where(logits < lowest, -float("inf"), logits)
        total = tf.cumsum(tf.nn.softmax(logits), axis=1)
        # 1 - u is never 0, so a token with probability 0 is never sampled.
        below = total < (1.0 - u)[:, None] * total[:, -1:]
        return tf.reduce_sum(tf.cast(below, tf.int32), axis=1)
