"""What the networks of two models share."""

import tensorflow as tf

import zoo.random

__all__ = ["draw_in_raster_order", "dropout", "gate", "to_images", "to_positions"]


def dropout(x, rate, seed, first):
    """Zeroes a share of the values, and scales the others so that the mean stays.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, JMLR 2014.

    Args:
      x: [n, ...].
      rate: float, the share, in [0, 1), rounded to a multiple of 1/256; 0 does nothing.
      seed: int32 [2], or None for no dropout, as outside training.
      first: int32 []; index of the first example.

    Returns:
      As x.
    """
    if seed is None or not rate:
        return x
    share = max(1, round(256 * (1.0 - rate))) / 256.0  # as of `coins`, or the mean would move
    kept = zoo.random.coins(seed, first, tf.shape(x)[0], tuple(x.shape[1:]), share)
    return x * tf.cast(kept, x.dtype) * tf.cast(1.0 / share, x.dtype)


def gate(x):
    """Returns 2 tanh(a) sigmoid(2 b) of the halves a, b of the last axis: [..., 2 C] -> [..., C].

    Source: van den Oord et al., PixelCNN decoders, NeurIPS 2016, equation 2. The factors, which the
    weights around a gate can take up, make it tanh(a) (1 + tanh(b)): faster in bfloat16 on CPUs.
    """
    a, b = tf.split(x, 2, axis=-1)
    return tf.tanh(a) * (1.0 + tf.tanh(b))


def to_positions(x, block):
    """Cuts images into squares of pixels: a position each, its values in raster order.

    Args:
      x: [n, height, width, channels], the sides multiples of block.
      block: int, pixels on a side of a square.

    Returns:
      [n, height / block, width / block, block^2 channels].
    """
    return tf.nn.space_to_depth(x, block) if block > 1 else x  # TensorFlow refuses 1


def to_images(positions, block):
    """Undoes `to_positions`."""
    return tf.nn.depth_to_space(positions, block) if block > 1 else positions


def draw_in_raster_order(x, known, u, state, start_row, step):
    """Draws position after position, each given all before it, with the state of a cache.

    Args:
      x: float32 [n, H, W, S], as of `to_positions`.
      known: float32 [n, H, W, S]; 1 where x stays, 0 where it is drawn.
      u: float32 [n, H, W, S, 2], uniform noise.
      state: the state of the rows drawn so far, before the first: a nest of tensors.
      start_row: function (state, row, index) -> (state, context, begin), with row float32
        [n, W, S], the one drawn last, and index int32 [], the one to be drawn; context is a nest of
        [W, ...], of which a step is given its own; begin is the state of the columns, a nest.
      step: function (column state, context, left, column) -> (column state, distribution),
        with left float32 [n, S], the position drawn last in the row, 0 at its start.

    Returns:
      float32 [n, H, W, S].
    """
    rows, columns, size = x.shape[1:]
    n = tf.shape(x)[0]

    def draw_row(index, row, state, drawn):
        state, context, begin = start_row(state, row, index)

        def draw_position(column, left, state, values):
            here = tf.nest.map_structure(lambda tensor: tensor[column], context)
            state, distribution = step(state, here, left, column)
            at = (slice(None), index, column)
            value = distribution.fill(x[at], known[at], u[at])
            value.set_shape([None, size])
            return column + 1, value, state, values.write(column, value)

        *_, values = tf.while_loop(
            lambda column, *_: column < columns,
            draw_position,
            (0, tf.zeros([n, size]), begin, tf.TensorArray(tf.float32, columns)),
        )
        row = tf.transpose(values.stack(), [1, 0, 2])  # [n, W, S]
        row.set_shape([None, columns, size])
        return index + 1, row, state, drawn.write(index, row)

    *_, drawn = tf.while_loop(
        lambda index, *_: index < rows,
        draw_row,
        (0, tf.zeros([n, columns, size]), state, tf.TensorArray(tf.float32, rows)),
    )
    return tf.transpose(drawn.stack(), [1, 0, 2, 3])
