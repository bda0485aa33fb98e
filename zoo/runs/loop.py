"""The Keras callback that keeps a run: it commits, logs, draws samples and stops between two steps.

Everything that a step depends on is a weight (the parameters, every optimizer's slots, the step,
the running metrics) or a pure function of the seed and the step (the noise, the order of the data).
"""

import itertools
import logging
import math
import os
import statistics
import time

import keras
import tensorflow as tf

from zoo import render, sampling, storage
from zoo.errors import TrainingError
from zoo.progress import format_duration
from zoo.runs import checkpoints
from zoo.runs.folder import Run, epochs_since_best, score_of
from zoo.runs.interrupts import TrainingInterrupted
from zoo.runs.monitor import FLOOR, SampleMonitor

__all__ = ["Loop", "describe_best"]

log = logging.getLogger("zoo")

GRIDS = 10  # grids of samples in a run, about
FIRST_GRID_SECONDS = 45.0  # the first grid is drawn in the middle of an epoch that takes longer
COMMIT_SECONDS = 300.0  # the most work that a power cut can lose
TIMED_STEPS = 10  # steps after which the expected time is reported


class Loop(keras.callbacks.Callback):
    """Keeps a run while `model.fit` trains.

    It is the first callback, so that what it adds to the logs (frechet_distance, pixel_diversity)
    reaches the others.

    Args:
      model: GenerativeModel, compiled.
      data: zoo.datasets.Splits.
      run: Run, locked.
      steps: steps per epoch.
      epochs: epochs in total.
      signals: list to which signals are appended, as of `deferred_signals`.
      progress: zoo.progress.Progress.
      patience: epochs without a better score after which training stops, or None.
    """

    def __init__(self, model, data, run: Run, steps, epochs, signals, progress, patience=None):
        super().__init__()
        self.set_model(model)
        self.run, self.signals, self.progress, self.patience = run, signals, progress, patience
        self.steps, self.epochs, self.total = steps, epochs, steps * epochs
        self.log = []  # metrics.jsonl
        self._saved_metrics = None  # running metrics of an epoch that was interrupted
        self._times = []
        examples = None
        if model.condition is not None and model.condition.kind != "label":
            _, examples = data.validation.take(render.SAMPLES, condition=True)
        self._examples = examples
        self._sample = self._picture = sampling.sampler(model, examples)
        self._shows_means = sampling.shows_means(model)
        if self._shows_means:
            self._picture = sampling.sampler(model, examples, means=True)
        self._monitor = None
        if not model.has_one_objective():
            self._monitor = SampleMonitor(
                self._sample, data.train, data.validation, model.num_classes
            )

    @property
    def step(self) -> int:
        return int(self.model.step)

    @property
    def seconds(self) -> float:
        """Time spent in training, before an interruption too."""
        return time.monotonic() - self._started

    def restore(self, seed) -> None:
        """Restores the newest valid checkpoint, or starts at step 0 and commits that."""
        run = self.run
        storage.remove_torn(run.folder)
        run.samples.mkdir(exist_ok=True)
        self._events = tf.summary.create_file_writer(str(run.events))
        self._started = self._committed = time.monotonic()
        has_checkpoints = bool(run.checkpoints)
        record = checkpoints.load_newest(run, self.model)
        if record is None:
            if has_checkpoints:
                log.warning("No valid checkpoint found. Restarting from step 0.")
            # The model may have been trained before: its weights count, its step does not.
            self.model.step.assign(0)
            self.model.run_seed.assign(seed)
            run.metrics_path.write_text("")
            self._commit({})
            return
        run.metrics_path.touch()
        os.truncate(run.metrics_path, min(record["log_length"], run.metrics_path.stat().st_size))
        self.log = run.metrics
        self._started -= record["seconds"]
        # `fit` resets the metrics when it starts; on_epoch_begin puts these back.
        self._saved_metrics = [v.numpy() for v in checkpoints.metric_variables(self.model)]
        log.info("Resuming at step %s of %s.", f"{self.step:,}", f"{self.total:,}")

    def explain(self) -> None:
        """Reports what a run without a validation loss is judged by."""
        if not self._monitor:
            return
        if self._monitor.real is None:
            features = "Fréchet distance unavailable: no bundled classifier for this data set."
        else:
            features = (
                "frechet_distance compares their features: lower is better, and training images"
                f" have {self._monitor.real:.2f}."
            )
        log.info(
            "Adversarial losses do not have to decrease. Watch the sample metrics, computed at"
            " most %d times per run: pixel_diversity is 1 for images and must stay above %g. %s",
            GRIDS,
            FLOOR,
            features,
        )

    # What Keras calls.

    def on_train_begin(self, logs=None):
        if not self._times:  # `fit` is called again after an interrupted epoch
            self.progress.start(self.total, "training", self.step)

    def on_epoch_begin(self, epoch, logs=None):
        if self.step % self.steps:
            variables = checkpoints.metric_variables(self.model)
            for variable, value in zip(variables, self._saved_metrics, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        self._check_finite(logs)
        self._report_time()
        self.progress.advance()
        self.progress.note("  ".join(f"{key} {value:.4g}" for key, value in logs.items()))
        if not self.step % self.steps:
            return  # on_epoch_end follows
        if self.seconds > FIRST_GRID_SECONDS and not any(self.run.samples.iterdir()):
            self._draw()
        late = time.monotonic() - self._committed > COMMIT_SECONDS
        if late or self.signals:
            self._check_weights()
            self._commit({})
            self._stop_if_signalled()

    def on_epoch_end(self, epoch, logs=None):
        self._check_finite(logs)
        self._check_weights()
        if (epoch + 1) % math.ceil(self.epochs / GRIDS) == 0 or epoch + 1 == self.epochs:
            self._draw()
            if self._monitor:
                logs.update(self._monitor.measure())
        values = {key: float(value) for key, value in logs.items()}
        self._write_log(epoch + 1, values)
        self._check_diagnosis()
        name = self._commit(values)
        self._report_epoch(epoch + 1, values, name)
        self._stop_if_signalled()
        if self.patience is not None and epochs_since_best(self.log) >= self.patience:
            log.info("Stopping: no better score for %d epochs.", self.patience)
            self.model.stop_training = True

    # Checks.

    def _check_finite(self, logs):
        for key, value in logs.items():
            if not math.isfinite(value):
                self._fail(f"{key} is {float(value)}")

    def _check_weights(self):
        for variable in self.model.variables:
            if variable.dtype != "int64" and not tf.reduce_all(tf.math.is_finite(variable.value)):
                self._fail(f"{variable.path} is not finite")

    def _fail(self, problem):
        newest = next((checkpoint.folder.name for checkpoint in self.run.checkpoints), "none")
        raise TrainingError(
            f"{problem} at step {self.step:,}. The last good checkpoint is {newest} in"
            f" {self.run.checkpoints_path}. Try a smaller learning rate."
        )

    def _check_diagnosis(self):
        for judge in (self.model, self._monitor):
            if judge and (reason := judge.diagnose(self.log)):
                raise TrainingError(
                    f"At step {self.step:,} {reason}: --set learning_rate=… (learning_rate=…)."
                    f" `{self.run.export_command}` exports the {describe_best(self.run)}."
                )

    def _stop_if_signalled(self):
        if self.signals:
            raise TrainingInterrupted(self.signals[0], self.step, self.run)

    # Records.

    def _report_time(self):
        if len(self._times) > TIMED_STEPS:
            return
        self._times.append(time.monotonic())  # first after the first step, which is traced
        if len(self._times) > TIMED_STEPS:
            each = statistics.median(b - a for a, b in itertools.pairwise(self._times))
            left = format_duration(each * (self.total - self.step))
            log.info("Expected time: %s, at %.1f steps/s.", left, 1 / each)

    def _report_epoch(self, epoch, values, name):
        hidden = "val_" if self._monitor else ()  # losses that say little; metrics.jsonl has them
        shown = [
            f"{key} {value:.4g}" for key, value in values.items() if not key.startswith(hidden)
        ]
        parts = [f"epoch {epoch}/{self.epochs}", *shown, f"(saved step {self.step:,})"]
        if self.run.best.folder.name == name and score_of(values) < math.inf:
            parts.append("best so far")
        log.info("  ".join(parts))

    def _write_log(self, epoch, values):
        line = {"epoch": epoch, "step": self.step, "seconds": round(self.seconds, 1), **values}
        self.log.append(line)
        self.run.append_metrics(line)
        for key, value in values.items():
            self._write_event(key, simple_value=value)

    def _draw(self):
        spec = self.model.spec
        path = self.run.samples / f"step-{self.step:08}{render.SUFFIXES[spec.kind]}"
        name, condition = self.run.recipe["model"], self.model.condition
        n = render.num_in_picture(condition)
        samples = self._picture(n, sampling.SAMPLE_SEED)
        conditions = sampling.conditions_in_turn(condition, n, examples=self._examples)
        about = render.describe(name, self.step, n, 0, means=self._shows_means)
        render.save(path, samples, spec, condition, conditions, *about)
        content = path.read_bytes()
        if spec.kind == "image":
            picture = tf.compat.v1.Summary.Image(encoded_image_string=content)
            self._write_event("samples", image=picture)
        elif spec.kind == "audio":
            sound = tf.compat.v1.Summary.Audio(
                sample_rate=spec.rate,
                num_channels=spec.shape[1],
                length_frames=len(samples) * spec.shape[0],
                encoded_audio_string=content,
                content_type="audio/wav",
            )
            self._write_event("samples", audio=sound)
        else:
            text = tf.make_tensor_proto([content], tf.string)
            plugin = {"plugin_data": {"plugin_name": "text"}}
            metadata = tf.compat.v1.SummaryMetadata(**plugin)
            self._write_event("samples", tensor=text, metadata=metadata)
        log.info("Samples: %s", path)

    def _write_event(self, tag, **value):
        # tf.summary.scalar needs the package tensorboard; writing for it does not.
        summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=tag, **value)])
        with self._events.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=self.step)
            self._events.flush()

    def _commit(self, values):
        record = {
            "step": self.step,
            "logs": values,
            "log_length": self.run.metrics_path.stat().st_size,
            "seconds": round(self.seconds, 1),
        }
        name = checkpoints.commit(self.run, self.model, record)
        self._committed = time.monotonic()
        return name


def describe_best(run: Run) -> str:
    """Names the checkpoint that an export takes: "best checkpoint, step-00000640"."""
    best = run.best
    return f"{'best' if best.score < math.inf else 'newest'} checkpoint, {best.folder.name}"
