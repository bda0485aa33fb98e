"""DCGAN: a convolutional generator and discriminator, trained against each other.

    z ~ Normal(0, I)                               [latent_dim]
    x = G(z), rounded to the levels of the data

The discriminator D gives the logit of "x is data". With softplus(a) = log(1 + e^a) the losses are

    discriminator_loss = E softplus(-D(x)) + E softplus(D(G(z)))
    generator_loss     = E softplus(-D(G(z)))                       (non-saturating)

Both double or halve the side of the image by convolutions of 4 x 4 with a stride of 2.

Family: generative adversarial network

Source: Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional
generative adversarial networks, ICLR 2016, https://arxiv.org/abs/1511.06434.

Differs from the source:

* spectral normalization of D instead of batch normalization (Miyato, Kataoka, Koyama and Yoshida,
  Spectral normalization for generative adversarial networks, ICLR 2018, algorithm 1);
* both networks are updated at once, from the same fakes;
* samples come from a moving average of the generator's weights (Karras, Aila, Laine and Lehtinen,
  Progressive growing of GANs, ICLR 2018);
* leaky rectifiers in G as in D: without them, images of all z are alike at first, which worsens
  with depth;
* a convolution of 3 x 3 in G before it doubles any side;
* kernels of 4 x 4, not 5 x 5;
* a learning rate that falls;
* z is normal, of 64 dimensions, not 100;
* fakes are rounded to the levels of the data;
* G ends in a sigmoid, because images are in [0, 1];
* conditional on the label by concatenation to z in G and by projection in D (Miyato and Koyama,
  cGANs with projection discriminator, ICLR 2018), whose kernels and biases are normalized as one;
* with `augment`, for small data sets, D receives augmented images and fakes (Zhao, Liu, Lin, Zhu
  and Han, Differentiable augmentation for data-efficient GAN training, NeurIPS 2020).
"""

import itertools
import math

import keras
import tensorflow as tf

import zoo.random
from zoo.adversarial import AdversarialModel
from zoo.spec import Spec

__all__ = ["DCGAN"]

LEAST, MOST = 8, 128  # sides of an image
SLOPE = 0.2  # of the rectifiers below zero
WIDEST = 8  # times `filters` in the widest layer
STDDEV = 0.02  # of the first weights


class DCGAN(AdversarialModel):
    """A GAN of convolutions.

    Args:
      spec: Spec of an image, with sides of 8 to 128.
      condition: Spec of the label that the model is conditional on; None is unconditional.
      latent_dim: dimensions of z.
      filters: channels at half the side of the image, doubled each time the side halves, but no
        more than 8 times as many.
      learning_rate: initial learning rate of Adam, for both networks.
      augment: whether D receives images with changed colours, shifted and partly covered; better
        for data sets of a few thousand images.

    Raises:
      ValueError: if an argument is invalid.
    """

    recipe = dict(data="mnist", epochs=30, batch_size=64)

    def __init__(
        self,
        spec: Spec,
        condition: Spec | None = None,
        latent_dim: int = 64,
        filters: int = 64,
        learning_rate: float = 4e-4,
        augment: bool = False,
    ):
        super().__init__(spec, condition, latent_dim, learning_rate)
        self.require(filters >= 1, "filters must be positive.", filters=filters)
        self.require(
            all(LEAST <= side <= MOST for side in spec.shape[:2]),
            f"Expected images with sides of {LEAST} to {MOST}. Add --size N (size=N).",
            shape=spec.shape,
        )
        self.generator = generator(self.shape, self.num_classes, latent_dim, filters)
        self.discriminator = Discriminator(
            self.shape, self.num_classes, filters, name="discriminator"
        )
        self.augment = augment
        self.build()

    def discriminate(self, x, label, seed=None, first=0):
        """Returns the logits of images, as `AdversarialModel`; of augmented ones in training."""
        if self.augment and seed is not None:
            x = augmented(x, seed, first)
        return super().discriminate(x, label, seed, first)


def augmented(x, seed, first):
    """Changes the colours of images, moves them and covers a part, all differentiably.

    Args:
      x: float32 [n, height, width, channels], in [0, 1].
      seed: int32 [2]; what becomes of image k depends on (seed, first + k) alone.
      first: int32 []; index of the first image.

    Returns:
      float32 [n, height, width, channels].
    """
    _, height, width, _ = x.shape
    u = zoo.random.uniform(seed, first, tf.shape(x)[0], (7, 1, 1, 1))
    brightness, saturation, contrast, *places = tf.unstack(u, axis=1)  # [n, 1, 1, 1] each
    x += 0.5 * brightness - 0.75  # in [-0.5, 0.5] before it is made brighter or darker
    grey = tf.reduce_mean(x, axis=3, keepdims=True)
    x = grey + 2.0 * saturation * (x - grey)
    mean = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True)
    x = mean + (0.5 + contrast) * (x - mean)
    # [n, 1] each
    down, right, row, column = (tf.reshape(place, [-1, 1]) for place in places)
    x = tf.einsum("nij,njwc->niwc", moved(down, height), x)
    x = tf.einsum("nij,nhjc->nhic", moved(right, width), x)
    hidden = covered(row, height)[:, :, None] & covered(column, width)[:, None, :]
    return tf.where(hidden[..., None], 0.5, x + 0.5)


def moved(u, side):
    """Makes matrices that move a side by up to an eighth, float32 [n, side, side], of u [n, 1]."""
    most = side // 8
    steps = tf.cast(tf.floor(u * (2 * most + 1)), tf.int32) - most
    return tf.one_hot(tf.range(side) - steps, side)


def covered(u, side):
    """Chooses up to half of a side, around any of its places: bool [n, side], of u [n, 1]."""
    centre = tf.floor(u * (side + 1))
    place = tf.range(side, dtype=tf.float32)
    return (place >= centre - side // 4) & (place < centre + side // 4)


def normal():
    """Returns a new initializer: one that is used twice gives the same numbers both times."""
    return keras.initializers.RandomNormal(stddev=STDDEV)


def pyramid(shape, filters, smallest):
    """Halves the sides of an image until none is above the smallest.

    Returns:
      ([(height, width), …], [int, …]): sizes from that of the image on, channels of those after it.
    """
    sizes = [shape[:2]]
    while max(sizes[-1]) > smallest:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes, [filters * min(2**k, WIDEST) for k in range(len(sizes) - 1)]


def generator(shape, num_classes, latent_dim, filters):
    """Builds (z, one-hot label) -> images, [n, *shape] in [0, 1]."""
    z = keras.Input((latent_dim,))
    label = keras.Input((num_classes,))
    (*sizes, first), widths = pyramid(shape, filters, smallest=7)
    h = keras.layers.Concatenate()([z, label])
    h = linear(keras.layers.Dense, math.prod(first) * widths[-1])(h)
    h = activated(keras.layers.Reshape((*first, widths[-1]))(h))
    h = activated(linear(keras.layers.Conv2D, widths[-1], 3, padding="same")(h))
    for size, width in zip(sizes[:0:-1], widths[-2::-1], strict=True):
        h = linear(keras.layers.Conv2DTranspose, width, 4, strides=2, padding="same")(h)
        h = activated(h[:, : size[0], : size[1]])
    h = keras.layers.Conv2DTranspose(shape[2], 4, 2, "same", kernel_initializer=normal())(h)
    h = h[:, : shape[0], : shape[1]]
    # In float32, because bfloat16 is coarser than 256 levels.
    x = keras.layers.Activation("sigmoid", dtype="float32")(h)
    return keras.Model([z, label], x, name="generator")


def linear(layer, *args, **kwargs):
    """Returns a layer without a bias, which the normalization after it would remove."""
    return layer(*args, use_bias=False, kernel_initializer=normal(), **kwargs)


def activated(h):
    """Applies batch normalization, then a leaky rectifier."""
    return keras.layers.LeakyReLU(SLOPE)(keras.layers.BatchNormalization()(h))


class Discriminator(keras.layers.Layer):
    """(x, one-hot label) -> logits, float32 [n]."""

    def __init__(self, shape, num_classes, filters, **kwargs):
        super().__init__(autocast=False, **kwargs)
        sizes, widths = pyramid(shape, filters, smallest=4)
        pairs = itertools.pairwise([shape[2], *widths])
        self.convolutions = [Kernel((4, 4, *pair)) for pair in pairs]
        # A column for all images and one for those of each label: the projection discriminator.
        self.head = Kernel((math.prod(sizes[-1]) * widths[-1], 1 + num_classes))
        self.built = True

    def call(self, inputs, training=False):
        x, label = inputs
        h = tf.cast(2.0 * x - 1.0, self.compute_dtype)
        for kernel in self.convolutions:
            w, b = kernel.normalized(training)
            h = tf.nn.leaky_relu(tf.nn.conv2d(h, w, 2, "SAME") + b, SLOPE)
        w, b = self.head.normalized(training)
        logits = tf.cast(tf.matmul(tf.reshape(h, [-1, w.shape[0]]), w) + b, tf.float32)
        return logits[:, 0] + tf.reduce_sum(logits[:, 1:] * label, axis=1)


class Kernel(keras.layers.Layer):
    """A kernel whose largest singular value is about 1 once training has begun, and a bias.

    The value is that of the matrix to the kernel's last dimension. One step of the power method in
    each step of training follows it, from the singular vector of the step before.

    Args:
      shape: tuple of int, of the kernel.
    """

    def __init__(self, shape):
        super().__init__(autocast=False)
        self.kernel = self.add_weight(shape=shape, initializer=normal(), autocast=False)
        self.bias = self.add_weight(shape=shape[-1:], initializer="zeros", autocast=False)
        self.vector = self.add_weight(
            shape=(shape[-1], 1), initializer="random_normal", trainable=False, autocast=False
        )
        self.built = True

    def normalized(self, training):
        """Returns the kernel and the bias in the precision of computing."""
        matrix = tf.reshape(self.kernel, [-1, self.kernel.shape[-1]])
        fixed = tf.stop_gradient(matrix)
        left = tf.nn.l2_normalize(tf.matmul(fixed, self.vector))
        right = tf.nn.l2_normalize(tf.matmul(fixed, left, transpose_a=True))
        if training:
            self.vector.assign(right)
        value = tf.reduce_sum(left * tf.matmul(matrix, right))
        kernel = tf.reshape(matrix / value, self.kernel.shape)
        return tf.cast(kernel, self.compute_dtype), tf.cast(self.bias, self.compute_dtype)
