"""What one example is: whether data fit a model, and whether values lie on its grid."""

from zoo.errors import InputError

__all__ = ["TOLERANCE", "check_examples", "check_fit", "check_labels", "off_grid"]

CHUNK = 1024  # examples that are checked at once, to need little memory
TOLERANCE = 1e-2  # levels; float32 holds i / (2^16 - 1) within 4e-3 levels


def check_fit(split, name: str, shape, levels: int, num_classes: int) -> None:
    """Raises InputError if a split does not fit a model or a SavedModel.

    Args:
      split: zoo.datasets.Split.
      name: name of the model, for the message.
      shape: tuple or list of int; the shape of one example that the model takes.
      levels: number of levels that the model takes.
      num_classes: number of labels that the model is conditional on; 0 takes any data.

    Raises:
      InputError: if shape, levels or number of classes differ.
    """
    shape = tuple(shape)
    if split.shape != shape:
        square = len(shape) == 3 and shape == (shape[0], shape[0], split.shape[-1])
        advice = f"Add --size {shape[0]} (size={shape[0]})." if square else "Use other data."
        raise InputError(
            f"{name} expects images of shape {shape}. Received: {split.name} with shape"
            f" {split.shape}. {advice}"
        )
    if split.levels != levels:
        binary = levels == 2 and split.shape[-1] == 1
        advice = "Add --binarize (binarize=True)." if binary else "Use other data."
        raise InputError(
            f"{name} expects data of {levels} levels. Received: {split.name} with"
            f" {split.levels} levels. {advice}"
        )
    if num_classes and split.num_classes != num_classes:
        raise InputError(
            f"{name} expects labels of {num_classes} classes. Received: {split.name} with"
            f" {split.num_classes or 'no labels'}. Use other data."
        )


def check_examples(x, name: str, shape, levels: int) -> None:
    """Raises InputError if an array does not hold examples for a model.

    Args:
      x: array, tensor or tf.TensorSpec; of the last only dtype and shape are checked.
      name: name of the model, for the message.
      shape: tuple or list of int; the shape of one example.
      levels: number of levels.

    Raises:
      InputError: if the dtype is not a float, the shape is not [n, *shape], or a value is off the
        grid of the levels.
    """
    import tensorflow as tf

    sizes = ", ".join(map(str, shape))
    grid = {0: "", 2: ", 0 or 1"}.get(levels, f", multiples of 1/{levels - 1} from 0 to 1")
    expected = f"{name} expects floats of shape (n, {sizes}){grid}."
    dtype, received = tf.as_dtype(x.dtype), tuple(x.shape)
    if dtype.is_bool:
        advice = "Cast it: x.astype('float32')"
        raise InputError(f"{expected} Received: bool of shape {received}. {advice}")
    if not dtype.is_floating:
        advice = {
            0: "Cast it: x.astype('float32')",
            2: "Binarize it, as by (x > 127).astype('float32')",
            256: "Scale it: x.astype('float32') / 255",
        }.get(levels, f"Scale it: x.astype('float32') / {levels - 1}")
        raise InputError(f"{expected} Received: {dtype.name} of shape {received}. {advice}")
    if len(received) != 1 + len(shape) or not all(
        size in (None, side) for size, side in zip(received[1:], shape, strict=True)
    ):
        missing = (*received[1:], 1) == tuple(shape)
        advice = "Add the axis of channels: x[..., None]" if missing else "Reshape or resize it"
        raise InputError(f"{expected} Received: {dtype.name} of shape {received}. {advice}")
    if isinstance(x, tf.TensorSpec):
        return
    if not len(x):
        raise InputError(f"{expected} Received: no examples")
    for first in range(0, len(x), CHUNK):
        if not (off := float(off_grid(x[first : first + CHUNK], levels))) < TOLERANCE:
            if off == float("inf"):
                raise InputError(f"{expected} Received: a value that is not finite")
            advice = "Binarize it, as by (x > 0.5).astype('float32')" if levels == 2 else "Round it"
            raise InputError(f"{expected} Received: a value {off:.2g} levels off. {advice}")


def check_labels(y, name: str, num_classes: int) -> None:
    """Raises InputError if an array does not hold labels for a conditional model.

    Args:
      y: array, tensor, tf.TensorSpec or None; of a spec only dtype and shape are checked.
      name: name of the model, for the message.
      num_classes: int; number of labels.

    Raises:
      InputError: if y is not integers of shape [n] from 0 to num_classes - 1.
    """
    import tensorflow as tf

    expected = f"{name} expects labels, integers of shape (n,) from 0 to {num_classes - 1}."
    if y is None:
        raise InputError(f"{expected} Received: no labels. Give them: fit(x, y)")
    dtype, received = tf.as_dtype(y.dtype), tuple(y.shape)
    if not dtype.is_integer or len(received) != 1:
        advice = " Drop the second axis: y[:, 0]" if received[1:] == (1,) else ""
        raise InputError(f"{expected} Received: {dtype.name} of shape {received}.{advice}")
    if not isinstance(y, tf.TensorSpec):
        least, most = int(min(y)), int(max(y))
        if least < 0 or most >= num_classes:
            raise InputError(f"{expected} Received: labels from {least} to {most}")


def off_grid(x, levels: int):
    """Returns the largest distance of values from the grid i / (levels - 1), in levels.

    Args:
      x: float32 array or tensor of any shape, not empty.
      levels: number of levels; 0 has no grid.

    Returns:
      float32 [] tensor; 0 where levels is 0, infinite if a value is NaN.
    """
    import tensorflow as tf

    if not levels:
        return tf.zeros([])
    position = tf.cast(x, tf.float32) * (levels - 1)
    distance = tf.abs(position - tf.clip_by_value(tf.round(position), 0, levels - 1))
    return tf.reduce_max(tf.where(tf.math.is_nan(distance), float("inf"), distance))
