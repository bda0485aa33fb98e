"""Reads the folder of a run, without importing TensorFlow."""

import json
from pathlib import Path

from zoo.errors import ArtefactError, InputError

__all__ = ["read_metrics", "read_run"]


def read_run(run):
    """Returns what run.json of a run says: {"recipe": …, "environment": …, "command": …}.

    Raises:
      InputError: if the folder is not a run.
      ArtefactError: if run.json is damaged.
    """
    path = Path(run) / "run.json"
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"Expected a run, a folder with a run.json. Received: {run}") from None
    except ValueError as error:
        raise ArtefactError(f"{path} is damaged: {error}.") from None


def read_metrics(run):
    """Returns metrics.jsonl of a run as a list of dicts; a torn last line is left out."""
    path = Path(run) / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
