"""The base class of adversarial models: two networks that are trained against each other.

A generator G maps latents z to images. A discriminator D maps an image to the logit of "x is data".
With softplus(a) = log(1 + e^a), the cross-entropy of D and the non-saturating loss of G are

    discriminator_loss = E softplus(-D(x)) + E softplus(D(G(z)))
    generator_loss     = E softplus(-D(G(z)))

Both networks are updated once per step, with the same fakes and one forward and backward pass
through D. For the logit a of a fake, the losses have the derivatives sigmoid(a) and -sigmoid(-a).
The gradient of the generator's loss at the fake is therefore the discriminator's gradient times
their ratio. (Below a logit of -87, the sigmoid underflows in float32, and the generator receives no
gradient.)

Source: Goodfellow et al., Generative adversarial nets, NeurIPS 2014, section 3 and algorithm 1.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.model import GenerativeModel
from zoo.schedules import warm_cosine

__all__ = ["AdversarialModel"]

AVERAGE = 0.999  # EMA decay of the generator's weights
WON = 10.0  # generator loss in nats at which the discriminator dominates
WON_STEPS = 1000  # consecutive steps with such a loss after which training stops


class AdversarialModel(GenerativeModel):
    """A generator and a discriminator, trained against each other. Abstract; a subclass has

    * `generator`: [z, label] -> images, float32 [n, *shape] in [0, 1];
    * `discriminator`: [x, label] -> logits, float32 [n], each of which depends only on its image,

    both built and without shared weights. z is float32 [n, latent_dim], and label is one-hot,
    float32 [n, num_classes]. A subclass overrides `discriminate` if its discriminator is random,
    for example because of dropout. A subclass with other losses overrides `diagnose` and
    `objectives`, which are functions of the logits of one image and one fake.

    Fakes are rounded to the levels of the data, because D could distinguish unrounded fakes. G
    receives the gradient at the rounded fakes (the straight-through estimator of Bengio, Léonard
    and Courville, 2013). Samples and exports use an EMA of the weights of G.

    Args:
      spec: Spec of an image.
      condition: Spec of the label, or None for an unconditional model.
      latent_dim: int; number of latent dimensions.
      learning_rate: float; initial learning rate of Adam, for both networks.

    Raises:
      ValueError: if an argument is invalid.
    """

    def __init__(self, spec, condition, latent_dim, learning_rate):
        super().__init__(spec, condition)
        self.require(latent_dim >= 1, "latent_dim must be positive.", latent_dim=latent_dim)
        self.require_learning_rate(learning_rate)
        self.latent_dim, self.learning_rate = latent_dim, learning_rate
        self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.discriminator_loss = keras.metrics.Mean(name="discriminator_loss")
        self.accuracy = keras.metrics.Mean(name="discriminator_accuracy")

    @property
    def averaged_variables(self):
        """The trainable weights of the generator, without statistics of normalizations."""
        return self.generator.trainable_variables

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles the model with one copy of an optimizer per network.

        Args:
          optimizer: keras.Optimizer or its name. Default: `adam`.
          total_steps: int; steps over which the learning rate of Adam decays, or None for a
            constant rate.
          **kwargs: as `keras.Model.compile`.
        """
        super().compile(average=AVERAGE, **kwargs)
        for name in ("generator", "discriminator"):
            network = getattr(self, name)
            if optimizer is None:
                copy = self.adam(network, total_steps)
            else:
                template = keras.optimizers.get(optimizer)
                copy = template.from_config(template.get_config())
            copy.build(network.trainable_variables)
            setattr(self, f"{name}_optimizer", copy)

    def adam(self, network, total_steps, beta_1=0.5, beta_2=0.999):
        """Returns the default optimizer of a network. Its rate decays over total_steps if given."""
        rate = warm_cosine(self.learning_rate, total_steps)
        return keras.optimizers.Adam(rate, beta_1=beta_1, beta_2=beta_2)

    def generate(self, z, label, training=False):
        """Returns the images of latents, float32 [n, *shape] in [0, 1]."""
        return self.generator([z, label], training=training)

    def discriminate(self, x, label, seed=None, first=0):
        """Returns the logits of images, float32 [n].

        Args:
          x: float32 [n, *shape], in [0, 1].
          label: float32 [n, num_classes].
          seed: int32 [2]; seeds random numbers in training. None outside of training.
          first: int32 []; index of the first image. Noise of image k depends on (seed, first + k).
        """
        return self.discriminator([x, label], training=seed is not None)

    def objectives(self, on_data, on_fakes):
        """Returns the losses of D and G, float32 [n] each, from the logits of data and fakes."""
        return tf.nn.softplus(-on_data) + tf.nn.softplus(on_fakes), tf.nn.softplus(-on_fakes)

    def train_step(self, data):
        """Updates both networks once."""
        x, condition = self.unpack(data)
        n = tf.shape(x)[0]
        seed, first = self.next_step(n)
        with self.training_weights():
            label = self.one_hot(condition, n)
            with tf.GradientTape() as generating:
                fakes = self.fakes(zoo.random.fold_in(seed, 0), first, label, training=True)
            at_fakes = self.train_discriminator(x, fakes, label, zoo.random.fold_in(seed, 1), first)
            weights = self.generator.trainable_variables
            gradients = generating.gradient(fakes, weights, output_gradients=at_fakes)
            self.generator_optimizer.apply(gradients, weights)
        return self.get_metrics_result()

    def train_discriminator(self, x, fakes, label, seed, first):
        """Updates D once.

        Returns:
          The gradient of the generator's mean loss at the fakes before the update, shaped as fakes.
        """
        weights = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(fakes)
            logits = self.logits(x, fakes, label, seed, first)
            loss = self.measure(*logits)
        *gradients, at_fakes = tape.gradient(loss, [*weights, fakes])
        self.discriminator_optimizer.apply(gradients, weights)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(logits)
            objectives = self.objectives(*logits)
        slopes = [tape.gradient(objective, logits[1]) for objective in objectives]
        factor = tf.math.divide_no_nan(slopes[1], slopes[0])
        return at_fakes * tf.reshape(factor, [-1] + [1] * len(self.shape))

    def test_step(self, data):
        """Computes the losses with the same noise for every batch and call."""
        x, condition = self.unpack(data)
        label, seed = self.one_hot(condition, tf.shape(x)[0]), self.step_seed(0)
        self.measure(*self.logits(x, self.fakes(seed, 0, label), label))
        return self.get_metrics_result()

    def sample(self, num_samples, seed, condition=None, first=0):
        """Samples images G(z) with normal z.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends only on (seed, first + k).
          condition: labels, int32 [n], or None for an unconditional model.
          first: int32 []; index of the first image.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        z = zoo.random.normal(seed, first, num_samples, (self.latent_dim,))
        return self.rounded(self.decode(z, condition))

    @property
    def latent_shape(self):
        """The shape of z of one image."""
        return (self.latent_dim,)

    def decode(self, z, condition=None):
        """Returns G(z), not rounded to the levels of the data: float32 [n, *shape], in [0, 1].

        Args:
          z: float32 [n, latent_dim].
          condition: as of `sample`.
        """
        z = tf.convert_to_tensor(z)
        return self.generate(z, self.one_hot(condition, tf.shape(z)[0]))

    def diagnose(self, log):
        """Returns a reason to stop if the discriminator dominates permanently, or None.

        A high accuracy is not a reason: a generator can learn well from a discriminator that
        classifies every image correctly.
        """
        step = log[-1]["step"]
        recent = [x["generator_loss"] for x in log if x["step"] > step - WON_STEPS]
        if step < WON_STEPS or min(recent) < WON:
            return None
        return (
            f"the discriminator dominates: generator_loss was {WON:g} or more for {WON_STEPS:,}"
            " steps, and 0.7 is balanced. Try a smaller learning_rate"
        )

    def fakes(self, seed, first, label, training=False):
        """Generates one image per label, on the grid of the levels, float32 [n, *shape]."""
        z = zoo.random.normal(seed, first, tf.shape(label)[0], (self.latent_dim,))
        return self.rounded(self.generate(z, label, training=training))

    def rounded(self, x):
        """Rounds images to the levels of the data; the gradient is that of images as they were."""
        top = self.levels - 1.0
        return x + tf.stop_gradient(tf.round(x * top) / top - x)

    def logits(self, x, fakes, label, seed=None, first=0):
        """Returns the logits of data and fakes, float32 [n] each, from one pass."""
        # Interleaved, so that image and fake k have the same noise on any number of replicas.
        both = tf.stack([self.on_grid(x), fakes], axis=1)
        both = tf.reshape(both, [-1, *self.shape])
        logits = self.discriminate(both, tf.repeat(label, 2, axis=0), seed, 2 * first)
        return tf.unstack(tf.reshape(logits, [-1, 2]), axis=1)

    def measure(self, on_data, on_fakes):
        """Updates the metrics and returns the mean loss of the discriminator, float32 [].

        discriminator_accuracy is the share of (image, fake) pairs with a larger logit of the image.
        """
        discriminator_loss, generator_loss = self.objectives(on_data, on_fakes)
        self.discriminator_loss.update_state(discriminator_loss)
        self.generator_loss.update_state(generator_loss)
        self.accuracy.update_state(tf.cast(on_data > on_fakes, tf.float32))
        return tf.reduce_mean(discriminator_loss)
