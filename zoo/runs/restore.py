"""Restores Keras models from names, exported models and runs: `zoo.restore`."""

import os

from zoo import storage
from zoo.exports import pretrained
from zoo.exports.cards import CARD
from zoo.exports.weights import restore_saved_model
from zoo.model import GenerativeModel
from zoo.runs.folder import Run

__all__ = ["digest", "restore"]


def restore(source: str | os.PathLike, cls: type[GenerativeModel] | None = None) -> GenerativeModel:
    """Returns a Keras model with stored weights, for fine-tuning or as a stage of another model.

        model = zoo.restore("vae")
        model.compile(keras.optimizers.Adam(1e-4))
        model.fit(images, epochs=1)

    Weights that the source does not store keep their initial values, which is logged as a warning.
    A SavedModel stores only the weights that its methods use, for example the generator of a GAN.

    Args:
      source: name of a pretrained model, path of an exported model or run, or an object with such a
        path as its `folder`, as returned by `zoo.load`. For a run, the best checkpoint is used.
      cls: the class of the model. Default: the class that the source names. Required for a class
        that is not in the registry, unless a run names its Python file, which is then imported.

    Returns:
      GenerativeModel, not compiled, with the current dtype policy.

    Raises:
      InputError: if the source does not exist, or its class is unknown.
      ArtefactError: if a file is damaged, or the weights do not match the class.
    """
    source = getattr(source, "folder", source)
    if _is_run(source):
        return Run(source, cls).load_model()
    return restore_saved_model(pretrained.find(source), cls)


def digest(source: str | os.PathLike) -> str:
    """Returns the sha256 in hex that identifies the weights that `restore` reads."""
    if _is_run(source):
        return storage.digest(Run(source).find_best().folder)
    return storage.digest(pretrained.find(source), CARD)


def _is_run(source):
    is_path = isinstance(source, str | os.PathLike) and not pretrained.is_name(source)
    return is_path and Run(source).record_path.is_file()
