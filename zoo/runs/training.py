"""Trains, resumes, exports and scores runs: `zoo.train` and `zoo.resume`.

A run can be interrupted at any step and resumed exactly, even after SIGKILL.
"""

import contextlib
import errno
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
from zoo.errors import ArtefactError, InputError, TrainingError, check_flags, for_caller
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.scores import format_score
from zoo.exports import cards, export, saved_model
from zoo.exports.inspection import GRAPH
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

# Runs with fewer steps get advice. On MNIST with batches of 128, the validation ELBO of the VAE is
# -228 nats after 100 steps, worse than independent pixels (-206), and -132 after 429 steps.
FEW_STEPS = 100
# Images with more pixels require a size, because a dense layer for photographs may have gigabytes
# of weights.
MAX_PIXELS = 2**20
DRY_RUN_IMAGES = 500  # test images that a dry run scores


def train(
    model: str | GenerativeModel | None = None,
    data=None,
    *,
    config: str | os.PathLike | None = None,
    size: int | None = None,
    binarize: bool | None = None,
    skip_damaged: bool | None = None,
    stretch: bool | None = None,
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
      model: name of a model (`zoo.list_models()`, or "path/to/file.py:Class"), or a model object.
        The training of an object continues from its weights, with a new optimizer of the kind that
        it was compiled with. Optional with `config`.
      data: a name, path, arrays or Splits, as `zoo.load_dataset`. Default: the recipe of the model.
      config: path of the run.json of another run, whose recipe replaces the defaults.
      size: int; images are cropped to their central square and resized to size x size.
      binarize: whether to binarize grey images at random, as `zoo.load_dataset`.
      skip_damaged: whether to skip files of a folder that cannot be read.
      stretch: whether to stretch 16-bit grey images, as `zoo.load_dataset`.
      paired: whether images of the folders a and b are pairs, as `zoo.load_dataset`.
      length: int; tokens per text or samples per sound, as `zoo.load_dataset`.
      bytes: whether to read text as bytes instead of characters.
      rate: int; samples per second to which sounds are resampled.
      conditional: whether to condition the model on the labels of the data. Not for a model object.
      epochs: number of epochs. Default: the recipe of the model.
      batch_size: examples per step. Default: the recipe of the model.
      seed: int in [0, 2**31); seeds the initial weights of a named model, the noise and the order
        of the data. Default: 0.
      run: path of a new or empty folder. Default: runs/TIME-MODEL-DATA.
      precision: "float32", "bfloat16", or None for the faster one on this device. Not for a model
        object.
      jit: whether XLA compiles the step. Default: chosen by Keras (only on a GPU).
      deterministic: whether to make results on a GPU bit-equal, which is slower.
      patience: stop after this many epochs without a better val_loss (or frechet_distance, if there
        is no val_loss). Default: never.
      callbacks: additional Keras callbacks. Their logs contain frechet_distance and pixel_diversity
        if these are measured. A callback that sets `model.stop_training` ends the run.
      command: the shell command to record in run.json and the card.
      dry_run: whether to run one step of each stage, save nothing, and return None.
      **options: hyperparameters of a named model.

    Returns:
      The run. Progress is shown on a terminal and in a notebook. Messages are logged to "zoo".

    Raises:
      InputError: if an argument is invalid, or the data do not fit the model.
      TrainingError: if a logged value is not finite, samples collapse, or the memory or disk is
        full.
      ArtefactError: if the SavedModel fails verification.
      TrainingInterrupted: a KeyboardInterrupt, on SIGINT or SIGTERM, after the step is saved.
    """
    _check_not_importing()
    check_flags(conditional=conditional, jit=jit, deterministic=deterministic, dry_run=dry_run)
    source = {"size": size, "binarize": binarize, "skip_damaged": skip_damaged}
    source |= {"stretch": stretch, "paired": paired, "length": length, "bytes": bytes, "rate": rate}
    saved = read_config(config) if config else {}
    scalars = _checked_ints(epochs=epochs, batch_size=batch_size, seed=seed, patience=patience)
    if isinstance(model, GenerativeModel):
        if options or precision or conditional is not None or saved:
            raise InputError(
                "options, precision, conditional and config require the name of a model. Omit them."
                f" Received: a {type(model).__name__} object"
            )
        cls, name = type(model), address_of(type(model))
        warn_of_main(cls)
    else:
        if model is None and not saved:
            raise InputError("model or config is required. Received: model=None, config=None")
        if not isinstance(model, str | None):
            raise InputError(
                f"model must be a name or a zoo.GenerativeModel object. Received: model={model!r}"
            )
        name = registry.find(model).address if model is not None else saved["model"]
        if saved and saved["model"] != name:
            raise InputError(f"{config} is a run of {saved['model']}. Received: model={model!r}")
        cls = registry.load(name)
    recipe = {"seed": 0, **cls.recipe, **saved, **scalars}
    if isinstance(model, GenerativeModel):
        recipe["compile"] = compile_arguments(model)
    check_complete(cls, {**recipe, "data": recipe.get("data") if data is None else data})
    if conditional and not can_be_conditional(cls):
        raise InputError(
            f"{cls.__name__} cannot be conditional. Omit --conditional (conditional=True)."
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
      data: new location of the data, as in `train`. Default: as before, and for a Run that was
        trained on arrays in this process, those arrays. The data must be equal.
      epochs: total number of epochs, at least as many as before. A larger number stretches the
        learning rate schedule, so the result differs from that of one long run.
      patience: as in `train`. Default: as before.
      precision: as in `train`. Default: as before.
      jit: as in `train`. Default: as before.
      deterministic: as in `train`. Also applies if the run was started with it.
      callbacks: additional Keras callbacks. Their state is not part of a checkpoint.
      command: the shell command to record if epochs are added.
      cls: the class of the model, if the registry cannot import it.
      **changes: other arguments of `train`, which must equal those of the run.

    Returns:
      The run.

    Raises:
      InputError: if this is not a run, another process holds its lock, or the recipe differs.
      TrainingError, ArtefactError, TrainingInterrupted: as in `train`.
    """
    run = Run(run, cls or getattr(run, "cls", None), getattr(run, "data", None))
    record = run.record
    saved, environment = record["recipe"], record["environment"]
    conditional = changes.pop("conditional", None)
    source = {option: changes.pop(option, None) for option in datasets.OPTIONS}
    scalars = {k: changes.pop(k) for k in ("batch_size", "seed") if k in changes}
    recipe = {**saved, **_checked_ints(epochs=epochs, patience=patience, **scalars)}
    check_flags(conditional=conditional, jit=jit, deterministic=deterministic)
    # Checks that do not require the data come before the data are loaded.
    check_unchanged(saved, {**recipe, "batch_size": saved["batch_size"]})
    model_class = run.cls or registry.load(saved["model"])
    recorded = saved["data"]
    if data is None and run.data is not None:
        data, recorded = run.data, None  # resized and binarized already
    splits = _load_data(data, source, recorded)
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
    """Plans, fits, exports, scores and reports: the common part of `train` and `resume`."""
    check_fit(data.train, type(model).__name__, model.spec, model.condition)
    if model.condition is not None:  # raises now instead of after training
        for split in data:
            split.batches(1, condition=True)
    callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*callbacks]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in callbacks):
        raise InputError(f"callbacks must be Keras callbacks. Received: callbacks={callbacks!r}")
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
            "%s steps in total are too few to learn much. Try --epochs %s (epochs=%s) or a smaller"
            " batch size.",
            f"{planned.total_steps:,}",
            -(-FEW_STEPS // steps),
            -(-FEW_STEPS // steps),
        )
    run.data = data if datasets.is_in_memory(recipe["data"]["name"]) else None
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
    with _disk_full_as_error(run), run.locked(), deferred_signals() as signals:
        if record is not None:
            extend_record(record, description)
        storage.write_json(run.record_path, description)
        fit(model, data, run, planned, signals, callbacks)
        log.info("Exporting and verifying the %s …", describe_best(run))
        exported = export_run(run, model)
        if signals:  # during the export
            raise TrainingInterrupted(signals[0], int(model.step), run)
    run.model = model  # now has the weights of the best checkpoint
    with _disk_full_as_error(run):
        _score_and_report(exported, run, data, dry_run)
    return None if dry_run else run


def fit(model, data, run: Run, planned: Plan, signals, callbacks=()) -> None:
    """Trains a compiled model with `model.fit` to the end of the plan.

    Args:
      model: GenerativeModel, compiled.
      data: zoo.datasets.Splits.
      run: Run, locked, whose run.json is written.
      planned: Plan.
      signals: list, as yielded by `deferred_signals`.
      callbacks: additional Keras callbacks.
    """
    recipe, steps = run.recipe, planned.steps
    conditional = model.condition is not None
    held_out = data.validation.batches(planned.batch_size, conditional)
    with Bars() as progress, _retracing_warnings_disabled():
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
            # `fit` cannot start within an epoch, so an interrupted epoch is completed first.
            epoch, completed = divmod(step, steps)
            model.fit(
                data.train.stream(planned.batch_size, recipe["seed"], step, conditional),
                validation_data=held_out.take(1) if planned.dry_run else held_out,
                initial_epoch=epoch,
                epochs=epoch + 1 if completed else planned.epochs,
                steps_per_epoch=steps - completed,
                callbacks=[loop, *callbacks],
                shuffle=False,
                verbose=0,
            )


@contextlib.contextmanager
def _retracing_warnings_disabled() -> Iterator[None]:
    """Drops TensorFlow's retracing warning, which is wrong if several models are trained."""

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
      model: GenerativeModel of the run's recipe. Its weights are replaced.
      folder: as `Run.export`.
      half: as `Run.export`.

    Returns:
      Path of the SavedModel.

    Raises:
      InputError or ArtefactError: as `Run.export`.
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
    existing, new = run.saved_model, run.folder / ".tmp-saved_model"
    if not folder:
        storage.settle(existing)
    if _is_export_of(existing, record["step"], half):
        if not folder:
            return existing
        card["scores"] = cards.read_card(existing)["scores"]
    with _disk_full_as_error(run):
        if folder:
            return export.export(model, folder, card, half)
        storage.remove(new)
        export.export(model, new, card, half)
        storage.supersede(existing, new)
        return existing


def _is_export_of(folder, step, half):
    """Returns whether a folder is a valid SavedModel of a step with this precision."""
    try:
        card = storage.verify(folder, cards.CARD)
    except ArtefactError:
        return False
    return card.get("step") == step and (card.get("weights") == "float16") == half


def _checked_ints(**values):
    """Returns the values that are not None, as int. Raises InputError if one is invalid."""
    ints = {name: value for name, value in values.items() if value is not None}
    for name, value in ints.items():
        minimum = 0 if name == "seed" else 1
        if not isinstance(value, numbers.Integral) or not minimum <= value < 2**31:
            raise InputError(
                f"{name} must be an int from {minimum} to {2**31 - 1:,}. Received: {name}={value!r}"
            )
        ints[name] = int(value)
    return ints


def _load_data(data, options, recorded=None):
    """Loads and describes data.

    Args:
      data: as `load_dataset`, or None for the recorded data.
      options: dict of the options of `load_dataset`. None means the recorded value.
      recorded: dict of the arguments of `load_dataset` from run.json, or a name.

    Returns:
      zoo.datasets.Splits.
    """
    recorded = recorded if isinstance(recorded, dict) else {"name": recorded}
    source = {key: recorded.get(key) for key in ("name", *options)}
    arguments = {"name": data, **options}
    source |= {key: value for key, value in arguments.items() if value is not None}
    splits = datasets.load_dataset(**{k: v for k, v in source.items() if v is not None})
    log.info("%s", splits.describe())
    return splits


def _check_size(split):
    """Raises InputError for images so large that the weights of a model may not fit in memory."""
    if split.spec.kind != "image":
        return
    height, width, _ = split.shape
    if height * width > MAX_PIXELS and split.source["size"] is None:
        raise InputError(
            f"Images of {height}x{width} pixels are too large. To resize them, add --size 64"
            f" (size=64). Received: {split.name} without a size"
        )


def _from_data(split, cls, conditional):
    """Returns the options that are set by the data: spec and condition."""
    is_required = must_be_conditional(cls)
    if not conditional and not is_required:
        return {"spec": split.spec}
    if split.condition is None and is_required:
        raise InputError(
            f"{cls.__name__} requires data with conditions, such as labels. Use other data."
            f" Received: {split.name} without conditions"
        )
    if split.condition is None:
        raise InputError(f"{split.name} has no labels. Omit --conditional (conditional=True).")
    return {"spec": split.spec, "condition": split.condition}


def _create(model, options, seed, policy):
    """Creates a model from its name or class, with initial weights from the seed."""
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if isinstance(model, type):
            return model.from_config(options)
        return registry.create(model, **options)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise TrainingError(
            f"Out of memory for the weights of the model ({_reason(error)}). Use smaller options,"
            " or a smaller --size N (size=N)."
        ) from None
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _folder(run, model, data, dry_run) -> Iterator[Path]:
    """Returns a scope that yields the folder of a new run: `run`, one in runs/, or temporary."""
    if dry_run:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch, "run")
    else:
        yield Path(run) if run is not None else new_run(model, data).folder


def _check_not_importing():
    """Raises InputError if a file trains a model while it is imported for its model class."""
    if registry.importing_files:
        file = registry.importing_files[-1]
        raise InputError(
            f"{file} trains a model when it is imported. Call zoo.train below"
            " `if __name__ == '__main__':`."
        )


@contextlib.contextmanager
def _disk_full_as_error(run: Run) -> Iterator[None]:
    """Converts errors of a full or failing disk or memory to TrainingError.

    Saved checkpoints are intact.
    """
    advice = f"Saved checkpoints are intact. Resume with: {run.resume_command}"
    try:
        yield
    except OSError as error:
        if error.errno == errno.EIO:
            raise TrainingError(f"The disk failed ({error}). {advice}") from None
        if error.errno not in storage.FULL:
            raise
        raise TrainingError(f"The disk is full ({error}). Free disk space. {advice}") from None
    except (MemoryError, tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError) as error:
        reason = _reason(error)
        if any(os.strerror(code) in reason for code in storage.FULL):
            message = f"The disk is full ({reason}). Free disk space. {advice}"
            raise TrainingError(message) from None
        if isinstance(error, tf.errors.OutOfRangeError):
            raise
        raise TrainingError(
            f"Out of memory ({reason}). Train again with a smaller --batch-size N (batch_size=N)."
        ) from None


def _reason(error):
    """Returns the first line of what TensorFlow or NumPy says, without its own marks."""
    return str(error).partition("\n")[0].rpartition("}} ")[2].partition(" [Op:")[0]


def _score_and_report(exported, run: Run, data, dry_run):
    """Adds the likelihood to the card and logs the score, the SavedModel and the next command."""
    card = cards.read_card(exported)
    evaluate = for_caller("zoo evaluate", "zoo.evaluate")
    score = f"none, because the model has no likelihood. For sample metrics, run {evaluate}"
    if "log_prob" in card["can"]:
        limit = DRY_RUN_IMAGES if dry_run else None
        value = log_likelihood(
            saved_model.load(exported, trust=card["files"][GRAPH]), data.test, limit=limit
        )
        cards.add_score(exported, value)
        metric, number, _, images = format_score(value)
        score = f"{metric} {number} on {images}"
    if dry_run:
        log.info("%s", format_rows({"score": score}))
        log.info("Dry run succeeded. Nothing was saved.")
        return
    grids = sorted(run.samples.glob("step-*"))
    rows = {
        "samples": str(grids[-1]) if grids else "none",
        "score": score,
        "model": f"{exported} ({card['bytes'] / 1e6:.1f} MB; {card['ms_per_image']} ms per"
        f" {data.test.spec.noun})",
        "sample": for_caller(
            f"zoo sample {as_argument(run.folder)}",
            f"zoo.load({str(run.folder)!r}).sample(16, seed=0)",
        ),
    }
    log.info("%s", format_rows(rows))
