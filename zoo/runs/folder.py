"""Reads, locks and creates the folder of a run.

    run.json          recipe, environment and command
    metrics.jsonl     one line per epoch
    samples/          grids of samples with a fixed seed
    events/           metrics and samples for TensorBoard
    checkpoints/      step-…: the two newest and the best
    saved_model/      SavedModel of the best checkpoint

Listing runs and reading their records does not import TensorFlow.
"""

import contextlib
import dataclasses
import errno
import functools
import json
import logging
import math
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from zoo import storage
from zoo.display import Table, format_value, html_picture, html_table
from zoo.errors import ArtefactError, InputError, check_flags, for_caller
from zoo.spec import upgrade

__all__ = ["Checkpoint", "Run", "as_argument", "epochs_since_best", "new_run", "score_of"]

log = logging.getLogger("zoo")

KEYS = {"recipe", "environment", "command"}
RECIPE_KEYS = {"model", "options", "data", "epochs", "batch_size", "seed"}
LOCK_SECONDS = 1  # to wait for the lock, which `Run.is_running` holds for an instant


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint of a run.

    Args:
      folder: Path of the checkpoint.
      step: the training step at which it was written.
      logs: the metrics of the epoch that ended, or {} in the middle of an epoch.
    """

    folder: Path
    step: int
    logs: dict[str, float]

    @property
    def score(self) -> float:
        """The validation loss, else the Fréchet distance of samples, else infinity."""
        return score_of(self.logs)


def score_of(logs: dict) -> float:
    """Returns the score that ranks checkpoints (lower is better), or infinity if there is none."""
    return logs.get("val_loss", logs.get("frechet_distance", math.inf))


def epochs_since_best(log: list[dict]) -> int:
    """Returns the number of epochs since the best score, or 0 if no epoch has a score."""
    scores = [score_of(line) for line in log]
    best = min(scores, default=math.inf)
    return len(scores) - 1 - scores.index(best) if best < math.inf else 0


class Run(os.PathLike):
    """A training run, identified by its folder.

        run = zoo.train("vae", epochs=5)
        run.metrics[-1]["val_loss"], run.best.step
        run.model.sample(16, seed=0)
        run.export("exported", half=True)

    Args:
      folder: path of the folder. The constructor neither reads nor creates it.
      cls: the class of the model. Required if the registry cannot import it, for example a class
        that is defined in a notebook.
      data: zoo.Splits. Required if the data are arrays in memory, which cannot be loaded again.
    """

    def __init__(self, folder: str | os.PathLike, cls: type | None = None, data=None):
        self.folder = Path(folder)
        self.cls = cls
        self.data = data

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self):
        from zoo.runs.listing import table

        grids = sorted(self.samples.glob("*.png"))
        return html_table(table([self])) + "".join(map(html_picture, grids[-1:]))

    @property
    def record_path(self) -> Path:
        """run.json."""
        return self.folder / "run.json"

    @property
    def metrics_path(self) -> Path:
        """metrics.jsonl."""
        return self.folder / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """The folder of the grids of samples."""
        return self.folder / "samples"

    @property
    def events(self) -> Path:
        """The folder of the TensorBoard events."""
        return self.folder / "events"

    @property
    def checkpoints_path(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel, which may not exist yet."""
        return self.folder / "saved_model"

    @property
    def resume_command(self) -> str:
        """What resumes the run: a shell command, or the call in Python."""
        command = shlex.join(["zoo", "train", "--resume", str(self.folder)])
        arguments = [repr(str(self.folder))]
        if self.data is not None:
            arguments.append("data")
        if self.cls is not None and self.cls.__module__ == "__main__":
            arguments.append(f"cls={self.cls.__qualname__}")
        return for_caller(command, f"zoo.resume({', '.join(arguments)})")

    @property
    def export_command(self) -> str:
        """What exports the run: a shell command, or the call in Python."""
        command = shlex.join(["zoo", "export", str(self.folder)])
        return for_caller(command, f"zoo.{self!r}.export()")

    # Records in the files.

    @property
    def record(self) -> dict:
        """The content of run.json: {"recipe": …, "environment": …, "command": …}.

        Raises:
          InputError: if the folder is not a run.
          ArtefactError: if run.json is damaged.
        """
        path = self.record_path
        try:
            record = json.loads(path.read_text("utf-8"))
            recipe = record["recipe"]
            names = recipe["data"].get("class_names", ())
            recipe["options"] = upgrade(recipe["options"], names)
            missing = RECIPE_KEYS - {*record["recipe"]} | KEYS - {*record}
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
            raise InputError(
                f"Not a run, because it has no run.json. List runs with: zoo runs. Received:"
                f" {self.folder}"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtefactError(f"{path} is damaged: {error!r}.") from None
        if missing:
            raise ArtefactError(f"{path} is damaged: missing keys {', '.join(sorted(missing))}.")
        return record

    @property
    def recipe(self) -> dict:
        """The recipe in run.json: model, options, data, epochs, batch_size, seed."""
        return self.record["recipe"]

    @property
    def metrics(self) -> list[dict]:
        """One dict per epoch, with "epoch", "step" and "seconds". A torn last line is ignored.

        A notebook shows them as a table.

        Raises:
          ArtefactError: if another line is damaged.
        """
        path = self.metrics_path
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        try:
            metrics = [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError as error:
            raise ArtefactError(f"{path} is damaged: {error}.") from None
        return Table(metrics, _metrics_table)

    def append_metrics(self, line: dict) -> None:
        """Appends the line of an epoch to metrics.jsonl, and flushes it to the disk.

        Raises:
          OSError: if it cannot be written; it names the file.
        """
        with storage.named(self.metrics_path), self.metrics_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The committed checkpoints, newest first. Their files are not verified."""
        names = storage.sealed(self.checkpoints_path)[::-1]
        return [_read_checkpoint(self.checkpoints_path / name) for name in names]

    @property
    def checkpoints_best_first(self) -> list[Checkpoint]:
        """The committed checkpoints, sorted by score and then newest first."""
        return sorted(self.checkpoints, key=lambda checkpoint: checkpoint.score)

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the best score, or the newest if none has a score.

        Raises:
          ArtefactError: if the run has no checkpoint.
        """
        checkpoints = self.checkpoints_best_first
        if not checkpoints:
            raise ArtefactError(f"{self.folder} has no checkpoint. Received: {self!r}")
        return checkpoints[0]

    def find_best(self) -> Checkpoint:
        """Returns the valid checkpoint with the best score.

        Raises:
          ArtefactError: if there is none.
        """
        names = [checkpoint.folder.name for checkpoint in self.checkpoints_best_first]
        folder, _ = storage.first_good(self.checkpoints_path, names, log.warning)
        if folder is None:
            raise ArtefactError(f"{self.checkpoints_path} contains no valid checkpoint.")
        return _read_checkpoint(folder)

    @property
    def is_finished(self) -> bool:
        """Whether training is complete (or patience ended it) and the SavedModel is written."""
        recipe, log = self.recipe, self.metrics
        is_complete = bool(log) and log[-1]["epoch"] == recipe["epochs"]
        patience = recipe.get("patience")
        is_complete |= patience is not None and epochs_since_best(log) >= patience
        return is_complete and (self.saved_model / "card.json").exists()

    # The lock.

    @property
    def is_running(self) -> bool:
        """Whether a process holds the lock of the run."""
        if not (self.folder / ".lock").exists():
            return False
        try:
            with self._lock():
                return False
        except filelock.Timeout:
            return True
        except OSError:  # the folder cannot be written, so no process can train in it
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Returns a scope in which this process holds the lock. Creates the folder if necessary.

        Raises:
          InputError: if another process holds the lock, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._lock()
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise InputError(
                f"{self.folder} is locked by another process. Wait until it ends, or stop it."
            ) from None
        except OSError as error:
            if error.errno in storage.FULL:
                raise
            raise InputError(
                f"Cannot write the folder of the run: {error}. Received: {self.folder}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self):
        return filelock.FileLock(self.folder / ".lock", timeout=0)

    def check_new(self) -> None:
        """Raises InputError if the folder exists and is not empty."""
        if self.folder.is_dir() and any(path.name[0] != "." for path in self.folder.iterdir()):
            option = f"--resume {shlex.quote(str(self.folder))}"
            use = for_caller(option, f"zoo.resume({str(self.folder)!r})")
            raise InputError(
                f"The folder of a run must be new or empty. To continue an existing run, use {use}."
                f" Received: {self.folder}"
            )

    # Properties and methods that import TensorFlow.

    @functools.cached_property
    def model(self):
        """The model with the weights of the best checkpoint, a GenerativeModel.

        It is loaded on first use and cached.
        """
        return self.load_model()

    def load_model(self):
        """Returns a new GenerativeModel with the weights of the best valid checkpoint.

        Raises:
          InputError: if the class of the model cannot be imported.
          ArtefactError: if no checkpoint is valid, or it does not fit the model.
        """
        from zoo.exports.weights import restore_checkpoint

        folder = self.find_best().folder
        model = self.create_model()
        restore_checkpoint(model, folder)
        return model

    def create_model(self):
        """Creates the model of the recipe, a GenerativeModel with new weights."""
        from zoo.exports.weights import create

        recipe = self.recipe
        return create(recipe["model"], recipe["options"], self.cls)

    def export(self, folder: str | os.PathLike | None = None, half: bool = False) -> Path:
        """Exports the best checkpoint as a SavedModel.

        Args:
          folder: path that must not exist. Default: saved_model in the run. An existing one is
            replaced, unless it is a valid export of the same checkpoint and precision.
          half: whether to store the weights as float16.

        Returns:
          Path of the SavedModel.

        Raises:
          InputError: if this is not a run, or the folder exists or cannot be written.
          ArtefactError: if no checkpoint is valid, or the export fails verification.
        """
        check_flags(half=half)
        _ = self.record  # raises if this is not a run, before TensorFlow is imported
        from zoo.runs.training import export_run

        # An export to another folder requires no lock and no write access to the run.
        with self.locked() if folder is None else contextlib.nullcontext():
            return export_run(self, self.create_model(), folder, half)


def as_argument(folder: Path) -> str:
    """Returns a folder as a shell argument that cannot be mistaken for the name of a model."""
    return shlex.quote(str(folder) if folder.parent.name else f"./{folder}")


def new_run(model: str, data: str, parent: str | os.PathLike = "runs") -> Run:
    """Creates the folder of a new run, for example runs/20260101-120000-vae-mnist_binary.

    If the name exists, because two runs start within a second, the second name ends in -2.

    Args:
      model: name of the model.
      data: name of the data set.
      parent: path of the folder of runs.

    Raises:
      InputError: if the folder cannot be created.
    """
    name = f"{model.rpartition(':')[2].lower()}-{data}"
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-" + re.sub(r"[^\w.-]+", "-", name)
    k = 1
    while True:
        folder = Path(parent, stem if k == 1 else f"{stem}-{k}")
        try:
            folder.mkdir(parents=True)
            return Run(folder)
        except FileExistsError:
            if not Path(parent).is_dir():
                raise InputError(f"Not a folder. Received: {parent}") from None
            k += 1
        except OSError as error:
            raise InputError(
                f"Cannot create the folder of the run: {error}. Received: {folder}"
            ) from None


def _metrics_table(metrics):
    """Returns a header and a row per epoch; a quantity that an epoch lacks is "-"."""
    keys = [*dict.fromkeys(key for line in metrics for key in line)]
    return [keys, *([format_value(line.get(key)) for key in keys] for line in metrics)]


def _read_checkpoint(folder: Path) -> Checkpoint:
    """Reads the manifest of a checkpoint. If it is damaged, the checkpoint has no score here."""
    step = int(folder.name.rpartition("-")[2])
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        logs = json.loads((folder / storage.MANIFEST).read_text("utf-8"))["logs"]
        return Checkpoint(folder, step, dict(logs))
    return Checkpoint(folder, step, {})
