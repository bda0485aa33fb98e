"""WGAN-GP: a convolutional generator and a critic whose slope is held at 1 by a penalty.

    z ~ Normal(0, I)                               [latent_dim]
    x = G(z), rounded to the levels of the data

The critic D gives a number that is to be large for data and small for fakes. Its loss is

    E D(G(z)) - E D(x) + 10 E (|gradient of D at y| - 1)^2,    y = u x + (1 - u) G(z),

with u uniform in [0, 1], and that of the generator -E D(G(z)). If the slope of D is nowhere above
1, E D(x) - E D(G(z)) is at most the Wasserstein distance of data and fakes. `discriminator_loss` is
its negative, without the penalty.

Family: generative adversarial network

Source: Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, Improved training of Wasserstein GANs,
NeurIPS 2017, https://arxiv.org/abs/1704.00028, algorithm 1.

Differs from the source:

* one step of the critic, not five, per step of the generator, at a rate of 4e-4 instead of 1e-4,
  which gives better samples in the same time;
* samples come from a moving average of the generator's weights (Karras, Aila, Laine and Lehtinen,
  Progressive growing of GANs, ICLR 2018);
* the rectifiers of G are leaky;
* a learning rate that falls;
* fakes are rounded to the levels of the data;
* conditional on the label by concatenation to z in G and by projection in D (Miyato and Koyama,
  cGANs with projection discriminator, ICLR 2018).
"""

import tensorflow as tf

import zoo.random
from zoo.adversarial import AdversarialModel
from zoo_gans import networks

__all__ = ["WGANGP"]

ZOO_API = 2

PENALTY = 10.0  # weight of the slope's distance from 1, squared


class WGANGP(AdversarialModel):
    """A Wasserstein GAN of convolutions, with gradient penalty.

    Args:
      spec: Spec of an image, with sides of 8 or more.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      latent_dim: dimensions of z.
      filters: channels at half the side of the image, doubled each time the side halves, but no
        more than 8 times as many.
      num_critic_steps: steps of the critic for each of the generator.
      learning_rate: initial learning rate of Adam, for both networks.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=18, batch_size=64)

    def __init__(
        self,
        spec: zoo.Spec,
        condition: zoo.Spec | None = None,
        latent_dim: int = 64,
        filters: int = 64,
        num_critic_steps: int = 1,
        learning_rate: float = 4e-4,
    ):
        super().__init__(spec, condition, latent_dim, learning_rate)
        self.require(
            num_critic_steps >= 1,
            "num_critic_steps must be positive.",
            num_critic_steps=num_critic_steps,
        )
        self.num_critic_steps = num_critic_steps
        self.generator = networks.generator(self.shape, self.num_classes, latent_dim, filters)
        # A bias would add the same to data and fakes.
        self.discriminator = networks.discriminator(
            self.shape, self.num_classes, filters, use_bias=False
        )
        self.build()

    def adam(self, network, total_steps):
        """Makes a network's optimizer, as of `AdversarialModel`, for its own number of steps."""
        if network is self.generator and total_steps:
            total_steps //= self.num_critic_steps
        return super().adam(network, total_steps, beta_1=0.0, beta_2=0.9)

    def objectives(self, on_data, on_fakes):
        """Returns the losses of D, without the penalty, and of G, float32 [n] each."""
        return on_fakes - on_data, -on_fakes

    def train_step(self, data):
        """Moves the critic once, and in every num_critic_steps-th step the generator after it."""
        x, condition = self.unpack(data)
        n = tf.shape(x)[0]
        seed, first = self.next_step(n)
        with self.training_weights():
            label = self.one_hot(condition, n)
            fakes = self.fakes(zoo.random.fold_in(seed, 0), first, label, training=True)
            self.train_discriminator(x, fakes, label, zoo.random.fold_in(seed, 1), first)
            tf.cond(
                self.step % self.num_critic_steps == 0,
                lambda: self.train_generator(label, zoo.random.fold_in(seed, 2), first),
                lambda: None,
            )
        return self.get_metrics_result()

    def train_discriminator(self, x, fakes, label, seed, first):
        """Moves the critic once."""
        weights = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.measure(*self.logits(x, fakes, label))
            loss += PENALTY * self.gradient_penalty(x, fakes, label, seed, first)
        self.discriminator_optimizer.apply(tape.gradient(loss, weights), weights)

    def gradient_penalty(self, x, fakes, label, seed, first):
        """Returns the mean of (slope of D - 1)^2, float32 [], between data and fakes."""
        u = zoo.random.uniform(seed, first, tf.shape(x)[0], (1, 1, 1))
        between = u * x + (1.0 - u) * fakes
        with tf.GradientTape() as tape:
            tape.watch(between)
            numbers = self.discriminate(between, label)
        gradient = tape.gradient(numbers, between)  # [B, H, W, C], each of its own image's number
        # A root has no gradient at 0.
        slope = tf.sqrt(tf.reduce_sum(gradient**2, axis=(1, 2, 3)) + 1e-12)
        return tf.reduce_mean((slope - 1.0) ** 2)

    def train_generator(self, label, seed, first):
        """Moves the generator once."""
        weights = self.generator.trainable_variables
        with tf.GradientTape() as tape:
            fakes = self.fakes(seed, first, label, training=True)
            loss = -tf.reduce_mean(self.discriminate(fakes, label))
        self.generator_optimizer.apply(tape.gradient(loss, weights), weights)

    def diagnose(self, log):
        """Returns None: a critic that is right still teaches the generator, so none ever wins."""
        return None
