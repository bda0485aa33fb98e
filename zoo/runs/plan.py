"""Plans a training run: its size, device and disk space, which are printed before it starts."""

import dataclasses
import shutil
from pathlib import Path

from zoo.environment import device
from zoo.errors import InputError
from zoo.model import GenerativeModel

__all__ = ["Plan", "format_rows", "plan"]

CHECKPOINTS = 4  # on disk at a time: the two newest, the best, and one that is being written
COPIES = 4  # of the weights per checkpoint: raw weights, their average, two slots of Adam


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a training run.

    Args:
      model: name of the model.
      parameters: number of trainable parameters.
      epochs: number of epochs.
      steps: steps per epoch.
      batch_size: examples per step.
      device: name of the device.
      precision: Keras dtype policy.
      jit: whether XLA compiles the step.
      folder: folder of the run.
      disk_bytes: approximate size of the run on disk.
      free_bytes: free disk space.
      dry_run: whether only one step is run and nothing is saved.
      noun: the noun for one example.
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
        location = (
            f"{self.folder}, about {self.disk_bytes >> 20} MB of disk"
            f" ({self.free_bytes >> 30} GB free)"
        )
        rows = {
            "model": f"{self.model}, {self.parameters:,} trainable parameters",
            "train": "one step of each stage" if self.dry_run else work,
            "device": self.device,
            "precision": f"{self.precision}, jit {'on' if self.jit else 'off'}",
            "run": "nothing is saved" if self.dry_run else location,
        }
        return format_rows(rows)


def plan(model: GenerativeModel, data, recipe, folder: Path, dry_run: bool = False) -> Plan:
    """Plans the training of a compiled model.

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
            f"Not enough free disk space in {existing}: the run requires"
            f" {planned.disk_bytes >> 20} MB. Received: {planned.free_bytes >> 20} MB"
        )
    return planned


def format_rows(rows: dict[str, str]) -> str:
    """Returns one line per item, with the names in a column."""
    width = max(map(len, rows))
    return "\n".join(f"{key:{width}}  {text}" for key, text in rows.items())
