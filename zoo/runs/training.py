"""Training: `plan` what will be done, `fit` with `model.fit`, `export` the best checkpoint.

A run can be interrupted at any step and resumed exactly, also after SIGKILL.
"""

import contextlib
import logging
import numbers
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from zoo import datasets, registry, storage
from zoo.environment import versions
from zoo.errors import ArtefactError, InputError, TrainingError, check_flags
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.scores import format_score
from zoo.exports import cards, export, saved_model
from zoo.model import GenerativeModel
from zoo.progress import Bars
from zoo.runs import checkpoints
from zoo.runs.folder import Run, as_argument, new_run
from zoo.runs.interrupts import TrainingInterrupted, deferred_signals
from zoo.runs.loop import Loop, describe_best
from zoo.runs.plan import Plan, format_rows, plan
from zoo.runs.precision import policy_for
from zoo.runs.recipe import (
    address_of,
    can_be_conditional,
    check_complete,
    check_unchanged,
    compile_arguments,
    compile_model,
    complete_recipe,
    extend_record,
    must_be_conditional,
    read_config,
    warn_of_main,
)
from zoo.spec import check_fit

__all__ = ["export_run", "fit", "resume", "train"]

log = logging.getLogger("zoo")

# A run of fewer steps gets advice. After 100 steps of 128 images of MNIST the VAE's validation ELBO
# is -228 nats, less than that of independent pixels (-206); after the 429 of an epoch it is -132.
FEW_STEPS = 100
# Images of more pixels require a size, which may be large: without one, a dense layer of a model of
# photographs has gigabytes of weights.
MAX_PIXELS = 2**20
DRY_RUN_IMAGES = 500  # of the test set, that a dry run scores


def train(
    model: str | GenerativeModel | None = None,
    data=None,
    *,
    config: str | os.PathLike | None = None,
    size: int | None = None,
    binarize: bool | None = None,
    skip_damaged: bool | None = None,
    paired: bool | None = None,
    length: int | None = None,
    bytes: bool | None = None,
    rate: int | None = None,
    conditional: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    run: str | os.PathLike | None = None,
    precision: str | None = None,
    jit: bool | None = None,
    deterministic: bool = False,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    command: str | None = None,
    dry_run: bool = False,
    **options,
) -> Run | None:
    """Trains a model in a new run, exports its best checkpoint and scores the export.

        run = zoo.train("vae", epochs=5, latent_dim=64)
        run = zoo.train("dcgan", "./photos", size=32, conditional=True)
        run = zoo.train(model, x_train, epochs=3)

    Args:
      model: name of a model (`zoo.list_models()`, or "path/to/file.py:Class"), or a model object,
        whose training continues from its weights, with a new optimizer like that of its `compile`.
        It may be left out with `config`.
      data: what `zoo.load_dataset` takes: a name, a path, arrays, or Splits. Default: the data of
        the model's recipe.
      config: path of the run.json of another run, whose recipe gives the defaults.
      size: int; images are cropped to their central square and resized to size x size.
      binarize: whether to draw grey images as binary ones.
      skip_damaged: whether to leave out files of a folder that cannot be read.
      paired: whether images of the folders a and b are pairs, as of `zoo.load_dataset`.
      length: int; tokens of a text, or samples of a sound, as of `zoo.load_dataset`.
      bytes: whether to read texts as bytes instead of characters.
      rate: int; samples per second that sounds are resampled to.
      conditional: whether to train with the labels of the data. Not for a model object, which was
        created for it.
      epochs: passes over the training data. Default: the model's recipe.
      batch_size: images per step. Default: the model's recipe.
      seed: int in [0, 2**31); decides the initial weights of a named model, the noise and the
        order of the data. Default: 0.
      run: path of a new or empty folder. Default: runs/TIME-MODEL-DATA.
      precision: "float32", "bfloat16", or None to choose the faster on this device. Not for a model
        object, which was created with one.
      jit: whether XLA compiles the step. Default: Keras chooses (on a GPU).
      deterministic: whether results are bit-equal on a GPU too, which is slower.
      patience: stop after so many epochs without a better val_loss (frechet_distance, if there is
        no val_loss). Default: never.
      callbacks: more Keras callbacks. Their logs hold frechet_distance and pixel_diversity, where
        these are measured. One that sets `model.stop_training` ends the run.
      command: the shell command to record in run.json and the card.
      dry_run: do one step of everything, keep nothing, and return None.
      **options: hyperparameters of a named model.

    Returns:
      The run. Progress is shown on a terminal and in a notebook; messages go to the logger "zoo".

    Raises:
      InputError: if an argument is invalid, or model, data and run do not fit together.
      TrainingError: if a logged quantity is not finite, samples collapse, or memory or disk is
        full.
      ArtefactError: if the SavedModel does not give what the model gives.
      TrainingInterrupted: a KeyboardInterrupt, on SIGINT or SIGTERM, after the step is saved.
    """
    _check_not_importing()
    check_flags(conditional=conditional, jit=jit, deterministic=deterministic, dry_run=dry_run)
    source = {"size": size, "binarize": binarize, "skip_damaged": skip_damaged}
    source |= {"paired": paired, "length": length, "bytes": bytes, "rate": rate}
    saved = read_config(config) if config else {}
    given = _given(epochs=epochs, batch_size=batch_size, seed=seed, patience=patience)
    if isinstance(model, GenerativeModel):
        if options or precision or conditional is not None or saved:
            raise InputError(
                "options, precision, conditional and config are for a model given by its name."
                f" Received: a {type(model).__name__} object"
            )
        cls, name = type(model), address_of(type(model))
        warn_of_main(cls)
    else:
        if model is None and not saved:
            raise InputError("Expected a model or a config. Received: neither")
        if not isinstance(model, str | None):
            raise InputError(
                f"A model must be a name or a zoo.GenerativeModel object. Received: model={model!r}"
            )
        name = registry.find(model).address if model is not None else saved["model"]
        if saved and saved["model"] != name:
            raise InputError(f"{config} is a run of {saved['model']}. Received: model={model!r}")
        cls = registry.load(name)
    recipe = {"seed": 0, **cls.recipe, **saved, **given}
    if isinstance(model, GenerativeModel):
        recipe["compile"] = compile_arguments(model)
    check_complete(cls, {**recipe, "data": recipe.get("data") if data is None else data})
    if conditional and not can_be_conditional(cls):
        raise InputError(
            f"{cls.__name__} cannot be conditional: leave out --conditional (conditional=True)."
        )
    if run is not None:
        Run(run).check_new()
    splits = _load_data(data, source, recipe.get("data"))
    if not isinstance(model, GenerativeModel):
        _check_size(splits.train)
        from_data = _from_data(splits.train, cls, conditional)
        options = {**saved.get("options", {}), **from_data, **options}
        model = _create(name, options, recipe["seed"], policy_for(precision))
    with _folder(run, name, splits.train.name, dry_run) as folder:
        return _fit_and_export(
            model,
            splits,
            Run(folder, cls),
            {**recipe, "model": name},
            jit=jit,
            deterministic=deterministic,
            callbacks=callbacks,
            command=command,
            dry_run=dry_run,
        )


def resume(
    run: str | os.PathLike,
    data=None,
    *,
    epochs: int | None = None,
    patience: int | None = None,
    precision: str | None = None,
    jit: bool | None = None,
    deterministic: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    command: str | None = None,
    cls: type | None = None,
    **changes,
) -> Run:
    """Resumes a run with its original recipe, from its newest valid checkpoint.

    Args:
      run: path of the folder of the run, or a Run.
      data: where the data are now, as for `train`. Default: where they were. They must be equal.
      epochs: passes in total, at least as many as before. With more, a learning rate schedule is
        stretched from here on, so the result is not that of one long run.
      patience: as in `train`. Default: as before.
      precision: as in `train`. Default: as before.
      jit: as in `train`. Default: as before.
      deterministic: as in `train`; a run that was started with it keeps it.
      callbacks: more Keras callbacks; their state is not part of a checkpoint.
      command: the shell command to record, if there are more epochs.
      cls: the model's class, if the registry cannot import it.
      **changes: other arguments of `train`, which must equal those of the run.

    Returns:
      The run.

    Raises:
      InputError: if this is not a run, another process works in it, or the recipe differs.
      Others as in `train`.
    """
    run = Run(run, cls or getattr(run, "cls", None))
    record = run.record
    saved, environment = record["recipe"], record["environment"]
    conditional = changes.pop("conditional", None)
    source = {option: changes.pop(option, None) for option in datasets.OPTIONS}
    scalars = {k: changes.pop(k) for k in ("batch_size", "seed") if k in changes}
    recipe = {**saved, **_given(epochs=epochs, patience=patience, **scalars)}
    check_flags(conditional=conditional, jit=jit, deterministic=deterministic)
    # What can be refused without the data is refused before they are loaded.
    check_unchanged(saved, {**recipe, "batch_size": saved["batch_size"]})
    model_class = run.cls or registry.load(saved["model"])
    splits = _load_data(data, source, saved["data"])
    from_data = _from_data(splits.train, model_class, conditional)
    options = {**saved["options"], **from_data, **changes}
    policy = policy_for(precision, environment["precision"])
    model = _create(run.cls or saved["model"], options, saved["seed"], policy)
    return _fit_and_export(
        model,
        splits,
        Run(run, model_class),
        recipe,
        jit=environment["jit"] if jit is None else jit,
        deterministic=deterministic or environment.get("deterministic", False),
        callbacks=callbacks,
        command=command,
        record=record,
    )


def _fit_and_export(
    model, data, run, recipe, *, jit, deterministic, callbacks, command, record=None, dry_run=False
):
    """Does what `train` and `resume` share: plan, fit, export, score, report."""
    check_fit(data.train, type(model).__name__, model.spec, model.condition)
    if model.condition is not None:  # refused now: it would fail at the end of the training
        for split in data:
            split.batches(1, condition=True)
    callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*callbacks]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in callbacks):
        raise InputError(f"Callbacks must be Keras callbacks. Received: callbacks={callbacks!r}")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    recipe = complete_recipe(model, data, recipe, dry_run)
    steps = 1 if dry_run else len(data.train) // recipe["batch_size"]
    compile_model(model, recipe, steps * recipe["epochs"])
    if jit is not None:
        model.jit_compile = jit
    planned = plan(model, data, recipe, run.folder, dry_run)
    log.info("%s", planned)
    if not dry_run and planned.total_steps < FEW_STEPS:
        log.info(
            "These are %s steps in all, too few to learn much. Try epochs=%s or a smaller"
            " batch size.",
            f"{planned.total_steps:,}",
            f"{-(-FEW_STEPS // steps):,}",
        )
    description = {
        "recipe": recipe,
        "environment": {
            "versions": versions(),
            "device": planned.device,
            "precision": planned.precision,
            "jit": planned.jit,
            "deterministic": deterministic,
        },
        "command": command,
    }
    if record is None:
        run.check_new()
    with run.locked(), _disk_full_as_error(run), deferred_signals() as signals:
        if record is not None:
            extend_record(record, description)
        storage.write_json(run.record_path, description)
        fit(model, data, run, planned, signals, callbacks)
        log.info("Exporting the %s, and verifying it in a clean process …", describe_best(run))
        exported = export_run(run, model)
        if signals:  # during the export
            raise TrainingInterrupted(signals[0], int(model.step), run)
    run.model = model  # its weights are those of the best checkpoint now
    _score_and_report(exported, run, data, dry_run)
    return None if dry_run else run


def fit(model, data, run: Run, planned: Plan, signals, callbacks=()) -> None:
    """Trains a compiled model by `model.fit` up to the end of the plan.

    Args:
      model: GenerativeModel, compiled.
      data: zoo.datasets.Splits.
      run: Run, locked, with its run.json written.
      planned: Plan.
      signals: list, as of `deferred_signals`.
      callbacks: more Keras callbacks.
    """
    recipe, steps = run.recipe, planned.steps
    conditional = model.condition is not None
    held_out = data.validation.batches(planned.batch_size, conditional)
    with Bars() as progress, _without_advice_on_retracing():
        loop = Loop(
            model,
            data,
            run,
            steps,
            planned.epochs,
            signals,
            progress,
            patience=recipe.get("patience"),
        )
        loop.restore(recipe["seed"])
        loop.explain()
        model.stop_training = False
        while (step := int(model.step)) < loop.total and not model.stop_training:
            # An interrupted epoch is completed first: `fit` cannot start in the middle of one.
            epoch, done = divmod(step, steps)
            model.fit(
                data.train.stream(planned.batch_size, recipe["seed"], step, conditional),
                validation_data=held_out.take(1) if planned.dry_run else held_out,
                initial_epoch=epoch,
                epochs=epoch + 1 if done else planned.epochs,
                steps_per_epoch=steps - done,
                callbacks=[loop, *callbacks],
                shuffle=False,
                verbose=0,
            )


@contextlib.contextmanager
def _without_advice_on_retracing() -> Iterator[None]:
    """Drops a warning of TensorFlow, which takes the steps of several models for one step."""

    def is_other(record):
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def export_run(run: Run, model: GenerativeModel, folder=None, half: bool = False) -> Path:
    """Exports the best checkpoint of a run, or the newest if none has a score.

    Args:
      run: Run.
      model: GenerativeModel of the run's recipe; its weights are replaced.
      folder: as in `Run.export`, which says what is raised.
      half: as in `Run.export`.

    Returns:
      Path of the SavedModel.
    """
    description = run.record
    record = checkpoints.load_best(run, model)
    seconds = next((line["seconds"] for line in reversed(run.metrics)), 0.0)
    card = {
        **description,
        "model": description["recipe"]["model"],
        "step": record["step"],
        "training_seconds": seconds,
    }
    existing, fresh = run.saved_model, run.folder / ".tmp-saved_model"
    replaced = run.folder / ".tmp-replaced"
    if _holds(existing, record["step"], half):
        if not folder:
            return existing
        card["scores"] = cards.read_card(existing)["scores"]
    with _disk_full_as_error(run):
        if folder:
            return export.export(model, folder, card, half)
        storage.remove(fresh)
        storage.remove(replaced)
        export.export(model, fresh, card, half)
        if existing.exists():
            existing.rename(replaced)
        fresh.rename(existing)
        storage.remove(replaced)
        return existing


def _holds(folder, step, half):
    """Whether a valid SavedModel of these weights exists, whose scores are theirs."""
    try:
        card = storage.verify(folder, cards.CARD)
    except ArtefactError:
        return False
    return card.get("step") == step and (card.get("weights") == "float16") == half


def _given(**values):
    """Returns the numbers that are given, as int, or raises InputError."""
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        least = 0 if name == "seed" else 1
        if not isinstance(value, numbers.Integral) or not least <= value < 2**31:
            raise InputError(
                f"{name} must be an int from {least} to {2**31 - 1:,}. Received: {name}={value!r}"
            )
        given[name] = int(value)
    return given


def _load_data(data, options, recorded=None):
    """Loads data as `load_dataset` and reports them.

    Args:
      data: as for `load_dataset`, or None for the recorded data.
      options: dict of the options of `load_dataset`; None is what was recorded.
      recorded: dict of the arguments of `load_dataset`, as run.json has them, or a name.

    Returns:
      zoo.datasets.Splits.
    """
    recorded = recorded if isinstance(recorded, dict) else {"name": recorded}
    source = {key: recorded.get(key) for key in ("name", *options)}
    given = {"name": data, **options}
    source |= {key: value for key, value in given.items() if value is not None}
    splits = datasets.load_dataset(**{k: v for k, v in source.items() if v is not None})
    log.info("%s", splits.describe())
    return splits


def _check_size(split):
    """Refuses images so large that the weights of a model would not fit in memory."""
    if split.spec.kind != "image":
        return
    height, width, _ = split.shape
    if height * width > MAX_PIXELS and split.source["size"] is None:
        raise InputError(
            f"Images of {height}x{width} pixels are too large to train on. Add --size 64 (size=64)."
            f" Received: {split.name} without a size"
        )


def _from_data(split, cls, conditional):
    """Returns the options that come from the data."""
    must = must_be_conditional(cls)
    if not conditional and not must:
        return {"spec": split.spec}
    if split.condition is None and must:
        raise InputError(
            f"{cls.__name__} requires data with a condition, such as labels. Use other data."
            f" Received: {split.name}, which has none"
        )
    if split.condition is None:
        raise InputError(f"{split.name} has no labels: leave out --conditional (conditional=True).")
    return {"spec": split.spec, "condition": split.condition}


def _create(model, options, seed, policy):
    """Creates a model of a name or class with weights that the seed decides."""
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if isinstance(model, type):
            return model.from_config(options)
        return registry.create(model, **options)
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _folder(run, model, data, dry_run) -> Iterator[Path]:
    """Yields the folder of a new run: that of `run`, a new one in runs/, or a temporary one."""
    if dry_run:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch, "run")
    else:
        yield Path(run) if run is not None else new_run(model, data).folder


def _check_not_importing():
    """Refuses to train in the top level of a file that is imported for its model class."""
    if registry.importing_files:
        file = registry.importing_files[-1]
        raise InputError(
            f"{file} trains a model when it is imported. Call zoo.train below"
            " `if __name__ == '__main__':`."
        )


@contextlib.contextmanager
def _disk_full_as_error(run: Run) -> Iterator[None]:
    """Turns what a full disk or memory raises into one sentence; committed data are intact."""
    advice = f"Saved checkpoints are intact. Resume with: {run.resume_command}"
    try:
        yield
    except OSError as error:
        if error.errno not in storage.FULL:
            raise
        raise TrainingError(f"The disk is full ({error}). Free some space. {advice}") from None
    except (tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError) as error:
        reason = error.message.splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0]
        if any(os.strerror(code) in reason for code in storage.FULL):
            message = f"The disk is full ({reason}). Free some space. {advice}"
            raise TrainingError(message) from None
        if isinstance(error, tf.errors.OutOfRangeError):
            raise
        raise TrainingError(
            f"Out of memory ({reason}). Start again with a smaller batch size."
        ) from None


def _score_and_report(exported, run: Run, data, dry_run):
    """Adds the likelihood to the card, and reports score, SavedModel and the next command."""
    card = cards.read_card(exported)
    score = "not defined without a likelihood; run `zoo evaluate` for sample metrics"
    if "log_prob" in card["can"]:
        limit = DRY_RUN_IMAGES if dry_run else None
        value = log_likelihood(saved_model.load(exported), data.test, limit=limit)
        cards.add_score(exported, value)
        metric, number, _, images = format_score(value)
        score = f"{metric} {number} on {images}"
    if dry_run:
        log.info("%s", format_rows({"score": score}))
        log.info("Dry run succeeded; nothing was saved.")
        return
    grids = sorted(run.samples.glob("step-*"))
    rows = {
        "samples": str(grids[-1]) if grids else "none",
        "score": score,
        "model": f"{exported} ({card['bytes'] / 1e6:.1f} MB; {card['ms_per_image']} ms per"
        f" {data.test.spec.noun})",
        "sample": f"zoo sample {as_argument(run.folder)}",
    }
    log.info("%s", format_rows(rows))
