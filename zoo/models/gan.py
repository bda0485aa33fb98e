"""GAN: a generator and a discriminator of dense layers, trained against each other.

    z ~ Normal(0, I)                               [latent_dim]
    x = G(z), rounded to the levels of the data

The discriminator D returns the logit of "x is data". With softplus(a) = log(1 + e^a) the losses are

    discriminator_loss = E softplus(-D(x)) + E softplus(D(G(z)))
    generator_loss     = E softplus(-D(G(z)))                       (non-saturating)

Family: generative adversarial network

Source: Goodfellow et al., Generative adversarial nets, NeurIPS 2014,
https://arxiv.org/abs/1406.2661, algorithm 1, and section 3 for the non-saturating loss. Conditional
on the label: Mirza and Osindero, Conditional generative adversarial nets, 2014.

Differs from the source:

* both networks are updated simultaneously, with the same fakes;
* leaky ReLUs instead of maxout and sigmoids;
* Adam with a learning rate decay;
* z is normal;
* fakes are rounded to the levels of the data;
* samples come from an EMA of the generator's weights.
"""

import keras
import tensorflow as tf

import zoo.random
from zoo.adversarial import AdversarialModel
from zoo.layers import Dense, dropout
from zoo.spec import Spec

__all__ = ["GAN"]

SLOPE = 0.2  # of the leaky ReLUs


class GAN(AdversarialModel):
    """A GAN of dense layers.

    Args:
      spec: Spec of an image.
      condition: Spec of the label, or None for an unconditional model.
      latent_dim: number of latent dimensions.
      hidden_dim: units of the two hidden layers of each network.
      dropout_rate: dropout rate of the hidden layers of the discriminator.
      learning_rate: initial learning rate of Adam, for both networks.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=100, batch_size=128)

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        latent_dim: int = 64,
        hidden_dim: int = 512,
        dropout_rate: float = 0.3,
        learning_rate: float = 5e-4,
    ):
        super().__init__(spec, condition, latent_dim, learning_rate)
        self.require(hidden_dim >= 1, "hidden_dim must be positive.", hidden_dim=hidden_dim)
        self.require(
            0 <= dropout_rate < 1, "dropout_rate must be in [0, 1).", dropout_rate=dropout_rate
        )
        self.generator = generator(self.shape, self.num_classes, latent_dim, hidden_dim)
        self.discriminator = Discriminator(hidden_dim, dropout_rate, name="discriminator")
        self.discriminate(tf.zeros([1, *self.shape]), tf.zeros([1, self.num_classes]))
        self.build()

    def discriminate(self, x, label, seed=None, first=0):
        """Returns the logits of images, as `AdversarialModel`."""
        return tf.cast(self.discriminator(x, label, seed=seed, first=first), tf.float32)


def generator(shape, num_classes, latent_dim, hidden_dim):
    """Builds the generator: (z, one-hot label) -> images, [n, *shape] in [0, 1]."""
    z = keras.Input((latent_dim,))
    label = keras.Input((num_classes,))
    h = keras.layers.Concatenate()([z, label])
    for _ in range(2):
        h = keras.layers.LeakyReLU(SLOPE)(keras.layers.Dense(hidden_dim)(h))
    h = keras.layers.Reshape(shape)(keras.layers.Dense(shape[0] * shape[1] * shape[2])(h))
    # In float32, because bfloat16 is coarser than 256 levels.
    x = keras.layers.Activation("sigmoid", dtype="float32")(h)
    return keras.Model([z, label], x, name="generator")


class Discriminator(keras.layers.Layer):
    """The discriminator: (x, one-hot label) -> logits, [n].

    Args:
      hidden_dim: int; units of the two hidden layers.
      dropout_rate: float; dropout rate, applied if a seed is given.
    """

    def __init__(self, hidden_dim, dropout_rate, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [Dense(hidden_dim), Dense(hidden_dim)]
        self.head = Dense(1)
        self.dropout_rate = dropout_rate

    def call(self, x, label, seed=None, first=0):
        h = 2.0 * tf.reshape(x, [tf.shape(x)[0], -1]) - 1.0
        h = tf.ensure_shape(h, [None, x.shape[1] * x.shape[2] * x.shape[3]])
        for k, dense in enumerate(self.hidden):
            h = tf.nn.leaky_relu(dense(tf.concat([h, tf.cast(label, h.dtype)], axis=-1)), SLOPE)
            layer_seed = None if seed is None else zoo.random.fold_in(seed, k)
            h = dropout(h, self.dropout_rate, layer_seed, first)
        return self.head(h)[:, 0]
