"""What autoregressive models of tokens share, given a network.

    p(x) = prod_i p(x_i | start, x_0 … x_{i-1})

for texts x of L tokens out of V. The network gives the logits of every factor. A learned embedding
of a start token stands before the first token, so that p is a distribution over all V^L texts.
"""

import tensorflow as tf

import zoo.random

__all__ = ["CHUNK", "TokenModel"]

CHUNK = 16  # tokens that are drawn before what is known of them becomes part of the past


class TokenModel(zoo.GenerativeModel):
    """An autoregressive model of tokens. Abstract: a subclass has

    * `logits(x, seed=None, first=0)`, float32 [n, L, V] of x, int32 [n, L], where those at i depend
      on the tokens before i alone; seed is int32 [2] of the dropout, or None for none;
    * `cache(n)`, the same token by token for n texts: (step, join, past, recent), where

          step(i, token, past, recent) -> (logits of the token at i, float32 [n, V], recent)
          join(past, recent) -> (past, recent)

      take the token at i - 1, int32 [n], and two nests of tensors. `join` is called after every
      CHUNK tokens; between these calls the past is only read.

    Args:
      spec: Spec of tokens.
      dropout_rate: float in [0, 1).
      temperature: float; the logits are divided by it in sampling.
      top_k: int; sampling draws from so many of the most probable tokens; 0 is all.
      learning_rate: float; the highest of the training.

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
            f"top_k must be 0 to {spec.levels}, the size of the vocabulary.",
            top_k=top_k,
        )
        self.require_learning_rate(learning_rate)
        self.dropout_rate, self.learning_rate = dropout_rate, learning_rate
        self.temperature, self.top_k = temperature, top_k

    @property
    def length(self):
        """The number of tokens of a text."""
        return self.shape[0]

    def delayed(self, x):
        """Returns the token before each of x, int32 [n, L], as `embedded` takes it."""
        return tf.pad(x[:, :-1], [[0, 0], [1, 0]], constant_values=self.levels)

    def embedded(self, tokens):
        """Looks up tokens, int32 of any shape, in `embedding`, whose last row is of the start.

        Returns:
          float32, so that the gradient of a row is summed in float32.
        """
        return tf.gather(tf.convert_to_tensor(self.embedding), tokens)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns -log p(x) / L, float32 [], in nats per token, with dropout in training."""
        log_prob = self._log_prob(x, condition, seed if training else None, first)
        return -tf.reduce_mean(log_prob) / self.length

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns log p(x), exactly, in nats.

        Args:
          x: int32 [n, L].
          seed: not used.
          condition: None.
          first: not used.

        Returns:
          float32 [n].
        """
        return self._log_prob(x, condition)

    def _log_prob(self, x, condition, seed=None, first=0):
        self.one_hot(condition, 0)  # refuses a condition
        x = self.on_grid(x)
        logits = self.logits(x, seed, first)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=x, logits=logits)
        return -tf.reduce_sum(nats, axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Draws texts, token after token.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; text k depends on (seed, first + k) alone.
          condition: None.
          first: int32 []; index of the first text, to draw many in parts.

        Returns:
          int32 [num_samples, L].
        """
        nothing = tf.zeros([num_samples, self.length], tf.int32)
        return self.complete(nothing, tf.cast(nothing, tf.float32), seed, condition, first)

    def complete(self, x, mask, seed, condition=None, first=0):
        """Draws what is hidden of texts, in order: each token given all before it.

        What is known is kept, and what follows a token has no influence on it.

        Args:
          x: int32 [n, L]; any value where hidden.
          mask: float32 [n, L]; 1 where x is known, 0 where it is drawn.
          seed: int32 [2]; text k depends on (seed, first + k) and what is known of it alone.
          condition: None.
          first: int32 []; index of the first text.

        Returns:
          int32 [n, L].
        """
        self.one_hot(condition, 0)  # refuses a condition
        n, known = tf.shape(x)[0], mask > 0.5
        x = self.on_grid(tf.where(known, x, 0))
        u = zoo.random.uniform(seed, first, n, (self.length,))
        step, join, past, recent = self.cache(n)

        # The past grows, and graphs know the number of texts in places and in others not.
        past_shapes = tf.nest.map_structure(lambda p: tf.TensorShape([None] * p.shape.rank), past)
        shapes = tf.nest.map_structure(lambda p: tf.TensorShape([None, *p.shape[1:]]), recent)
        place, tokens, array = map(tf.TensorShape, ([], [None], None))

        def draw_chunk(start, token, past, recent, texts):
            stop = tf.minimum(start + CHUNK, self.length)

            def draw(i, token, recent, texts):
                logits, recent = step(i, token, past, recent)
                token = tf.where(known[:, i], x[:, i], self.draw(logits, u[:, i]))
                return i + 1, token, recent, texts.write(i, token)

            _, token, recent, texts = tf.while_loop(
                lambda i, *_: i < stop,
                draw,
                (start, token, recent, texts),
                shape_invariants=(place, tokens, shapes, array),
            )
            return stop, token, *join(past, recent), texts

        texts = tf.TensorArray(tf.int32, self.length, element_shape=[None])
        *_, texts = tf.while_loop(
            lambda i, *_: i < self.length,
            draw_chunk,
            (tf.constant(0), tf.fill([n], self.levels), past, recent, texts),
            shape_invariants=(place, tokens, past_shapes, shapes, array),
        )
        return tf.ensure_shape(tf.transpose(texts.stack()), [None, self.length])

    def draw(self, logits, u):
        """Draws a token of each row by the inverse of the distribution function.

        Args:
          logits: float32 [n, V].
          u: float32 [n], in [0, 1).

        Returns:
          int32 [n].
        """
        logits /= self.temperature
        if self.top_k:
            least = tf.math.top_k(logits, self.top_k).values[:, -1:]
            logits = tf.where(logits < least, -float("inf"), logits)
        total = tf.cumsum(tf.nn.softmax(logits), axis=1)
        # 1 - u is never 0, so that a token of probability 0 is not drawn.
        below = total < (1.0 - u)[:, None] * total[:, -1:]
        return tf.reduce_sum(tf.cast(below, tf.int32), axis=1)
