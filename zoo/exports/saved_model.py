"""Loads a SavedModel as an object with the model's methods."""

import contextlib
import reprlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoo import storage
from zoo.errors import InputError
from zoo.exports.cards import CARD, read_card
from zoo.exports.pretrained import find
from zoo.model import ENDPOINTS, assertion
from zoo.sampling import as_seed

__all__ = ["SavedModel", "load"]


def load(name) -> "SavedModel":
    """Loads a SavedModel and returns it as an object with the model's methods.

    Args:
      name: name of a pretrained model, or path of an exported model or of a run.

    Returns:
      SavedModel.

    Raises:
      InputError: if there is none of that name.
      ArtefactError: if it is damaged; the message names the file.
    """
    return SavedModel(find(name))


class SavedModel:
    """A loaded SavedModel, with the methods of the model that it was exported from.

        model = zoo.load("runs/mine")
        images = model.sample(16, seed=0)

    A method that the model does not have raises AttributeError. Arguments may be Python numbers,
    NumPy arrays or tensors.

    Args:
      folder: path of the folder.

    Raises:
      InputError: if it is the SavedModel of something else.
      ArtefactError: if a file is missing or damaged.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if read_card(folder).get("kind") == "features":
            raise InputError(f"Expected the SavedModel of a generative model. Received: {folder}")
        self.card = storage.verify(folder, seal=CARD)
        with storage.literal_path(folder) as path:
            self._loaded = tf.saved_model.load(str(path))

    @property
    def name(self):
        """The name of the model, as of the registry."""
        return self.card.get("model", self.folder.name)

    @property
    def trained_on(self):
        """What the card says of the data it was trained on; empty if it says nothing."""
        return self.card.get("recipe", {}).get("data", {})

    def __dir__(self):
        return [name for name in super().__dir__() if self._has(name)]

    def __getattribute__(self, name):
        if name in ENDPOINTS and not self._has(name):
            raise AttributeError(
                f"{self.name} has no {name!r}: it can {', '.join(self.card['can'])}"
            )
        return super().__getattribute__(name)

    def _has(self, name):
        return name not in ENDPOINTS or name in self.card["can"]

    def sample(self, num_samples: int, seed, labels=None, first: int = 0) -> tf.Tensor:
        """Draws examples.

        Args:
          num_samples: int; number of examples.
          seed: int, or two ints; example k depends on (seed, first + k) alone.
          labels: int [num_samples] from 0 to num_classes - 1; None where unconditional.
          first: int; index of the first example, to draw many in parts.

        Returns:
          float32 [num_samples, *shape], in [0, 1] on the grid of the levels.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("sample", num_samples, seed, labels, first)

    def log_prob(self, x, seed, labels=None, first: int = 0) -> tf.Tensor:
        """Returns log p(x), or the estimate or bound of it that `card["log_prob_kind"]` names.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          seed: int, or two ints; the estimate of example k depends on (seed, first + k) alone.
          labels: int [n] from 0 to num_classes - 1; None where unconditional.
          first: int; index of the first example.

        Returns:
          float32 [n], in nats.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("log_prob", x, seed, labels, first)

    def encode(self, x, labels=None) -> tf.Tensor:
        """Returns the latents of examples, without noise.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          labels: int [n] from 0 to num_classes - 1; None where unconditional.

        Returns:
          float32 [n, …].

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("encode", x, labels)

    def decode(self, z, labels=None) -> tf.Tensor:
        """Returns the mean of x given latents.

        Args:
          z: float32 [n, …], as `encode` returns.
          labels: int [n] from 0 to num_classes - 1; None where unconditional.

        Returns:
          float32 [n, *shape], in [0, 1].

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("decode", z, labels)

    def reconstruct(self, x, labels=None) -> tf.Tensor:
        """Returns the mean of x given the latents of x.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels.
          labels: int [n] from 0 to num_classes - 1; None where unconditional.

        Returns:
          float32 [n, *shape], in [0, 1].

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("reconstruct", x, labels)

    def complete(self, x, mask, seed, labels=None, first: int = 0) -> tf.Tensor:
        """Draws the hidden values of examples given the known ones.

        Args:
          x: float32 [n, *shape], in [0, 1] on the grid of the levels; any value where hidden.
          mask: float32 [n, *shape]; 1 where x is known, 0 where it is drawn.
          seed: int, or two ints; example k depends on (seed, first + k) and its known values alone.
          labels: int [n] from 0 to num_classes - 1; None where unconditional.
          first: int; index of the first example.

        Returns:
          float32 [n, *shape], in [0, 1] on the grid of the levels.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("complete", x, mask, seed, labels, first)

    def _call(self, name, *values):
        endpoint, function = ENDPOINTS[name], self._loaded.signatures[name]
        values = dict(zip(endpoint.arguments, values, strict=True))
        specs = function.structured_input_signature[1]
        labels = values.pop("labels", None)
        if "seed" in values:
            values["seed"] = as_seed(values["seed"])
        tensors = {key: _tensor(specs[key], value) for key, value in values.items()}
        if "num_samples" in tensors:
            counts = {"num_samples": int(tensors["num_samples"])}
        else:
            counts = {key: len(tensors[key]) for key in endpoint.batched}
        n, *others = counts.values()
        if n < 0 or any(other != n for other in others):
            raise InputError(f"Expected equal counts, not negative. Received: {counts}")
        if "labels" in specs:
            tensors["labels"] = _tensor(specs["labels"], self._check_labels(labels, n))
        elif labels is not None:
            raise InputError(
                f"{self.name} was trained without labels, so takes none. Received: {labels=}"
            )
        if not n:  # TensorFlow's convolutions give an empty batch another shape
            (output,) = function.structured_outputs.values()
            return tf.zeros([0, *output.shape[1:]])
        try:
            return next(iter(function(**tensors).values()))
        except tf.errors.InvalidArgumentError as error:
            raise InputError(assertion(error) or error.message.splitlines()[0]) from None

    def _check_labels(self, labels, n):
        classes = self.card["num_classes"]
        if labels is None:
            raise InputError(
                f"{self.name} is conditional: labels, {n} of 0 to {classes - 1}, are needed."
            )
        labels = np.asarray(labels)
        if (
            labels.shape != (n,)
            or labels.dtype.kind not in "iu"
            or not np.isin(labels, range(classes)).all()
        ):
            raise InputError(f"Expected {n} labels of 0 to {classes - 1}. Received: {labels=}")
        return labels


def _tensor(spec, value):
    """Makes a tensor of an argument; it must be of the dtype and shape of its spec."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        tensor = tf.convert_to_tensor(value, spec.dtype)
        if spec.shape.is_compatible_with(tensor.shape):
            return tensor
    came = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else reprlib.repr(value)
    raise InputError(
        f"Expected {spec.name} to be {spec.dtype.name} of shape {spec.shape}. Received: {came}"
    )
