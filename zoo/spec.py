"""Describes examples of data, and checks whether data fit a model."""

import dataclasses
from typing import NamedTuple

from zoo.errors import InputError

__all__ = ["TOLERANCE", "Spec", "check_fit", "upgrade"]

CHUNK = 1024  # examples checked at a time, which bounds the memory
TOLERANCE = 1e-2  # levels; the rounding error of i / (2^16 - 1) in float32 is 4e-3 levels
MOST_LEVELS = 2**16


class _Kind(NamedTuple):
    """The properties that all specs of a kind share.

    Attributes:
      axes: names of the axes of an example.
      dtype: "float32" or "int32".
      low: the lowest value.
      levels: the minimum number of levels.
      noun: the noun for one example.
    """

    axes: tuple[str, ...]
    dtype: str
    low: float
    levels: int
    noun: str


KINDS = {
    "image": _Kind(("height", "width", "channels"), "float32", 0.0, 2, "image"),
    "tokens": _Kind(("length",), "int32", 0.0, 1, "text"),
    "audio": _Kind(("samples", "channels"), "float32", -1.0, 2, "sound"),
    "label": _Kind((), "int32", 0.0, 1, "label"),
    "domain": _Kind(("height", "width", "channels"), "float32", 0.0, 2, "image"),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """The shape, values and kind of one example, or of a condition.

        zoo.Spec((28, 28, 1), levels=2)                 a binary image
        zoo.Spec((256,), levels=65, kind="tokens")      a text of 256 characters from a set of 65
        zoo.Spec((), levels=10, kind="label")           the label of one of 10 classes

    The kinds are

        image   (height, width, channels)   float32 i / (levels - 1)
        tokens  (length,)                   int32 i
        audio   (samples, channels)         float32 2 i / (levels - 1) - 1
        label   ()                          int32 i
        domain  (height, width, channels)   float32 i / (levels - 1)

    with i = 0 … levels - 1. Audio with levels = 0 has any value in [-1, 1]. A domain is an unpaired
    image of another domain, for example photographs as conditions of paintings.

    Args:
      shape: tuple of int; the shape of one example.
      levels: int, at most 65,536; number of values, of classes, or of tokens in the vocabulary.
      kind: "image", "tokens", "audio", "label" or "domain".
      names: tuple of str; names of the classes, or the character of each token. May be empty.
      rate: int; audio samples per second, else 0.

    Raises:
      ValueError: if an argument is invalid.
    """

    shape: tuple[int, ...]
    levels: int = 256
    kind: str = "image"
    names: tuple[str, ...] = ()
    rate: int = 0

    def __post_init__(self):
        for name in ("shape", "names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received: kind={self.kind}")
        axes, least = KINDS[self.kind].axes, KINDS[self.kind].levels
        if len(self.shape) != len(axes) or min(self.shape, default=1) < 1:
            raise ValueError(
                f"The shape of {self.kind} must be ({', '.join(axes)}), each at least 1."
                f" Received: shape={self.shape}"
            )
        is_real = self.levels == 0 and self.kind == "audio"
        if not is_real and not least <= self.levels <= MOST_LEVELS:
            zero = "0, or " if self.kind == "audio" else ""
            raise ValueError(
                f"levels must be {zero}{least} to {MOST_LEVELS}. Received: levels={self.levels}"
            )
        if self.rate < 0 or (self.rate > 0) != (self.kind == "audio"):
            raise ValueError(
                "rate must be positive for audio, and 0 for other kinds. Received:"
                f" rate={self.rate}, kind={self.kind}"
            )
        if self.names and len(self.names) != self.levels:
            raise ValueError(
                f"names must have one name per level, {self.levels} in total."
                f" Received: {len(self.names)} names"
            )

    @property
    def dtype(self) -> str:
        """The dtype of examples, "float32" or "int32"."""
        return KINDS[self.kind].dtype

    @property
    def noun(self) -> str:
        """The noun for one example: "image", "text", "sound" or "label"."""
        return KINDS[self.kind].noun

    @property
    def stored_dtype(self) -> str:
        """The dtype that `store` returns: "uint8", "uint16" or "float32"."""
        if not self.levels:
            return "float32"
        return "uint8" if self.levels <= 256 else "uint16"

    @property
    def low(self) -> float:
        """The lowest value."""
        return KINDS[self.kind].low

    @property
    def high(self) -> float:
        """The highest value."""
        return 1.0 if self.dtype == "float32" else self.levels - 1.0

    def __str__(self):
        if self.kind == "label":
            return f"labels of {self.levels} class{'es'[: 2 * (self.levels > 1)]}"
        levels = f"{self.levels} levels" if self.levels else "any value"
        if self.kind == "tokens":
            return f"texts of {self.shape[0]} tokens out of {self.levels}"
        noun = {"image": "images", "domain": "images of another domain", "audio": "audio"}[
            self.kind
        ]
        return f"{noun} of shape {self.shape} and {levels}"

    def to_json(self) -> dict:
        """Returns the spec as a dict of JSON values."""
        value = {"kind": self.kind, "shape": [*self.shape], "levels": self.levels}
        if self.names:
            value["names"] = [*self.names]
        if self.rate:
            value["rate"] = self.rate
        return value

    @classmethod
    def from_json(cls, value) -> "Spec":
        """Returns the Spec of a dict that `to_json` returned. A Spec or None is returned as is."""
        return cls(**value) if isinstance(value, dict) else value

    def matches(self, other) -> bool:
        """Returns whether examples of another spec are also examples of this spec.

        Args:
          other: Spec, or None.
        """

        def decisive(spec):
            # Names of classes may differ. Tokens with different characters are different tokens.
            names = spec.kind == "tokens" and spec.names
            return spec.kind, spec.shape, spec.levels, spec.rate, names

        return other is not None and decisive(self) == decisive(other)

    def tensor_spec(self, name: str | None = None):
        """Returns the tf.TensorSpec of a batch of examples."""
        import tensorflow as tf

        return tf.TensorSpec((None, *self.shape), tf.as_dtype(self.dtype), name)

    def cast(self, x):
        """Casts a tensor to the dtype of examples."""
        import tensorflow as tf

        return tf.cast(x, self.dtype)

    def scale(self, stored):
        """Converts stored examples to a tensor of examples. The inverse of `store`."""
        import tensorflow as tf

        if self.dtype == "int32":
            return tf.cast(stored, tf.int32)
        if not self.levels:
            return tf.cast(stored, tf.float32)
        x = tf.cast(stored, tf.float32) / (self.levels - 1.0)
        return x if self.low == 0.0 else x * (self.high - self.low) + self.low

    def store(self, x):
        """Converts examples to integer levels for storage, or to float32 if there are no levels.

        Args:
          x: array [n, *shape] of examples.

        Returns:
          array [n, *shape] of `stored_dtype`.
        """
        import numpy as np

        if self.levels and self.dtype == "float32":
            x = np.rint((np.asarray(x) - self.low) / (self.high - self.low) * (self.levels - 1))
        return np.asarray(x).astype(self.stored_dtype)

    def off_grid(self, x):
        """Returns the largest distance between a value and the nearest allowed value, in levels.

        Args:
          x: non-empty array or tensor of any shape.

        Returns:
          float32 [] tensor; infinite if a value is NaN.
        """
        import tensorflow as tf

        x = tf.cast(x, tf.float32)
        if self.dtype == "int32":
            distance = tf.abs(x - tf.clip_by_value(x, 0.0, self.high))
        elif not self.levels:
            outside = tf.abs(x - tf.clip_by_value(x, self.low, self.high))
            distance = tf.where(outside > 0.0, float("inf"), 0.0)
        else:
            top = self.levels - 1
            position = (x - self.low) / (self.high - self.low) * top
            distance = tf.abs(position - tf.clip_by_value(tf.round(position), 0, top))
        return tf.reduce_max(tf.where(tf.math.is_nan(x), float("inf"), distance))

    def nearest(self, x):
        """Rounds a float tensor in [low, high] to the nearest allowed values."""
        import tensorflow as tf

        if self.dtype == "int32":
            return tf.cast(tf.round(x), tf.int32)
        if not self.levels:
            return x
        span = (self.high - self.low) / (self.levels - 1)
        return tf.round((x - self.low) / span) * span + self.low

    def check(self, x, owner: str) -> None:
        """Raises InputError unless x is a batch of examples.

        Args:
          x: array, tensor or tf.TensorSpec. For a tf.TensorSpec, only dtype and shape are checked.
          owner: str; name of the model in the message, for example "VAE".

        Raises:
          InputError: if the dtype (float or integer), the shape ([n, *shape]) or a value does not
            match the spec.
        """
        import tensorflow as tf

        expected = f"{owner} expects {self._batch()}."
        if not hasattr(x, "dtype") or not hasattr(x, "shape"):
            if x is None and self.kind == "label":
                raise InputError(f"{expected} Received: no labels. Pass one label per example")
            received = "None" if x is None else type(x).__name__
            raise InputError(f"{expected} Received: {received}. Pass an array or a tensor")
        dtype, received = tf.as_dtype(x.dtype), tuple(x.shape)
        is_valid = dtype.is_integer if self.dtype == "int32" else dtype.is_floating
        if not is_valid:
            advice = self._dtype_advice(dtype)
            raise InputError(f"{expected} Received: {dtype.name} of shape {received}. {advice}")
        if len(received) != 1 + len(self.shape) or not all(
            size in (None, side) for size, side in zip(received[1:], self.shape, strict=True)
        ):
            advice = self._shape_advice(received)
            raise InputError(f"{expected} Received: {dtype.name} of shape {received}. {advice}")
        if isinstance(x, tf.TensorSpec):
            return
        if not len(x):
            raise InputError(f"{expected} Received: no examples")
        for first in range(0, len(x), CHUNK):
            part = x[first : first + CHUNK]
            if (off := float(self.off_grid(part))) < TOLERANCE:
                continue
            if self.dtype == "int32":
                low, high = int(tf.reduce_min(part)), int(tf.reduce_max(part))
                raise InputError(f"{expected} Received: values from {low} to {high}")
            if off == float("inf"):
                problem = "infinite" if self.levels else f"not from {self.low:g} to {self.high:g}"
                raise InputError(f"{expected} Received: a value that is NaN or {problem}")
            binary = self.levels == 2 and self.kind != "audio"
            advice = "Binarize it: (x > 0.5).astype('float32')" if binary else "Round the values"
            raise InputError(
                f"{expected} Received: a value {off:.2g} levels from the nearest allowed value."
                f" {advice}"
            )

    # Parts of the messages of `check`.

    def _batch(self):
        shape = f"({', '.join(map(str, ('n', *self.shape)))}{',' * (not self.shape)})"
        if self.dtype == "int32":
            noun = "integer labels" if self.kind == "label" else "integers"
            return f"{noun} of shape {shape} from 0 to {self.levels - 1}"
        if self.kind in ("image", "domain"):
            step = (
                ", 0 or 1"
                if self.levels == 2
                else f", multiples of 1/{self.levels - 1} from 0 to 1"
            )
            return f"floats of shape {shape}{step}"
        grid = f", {self.levels} values evenly spaced" if self.levels else ""
        return f"floats of shape {shape}{grid} from {self.low:g} to {self.high:g}"

    def _dtype_advice(self, dtype):
        if self.dtype == "int32":
            return "Cast it: x.astype('int32')"
        if dtype.is_bool or self.kind == "audio":
            return "Cast it: x.astype('float32')"
        if self.levels == 2:
            return "Binarize it: (x > 127).astype('float32')"
        return f"Scale it: x.astype('float32') / {self.levels - 1}"

    def _shape_advice(self, received):
        if (*received[1:], 1) == self.shape:
            return "Add the last axis: x[..., None]"
        if received[1:] == (*self.shape, 1):
            name = "y" if self.kind == "label" else "x"
            return f"Remove the last axis: {name}[..., 0]"
        return "Reshape or resize it"


def check_fit(split, owner: str, spec: Spec, condition: Spec | None = None) -> None:
    """Raises InputError unless a split fits a model or a SavedModel.

    Args:
      split: zoo.datasets.Split.
      owner: name of the model, for the message.
      spec: Spec of the examples of the model.
      condition: Spec of the condition of the model. None accepts data with any condition.

    Raises:
      InputError: if the examples or conditions of the split do not match.
    """
    if not spec.matches(split.spec):
        raise InputError(
            f"{owner} expects {spec}. Received: {split.name} with {split.spec}."
            f" {_advice(spec, split.spec)}"
        )
    if condition is not None and not condition.matches(split.condition):
        received = split.condition or ("no labels" if condition.kind == "label" else "no condition")
        raise InputError(
            f"{owner} expects {condition}. Received: {split.name} with {received}. Use other data."
        )


def _advice(spec, other):
    """Returns advice for a split with another spec, a sentence."""
    if spec.kind == other.kind == "image":
        height, width, channels = spec.shape
        if spec.shape != other.shape:
            if (height, channels) == (width, other.shape[2]):
                return f"Add --size {height} (size={height})."
        elif spec.levels == 2 and channels == 1:
            return "Add --binarize (binarize=True)."
    elif spec.kind == other.kind and spec.kind in ("tokens", "audio"):
        if spec.rate != other.rate:
            return f"Add --rate {spec.rate} (rate={spec.rate})."
        if spec.shape[0] != other.shape[0]:
            return f"Add --length {spec.shape[0]} (length={spec.shape[0]})."
        if spec.kind == "tokens" and not spec.names and spec.levels == 256:
            return "Add --bytes (bytes=True)."
        if spec.kind == "tokens":
            return "Its characters differ. Use other data."
    return "Use other data."


def upgrade(options: dict, class_names=()) -> dict:
    """Converts options of schema 1 to the current schema.

    Cards and runs of schema 1 have the options shape, levels and num_classes instead of spec and
    condition. Options of the current schema are returned unchanged.

    Args:
      options: dict, as in a card or in run.json.
      class_names: names of the classes, or ().
    """
    if "shape" not in options or "spec" in options:
        return options
    options = dict(options)
    spec = Spec(options.pop("shape"), options.pop("levels"))
    upgraded = {"spec": spec.to_json()}
    if "num_classes" in options:
        classes = options.pop("num_classes")
        label = Spec((), classes, "label", class_names) if classes else None
        upgraded["condition"] = label and label.to_json()
    return upgraded | options
