"""`zoo.restore`: a live Keras model from a name, an exported model or a run."""

import os

from zoo import storage
from zoo.exports import pretrained
from zoo.exports.cards import CARD
from zoo.exports.weights import restore_saved_model
from zoo.model import GenerativeModel
from zoo.runs.folder import Run

__all__ = ["digest", "restore"]


def restore(source: str | os.PathLike, cls: type[GenerativeModel] | None = None) -> GenerativeModel:
    """Returns a live Keras model with stored weights, for fine-tuning or as a part of another.

        model = zoo.restore("vae")
        model.compile(keras.optimizers.Adam(1e-4))
        model.fit(images, epochs=1)

    Weights that the source does not store keep their initial values. A SavedModel stores those that
    its methods use: of a GAN, the generator. They are logged by name, as a warning of "zoo".

    Args:
      source: name of a pretrained model, or path of an exported model or of a run; or an object
        whose `folder` is such a path, as `zoo.load` returns it. A run gives its best checkpoint.
      cls: the class of the model. Default: the one that the source names. Required for a class that
        is not in the registry; only a run may name a Python file, which is then imported.

    Returns:
      GenerativeModel, not compiled, in the current dtype policy.

    Raises:
      InputError: if there is no such source, or its class is unknown.
      ArtefactError: if a file is damaged, or the weights are not those of the class.
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
