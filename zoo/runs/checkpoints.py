"""Saves and loads checkpoints of a run atomically. A checkpoint contains all training state."""

import logging

import tensorflow as tf

from zoo import storage
from zoo.errors import ArtefactError
from zoo.runs.recipe import compile_model

__all__ = ["commit", "load_best", "load_newest", "metric_variables"]

log = logging.getLogger("zoo")

KEEP_NEWEST = 2


def commit(run, model, record) -> str:
    """Saves a checkpoint of the current step, and deletes checkpoints that are no longer needed.

    The two newest and the best are kept.

    Args:
      run: zoo.runs.folder.Run.
      model: GenerativeModel, compiled.
      record: dict with "step" and "logs", which is stored in the manifest.

    Returns:
      The name of the checkpoint.

    Raises:
      OSError: if the disk is full.
    """
    name = f"step-{record['step']:08}"
    storage.commit(
        run.checkpoints_path / name,
        lambda path: trackable(model).write(str(path / "variables")),
        record,
    )
    kept = [*run.checkpoints[:KEEP_NEWEST], run.best]
    storage.prune(run.checkpoints_path, {checkpoint.folder.name for checkpoint in kept})
    return name


def load_newest(run, model) -> dict | None:
    """Loads the newest valid checkpoint. Returns its record, or None if no checkpoint is valid."""
    return _load(run, model, run.checkpoints)


def load_best(run, model) -> dict:
    """Loads the best valid checkpoint. Returns its record.

    Args:
      run: zoo.runs.folder.Run.
      model: GenerativeModel of the run's recipe. It is compiled here if necessary.

    Raises:
      ArtefactError: if no checkpoint is valid, or it does not fit the model.
    """
    if not model.compiled:
        compile_model(model, run.recipe, 1)
    record = _load(run, model, run.checkpoints_best_first)
    if record is None:
        raise ArtefactError(
            f"{run.checkpoints_path} contains no valid checkpoint. Train again in a new run."
        )
    return record


def metric_variables(model) -> list:
    """Returns the variables of the running metrics."""
    return [variable for metric in model.metrics for variable in metric.variables]


def trackable(model) -> tf.train.Checkpoint:
    """Returns an object that saves all training state: weights, optimizers and running metrics."""
    # TensorFlow silently skips Keras metrics and layers in a list, but not variables. It finds the
    # optimizers in the model.
    return tf.train.Checkpoint(
        model=model,
        weights=[v.value for v in model.weights],
        moved_weights=[*model.moved_weights],
        metrics=[v.value for v in metric_variables(model)],
    )


def _load(run, model, checkpoints) -> dict | None:
    """Loads the first valid checkpoint. Returns its record, or None."""
    names = [checkpoint.folder.name for checkpoint in checkpoints]
    folder, record = storage.first_good(run.checkpoints_path, names, log.warning)
    if folder is None:
        return None
    try:
        with storage.literal_path(folder) as path:
            trackable(model).read(str(path / "variables")).assert_consumed()
    except (AssertionError, ValueError) as error:
        raise ArtefactError(
            f"{folder} does not fit the model: {str(error).splitlines()[0]}"
        ) from None
    return record
