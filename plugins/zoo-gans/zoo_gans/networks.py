"""The convolutional networks of the GANs, as in DCGAN (Radford, Metz and Chintala, ICLR 2016).

Convolutions of 4 x 4 with a stride of 2 double the sides of the image in the generator and halve
them in the discriminator. The discriminator has no normalization, so each of its outputs depends on
only one image.
"""

import math

import keras

import zoo

__all__ = ["discriminator", "generator"]

LEAST = 8  # minimum side of an image
SLOPE = 0.2  # of the leaky ReLUs
WIDEST = 8  # channels of the widest layer, as a multiple of `filters`


def generator(shape, num_classes, latent_dim, filters):
    """Builds the generator: (z, one-hot label) -> images, float32 [n, *shape] in [0, 1].

    Raises:
      ValueError: if an argument is invalid.
    """
    z = keras.Input((latent_dim,))
    label = keras.Input((num_classes,))
    (*sizes, first), widths = pyramid(shape, filters, smallest=7)
    h = keras.layers.Concatenate()([z, label])
    # No biases before a normalization, which removes any bias.
    h = keras.layers.Dense(math.prod(first) * widths[-1], use_bias=False)(h)
    h = activated(keras.layers.Reshape((*first, widths[-1]))(h))
    h = activated(keras.layers.Conv2D(widths[-1], 3, padding="same", use_bias=False)(h))
    for size, width in zip(sizes[:0:-1], widths[-2::-1], strict=True):
        h = keras.layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False)(h)
        h = activated(h[:, : size[0], : size[1]])
    h = keras.layers.Conv2DTranspose(shape[2], 4, 2, "same")(h)[:, : shape[0], : shape[1]]
    # In float32, because bfloat16 is coarser than 256 levels.
    x = keras.layers.Activation("sigmoid", dtype="float32")(h)
    return keras.Model([z, label], x, name="generator")


def discriminator(shape, num_classes, filters, use_bias):
    """Builds the discriminator: (x, one-hot label) -> one output per image, float32 [n].

    The label selects a column of the last layer, which is added to the column for all images
    (Miyato and Koyama, cGANs with projection discriminator, ICLR 2018).

    Args:
      shape: (height, width, channels).
      num_classes: int.
      filters: int; channels of the first layer.
      use_bias: bool; whether the last layer has a bias.

    Raises:
      ValueError: if an argument is invalid.
    """
    x = keras.Input(shape)
    label = keras.Input((num_classes,))
    h = keras.layers.Rescaling(2.0, -1.0, dtype="float32")(x)
    for width in pyramid(shape, filters, smallest=4)[1]:
        h = keras.layers.LeakyReLU(SLOPE)(keras.layers.Conv2D(width, 4, 2, "same")(h))
    head = keras.layers.Dense(1 + num_classes, use_bias=use_bias, dtype="float32")
    h = head(keras.layers.Flatten()(h))
    logits = h[:, 0] + keras.ops.sum(h[:, 1:] * label, axis=1)
    return keras.Model([x, label], logits, name="discriminator")


def pyramid(shape, filters, smallest):
    """Halves the sides of an image until none exceeds `smallest`.

    Returns:
      ([(height, width), …], [int, …]): the sizes, starting with the image, and the channels of all
      but the first.

    Raises:
      ValueError: if filters is not positive, or a side is too small.
    """
    zoo.GenerativeModel.require(filters >= 1, "filters must be positive.", filters=filters)
    zoo.GenerativeModel.require(
        min(shape[:2]) >= LEAST,
        f"The sides of images must be {LEAST} or more. Add --size N (size=N).",
        shape=shape,
    )
    sizes = [shape[:2]]
    while max(sizes[-1]) > smallest:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes, [filters * min(2**k, WIDEST) for k in range(len(sizes) - 1)]


def activated(h):
    """Applies batch normalization and a leaky ReLU."""
    return keras.layers.LeakyReLU(SLOPE)(keras.layers.BatchNormalization()(h))
