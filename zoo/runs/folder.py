"""The folder of a run: its paths, its lock, what run.json and metrics.jsonl record.

    run.json          the recipe, which a resume may only extend, and the environment
    metrics.jsonl     one line per epoch
    samples/          grids of samples, always drawn with the same seed
    events/           the same for TensorBoard
    checkpoints/      step-…: the newest two and the best
    saved_model/      the SavedModel of the best checkpoint

Importing this module, listing runs and reading their records does not import TensorFlow.
"""

import contextlib
import dataclasses
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
from zoo.errors import ArtefactError, InputError, check_flags
from zoo.spec import upgrade

__all__ = ["Checkpoint", "Run", "as_argument", "epochs_since_best", "new_run", "score_of"]

log = logging.getLogger("zoo")

KEYS = {"recipe", "environment", "command"}
RECIPE_KEYS = {"model", "options", "data", "epochs", "batch_size", "seed"}
LOCK_SECONDS = 1  # `Run.is_running` holds the lock for an instant


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint of a run.

    Args:
      folder: its folder.
      step: the training step at which it was written.
      logs: the metrics of the epoch that it ends; empty in the middle of an epoch.
    """

    folder: Path
    step: int
    logs: dict[str, float]

    @property
    def score(self) -> float:
        """The validation loss, or else the Fréchet distance of samples; infinite without either."""
        return score_of(self.logs)


def score_of(logs: dict) -> float:
    """Returns the number that ranks checkpoints, where lower is better; infinite if absent."""
    return logs.get("val_loss", logs.get("frechet_distance", math.inf))


def epochs_since_best(log: list[dict]) -> int:
    """Returns the number of epochs after the one with the best score; 0 if none has a score."""
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
      folder: path of the folder. It is not read or created here.
      cls: the model's class, where the registry cannot import it, as a class typed into a notebook.
    """

    def __init__(self, folder: str | os.PathLike, cls: type | None = None):
        self.folder = Path(folder)
        self.cls = cls

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

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
        """The shell command that resumes the run."""
        return shlex.join(["zoo", "train", "--resume", str(self.folder)])

    @property
    def export_command(self) -> str:
        """The shell command that exports the run."""
        return shlex.join(["zoo", "export", str(self.folder)])

    # What the files record.

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
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"Expected a run, which is a folder with a run.json. Received: {self.folder}"
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtefactError(f"{path} is damaged: {error!r}.") from None
        if missing:
            raise ArtefactError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}.")
        return record

    @property
    def recipe(self) -> dict:
        """The recipe in run.json: model, options, data, epochs, batch_size, seed."""
        return self.record["recipe"]

    @property
    def metrics(self) -> list[dict]:
        """One dict per epoch, with its "epoch", "step" and "seconds"; a torn last line is ignored.

        Raises:
          ArtefactError: if another line is damaged.
        """
        path = self.metrics_path
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        try:
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError as error:
            raise ArtefactError(f"{path} is damaged: {error}.") from None

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The committed checkpoints, newest first; their files are not verified."""
        names = storage.sealed(self.checkpoints_path)[::-1]
        return [_read_checkpoint(self.checkpoints_path / name) for name in names]

    @property
    def checkpoints_best_first(self) -> list[Checkpoint]:
        """The committed checkpoints by score, equal ones newest first."""
        return sorted(self.checkpoints, key=lambda checkpoint: checkpoint.score)

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the best score, or the newest if none has a score.

        Raises:
          ArtefactError: if there is none.
        """
        checkpoints = self.checkpoints_best_first
        if not checkpoints:
            raise ArtefactError(f"{self.folder} has no checkpoint. Received: {self!r}")
        return checkpoints[0]

    def find_best(self) -> Checkpoint:
        """Returns the checkpoint with the best score of those whose files are valid.

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
        """Whether the last epoch is done, or patience ran out, and the SavedModel is written."""
        recipe, log = self.recipe, self.metrics
        done = bool(log) and log[-1]["epoch"] == recipe["epochs"]
        patience = recipe.get("patience")
        done = done or (patience is not None and epochs_since_best(log) >= patience)
        return done and (self.saved_model / "card.json").exists()

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
        except OSError:  # nobody can work in a folder that cannot be written
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process alone, and creates its folder.

        Raises:
          InputError: if another process holds it, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._lock()
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise InputError(
                f"{self.folder} is locked by another process. Wait for it or stop it."
            ) from None
        except OSError as error:
            if error.errno in storage.FULL:
                raise
            raise InputError(
                f"Expected a folder that can be written. Received: {self.folder} ({error})"
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
            raise InputError(
                "Expected a new or empty folder for the run. Use --resume"
                f" {shlex.quote(str(self.folder))} (zoo.resume) to continue an existing run."
                f" Received: {self.folder}"
            )

    # What needs TensorFlow.

    @functools.cached_property
    def model(self):
        """The model as a live Keras model with the weights of the best checkpoint.

        It is loaded when it is first read, and stays the same object from then on.
        """
        return self.load_model()

    def load_model(self):
        """Returns a new GenerativeModel with the weights of the best valid checkpoint.

        Raises:
          InputError: if the model's class cannot be imported.
          ArtefactError: if no checkpoint is valid, or it does not fit the model.
        """
        from zoo.exports.weights import restore_checkpoint

        folder = self.find_best().folder
        model = self.create_model()
        restore_checkpoint(model, folder)
        return model

    def create_model(self):
        """Returns the model of the recipe, a GenerativeModel with new weights."""
        from zoo.exports.weights import create

        recipe = self.recipe
        return create(recipe["model"], recipe["options"], self.cls)

    def export(self, folder: str | os.PathLike | None = None, half: bool = False) -> Path:
        """Exports the best checkpoint as a SavedModel.

        Args:
          folder: path that must not exist. Default: saved_model in the run, which is replaced
            unless it is valid, of the same checkpoint and of the same precision.
          half: whether to store the weights as float16.

        Returns:
          Path of the SavedModel.

        Raises:
          InputError: if this is not a run, or folder exists or cannot be written.
          ArtefactError: if no checkpoint is valid, or the export fails its verification.
        """
        check_flags(half=half)
        _ = self.record  # refuses what is not a run before TensorFlow is imported
        from zoo.runs.training import export_run

        # Another folder needs no lock, and this one no write access.
        with self.locked() if folder is None else contextlib.nullcontext():
            return export_run(self, self.create_model(), folder, half)


def as_argument(folder: Path) -> str:
    """Returns a folder as a shell argument that cannot be mistaken for the name of a model."""
    return shlex.quote(str(folder) if folder.parent.name else f"./{folder}")


def new_run(model: str, data: str, parent: str | os.PathLike = "runs") -> Run:
    """Creates the folder of a new run, as runs/20260101-120000-vae-mnist_binary.

    Two calls within one second get two folders: the second name ends in -2.

    Args:
      model: name of the model.
      data: name of the data set.
      parent: path of the folder of runs.

    Raises:
      InputError: if it cannot be written.
    """
    words = f"{model.rpartition(':')[2].lower()}-{data}"
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-" + re.sub(r"[^\w.-]+", "-", words)
    k = 1
    while True:
        folder = Path(parent, stem if k == 1 else f"{stem}-{k}")
        try:
            folder.mkdir(parents=True)
            return Run(folder)
        except FileExistsError:
            if not Path(parent).is_dir():
                raise InputError(f"Expected a folder of runs. Received: {parent}") from None
            k += 1
        except OSError as error:
            raise InputError(
                f"Expected a folder that can be written. Received: {folder} ({error})"
            ) from None


def _read_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint's manifest; a damaged one has no score, and is reported when loaded."""
    step = int(folder.name.rpartition("-")[2])
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        logs = json.loads((folder / storage.MANIFEST).read_text("utf-8"))["logs"]
        return Checkpoint(folder, step, dict(logs))
    return Checkpoint(folder, step, {})
