"""Two networks trained against each other: what adversarial models share.

A generator G turns latents z into images, a discriminator D gives an image the logit of "x is
data". With softplus(a) = log(1 + e^a), the cross-entropies of D and of a G that wants to deceive it
(the non-saturating loss) are

    discriminator_loss = E softplus(-D(x)) + E softplus(D(G(z)))
    generator_loss     = E softplus(-D(G(z)))

Both networks move once a step, from the same fakes and from one pass through D and one back: for
the logit a of a fake the losses have the derivatives sigmoid(a) and -sigmoid(-a), so the gradient
of the generator's loss at the fake is that of the discriminator's times their ratio. (Below a logit
of -87 float32 has no such sigmoid: the generator learns nothing, and has lost.)

Source: Goodfellow et al., Generative adversarial nets, NeurIPS 2014, section 3 and algorithm 1.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.model import GenerativeModel
from zoo.schedules import warm_cosine

__all__ = ["AdversarialModel"]

AVERAGE = 0.999  # decay of the average of the generator's weights
WON = 10.0  # nats of the generator's loss where the discriminator has won
WON_STEPS = 1000  # in which the loss has to be so large, to have lost


class AdversarialModel(GenerativeModel):
    """A generator and a discriminator, trained against each other. Abstract: a subclass has

    * `generator`: [z, label] -> images, float32 [n, *shape] in [0, 1];
    * `discriminator`: [x, label] -> logits, float32 [n], each of its own image alone,

    both built, with weights of their own; z is float32 [n, latent_dim], label float32
    [n, num_classes], one-hot. A discriminator that draws numbers, as dropout does, is called by an
    own `discriminate`. A model with other losses has its own `objectives`, each a function of the
    logits of one image and one fake, and its own `diagnose`.

    Fakes are rounded to the levels of the data, or D would know them by that; G is given the
    gradient at what was rounded (the straight-through estimator of Bengio, Léonard and Courville,
    2013). What samples, and is exported, is the moving average of G's weights.

    Args:
      spec: Spec of an image.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      latent_dim: int; dimensions of z.
      learning_rate: float; of Adam, for both networks, in the beginning.

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
        """The weights of the generator, but not statistics, which are averages anyway."""
        return self.generator.trainable_variables

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        """Compiles with a copy of an optimizer for each network, or with Adam for both.

        Args:
          optimizer: keras.Optimizer or its name; None is Adam.
          total_steps: int; steps in which Adam's rate falls, or None: it is constant.
          **kwargs: as of keras.Model.
        """
        super().compile(average=AVERAGE, **kwargs)
        for name in ("generator", "discriminator"):
            network = getattr(self, name)
            if optimizer is None:
                own = self.adam(network, total_steps)
            else:
                given = keras.optimizers.get(optimizer)
                own = given.from_config(given.get_config())
            own.build(network.trainable_variables)
            setattr(self, f"{name}_optimizer", own)

    def adam(self, network, total_steps, beta_1=0.5, beta_2=0.999):
        """Returns a network's Adam; its rate falls over total_steps, or is constant if None."""
        rate = warm_cosine(self.learning_rate, total_steps)
        return keras.optimizers.Adam(rate, beta_1=beta_1, beta_2=beta_2)

    def generate(self, z, label, training=False):
        """Returns images of latents: float32 [n, *shape] in [0, 1]."""
        return self.generator([z, label], training=training)

    def discriminate(self, x, label, seed=None, first=0):
        """Returns the logits of images, float32 [n].

        Args:
          x: float32 [n, *shape], in [0, 1].
          label: float32 [n, num_classes].
          seed: int32 [2], of what is drawn in training; None outside training.
          first: int32 []; index of the first image: the draws of image k are of (seed, first + k).
        """
        return self.discriminator([x, label], training=seed is not None)

    def objectives(self, on_data, on_fakes):
        """Returns the losses of D and of G, float32 [n] each, of logits of data and of fakes."""
        return tf.nn.softplus(-on_data) + tf.nn.softplus(on_fakes), tf.nn.softplus(-on_fakes)

    def train_step(self, data):
        """Moves both networks once."""
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
        """Moves D once.

        Returns:
          As fakes; the gradient of the generator's mean loss, under D before it moved.
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
        """Measures the losses with the same noise for every batch and at every time."""
        x, condition = self.unpack(data)
        label, seed = self.one_hot(condition, tf.shape(x)[0]), self.step_seed(0)
        self.measure(*self.logits(x, self.fakes(seed, 0, label), label))
        return self.get_metrics_result()

    def sample(self, num_samples, seed, condition=None, first=0):
        """Draws images: G of normal z.

        Args:
          num_samples: int32 [].
          seed: int32 [2]; image k depends on (seed, first + k) alone.
          condition: int32 [n], labels; or None where the model is unconditional.
          first: int32 []; index of the first image, to draw many in parts.

        Returns:
          float32 [num_samples, height, width, channels], in [0, 1] on the grid of the levels.
        """
        return self.fakes(seed, first, self.one_hot(condition, num_samples))

    def diagnose(self, log):
        """Says that the discriminator has won: it is sure, and the generator does not catch up.

        To be right is not to win: a generator learns well from one that is right at every image.
        """
        step = log[-1]["step"]
        recent = [x["generator_loss"] for x in log if x["step"] > step - WON_STEPS]
        if step < WON_STEPS or min(recent) < WON:
            return None
        return (
            f"the discriminator has won: for {WON_STEPS:,} steps generator_loss was {WON:g} or"
            " more, where it is 0.7 between equals. A smaller learning_rate may help"
        )

    def fakes(self, seed, first, label, training=False):
        """Generates images on the grid of the levels, one a label: float32 [n, *shape]."""
        z = zoo.random.normal(seed, first, tf.shape(label)[0], (self.latent_dim,))
        x = self.generate(z, label, training=training)
        top = self.levels - 1.0
        return x + tf.stop_gradient(tf.round(x * top) / top - x)

    def logits(self, x, fakes, label, seed=None, first=0):
        """Returns the logits of data and of fakes, float32 [n] each, from one pass."""
        # In turn, so that image and fake k have the same noise on any number of replicas.
        both = tf.stack([self.on_grid(x), fakes], axis=1)
        both = tf.reshape(both, [-1, *self.shape])
        logits = self.discriminate(both, tf.repeat(label, 2, axis=0), seed, 2 * first)
        return tf.unstack(tf.reshape(logits, [-1, 2]), axis=1)

    def measure(self, on_data, on_fakes):
        """Returns the discriminator's mean loss, float32 [], having noted the metrics.

        Its accuracy is the share of pairs of an image and a fake in which it prefers the image.
        """
        discriminator_loss, generator_loss = self.objectives(on_data, on_fakes)
        self.discriminator_loss.update_state(discriminator_loss)
        self.generator_loss.update_state(generator_loss)
        self.accuracy.update_state(tf.cast(on_data > on_fakes, tf.float32))
        return tf.reduce_mean(discriminator_loss)
