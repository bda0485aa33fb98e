"""DCGAN: a convolutional generator and discriminator, trained against each other.

    z ~ Normal(0, I)                               [latent_dim]
    x = G(z), rounded to the levels of the data

The discriminator D returns the logit of "x is data". With softplus(a) = log(1 + e^a) the losses are

    discriminator_loss = E softplus(-D(x)) + E softplus(D(G(z)))
    generator_loss     = E softplus(-D(G(z)))                       (non-saturating)

Convolutions of 4 x 4 with a stride of 2 double the sides of the image in G and halve them in D.

Family: generative adversarial network

Source: Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional
generative adversarial networks, ICLR 2016, https://arxiv.org/abs/1511.06434.

Differs from the source:

* spectral normalization of D instead of batch normalization (Miyato, Kataoka, Koyama and Yoshida,
  Spectral normalization for generative adversarial networks, ICLR 2018, algorithm 1);
* both networks are updated simultaneously, with the same fakes;
* samples come from an EMA of the generator's weights (Karras, Aila, Laine and Lehtinen, Progressive
  growing of GANs, ICLR 2018);
* leaky ReLUs in G too, because with ReLUs the initial images of all z are similar, especially in
  deep networks;
* a convolution of 3 x 3 in G before the first upsampling;
* kernels of 4 x 4 instead of 5 x 5;
* a learning rate decay;
* z is normal with 64 dimensions instead of uniform with 100;
* fakes are rounded to the levels of the data;
* the output of G is a sigmoid, because images are in [0, 1];
* conditional on the label by concatenation to z in G and by projection in D (Miyato and Koyama,
  cGANs with projection discriminator, ICLR 2018), which is normalized as one matrix;
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
SLOPE = 0.2  # of the leaky ReLUs
WIDEST = 8  # channels of the widest layer, as a multiple of `filters`
STDDEV = 0.02  # of the initial weights


class DCGAN(AdversarialModel):
    """A GAN of convolutional networks.

    Args:
      spec: Spec of an image, with sides of 8 to 128.
      condition: Spec of the label, or None for an unconditional model.
      latent_dim: number of latent dimensions.
      filters: channels at half resolution. Each halving of the sides doubles them, up to 8 times as
        many.
      learning_rate: initial learning rate of Adam, for both networks.
      augment: whether to train D on images with random colours, shifts and cutouts. Recommended for
        data sets of a few thousand images.

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
            f"The sides of images must be {LEAST} to {MOST}. Add --size N (size=N).",
            shape=spec.shape,
        )
        self.generator = generator(self.shape, self.num_classes, latent_dim, filters)
        self.discriminator = Discriminator(
            self.shape, self.num_classes, filters, name="discriminator"
        )
        self.augment = augment
        self.build()

    def discriminate(self, x, label, seed=None, first=0):
        """Returns the logits of images, as `AdversarialModel`, with augmentation in training."""
        if self.augment and seed is not None:
            x = augmented(x, seed, first)
        return super().discriminate(x, label, seed, first)


def augmented(x, seed, first):
    """Applies random changes of colours, shifts and cutouts, which are differentiable.

    Args:
      x: float32 [n, height, width, channels], in [0, 1].
      seed: int32 [2]; the augmentation of image k depends only on (seed, first + k).
      first: int32 []; index of the first image.

    Returns:
      float32 [n, height, width, channels].
    """
    _, height, width, _ = x.shape
    u = zoo.random.uniform(seed, first, tf.shape(x)[0], (7, 1, 1, 1))
    brightness, saturation, contrast, *offsets = tf.unstack(u, axis=1)  # [n, 1, 1, 1] each
    x += 0.5 * brightness - 0.75  # shifts [0, 1] to [-0.5, 0.5], and by up to +-0.25
    grey = tf.reduce_mean(x, axis=3, keepdims=True)
    x = grey + 2.0 * saturation * (x - grey)
    mean = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True)
    x = mean + (0.5 + contrast) * (x - mean)
    # [n, 1] each
    down, right, row, column = (tf.reshape(offset, [-1, 1]) for offset in offsets)
    x = tf.einsum("nij,njwc->niwc", shift_matrices(down, height), x)
    x = tf.einsum("nij,nhjc->nhic", shift_matrices(right, width), x)
    cutout = cutout_mask(row, height)[:, :, None] & cutout_mask(column, width)[:, None, :]
    return tf.where(cutout[..., None], 0.5, x + 0.5)


def shift_matrices(u, side):
    """Returns matrices that shift by up to an eighth of a side, float32 [n, side, side].

    Args:
      u: float32 [n, 1], uniform in [0, 1).
      side: int; pixels.
    """
    limit = side // 8
    steps = tf.cast(tf.floor(u * (2 * limit + 1)), tf.int32) - limit
    return tf.one_hot(tf.range(side) - steps, side)


def cutout_mask(u, side):
    """Returns a mask of up to half of a side at a random position, bool [n, side].

    Args:
      u: float32 [n, 1], uniform in [0, 1).
      side: int; pixels.
    """
    centre = tf.floor(u * (side + 1))
    pixel = tf.range(side, dtype=tf.float32)
    return (pixel >= centre - side // 4) & (pixel < centre + side // 4)


def normal():
    """Returns a new initializer. A shared initializer would give equal weights to two layers."""
    return keras.initializers.RandomNormal(stddev=STDDEV)


def pyramid(shape, filters, smallest):
    """Halves the sides of an image until none exceeds `smallest`.

    Returns:
      ([(height, width), …], [int, …]): the sizes, starting with the image, and the channels of all
      but the first.
    """
    sizes = [shape[:2]]
    while max(sizes[-1]) > smallest:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes, [filters * min(2**k, WIDEST) for k in range(len(sizes) - 1)]


def generator(shape, num_classes, latent_dim, filters):
    """Builds the generator: (z, one-hot label) -> images, [n, *shape] in [0, 1]."""
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
    """Returns a layer without a bias, because the normalization after it removes any bias."""
    return layer(*args, use_bias=False, kernel_initializer=normal(), **kwargs)


def activated(h):
    """Applies batch normalization and a leaky ReLU."""
    return keras.layers.LeakyReLU(SLOPE)(keras.layers.BatchNormalization()(h))


class Discriminator(keras.layers.Layer):
    """The discriminator: (x, one-hot label) -> logits, float32 [n]."""

    def __init__(self, shape, num_classes, filters, **kwargs):
        super().__init__(autocast=False, **kwargs)
        sizes, widths = pyramid(shape, filters, smallest=4)
        pairs = itertools.pairwise([shape[2], *widths])
        self.convolutions = [Kernel((4, 4, *pair)) for pair in pairs]
        # Projection discriminator: one column for all images, and one per label.
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
    """A kernel with spectral normalization, and a bias.

    The kernel is divided by the largest singular value of its matrix, whose columns are the last
    axis. Every training step tracks this value with one power iteration.

    Args:
      shape: tuple of int; the shape of the kernel.
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
        """Returns the normalized kernel and the bias, in the compute dtype."""
        matrix = tf.reshape(self.kernel, [-1, self.kernel.shape[-1]])
        fixed = tf.stop_gradient(matrix)
        left = tf.nn.l2_normalize(tf.matmul(fixed, self.vector))
        right = tf.nn.l2_normalize(tf.matmul(fixed, left, transpose_a=True))
        if training:
            self.vector.assign(right)
        value = tf.reduce_sum(left * tf.matmul(matrix, right))
        kernel = tf.reshape(matrix / value, self.kernel.shape)
        return tf.cast(kernel, self.compute_dtype), tf.cast(self.bias, self.compute_dtype)
