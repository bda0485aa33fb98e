"""VAE: a latent variable model with a convolutional encoder, trained on the evidence lower bound.

    z ~ Normal(0, I)                               [latent_dim]
    x ~ p(x | z), every pixel independent given z
    q(z | x) = Normal(loc(x), scale(x)^2)

p(x | z) is Bernoulli for data with 2 levels, else a discretized logistic distribution. The loss is
the negative ELBO in nats per image,

    E_q[-log p(x | z)] + KL(q(z | x) || Normal(0, I)) = distortion + rate,

with one sample of z and the KL divergence in closed form. `log_prob` is one log importance weight,
log p(x, z) / q(z | x).

Family: variational autoencoder

Source: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014,
https://arxiv.org/abs/1312.6114, equation 7 and appendix B. Conditional on the label: Sohn, Lee and
Yan, Learning Structured Output Representation using Deep Conditional Generative Models, NeurIPS
2015. Discretised logistic: Salimans et al., PixelCNN++, ICLR 2017, equation 2.

Differs from the source:

* convolutions, with residual connections around the hidden layer;
* AdamW with learning rate warm-up and cosine decay instead of Adagrad.
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

import zoo.random
from zoo.distributions import DiscretizedLogistic
from zoo.model import GenerativeModel
from zoo.schedules import warm_cosine
from zoo.spec import Spec

__all__ = ["VAE"]

tfd = tfp.distributions

NARROW = 8  # channels per position between the convolutions and the dense layers
WARMUP = 400  # steps of learning rate warm-up
WEIGHT_DECAY = 0.1  # of AdamW, times the learning rate; prevents the decoder from overfitting


class VAE(GenerativeModel):
    """A convolutional VAE.

    Args:
      spec: Spec of an image.
      condition: Spec of the label, or None for an unconditional model.
      latent_dim: number of latent dimensions.
      filters: channels of the convolutions at quarter resolution. Half as many at half resolution.
      hidden_dim: units of the dense hidden layer in the encoder and in the decoder.
      learning_rate: peak learning rate of AdamW.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist_binary", epochs=5, batch_size=128)
    log_prob_kind = "importance_weight"

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        latent_dim: int = 32,
        filters: int = 64,
        hidden_dim: int = 512,
        learning_rate: float = 4e-3,
    ):
        super().__init__(spec, condition)
        self.require(latent_dim >= 1, "latent_dim must be positive.", latent_dim=latent_dim)
        self.require(filters >= 2, "filters must be at least 2.", filters=filters)
        self.require(hidden_dim >= 1, "hidden_dim must be positive.", hidden_dim=hidden_dim)
        self.require_learning_rate(learning_rate)
        self.latent_dim, self.learning_rate = latent_dim, learning_rate
        sizes = (self.shape, self.num_classes, latent_dim, filters, hidden_dim)
        self.encoder = encoder(*sizes)
        self.decoder = decoder(*sizes, 1 if self.levels == 2 else 2)
        self.rate = keras.metrics.Mean(name="rate")
        self.distortion = keras.metrics.Mean(name="distortion")
        self.build()

    def prior(self):
        """Returns the prior p(z), a distribution over [latent_dim]."""
        return tfd.Independent(tfd.Normal(tf.zeros(self.latent_dim), 1.0), 1)

    def posterior(self, x, condition=None):
        """Returns the posterior q(z | x), n distributions over [latent_dim]."""
        parameters = self.encoder([self.on_grid(x), self.one_hot(condition, tf.shape(x)[0])])
        loc, log_scale = tf.split(tf.cast(parameters, tf.float32), 2, axis=-1)  # [B, Z]
        log_scale = bounded(log_scale + 3.0, 4.0) - 3.0
        return tfd.Independent(tfd.Normal(bounded(loc, 8.0), tf.exp(log_scale)), 1)

    def likelihood(self, z, condition=None):
        """Returns the likelihood p(x | z), n distributions over [*shape] of 0 … levels - 1."""
        z = tf.convert_to_tensor(z)
        parameters = self.decoder([z, self.one_hot(condition, tf.shape(z)[0])])
        parameters = tf.cast(parameters, tf.float32)  # [B, H, W, C or 2 C]
        if self.levels == 2:
            return tfd.Independent(tfd.Bernoulli(logits=parameters, dtype=tf.float32), 3)
        loc, log_scale = tf.split(parameters, 2, axis=-1)
        # Bounds the scale to 0.0003 to 50 times the range.
        scale = self.levels * tf.exp(6.0 * tf.tanh(log_scale / 6.0) - 2.0)
        loc = self.levels * (bounded(loc, 1.0) + 0.5)
        return tfd.Independent(DiscretizedLogistic(loc, scale, self.levels), 3)

    def call(self, x, condition=None):
        """Returns the reconstruction of x."""
        return self.reconstruct(x, condition)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: AdamW with learning rate warm-up and cosine decay."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        optimizer = optimizer or keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
        super().compile(optimizer, **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns the negative ELBO in nats per image, float32 []."""
        posterior = self.posterior(x, condition)
        z = self._draw_latents(posterior, seed, first)
        distortion = -self.likelihood(z, condition).log_prob(x * (self.levels - 1.0))  # [B]
        rate = tfd.kl_divergence(posterior, self.prior())  # [B]
        self.distortion.update_state(distortion)
        self.rate.update_state(rate)
        return tf.reduce_mean(distortion + rate)

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns one log importance weight, log p(x, z) / q(z | x), per image, in nats.

        Its mean is the ELBO. The log-mean-exp over k seeds is the importance-weighted bound of
        Burda, Grosse and Salakhutdinov, ICLR 2016, equation 8.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: int32 [2]; z of image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [n].
        """
        posterior = self.posterior(x, condition)
        z = self._draw_latents(posterior, seed, first)
        log_likelihood = self.likelihood(z, condition).log_prob(x * (self.levels - 1.0))
        return log_likelihood + self.prior().log_prob(z) - posterior.log_prob(z)

    def encode(self, x, condition=None):
        """Returns the mean of q(z | x), float32 [n, latent_dim], with x as in `log_prob`."""
        return self.posterior(x, condition).mean()

    def decode(self, z, condition=None):
        """Returns the mean of p(x | z), float32 [n, *shape] in [0, 1], with z as in `encode`."""
        pixel = self.likelihood(z, condition).distribution
        if self.levels == 2:
            return pixel.probs_parameter()
        return pixel.mean() / (self.levels - 1.0)

    def reconstruct(self, x, condition=None):
        """Returns the mean of p(x' | z), with z the mean of q(z | x), as `decode`."""
        return self.decode(self.encode(x, condition), condition)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples z from the prior and x from p(x | z).

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        z = zoo.random.normal(zoo.random.fold_in(seed, 0), first, num_samples, (self.latent_dim,))
        pixel = self.likelihood(z, condition).distribution
        u = zoo.random.uniform(zoo.random.fold_in(seed, 1), first, num_samples, self.shape)
        if self.levels == 2:
            return tf.cast(u < pixel.probs_parameter(), tf.float32)
        return pixel.quantile(u) / (self.levels - 1.0)

    def _draw_latents(self, posterior, seed, first):
        normal = posterior.distribution
        shape = tf.shape(normal.loc)
        return normal.loc + normal.scale * zoo.random.normal(
            seed, first, shape[0], (self.latent_dim,)
        )


def bounded(x, most):
    """Returns x within +-most and logarithmic growth beyond, which prevents overflow."""
    return tf.clip_by_value(x, -most, most) + tf.sign(x) * tf.math.log1p(
        tf.nn.relu(tf.abs(x) - most)
    )


def encoder(shape, num_classes, latent_dim, filters, hidden_dim):
    """Builds the encoder: (x, one-hot label) -> loc and log scale of q(z | x), [n, 2 Z]."""
    x = keras.Input(shape)
    label = keras.Input((num_classes,))
    h = keras.layers.Rescaling(2.0, -1.0)(x)
    h = keras.layers.Conv2D(filters // 2, 5, strides=2, padding="same")(h)  # [B, H/2, W/2, F/2]
    h = keras.layers.Activation("silu")(residual(h))
    h = keras.layers.Conv2D(filters, 4, strides=2, padding="same")(h)  # [B, H/4, W/4, F]
    h = keras.layers.Activation("silu")(residual(h))
    h = keras.layers.Conv2D(NARROW, 1, activation="silu")(h)
    h = keras.layers.Concatenate()([keras.layers.Flatten()(h), label])
    h = keras.layers.Dense(hidden_dim, activation="silu")(h)
    return keras.Model([x, label], keras.layers.Dense(2 * latent_dim)(h), name="encoder")


def decoder(shape, num_classes, latent_dim, filters, hidden_dim, parameters):
    """Builds the decoder: (z, one-hot label) -> parameters of pixels, [n, H, W, parameters C]."""
    height, width, channels = shape
    rows, columns = -(-height // 4), -(-width // 4)
    z = keras.Input((latent_dim,))
    label = keras.Input((num_classes,))
    h = keras.layers.Concatenate()([z, label])
    h = keras.layers.Dense(hidden_dim, activation="silu")(h)
    h = keras.layers.Dense(rows * columns * NARROW, activation="silu")(h)
    h = keras.layers.Reshape((rows, columns, NARROW))(h)
    h = keras.layers.Conv2D(filters, 3, padding="same")(h)
    h = keras.layers.Activation("silu")(residual(h))  # [B, H/4, W/4, F]
    h = keras.layers.Conv2DTranspose(filters // 2, 4, strides=2, padding="same")(h)
    h = keras.layers.Activation("silu")(residual(h))  # [B, H/2, W/2, F/2]
    h = keras.layers.Conv2DTranspose(parameters * channels, 4, strides=2, padding="same")(h)
    return keras.Model([z, label], h[:, :height, :width], name="decoder")


def residual(h):
    """Applies a residual block of two convolutions to h, [n, H, W, F]."""
    branch = h
    for _ in range(2):
        branch = keras.layers.Activation("silu")(branch)
        branch = keras.layers.Conv2D(h.shape[-1], 3, padding="same")(branch)
    return keras.layers.Add()([h, branch])
