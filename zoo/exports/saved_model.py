"""Loads a SavedModel as an object with the model's methods."""

from pathlib import Path

import tensorflow as tf

from zoo import storage
from zoo.errors import ArtefactError, InputError
from zoo.exports import inspection
from zoo.exports.cards import CARD, read_card
from zoo.exports.pretrained import find
from zoo.model import ENDPOINTS, assertions_as_input_errors
from zoo.spec import Spec

__all__ = ["SavedModel", "load", "load_graph"]


def load(name, trust: str | None = None) -> "SavedModel":
    """Loads a SavedModel and returns it as an object with the model's methods.

    Args:
      name: name of a pretrained model, or path of an exported model or of a run.
      trust: sha256 in hex of a saved_model.pb that is loaded whatever operations it contains.
        Default: a file with operations that zoo does not export is refused.

    Returns:
      SavedModel.

    Raises:
      InputError: if there is none of that name.
      ArtefactError: if it is damaged or refused; the message names the file.
    """
    return SavedModel(find(name), trust)


def load_graph(folder: Path, trust: str | None = None):
    """Returns what `tf.saved_model.load` does of a folder that `inspection.check` accepts.

    Args:
      folder: path of the SavedModel.
      trust: as of `load`.

    Raises:
      ArtefactError: if it is damaged, refused, or TensorFlow cannot load it.
    """
    inspection.check(folder, trust)
    with storage.literal_path(folder) as path:
        try:
            return tf.saved_model.load(str(path))
        except Exception as error:  # of any type, if the file is not one that TensorFlow wrote
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ArtefactError(f"TensorFlow cannot load {folder}: {reason}") from error


class SavedModel:
    """A loaded SavedModel, with the methods of the model that it was exported from.

        model = zoo.load("runs/mine")
        images = model.sample(16, seed=0)

    A method that the model does not have raises AttributeError. Arguments may be Python numbers,
    NumPy arrays or tensors.

    Args:
      folder: path of the folder.
      trust: as of `load`.

    Attributes:
      card: Card; the content of card.json as a dict.
      spec: Spec of one example.
      condition: Spec of what the model is conditional on, or None.

    Raises:
      InputError: if it is the SavedModel of something else.
      ArtefactError: if a file is missing, damaged or refused.
    """

    def __init__(self, folder, trust=None):
        self.folder = Path(folder)
        self.card = read_card(folder)
        if self.card.get("kind") == "features":
            raise InputError(f"Expected the SavedModel of a generative model. Received: {folder}")
        try:
            self.spec = Spec.from_json(self.card["spec"])
            self.condition = Spec.from_json(self.card["condition"])
            _ = self.card["can"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"{self.folder / CARD} is damaged: {error!r}.") from None
        self._loaded = load_graph(self.folder, trust)

    @property
    def name(self):
        """The name of the model, as of the registry."""
        return self.card.get("model", self.folder.name)

    @property
    def trained_on(self):
        """What the card says of the data it was trained on; empty if it says nothing."""
        return self.card.get("recipe", {}).get("data", {})

    def __repr__(self):
        methods = ", ".join(self.card["can"])
        return f"<SavedModel {self.name} of {self.spec} in {self.folder}: {methods}>"

    def _repr_html_(self):
        return self.card._repr_html_()

    @property
    def sha256(self):
        """The sha256 in hex that identifies the files of the SavedModel."""
        return storage.digest(self.folder, seal=CARD)

    @property
    def latent_shape(self):
        """The shape of the latents of one example, which `decode` takes.

        Raises:
          AttributeError: if the model has no `decode`.
        """
        _ = self.decode
        specs = self._loaded.signatures["decode"].structured_input_signature[1]
        return tuple(specs["z"].shape[1:])

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

    def sample(self, num_samples: int, seed, condition=None, first: int = 0) -> tf.Tensor:
        """Draws examples.

        Args:
          num_samples: int; number of examples.
          seed: int, or two ints; example k depends on (seed, first + k) alone.
          condition: [num_samples, …] as of `self.condition`; None where unconditional.
          first: int; index of the first example, to draw many in parts.

        Returns:
          [num_samples, *shape], as of `self.spec`.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("sample", num_samples, seed, condition, first)

    def log_prob(self, x, seed, condition=None, first: int = 0) -> tf.Tensor:
        """Returns log p(x), or the estimate or bound of it that `card["log_prob_kind"]` names.

        Args:
          x: [n, *shape], as of `self.spec`.
          seed: int, or two ints; the estimate of example k depends on (seed, first + k) alone.
          condition: [n, …] as of `self.condition`; None where unconditional.
          first: int; index of the first example.

        Returns:
          float32 [n], in nats.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("log_prob", x, seed, condition, first)

    def encode(self, x, condition=None) -> tf.Tensor:
        """Returns the latents of examples, without noise.

        Args:
          x: [n, *shape], as of `self.spec`.
          condition: [n, …] as of `self.condition`; None where unconditional.

        Returns:
          float32 [n, …].

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("encode", x, condition)

    def decode(self, z, condition=None) -> tf.Tensor:
        """Returns the mean of x given latents.

        Args:
          z: float32 [n, …], as `encode` returns.
          condition: [n, …] as of `self.condition`; None where unconditional.

        Returns:
          float32 [n, *shape], in the range of x.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("decode", z, condition)

    def reconstruct(self, x, condition=None) -> tf.Tensor:
        """Returns the mean of x given the latents of x.

        Args:
          x: [n, *shape], as of `self.spec`.
          condition: [n, …] as of `self.condition`; None where unconditional.

        Returns:
          float32 [n, *shape], in the range of x.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("reconstruct", x, condition)

    def complete(self, x, mask, seed, condition=None, first: int = 0) -> tf.Tensor:
        """Draws the hidden values of examples given the known ones.

        Args:
          x: [n, *shape], as of `self.spec`; any value where hidden.
          mask: float32 [n, *shape]; 1 where x is known, 0 where it is drawn.
          seed: int, or two ints; example k depends on (seed, first + k) and its known values alone.
          condition: [n, …] as of `self.condition`; None where unconditional.
          first: int; index of the first example.

        Returns:
          [n, *shape], as of `self.spec`.

        Raises:
          InputError: if an argument is invalid.
        """
        return self._call("complete", x, mask, seed, condition, first)

    def _call(self, name, *values):
        endpoint, function = ENDPOINTS[name], self._loaded.signatures[name]
        specs = function.structured_input_signature[1]
        given = dict(zip(endpoint.arguments, values, strict=True))
        tensors = endpoint.check(given, self.name, self.spec, self.condition, specs.get("z"))
        if "labels" in specs:  # of schema 1
            tensors["labels"] = tensors.pop("condition")
        if 0 in (tensors.get("num_samples"), *(len(t) for t in tensors.values() if t.ndim)):
            # TensorFlow's convolutions give an empty batch another shape.
            (output,) = function.structured_outputs.values()
            return tf.zeros([0, *output.shape[1:]], output.dtype)
        with assertions_as_input_errors():
            return next(iter(function(**tensors).values()))
