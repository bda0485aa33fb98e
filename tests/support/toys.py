"""Small models for tests of training, exports and evaluation."""

import math

import keras
import tensorflow as tf

import zoo.random
from zoo.distributions import DiscretizedLogistic
from zoo.model import GenerativeModel
from zoo.spec import Spec


class Pixels(GenerativeModel):
    """Independent Bernoulli pixels: the smallest model with an exact likelihood.

    Args:
      spec: Spec of a binary image.
      condition: Spec of the label that the model is conditional on, or None.
      learning_rate: of Adam.
    """

    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}
    log_prob_kind = "exact"

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        learning_rate: float = 0.05,
    ):
        super().__init__(spec, condition)
        self.require(spec.levels == 2, "Pixels is for binary images.", levels=spec.levels)
        self.learning_rate = learning_rate
        self.table = self.add_weight(shape=(max(1, self.num_classes), *spec.shape), name="table")
        self.build()

    def logits(self, condition, n):
        if self.num_classes:
            return tf.tensordot(self.one_hot(condition, n), self.table.value, 1)
        self.one_hot(condition, n)
        return tf.repeat(self.table.value, n, axis=0)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        rate = self.learning_rate
        if total_steps:
            rate = keras.optimizers.schedules.CosineDecay(rate, total_steps)
        super().compile(optimizer or keras.optimizers.Adam(rate), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        logits = self.logits(condition, tf.shape(x)[0])
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(self.on_grid(x), logits)
        return -tf.reduce_sum(cross_entropy, axis=(1, 2, 3))

    def sample(self, num_samples, seed, condition=None, first=0):
        probs = tf.sigmoid(self.logits(condition, num_samples))
        return zoo.random.bernoulli(seed, first, probs)


class Duel(GenerativeModel):
    """A least-squares GAN whose generator and discriminator are one layer each.

    Args:
      spec: Spec of a binary image.
    """

    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.require(spec.levels == 2, "Duel is for binary images.", levels=spec.levels)
        size = math.prod(spec.shape)
        self.generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(size)])
        self.discriminator = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1)])
        self.discriminator_loss = keras.metrics.Mean(name="discriminator_loss")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(**kwargs)
        for name in ("generator", "discriminator"):
            template = keras.optimizers.get(optimizer or keras.optimizers.Adam(1e-2))
            copy = template.from_config(template.get_config())
            copy.build(getattr(self, name).trainable_variables)
            setattr(self, f"{name}_optimizer", copy)

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

    def sample(self, num_samples, seed, condition=None, first=0):
        self.one_hot(condition, 0)  # raises if a condition is given
        probs = tf.reshape(self.probs(seed, first, num_samples), (num_samples, *self.shape))
        return zoo.random.bernoulli(zoo.random.fold_in(seed, 1), first, probs)


class Bigram(GenerativeModel):
    """Tokens that each depend on the previous one: the smallest model of texts.

    Args:
      spec: Spec of tokens.
      learning_rate: of Adam.
    """

    kinds = ("tokens",)
    recipe = {"epochs": 1, "batch_size": 16}
    log_prob_kind = "exact"

    def __init__(self, spec: Spec, learning_rate: float = 0.1):
        super().__init__(spec)
        self.learning_rate = learning_rate
        self.table = self.add_weight(shape=(spec.levels + 1, spec.levels), name="table")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(self.learning_rate), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        x = self.on_grid(x)
        before = tf.pad(x[:, :-1], [[0, 0], [1, 0]], constant_values=self.levels)
        log_p = tf.nn.log_softmax(tf.gather(self.table.value, before))  # [n, length, levels]
        return tf.reduce_sum(tf.gather(log_p, x, batch_dims=2), axis=1)

    def sample(self, num_samples, seed, condition=None, first=0):
        x = tf.zeros([num_samples, *self.shape], tf.int32)
        return self.complete(x, tf.zeros(tf.shape(x)), seed, condition, first)

    def complete(self, x, mask, seed, condition=None, first=0):
        self.one_hot(condition, 0)  # raises if a condition is given
        u = zoo.random.uniform(seed, first, tf.shape(x)[0], self.shape)
        cumulative = tf.cumsum(tf.nn.softmax(self.table.value), axis=1)
        tokens = [tf.fill([tf.shape(x)[0]], self.levels)]
        for k in range(self.shape[0]):
            below = tf.gather(cumulative, tokens[-1])[:, :-1] < u[:, k, None]
            token = tf.reduce_sum(tf.cast(below, tf.int32), axis=1)
            tokens.append(tf.where(mask[:, k] > 0.5, x[:, k], token))
        return tf.stack(tokens[1:], axis=1)


class Hiss(GenerativeModel):
    """Uniform noise with the loudness of the data: the smallest model of sounds.

    Args:
      spec: Spec of audio.
    """

    kinds = ("audio",)
    recipe = {"epochs": 1, "batch_size": 4}

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.loudness = self.add_weight(shape=(), initializer="ones", name="loudness")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.SGD(0.1), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return (tf.reduce_mean(tf.abs(self.on_grid(x))) - self.loudness / 2.0) ** 2

    def sample(self, num_samples, seed, condition=None, first=0):
        self.one_hot(condition, 0)  # raises if a condition is given
        u = zoo.random.uniform(seed, first, num_samples, self.shape)
        return self.spec.nearest(tf.clip_by_value(self.loudness * (2.0 * u - 1.0), -1.0, 1.0))

    def reconstruct(self, x, condition=None):
        return x


class Sound(GenerativeModel):
    """Independent discretized logistic samples: a model of sounds with an exact likelihood.

    Args:
      spec: Spec of sound with levels.
    """

    kinds = ("audio",)
    recipe = {"data": "mnist", "epochs": 1, "batch_size": 32}
    log_prob_kind = "exact"

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.require(spec.levels >= 2, "Sound has levels.", levels=spec.levels)
        self.loc = self.add_weight(shape=spec.shape, initializer="zeros", name="loc")
        self.log_scale = self.add_weight(shape=spec.shape, initializer="ones", name="log_scale")
        self.build()

    def distribution(self):
        middle = 0.5 * (self.levels - 1.0)
        scale = middle * tf.exp(self.log_scale - 2.0)
        return DiscretizedLogistic(middle * (1.0 + self.loc), scale, self.levels)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(0.02), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        self.one_hot(condition, 0)  # raises if a condition is given
        values = 0.5 * (self.on_grid(x) + 1.0) * (self.levels - 1.0)
        return tf.reduce_sum(self.distribution().log_prob(values), axis=(1, 2))

    def sample(self, num_samples, seed, condition=None, first=0):
        self.one_hot(condition, 0)
        u = zoo.random.uniform(seed, first, num_samples, self.shape)
        return 2.0 * self.distribution().quantile(u) / (self.levels - 1.0) - 1.0


class Shadow(GenerativeModel):
    """Bernoulli pixels, each conditional on the same pixel of another image.

    Args:
      spec: Spec of a binary image.
      condition: Spec of another image of the same shape.
    """

    condition_kinds = ("image",)
    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}
    log_prob_kind = "exact"

    def __init__(self, spec: Spec, condition: Spec):
        super().__init__(spec, condition)
        self.require(spec.levels == 2, "Shadow is for binary images.", levels=spec.levels)
        self.slope = self.add_weight(shape=spec.shape, initializer="zeros", name="slope")
        self.bias = self.add_weight(shape=spec.shape, initializer="zeros", name="bias")
        self.build()

    def logits(self, condition):
        if condition is None:
            raise ValueError("Expected an image. Received: condition=None")
        return self.slope * (2.0 * condition - 1.0) + self.bias

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(0.05), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, condition, first))

    def log_prob(self, x, seed, condition=None, first=0):
        value = tf.nn.sigmoid_cross_entropy_with_logits(self.on_grid(x), self.logits(condition))
        return -tf.reduce_sum(value, axis=(1, 2, 3))

    def sample(self, num_samples, seed, condition=None, first=0):
        return zoo.random.bernoulli(seed, first, tf.sigmoid(self.logits(condition)))


class Swap(GenerativeModel):
    """Translates between two domains, trained to match the mean of each pixel.

    Args:
      spec: Spec of a binary image.
      condition: Spec of the other domain, of images of the same shape.
    """

    condition_kinds = ("domain",)
    recipe = {"data": "mnist_binary", "epochs": 1, "batch_size": 32}

    def __init__(self, spec: Spec, condition: Spec):
        super().__init__(spec, condition)
        self.require(spec.levels == 2, "Swap is for binary images.", levels=spec.levels)
        self.slope = self.add_weight(shape=spec.shape, initializer="ones", name="slope")
        self.bias = self.add_weight(shape=spec.shape, initializer="zeros", name="bias")
        self.build()

    def probs(self, condition):
        if condition is None:
            raise ValueError("Expected an image. Received: condition=None")
        return tf.sigmoid(self.slope * (2.0 * condition - 1.0) + self.bias)

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(0.05), **kwargs)

    def compute_loss(self, x, condition, seed, first, training=False):
        difference = tf.reduce_mean(self.on_grid(x), 0) - tf.reduce_mean(self.probs(condition), 0)
        return tf.reduce_sum(difference**2)

    def sample(self, num_samples, seed, condition=None, first=0):
        return zoo.random.bernoulli(seed, first, self.probs(condition))


def make(cls, shape, levels=2, num_classes=0, **options):
    """Creates a model of images of a shape and number of levels, and of their labels."""
    if num_classes:
        options["condition"] = Spec((), num_classes, "label")
    return cls(Spec(shape, levels), **options)
