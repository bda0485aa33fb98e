"""What a training will do: printed before it starts."""

import dataclasses
import shutil
from pathlib import Path

from zoo.environment import device
from zoo.errors import InputError
from zoo.model import GenerativeModel

__all__ = ["Plan", "format_rows", "plan"]

CHECKPOINTS = 4  # on disk at a time: two newest, the best, and one that is being written
COPIES = 4  # of the weights in a checkpoint: themselves, their average, two slots of Adam


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training will do.

    Args:
      model: name of the model.
      parameters: number of trainable parameters.
      epochs: passes over the training data.
      steps: steps per epoch.
      batch_size: examples per step.
      device: name of the device.
      precision: Keras dtype policy.
      jit: whether XLA compiles the step.
      folder: folder of the run.
      disk_bytes: about how much disk the run takes.
      free_bytes: how much is free.
      dry_run: whether one step is done and nothing kept.
      noun: what one example is called.
    """

    model: str
    parameters: int
    epochs: int
    steps: int
    batch_size: int
    device: str
    precision: str
    jit: bool
    folder: Path
    disk_bytes: int
    free_bytes: int
    dry_run: bool = False
    noun: str = "image"

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps

    def __str__(self):
        work = (
            f"{self.epochs:,} epoch{'s'[: self.epochs > 1]} of {self.steps:,} steps of"
            f" {self.batch_size} {self.noun}s"
        )
        kept = (
            f"{self.folder}, about {self.disk_bytes >> 20} MB of disk"
            f" ({self.free_bytes >> 30} GB are free)"
        )
        rows = {
            "model": f"{self.model}, {self.parameters:,} trainable parameters",
            "train": "one step of everything" if self.dry_run else work,
            "device": self.device,
            "precision": f"{self.precision}, jit {'on' if self.jit else 'off'}",
            "run": "nothing is kept" if self.dry_run else kept,
        }
        return format_rows(rows)


def plan(model: GenerativeModel, data, recipe, folder: Path, dry_run: bool = False) -> Plan:
    """Plans a training of a compiled model.

    Raises:
      InputError: if the disk is too small for the checkpoints.
    """
    parameters = sum(w.shape.num_elements() for w in model.trainable_variables)
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    planned = Plan(
        model=recipe["model"],
        parameters=parameters,
        epochs=recipe["epochs"],
        steps=1 if dry_run else len(data.train) // recipe["batch_size"],
        batch_size=recipe["batch_size"],
        device=device(),
        precision=model.dtype_policy.name,
        jit=bool(model.jit_compile),
        folder=folder,
        disk_bytes=CHECKPOINTS * COPIES * 4 * parameters + 2**20,
        free_bytes=shutil.disk_usage(existing).free,
        dry_run=dry_run,
        noun=model.spec.noun,
    )
    if planned.disk_bytes > planned.free_bytes:
        raise InputError(
            f"Expected {planned.disk_bytes >> 20} MB of free disk in {existing}."
            f" Received: {planned.free_bytes >> 20} MB"
        )
    return planned


def format_rows(rows: dict[str, str]) -> str:
    """Returns one line per item: its name, in a column, and its text."""
    width = max(map(len, rows))
    return "\n".join(f"{key:{width}}  {text}" for key, text in rows.items())
