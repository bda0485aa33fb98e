"""Small models, whole and broken, for the tests of what is around a model."""

import keras
import tensorflow as tf

import zoo.random
from zoo.model import GenerativeModel


class Pixels(GenerativeModel):
    """Independent Bernoulli pixels: the smallest model with an exact likelihood.

    Args:
      shape: (height, width, channels) of an image.
      levels: 2.
      num_classes: number of labels the model is conditional on.
      learning_rate: of Adam.
    """

    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}
    log_prob_kind = "exact"

    def __init__(
        self,
        shape: tuple[int, int, int],
        levels: int = 2,
        num_classes: int = 0,
        learning_rate: float = 0.05,
    ):
        super().__init__(shape, levels, num_classes)
        if levels != 2:
            raise ValueError(f"Pixels is for binary images. Received: levels={levels}")
        self.learning_rate = learning_rate
        self.table = self.add_weight(shape=(max(1, num_classes), *shape), name="table")
        self.build()

    def logits(self, labels, n):
        if self.num_classes:
            return tf.tensordot(self.one_hot(labels, n), self.table.value, 1)
        self.one_hot(labels, n)
        return tf.repeat(self.table.value, n, axis=0)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        rate = self.learning_rate
        if total_steps:
            rate = keras.optimizers.schedules.CosineDecay(rate, total_steps)
        super().compile(optimizer or keras.optimizers.Adam(rate), **kwargs)

    def compute_loss(self, x, y, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, y, first))

    def log_prob(self, x, seed, labels=None, first=0):
        logits = self.logits(labels, tf.shape(x)[0])
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(self.on_grid(x), logits)
        return -tf.reduce_sum(cross_entropy, axis=(1, 2, 3))

    def sample(self, num_samples, seed, labels=None, first=0):
        probs = tf.sigmoid(self.logits(labels, num_samples))
        return zoo.random.bernoulli(seed, first, probs)


class Duel(GenerativeModel):
    """A least-squares GAN whose generator and discriminator are one layer each.

    Args:
      shape: (height, width, channels) of an image.
      levels: 2.
    """

    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}

    def __init__(self, shape: tuple[int, int, int], levels: int = 2):
        super().__init__(shape, levels)
        if levels != 2:
            raise ValueError(f"Duel is for binary images. Received: levels={levels}")
        size = shape[0] * shape[1] * shape[2]
        self.generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(size)])
        self.discriminator = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1)])
        self.discriminator_loss = keras.metrics.Mean(name="discriminator_loss")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(**kwargs)
        for name in ("generator", "discriminator"):
            given = keras.optimizers.get(optimizer or keras.optimizers.Adam(1e-2))
            own = given.from_config(given.get_config())
            own.build(getattr(self, name).trainable_variables)
            setattr(self, f"{name}_optimizer", own)

    def probs(self, seed, first, n):
        return tf.sigmoid(self.generator(zoo.random.normal(seed, first, n, (8,))))

    def train_step(self, data):
        real = self.on_grid(data)
        n = tf.shape(real)[0]
        seed, first = self.next_step(n)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.probs(seed, first, n)
            on_fake = self.discriminator(fake)
            on_real = self.discriminator(tf.reshape(real, tf.shape(fake)))
            generator_loss = tf.reduce_mean((on_fake - 1.0) ** 2)
            loss = tf.reduce_mean((on_real - 1.0) ** 2) + tf.reduce_mean(on_fake**2)
        self.generator_optimizer.apply(
            tape.gradient(generator_loss, self.generator.trainable_variables)
        )
        self.discriminator_optimizer.apply(
            tape.gradient(loss, self.discriminator.trainable_variables)
        )
        self.discriminator_loss.update_state(loss)
        return self.get_metrics_result()

    def test_step(self, data):
        return self.get_metrics_result()

    def sample(self, num_samples, seed, labels=None, first=0):
        if labels is not None:
            raise ValueError(f"Duel is unconditional. Received: labels={labels}")
        probs = tf.reshape(self.probs(seed, first, num_samples), (num_samples, *self.shape))
        return zoo.random.bernoulli(zoo.random.fold_in(seed, 1), first, probs)
