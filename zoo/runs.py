"""Reads the folder of a run, without importing TensorFlow."""

import json
from pathlib import Path

import filelock

from zoo.errors import ArtefactError, InputError

__all__ = ["is_running", "lock", "read_metrics", "read_run"]

KEYS = {"recipe", "environment", "command"}
RECIPE = {"model", "options", "data", "epochs", "batch_size", "seed"}


def lock(run):
    """Makes the lock of a run, filelock.FileLock, which whoever is at work in it holds."""
    return filelock.FileLock(Path(run) / ".lock", timeout=0)


def is_running(run):
    """Returns whether a process is at work in a run."""
    if not (Path(run) / ".lock").exists():
        return False
    try:
        with lock(run):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # in a folder that cannot be written nobody is at work
        return False


def read_run(run):
    """Returns what run.json of a run says: {"recipe": …, "environment": …, "command": …}.

    Raises:
      InputError: if the folder is not a run.
      ArtefactError: if run.json is damaged.
    """
    path = Path(run) / "run.json"
    try:
        description = json.loads(path.read_text())
        missing = RECIPE - {*description["recipe"]} | KEYS - {*description}
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"Expected a run, a folder with a run.json. Received: {run}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged: {error!r}.") from None
    if missing:
        raise ArtefactError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}.")
    return description


def read_metrics(run):
    """Returns metrics.jsonl of a run as a list of dicts; a torn last line is left out.

    Raises:
      ArtefactError: if another line is damaged.
    """
    path = Path(run) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    try:
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None
