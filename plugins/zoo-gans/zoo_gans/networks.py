"""The convolutional networks of the GANs here, as of Radford, Metz and Chintala (DCGAN, 2016).

Both double or halve the side of the image by convolutions of 4 x 4 with a stride of 2. The
discriminator has no normalization, so each of its outputs depends on one image alone.
"""

import math

import keras

import zoo

__all__ = ["discriminator", "generator"]

LEAST = 8  # sides of an image
SLOPE = 0.2  # of the rectifiers below zero
WIDEST = 8  # times `filters` in the widest layer


def generator(shape, num_classes, latent_dim, filters):
    """Builds (z, one-hot label) -> images, float32 [n, *shape] in [0, 1].

    Raises:
      ValueError: if an argument is invalid.
    """
    z = keras.Input((latent_dim,))
    label = keras.Input((num_classes,))
    (*sizes, first), widths = pyramid(shape, filters, smallest=7)
    h = keras.layers.Concatenate()([z, label])
    # No biases before a normalization, which would remove them.
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
    """Builds (x, one-hot label) -> one number an image, float32 [n].

    The label chooses a column of the last layer, which is added to that of all images (Miyato and
    Koyama, cGANs with projection discriminator, ICLR 2018). It has a bias where use_bias says so.

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
    """Halves the sides of an image until none is above the smallest.

    Returns:
      ([(height, width), …], [int, …]): sizes from that of the image on, channels of those after it.

    Raises:
      ValueError: if filters is not positive, or a side is too small.
    """
    zoo.GenerativeModel.require(filters >= 1, "filters must be positive.", filters=filters)
    zoo.GenerativeModel.require(
        min(shape[:2]) >= LEAST,
        f"Expected images with sides of {LEAST} or more. Add --size N (size=N).",
        shape=shape,
    )
    sizes = [shape[:2]]
    while max(sizes[-1]) > smallest:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes, [filters * min(2**k, WIDEST) for k in range(len(sizes) - 1)]


def activated(h):
    """Applies batch normalization, then a leaky rectifier."""
    return keras.layers.LeakyReLU(SLOPE)(keras.layers.BatchNormalization()(h))
