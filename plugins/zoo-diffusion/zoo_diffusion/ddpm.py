"""DDPM: a diffusion model whose network removes noise step by step until an image remains.

With x_0 the image scaled to [-1, 1], and a_t = cos(angle_t), s_t = sin(angle_t) for t = 1 … T,

    q(x_t | x_0) = Normal(a_t x_0, s_t^2 I)        angle_T = pi / 2, so that x_T is pure noise
    x_T ~ Normal(0, I)
    p(x_{t-1} | x_t) = q(x_{t-1} | x_t, x_0 = denoised(x_t, t))                    t = T … 2
    p(x_0 | x_1), every value a discretized logistic around denoised(x_1, 1)

The network predicts v = a_t noise - s_t x_0, which gives x_0 = a_t x_t - s_t v. The loss is the
mean squared error of v, with a random t per image. `log_prob` is an unbiased estimate of the bound

    log p(x_0) >= E_q[ log p(x_0 | x_1) - sum_{t=2}^T KL_t ],
    KL_t = |x_0 - denoised(x_t, t)|^2 (a_{t-1}^2 / s_{t-1}^2 - a_t^2 / s_t^2) / 2,

in nats per image.

Family: diffusion model

Source: Ho, Jain and Abbeel, Denoising diffusion probabilistic models, NeurIPS 2020,
https://arxiv.org/abs/2006.11239, equations 4 to 7 and algorithms 1 and 2. Sampler "ddim": Song,
Meng and Ermon, Denoising diffusion implicit models, ICLR 2021, https://arxiv.org/abs/2010.02502,
equations 12 and 16.

Differs from the source:

* a schedule of angles that starts at noise of a quarter of a level (Nichol and Dhariwal, Improved
  denoising diffusion probabilistic models, ICML 2021);
* the network predicts v, whose squared error is equation 14 divided by a_t^2 (Salimans and Ho,
  Progressive distillation for fast sampling of diffusion models, ICLR 2022);
* Fourier features of x_t as additional inputs (Kingma, Salimans, Poole and Ho, Variational
  diffusion models, NeurIPS 2021);
* the predicted x_0 is clipped to [-1, 1];
* the discretized decoder is logistic. "ddpm" samples from it, and "ddim" takes its median;
* both samplers use 25 of the T steps;
* a small U-Net that starts at half resolution, with additive skip connections and layer
  normalization, but without attention and dropout;
* time and label scale and shift the normalized activations;
* AdamW with learning rate warm-up and cosine decay.
"""

import math
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

import zoo.random
from zoo.distributions import DiscretizedLogistic
from zoo.schedules import warm_cosine

__all__ = ["DDPM"]

ZOO_API = 2

FIRST = 1 / 4  # standard deviation of the noise of x_1, in levels
SCALE = 1 / 12  # of p(x_0 | x_1), in levels; small, because other pixels also inform x_0
POWER = 1.5  # exponent of evenly spaced numbers, which gives more angles with little noise
TERMS = 8  # sampled terms of the bound per image
WAVES = 32  # Fourier features of the time
OCTAVES = 5  # Fourier features of each value of x_t
WARMUP = 400  # steps of learning rate warm-up
WEIGHT_DECAY = 0.01  # of AdamW, times the learning rate
AVERAGE = 0.999  # EMA decay of the weights

_TIME, _NOISE = 0, 1  # streams of random numbers of a seed


class DDPM(zoo.GenerativeModel):
    """A diffusion model of images.

    Args:
      spec: Spec of an image.
      condition: Spec of the label, or None for an unconditional model.
      diffusion_steps: number T of diffusion steps, in training and in the likelihood.
      sampler: "ddpm" (stochastic) or "ddim" (deterministic given the initial noise).
      num_steps: number of sampling steps, evenly spaced among the diffusion steps.
      filters: channels at half resolution. 1.5 times as many at quarter resolution.
      num_blocks: residual blocks in each of the three stages of the U-Net.
      learning_rate: peak learning rate of AdamW.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=6, batch_size=64)
    log_prob_kind = "lower_bound"

    def __init__(
        self,
        spec: zoo.Spec,
        condition: zoo.Spec | None = None,
        diffusion_steps: int = 1000,
        sampler: Literal["ddpm", "ddim"] = "ddpm",
        num_steps: int = 25,
        filters: int = 64,
        num_blocks: int = 2,
        learning_rate: float = 2e-3,
    ):
        super().__init__(spec, condition)
        self.require(
            sampler in ("ddpm", "ddim"), "sampler must be 'ddpm' or 'ddim'.", sampler=sampler
        )
        self.require(
            diffusion_steps >= 2,
            "diffusion_steps must be at least 2.",
            diffusion_steps=diffusion_steps,
        )
        self.require(
            1 <= num_steps <= diffusion_steps,
            "num_steps must be 1 to diffusion_steps.",
            num_steps=num_steps,
            diffusion_steps=diffusion_steps,
        )
        self.require(filters >= 2, "filters must be at least 2.", filters=filters)
        self.require(num_blocks >= 1, "num_blocks must be positive.", num_blocks=num_blocks)
        self.require_learning_rate(learning_rate)
        self.diffusion_steps, self.sampler, self.num_steps = diffusion_steps, sampler, num_steps
        self.learning_rate = learning_rate
        ends = [math.atan(FIRST * 2.0 / (self.levels - 1)), math.pi / 2]
        angles = np.linspace(*np.power(ends, 1.0 / POWER), diffusion_steps) ** POWER
        self.angles = np.insert(angles, 0, 0.0)  # [1 + T]
        self.network = unet(self.shape, self.num_classes, filters, num_blocks)
        self.build()

    def coefficients(self, t):
        """Returns a_t and s_t, float32 [n, 1, 1, 1] each, for t int32 [n] in 0 … T."""
        both = (tf.constant(f(self.angles), tf.float32) for f in (np.cos, np.sin))
        return [tf.reshape(tf.gather(c, t), [-1, 1, 1, 1]) for c in both]

    def diffused(self, x0, noise, t):
        """Returns x_t from x_0 and noise, float32 [n, *shape] each, for t int32 [n]."""
        a, s = self.coefficients(t)
        return a * x0 + s * noise

    def velocity(self, x, t, condition):
        """Returns the predicted v, float32 [n, *shape], for x_t and t int32 [n] in 1 … T."""
        # Fourier features of x_t with periods of 2, 4, 8, … levels, damped by the noise.
        rates = math.pi * (self.levels - 1.0) / 2.0 ** np.arange(1, 1 + OCTAVES)
        phase = x[..., None] * tf.constant(rates, tf.float32)  # [n, H, W, C, OCTAVES]
        _, s = self.coefficients(t)
        mean = tf.exp(-0.5 * (s[..., None] * tf.constant(rates, tf.float32)) ** 2)
        waves = tf.concat([mean * tf.cos(phase), mean * tf.sin(phase)], axis=4)
        waves = tf.reshape(waves, [-1, *self.shape[:2], 2 * OCTAVES * self.shape[2]])
        # Fourier features of 1000 t / T, like the positions of Vaswani et al., NeurIPS 2017.
        phase = tf.cast(t, tf.float32)[:, None] * (1000.0 / self.diffusion_steps)
        phase /= tf.constant(np.geomspace(1.0, 1e4, WAVES), tf.float32)  # [n, WAVES]
        time = tf.concat([tf.cos(phase), tf.sin(phase)], axis=1)
        label = self.one_hot(condition, tf.shape(x)[0])
        return self.network([tf.concat([x, waves], axis=3), time, label])

    def denoised(self, x, t, condition=None):
        """Returns the predicted x_0, clipped to [-1, 1]. Arguments as `velocity`."""
        a, s = self.coefficients(t)
        return tf.clip_by_value(a * x - s * self.velocity(x, t, condition), -1.0, 1.0)

    def posterior(self, x0, x, t, to):
        """Returns loc and scale of the normal q(x_to | x_t, x_0) of the sampler, for to < t.

        Args:
          x0: float32 [n, *shape].
          x: float32 [n, *shape], x_t.
          t: int32 [n], in 1 … T.
          to: int32 [n], in 0 … t - 1.

        Returns:
          (loc, float32 [n, *shape]; scale, float32 [n, 1, 1, 1], which is 0 for "ddim").
        """
        (a, s), (a_to, s_to) = self.coefficients(t), self.coefficients(to)
        if self.sampler == "ddpm":
            # Computes 1 - a^2 / a_to^2 without the difference of numbers near 1.
            ends, between = (tf.gather(tf.constant(self.angles, tf.float32), k) for k in (t, to))
            difference = tf.sin(ends + between) * tf.sin(ends - between)
            scale = s_to / s * tf.sqrt(tf.reshape(difference, [-1, 1, 1, 1])) / a_to
            direction = a * s_to**2 / (a_to * s)
        else:
            scale, direction = tf.zeros_like(s), s_to
        return a_to * x0 + direction * (x - a * x0) / s, scale

    def likelihood(self, x0):
        """Returns p(x_0 | x_1) over 0 … levels - 1, where x0 is the denoised x_1."""
        loc = 0.5 * (x0 + 1.0) * (self.levels - 1.0)
        return DiscretizedLogistic(loc, SCALE, self.levels)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model. Default: AdamW with learning rate warm-up and cosine decay."""
        rate = warm_cosine(self.learning_rate, total_steps, WARMUP)
        optimizer = optimizer or keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
        super().compile(optimizer, average=AVERAGE, **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        """Returns the mean squared error of v, float32 []."""
        n = tf.shape(x)[0]
        u = zoo.random.uniform(zoo.random.fold_in(seed, _TIME), first, n, ())
        t = 1 + tf.cast(u * self.diffusion_steps, tf.int32)
        noise = zoo.random.normal(zoo.random.fold_in(seed, _NOISE), first, n, self.shape)
        x0 = 2.0 * self.on_grid(x) - 1.0
        a, s = self.coefficients(t)
        error = a * noise - s * x0 - self.velocity(self.diffused(x0, noise, t), t, condition)
        return tf.reduce_mean(error**2)

    def log_prob(self, x, seed, condition=None, first=0):
        """Returns an unbiased estimate of the bound, in nats.

        Of the T - 1 terms of the sum, TERMS are sampled with probabilities proportional to
        log(angle_t / angle_{t-1}), one from each of TERMS strata of equal probability, and weighted
        by their inverse probabilities. The bound is that of all T steps of "ddpm" for any sampler.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: int32 [2]; the estimate of image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [n].
        """
        n, draws = tf.shape(x)[0], 1 + TERMS  # x_1, and the terms of the sum
        probs = np.log(self.angles[2:] / self.angles[1:-1])
        probs /= probs.sum()
        snr = np.tan(self.angles[1:]) ** -2.0
        weights = np.array([0.0, 0.0, *(0.5 * (snr[:-1] - snr[1:]) / (TERMS * probs))])
        u = zoo.random.uniform(zoo.random.fold_in(seed, _TIME), first, n, (1,))
        u = tf.reshape((tf.range(TERMS, dtype=tf.float32) + u) / TERMS, [-1])
        t = 2 + tf.searchsorted(tf.constant(np.cumsum(probs)[:-1], tf.float32), u, "right")
        t = tf.concat([tf.ones([n, 1], tf.int32), tf.reshape(t, [n, TERMS])], axis=1)
        t = tf.reshape(t, [-1])  # [n draws], also below
        noise = zoo.random.normal(zoo.random.fold_in(seed, _NOISE), first, n, (draws, *self.shape))
        x0 = tf.repeat(2.0 * self.on_grid(x) - 1.0, draws, axis=0)
        x_t = self.diffused(x0, tf.reshape(noise, tf.shape(x0)), t)
        denoised = self.denoised(x_t, t, None if condition is None else tf.repeat(condition, draws))
        error = tf.reduce_sum((x0 - denoised) ** 2, axis=(1, 2, 3))
        terms = tf.gather(tf.constant(weights, tf.float32), t) * error
        log_likelihood = self.likelihood(denoised[::draws]).log_prob(x * (self.levels - 1.0))
        log_likelihood = tf.reduce_sum(log_likelihood, axis=(1, 2, 3))
        return log_likelihood - tf.reduce_sum(tf.reshape(terms, [n, draws]), axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples images.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        times = np.arange(self.num_steps + 1) * self.diffusion_steps // self.num_steps
        times = tf.constant(times, tf.int32)

        def noise(k):
            return zoo.random.normal(zoo.random.fold_in(seed, k), first, num_samples, self.shape)

        def step(k, x):
            t, to = (tf.fill([num_samples], times[i]) for i in (k, k - 1))
            x, scale = self.posterior(self.denoised(x, t, condition), x, t, to)
            if self.sampler == "ddpm":
                x += scale * noise(k)
            return k - 1, x

        _, x0 = tf.while_loop(lambda k, x: k > 0, step, (self.num_steps, noise(self.num_steps + 1)))
        if self.sampler == "ddpm":
            u = zoo.random.uniform(zoo.random.fold_in(seed, 0), first, num_samples, self.shape)
        else:
            u = 0.5
        return self.likelihood(x0).quantile(u) / (self.levels - 1.0)


def unet(shape, num_classes, filters, num_blocks):
    """Builds the network: (x_t, features of t, one-hot label) -> v, [n, *shape]."""
    x = keras.Input((*shape[:2], (1 + 2 * OCTAVES) * shape[2]))
    waves = keras.Input((2 * WAVES,))
    label = keras.Input((num_classes,))
    condition = keras.layers.Concatenate()([waves, label])
    condition = keras.layers.Dense(filters, activation="silu")(condition)
    condition = keras.layers.Dense(filters // 2, activation="silu")(condition)
    condition = keras.layers.Reshape((1, 1, filters // 2))(condition)

    def residuals(h):
        for _ in range(num_blocks):
            h = residual(h, condition)
        return h

    h = keras.layers.Conv2D(filters, 4, strides=2, padding="same")(x)  # [B, H/2, W/2, F]
    h = skip = residuals(h)
    h = keras.layers.Conv2D(filters * 3 // 2, 2, strides=2, padding="same")(h)  # [B, H/4, W/4, …]
    h = keras.layers.Conv2DTranspose(filters, 2, strides=2)(residuals(h))
    h = h[:, : skip.shape[1], : skip.shape[2]]
    h = residuals(keras.layers.Add()([h, skip]))
    h = keras.layers.Activation("silu")(h)
    # In float32, because bfloat16 is coarser than 256 levels.
    h = keras.layers.Conv2DTranspose(shape[2], 4, strides=2, padding="same", dtype="float32")(h)
    return keras.Model([x, waves, label], h[:, : shape[0], : shape[1]], name="unet")


def residual(h, condition):
    """Applies a residual block to h, [n, H, W, F], scaled and shifted by the condition."""
    filters = h.shape[-1]
    scale, shift = (keras.layers.Conv2D(filters, 1)(condition) for _ in range(2))
    branch = keras.layers.LayerNormalization(center=False, scale=False)(h)
    branch = keras.layers.Add()([branch, keras.layers.Multiply()([branch, scale]), shift])
    branch = keras.layers.Conv2D(filters, 3, padding="same")(branch)
    branch = keras.layers.Activation("silu")(branch)
    branch = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")(branch)
    return keras.layers.Add()([h, branch])
