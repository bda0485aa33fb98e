"""Reads stored weights into live Keras models.

Weights are read as tensors. No SavedModel is loaded or run.
"""

import contextlib
import logging
import math
import os
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from zoo import registry, storage
from zoo.errors import ArtefactError, InputError
from zoo.exports.cards import CARD, read_card, weight_names
from zoo.exports.inspection import check_files
from zoo.model import GenerativeModel

__all__ = ["create", "restore_checkpoint", "restore_saved_model"]

VARIABLES = "variables"  # in the folder of a checkpoint or of a SavedModel
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the name under which TensorFlow stores their names

_log = logging.getLogger("zoo")


def restore_saved_model(folder: Path, cls: type[GenerativeModel] | None = None) -> GenerativeModel:
    """Returns a live Keras model with the weights of a SavedModel.

    Args:
      folder: path of the SavedModel.
      cls: as in `zoo.restore`, which says what is raised.
    """
    card = read_card(folder)
    if card.get("kind") == "features":
        raise InputError(f"A classifier cannot be restored. Received: {folder}")
    check_files(folder)
    name = card.get("model")
    if cls is None and (name is None or registry.find(name).package is None):
        raise InputError(
            f"{folder} names no installed model: pass its class, zoo.restore(…, cls=CLASS)."
            f" Received: {name}"
        )
    if "tensors" not in card:
        raise ArtefactError(f"{folder / CARD} does not list the weights: export the model again.")
    model = create(name, card["options"], cls)
    with _reading(folder / VARIABLES) as (reader, size):
        _assign(model, reader, _keys(reader, "used"), card["tensors"], folder, size)
    return model


def restore_checkpoint(model: GenerativeModel, folder: str | os.PathLike) -> None:
    """Gives a model the weights, and the step, of a checkpoint of a run.

    Args:
      model: created with the options of the run. It may be compiled or not: optimizers are not
        restored.
      folder: path of the checkpoint.

    Raises:
      ArtefactError: if the weights are not those of the model.
    """
    with _reading(Path(folder)) as (reader, size):
        keys, shapes = _keys(reader, "weights"), reader.get_variable_to_shape_map()
        names = weight_names(model)
        if len(keys) != len(names):
            raise ArtefactError(
                f"{folder} does not fit {type(model).__name__}: it stores {len(keys)} weights,"
                f" and the model has {len(names)}."
            )
        tensors = {
            name: {"shape": shapes[key], "variable": k}
            for k, (name, key) in enumerate(zip(names, keys, strict=True))
        }
        _assign(model, reader, keys, tensors, folder, size)


@contextlib.contextmanager
def _reading(folder):
    """Yields a reader of the checkpoint in a folder, and the size of its files in bytes.

    Raises:
      ArtefactError: if the files are those of no checkpoint.
    """
    size = sum(path.stat().st_size for path in folder.iterdir())
    with storage.literal_path(folder) as path:
        try:
            with _damage_reported():
                reader = tf.train.load_checkpoint(str(path / VARIABLES))
            yield reader, size
        except _DamagedError as error:
            raise ArtefactError(f"{folder} cannot be read as a checkpoint: {error}") from error


class _DamagedError(Exception):
    """Raised if a checkpoint is damaged, or does not list its variables as zoo does."""


@contextlib.contextmanager
def _damage_reported():
    """Raises _DamagedError for an error of TensorFlow's reader, which may be of any type."""
    try:
        yield
    except Exception as error:
        raise _DamagedError((str(error) or type(error).__name__).splitlines()[0]) from error


def create(name, options, cls=None):
    """Creates the model of a card or of a run, of the registry or of a class that is given."""
    if cls is None:
        try:
            return registry.create(name, **options)
        except InputError as error:
            raise InputError(f"{error} To pass a class: zoo.restore(…, cls=CLASS)") from error
    try:
        return cls.from_config(options)
    except (TypeError, ValueError) as error:
        raise InputError(f"{cls.__name__} does not take the stored options: {error}") from error


def _keys(reader, attribute):
    """Returns the keys, in a checkpoint, of the variables in a list that is an attribute."""
    shapes = reader.get_variable_to_shape_map()
    if shapes.get(_GRAPH) != []:
        raise _DamagedError("it lists no variables")
    with _damage_reported():
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor(_GRAPH)
        )

    def children(node):
        return {child.local_name: graph.nodes[child.node_id] for child in node.children}

    try:
        variables = children(children(graph.nodes[0])[attribute])
        keys = [variables[str(k)].attributes[0].checkpoint_key for k in range(len(variables))]
    except (IndexError, KeyError) as error:
        raise _DamagedError(f"it lists no variables {error}") from None
    if missing := {*keys} - {*shapes}:
        raise _DamagedError(f"it does not store {min(missing)!r}")
    return keys


def _assign(model, reader, keys, tensors, source, size):
    """Gives a model the tensors of a checkpoint, after it has checked all of them.

    Args:
      model: GenerativeModel.
      reader: of the checkpoint.
      keys: list of str, what "variable" is an index of.
      tensors: as in a card.
      source: Path, for messages.
      size: int; bytes of the checkpoint, which no tensor can exceed.

    Raises:
      ArtefactError: if names, shapes or dtypes are not those of the model.
    """
    weights = dict(zip(weight_names(model), model.weights, strict=True))
    try:
        problems = [f"{name} is missing" for name in weights if name not in tensors]
        for name, entry in tensors.items():
            if name not in weights:
                problems.append(f"{name} is not a weight of the model")
            else:
                problems += _differences(name, weights[name], entry, reader, keys, size)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ArtefactError(f"{source / CARD} is damaged: tensors: {error!r}.") from None
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ArtefactError(
            f"{source} does not fit {type(model).__name__}: {'; '.join(problems[:3])}{more}."
        )
    for name, weight in weights.items():
        if "variable" in (entry := tensors[name]):
            with _damage_reported():
                value = reader.get_tensor(keys[entry["variable"]])
            if "offset" in entry:
                value = value[entry["offset"] :][: weight.shape.num_elements()]
            weight.assign(value.reshape(weight.shape))
    counters = (model.run_seed, model.step)
    if absent := [
        name
        for name, weight in weights.items()
        if "variable" not in tensors[name] and not any(weight is counter for counter in counters)
    ]:
        _log.warning(
            "%s does not store %d weights of %s, which keep their initial values: %s",
            source,
            len(absent),
            type(model).__name__,
            ", ".join(absent),
        )


def _differences(name, weight, entry, reader, keys, size):
    """Yields how the entry of a card, and what it refers to, differ from a weight of the model."""
    shape = list(weight.shape)
    if entry["shape"] != shape:
        yield f"{name} has the shape {entry['shape']}, not {shape}"
    elif "variable" in entry:
        key = keys[entry["variable"]]
        stored = reader.get_variable_to_shape_map()[key]
        dtype = reader.get_variable_to_dtype_map()[key]
        if "offset" in entry:
            end = entry["offset"] + weight.shape.num_elements()
            fits = len(stored) == 1 and 0 <= entry["offset"] <= end <= stored[0]
        else:
            fits = stored == shape
        if not fits or math.prod(stored) * dtype.size > size:
            yield f"{name} is stored in the shape {stored}, not {shape}"
        expected = tf.as_dtype(weight.dtype)
        if dtype != expected and not (dtype.is_floating and expected.is_floating):
            yield f"{name} is stored as {dtype.name}, not {expected.name}"
