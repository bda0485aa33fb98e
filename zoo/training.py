"""A training run: a folder in which `model.fit` can stop at any step and go on, bit for bit.

    run.json          the recipe, which a resume may not change, and what it ran on
    metrics.jsonl     a line an epoch
    samples/          a grid of samples now and then, always of the same seed
    events/           the same for TensorBoard
    checkpoints/      step-…: the newest two and the best, by validation loss or samples
    saved_model/      the SavedModel of the best checkpoint, at the end

Everything that a step depends on is a weight (the parameters, every optimizer's slots, the step,
the running metrics) or a pure function of the seed and the step (the noise, the order of the data).
"""

import contextlib
import inspect
import itertools
import json
import math
import os
import shlex
import signal
import statistics
import threading
import time
from pathlib import Path

import filelock
import keras
import tensorflow as tf

from zoo import checkpoints, images, registry, runs, saving
from zoo.environment import device, versions
from zoo.errors import ArtefactError, InputError, TrainingError
from zoo.evaluation.watch import FLOOR, Watch

__all__ = ["Interrupted", "check_new", "check_recipe", "export_run", "locked", "train"]

GRIDS = 10  # grids of samples in a whole run, about
COMMIT_SECONDS = 300  # at most this much work is lost to a power cut
MEASURED = 10  # steps after which the time of a run is told


class Interrupted(BaseException):
    """Training was asked to stop by a signal, and has committed its last step.

    Args:
      number: the signal.
      step: the step it stopped at.
    """

    def __init__(self, number, step):
        super().__init__(f"stopped at step {step}")
        self.number, self.step = number, step


def train(
    model,
    data,
    run,
    *,
    epochs=None,
    batch_size=None,
    seed=0,
    resume=False,
    jit=None,
    name=None,
    command=None,
    callbacks=(),
    say=print,
    dry_run=False,
):
    """Trains a model by `model.fit` in a run folder, and exports the best checkpoint.

    Args:
      model: GenerativeModel; it is compiled here.
      data: (train, validation, …) as `zoo.load_dataset` returns them.
      run: path of the folder of the run; made, or with `resume` gone on with.
      epochs: int; passes over the training data. Default: the model's recipe.
      batch_size: int. Default: the model's recipe.
      seed: int; decides the noise and the order of the data.
      resume: whether to go on from the newest good checkpoint of the run. The recipe must be the
        same, but for more epochs.
      jit: whether XLA compiles the step; None is as the run began, or lets Keras choose (yes on a
        GPU, no on a CPU).
      name: str, the model's name in the registry. Default: found by its class.
      command: str, what the user typed.
      callbacks: more Keras callbacks; one that sets `model.stop_training` ends the run.
      say: function of a str, told what happens.
      dry_run: whether to do one step of everything and stop.

    Returns:
      Path of the SavedModel.

    Raises:
      InputError: if data, model and run do not go together.
      TrainingError: if a logged quantity is not finite, or memory or disk is full.
      Interrupted: on SIGINT or SIGTERM, after a commit.
    """
    training, validation = data[:2]
    _check_match(model, training)
    run = Path(run)
    begun = runs.read_run(run) if resume else None
    batch_size = min(batch_size or model.recipe.get("batch_size", 64), len(training))
    recipe = {
        "model": name or _name_of(type(model)),
        "options": json.loads(json.dumps(model.get_config())),
        "data": {
            **training.source,
            "class_names": list(training.class_names),
            "fingerprint": training.fingerprint,
            "validation_fingerprint": validation.fingerprint,
        },
        "epochs": 1 if dry_run else epochs or model.recipe.get("epochs", 1),
        "batch_size": batch_size,
        "seed": seed,
    }
    steps = 1 if dry_run else len(training) // batch_size
    model.compile(total_steps=steps * recipe["epochs"])
    if jit is None and begun:
        jit = begun["environment"]["jit"]
    if jit is not None:
        model.jit_compile = jit
    description = {"recipe": recipe, "environment": environment(model), "command": command}
    held_out = validation.batches(batch_size, labels=model.num_classes > 0)
    with locked(run, resume), _told_of_full_disk(run), _signals(say) as signals:
        if begun:
            _compare(begun, description, say)
        checkpoints.write_json(run / "run.json", description)
        loop = _Run(model, data, run, steps, recipe["epochs"], signals, say)
        loop.begin(seed)
        loop.tell_how_to_read()
        model.stop_training = False
        while (step := int(model.step)) < loop.total and not model.stop_training:
            # A begun epoch is ended first: `fit` has no other way into the middle of one.
            epoch, done = divmod(step, steps)
            model.fit(
                training.stream(batch_size, seed, first_step=step, labels=model.num_classes > 0),
                validation_data=held_out.take(1) if dry_run else held_out,
                initial_epoch=epoch,
                epochs=epoch + 1 if done else recipe["epochs"],
                steps_per_epoch=steps - done,
                callbacks=[loop, *callbacks],
                shuffle=False,
                verbose=0,
            )
        what = _best(run / "checkpoints")
        say(f"Exporting the {what}, and checking it in a process of its own …")
        exported = export_run(model, run, say=say)
        if signals:  # during the export
            raise Interrupted(signals[0], loop.step)
        return exported


def export_run(model, run, folder=None, half=False, say=print):
    """Exports the best checkpoint of a run, or the newest where none is known to be better.

    Args:
      model: GenerativeModel, made as the recipe of the run says; its weights are replaced.
      run: path of the run.
      folder: path that must not exist. Default: saved_model in the run, which is replaced unless
        it is whole, of this checkpoint and stored as asked for.
      half: whether to store the weights as float16.
      say: function of a str, told of damaged checkpoints.

    Returns:
      Path of the SavedModel.

    Raises:
      InputError: if run is none, or folder exists.
      ArtefactError: if there is no whole checkpoint, or it does not fit the model.
    """
    run = Path(run)
    description = runs.read_run(run)
    if not model.compiled:
        model.compile(total_steps=1)
    parent = run / "checkpoints"
    record = _load(model, parent, _best_first(parent), say)
    if record is None:
        raise ArtefactError(f"Expected a checkpoint in {parent}, which has none that is whole.")
    log = runs.read_metrics(run)
    card = {
        **description,
        "model": description["recipe"]["model"],
        "step": record["step"],
        "training_seconds": log[-1]["seconds"] if log else 0.0,
    }
    there, fresh, replaced = run / "saved_model", run / ".tmp-saved_model", run / ".tmp-replaced"
    if _holds(there, record["step"], half):
        if not folder:
            return there
        card["scores"] = saving.read_card(there)["scores"]
    with _told_of_full_disk(run):
        if folder:
            return saving.export(model, folder, card, half)
        checkpoints.remove(fresh)
        checkpoints.remove(replaced)
        saving.export(model, fresh, card, half)
        if there.exists():
            there.rename(replaced)
        fresh.rename(there)
        checkpoints.remove(replaced)
        return there


def _holds(folder, step, half):
    """Whether a whole SavedModel of these weights is there: it stays, and its scores are theirs."""
    try:
        card = checkpoints.verify(folder, saving.CARD)
    except ArtefactError:
        return False
    return card.get("step") == step and (card.get("weights") == "float16") == half


def environment(model):
    """Returns what a run may change when it is resumed: versions, device, precision, jit."""
    return {
        "versions": versions(),
        "device": device(),
        "precision": model.dtype_policy.name,
        "jit": bool(model.jit_compile),
    }


def duration(seconds):
    """Writes seconds for people: 42 s, 7 min 3 s, 2 h 5 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class _Run(keras.callbacks.Callback):
    """Commits, logs, draws, and watches for non-finite values and signals, between two steps."""

    def __init__(self, model, data, run, steps, epochs, signals, say):
        super().__init__()
        self.set_model(model)
        self.run, self.checkpoints, self.log = run, run / "checkpoints", run / "metrics.jsonl"
        self.steps, self.epochs, self.total = steps, epochs, steps * epochs
        self.signals, self.say = signals, say
        self._metrics_of_begun_epoch = None
        self._times = []
        self._sample = saving.sampler(model)
        self._watch = None
        if not model.has_one_objective():
            self._watch = Watch(self._sample, *data[:2], model.num_classes)

    @property
    def step(self):
        return int(self.model.step)

    @property
    def seconds(self):
        return time.monotonic() - self._clock

    def begin(self, seed):
        """Restores the newest good checkpoint, or commits step 0."""
        checkpoints.remove_torn(self.run)
        (self.run / "samples").mkdir(exist_ok=True)
        self.events = tf.summary.create_file_writer(str(self.run / "events"))
        self._clock = self._committed = time.monotonic()
        names = _newest_first(self.checkpoints)
        record = _load(self.model, self.checkpoints, names, self.say)
        if record is None:
            if names:
                self.say("No checkpoint is whole: starting again at step 0.")
            self.model.run_seed.assign(seed)
            self.log.write_text("")
            self._lines = []
            self._commit({})
            return
        self.log.touch()
        os.truncate(self.log, min(record["log_length"], self.log.stat().st_size))
        self._lines = runs.read_metrics(self.run)
        self._clock -= record["seconds"]
        # `fit` clears the metrics as it begins; on_epoch_begin puts these back.
        self._metrics_of_begun_epoch = [v.numpy() for v in _metric_variables(self.model)]
        self.say(f"Resuming at step {self.step:,} of {self.total:,}.")

    def tell_how_to_read(self):
        """Says what the numbers are that a run without a validation loss is judged by."""
        if self._watch:
            self.say(
                "Losses need not fall here, and a discriminator is often right: samples are judged,"
                f" at most {GRIDS} times a run, by pixel_diversity,"
                f" which is 1 for images and should rise above {FLOOR} and stay there,"
            )
            if self._watch.real is None:
                text = "but not by features, as no classifier of such images came with zoo"
            else:
                text = f"and by frechet_distance: {self._watch.real:.2f} for images, less is better"
            self.say(f"{text}.")

    def on_epoch_begin(self, epoch, logs=None):
        if self.step % self.steps:
            values = self._metrics_of_begun_epoch
            for variable, value in zip(_metric_variables(self.model), values, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        self._check_finite(logs)
        self._tell_time()
        late = time.monotonic() - self._committed > COMMIT_SECONDS
        if self.step % self.steps and (late or self.signals):
            self._check_weights()
            self._commit({})
            self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        logs = {key: float(value) for key, value in logs.items()}
        self._check_finite(logs)
        self._check_weights()
        if (epoch + 1) % math.ceil(self.epochs / GRIDS) == 0 or epoch + 1 == self.epochs:
            self._draw()
            logs = (self._watch.look() if self._watch else {}) | logs
        self._write_log(epoch + 1, logs)
        self._check_trouble()
        name = self._commit(logs)
        hidden = "val_" if self._watch else ()  # losses that say little, and the log has
        told = [f"{key} {value:.4g}" for key, value in logs.items() if not key.startswith(hidden)]
        told = [f"epoch {epoch + 1}/{self.epochs}", *told, f"(saved step {self.step:,})"]
        best = _best_first(self.checkpoints)[0]
        if best == name and _score(self.checkpoints / best) < math.inf:
            told.append("best so far")
        self.say("  ".join(told))
        self._stop_if_asked()

    def _check_finite(self, logs):
        for key, value in logs.items():
            if not math.isfinite(value):
                self._fail(f"{key} is {value}")

    def _check_weights(self):
        for variable in self.model.variables:
            if variable.dtype != "int64" and not tf.reduce_all(tf.math.is_finite(variable.value)):
                self._fail(f"{variable.path} is not finite")

    def _check_trouble(self):
        for judge in (self.model, self._watch):
            if judge and (what := judge.trouble(self._lines)):
                again = shlex.join(["zoo", "export", str(self.run)])
                raise TrainingError(
                    f"At step {self.step:,} {what}: --set learning_rate=…."
                    f" `{again}` exports the {_best(self.checkpoints)}."
                )

    def _fail(self, what):
        raise TrainingError(
            f"{what} at step {self.step:,}. The last good checkpoint is"
            f" {next(iter(_newest_first(self.checkpoints)), 'none')} in {self.checkpoints}."
            " Try a smaller learning rate."
        )

    def _stop_if_asked(self):
        if self.signals:
            raise Interrupted(self.signals[0], self.step)

    def _tell_time(self):
        if len(self._times) > MEASURED:
            return
        self._times.append(time.monotonic())  # first after the first step, which is traced
        if len(self._times) > MEASURED:
            each = statistics.median(b - a for a, b in itertools.pairwise(self._times))
            left = duration(each * (self.total - self.step))
            self.say(f"Expected time: {left}, at {1 / each:.1f} steps/s.")

    def _write_log(self, epoch, logs):
        line = {"epoch": epoch, "step": self.step, "seconds": round(self.seconds, 1), **logs}
        self._lines.append(line)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        for key, value in logs.items():
            self._write_event(key, simple_value=value)

    def _draw(self):
        path = self.run / "samples" / f"step-{self.step:08}.png"
        samples = self._sample(saving.SAMPLES, saving.SAMPLE_SEED)
        images.save_grid(path, samples, self.model.num_classes)
        picture = tf.compat.v1.Summary.Image(encoded_image_string=path.read_bytes())
        self._write_event("samples", image=picture)

    def _write_event(self, tag, **value):
        # tf.summary.scalar needs the package tensorboard; writing for it does not.
        summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=tag, **value)])
        with self.events.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=self.step)
            self.events.flush()

    def _commit(self, logs):
        """Saves a checkpoint, forgets those that no one needs any more, and returns its name."""
        name = f"step-{self.step:08}"
        record = {
            "step": self.step,
            "logs": logs,
            "log_length": self.log.stat().st_size,
            "seconds": round(self.seconds, 1),
        }
        checkpoints.commit(
            self.checkpoints / name,
            lambda path: _checkpoint(self.model).write(str(path / "variables")),
            record,
        )
        wanted = {*_newest_first(self.checkpoints)[:2], _best_first(self.checkpoints)[0]}
        checkpoints.prune(self.checkpoints, wanted)
        self._committed = time.monotonic()
        return name


def _checkpoint(model):
    """Names all that training changes: weights, optimizers' slots and the running metrics."""
    # TensorFlow passes without a word over Keras's metrics and over layers in a list, but not over
    # variables. The optimizers it finds in the model.
    return tf.train.Checkpoint(
        model=model,
        weights=[v.value for v in model.weights],
        moved_weights=[*model.moved_weights],
        metrics=[v.value for v in _metric_variables(model)],
    )


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def _load(model, parent, names, say):
    """Loads the first whole one of the named checkpoints; returns its record, or None."""
    folder, record = checkpoints.first_good(parent, names, say)
    if folder is None:
        return None
    try:
        _checkpoint(model).read(str(folder / "variables")).assert_consumed()
    except (AssertionError, ValueError) as error:
        raise ArtefactError(
            f"{folder} does not fit the model: {str(error).splitlines()[0]}"
        ) from None
    return record


def _newest_first(parent):
    return checkpoints.sealed(parent)[::-1]


def _best_first(parent):
    """Orders checkpoints by validation loss, or by the Fréchet distance of their samples.

    Those without either, as in mid-epoch, come last.
    """
    return sorted(_newest_first(parent), key=lambda name: _score(parent / name))


def _best(parent):
    """Names for people the checkpoint that is exported: the best, or the newest of equals."""
    name = _best_first(parent)[0]
    return f"{'best' if _score(parent / name) < math.inf else 'newest'} checkpoint, {name}"


def _score(checkpoint):
    try:
        logs = json.loads((checkpoint / checkpoints.MANIFEST).read_text())["logs"]
        return logs.get("val_loss", logs.get("frechet_distance", math.inf))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return math.inf  # damaged: whoever loads it finds out and says so


def _name_of(cls):
    """Returns what the registry loads a class by, as far as it can."""
    value = f"{cls.__module__}:{cls.__qualname__}"
    for name, entry in registry.models().items():
        if entry.value == value:
            return name
    try:
        return f"{Path(inspect.getsourcefile(cls)).absolute()}:{cls.__qualname__}"
    except (OSError, TypeError):  # typed in, as in a notebook
        return cls.__qualname__


def _check_match(model, training):
    name = type(model).__name__
    if tuple(training.shape) != tuple(model.shape):
        raise InputError(
            f"Expected images of shape {model.shape}, as {name} was made for."
            f" Received: {training.name} with {training.shape}"
        )
    if training.levels != model.levels:
        advice = "Binarise the data (binarize=True)" if model.levels == 2 else "Use other data"
        raise InputError(
            f"Expected data of {model.levels} levels, as {name} was made for. {advice}, or make the"
            f" model with levels={training.levels}. Received: {training.name} with"
            f" {training.levels} levels"
        )
    if model.num_classes and model.num_classes != training.num_classes:
        raise InputError(
            f"Expected labels of {model.num_classes} classes, as {name} was made for."
            f" Received: {training.name} with {training.num_classes}"
        )


def _compare(begun, now, say):
    """Refuses a recipe that differs in more than more epochs; tells of another environment.

    Puts into `now` the command that began the run, and those that gave it more epochs.
    """
    old, new = begun["recipe"], now["recipe"]
    check_recipe(old, new)
    extended = begun.get("extended_by", [])
    if new["epochs"] > old["epochs"]:
        say(
            f"{old['epochs']} -> {new['epochs']} epochs: a schedule of the learning rate is"
            " stretched from here on, so the result is not that of one long run."
        )
        extended = [*extended, now["command"]]
    for key, a, b in _differences(begun["environment"], now["environment"]):
        say(f"Not as the run began: {key} {a} -> {b}; it may not go on bit for bit.")
    now |= {"command": begun["command"], "extended_by": extended}


def _differences(old, new, prefix=""):
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, a, b


def check_recipe(old, new):
    """Raises InputError if the recipe of a resumed run differs in more than more epochs."""
    epochs = max(old["epochs"], new["epochs"])
    changed = [
        f"{key}: {a!r} -> {b!r}"
        if not key.endswith("fingerprint")
        else f"the {'validation' if 'validation' in key else 'training'} images are others"
        for key, a, b in _differences({**old, "epochs": epochs}, new)
    ]
    if changed:
        raise InputError(
            "A resumed run keeps its recipe, but for more epochs. Changed: " + "; ".join(changed)
        )


def check_new(run):
    """Raises InputError if the folder of a new run is there and not empty."""
    if run.is_dir() and any(path.name[0] != "." for path in run.iterdir()):
        raise InputError(
            "Expected a new or empty folder for the run; go on with a run by --resume"
            f" {shlex.quote(str(run))}. Received: {run}"
        )


@contextlib.contextmanager
def locked(run, resume=True):
    """Holds the folder of a run for this process alone.

    Raises:
      InputError: if another process holds it, it cannot be written, or, to resume, it is no run.
    """
    run = Path(run)
    if resume:
        runs.read_run(run)
    else:
        check_new(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = runs.lock(run)
        lock.acquire(timeout=1)  # `runs.is_running` holds it for a moment
    except filelock.Timeout:
        raise InputError(f"Another process is at work in {run}: wait for it or stop it.") from None
    except OSError as error:
        if error.errno in checkpoints.FULL:
            raise
        raise InputError(
            f"Expected a folder that can be written. Received: {run} ({error})"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _told_of_full_disk(run):
    """Turns what a full disk or memory raises into one sentence; what was committed is whole."""
    advice = f"What was saved is whole; go on with: zoo train --resume {shlex.quote(str(run))}"
    try:
        yield
    except OSError as error:
        if error.errno not in checkpoints.FULL:
            raise
        raise TrainingError(f"The disk is full ({error}). Make room. {advice}") from None
    except (tf.errors.ResourceExhaustedError, tf.errors.OutOfRangeError) as error:
        reason = error.message.splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0]
        if any(os.strerror(code) in reason for code in checkpoints.FULL):
            raise TrainingError(f"The disk is full ({reason}). Make room. {advice}") from None
        if isinstance(error, tf.errors.OutOfRangeError):
            raise
        raise TrainingError(
            f"Out of memory ({reason}). Start again with a smaller --batch-size."
        ) from None


@contextlib.contextmanager
def _signals(say):
    """Yields a list to which SIGINT and SIGTERM append their number; a second one stops at once."""
    received = []

    def receive(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        say("Stopping as soon as all is saved; once more stops at once.")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    old = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
