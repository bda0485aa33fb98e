"""Chooses the precision of computations for the device."""

from pathlib import Path

import tensorflow as tf

from zoo.errors import InputError

__all__ = ["PRECISIONS", "policy_for"]

PRECISIONS = ("auto", "float32", "bfloat16")
BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability with bfloat16 tensor cores (Ampere)


def policy_for(precision: str | None, recorded: str | None = None) -> str:
    """Returns the Keras dtype policy for a precision.

    Args:
      precision: "float32", "bfloat16", "auto" (bfloat16 if it is faster), or None (the recorded
        policy of a resumed run, else "auto").
      recorded: the policy with which a resumed run was started.

    Returns:
      "float32" or "mixed_bfloat16". Weights and losses are float32 in both.

    Raises:
      InputError: if the precision is unknown.
    """
    if precision not in (None, *PRECISIONS):
        raise InputError(
            f"precision must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}"
        )
    if precision is None and recorded is not None:
        return recorded
    if precision in (None, "auto"):
        precision = "bfloat16" if _bfloat16_is_faster() else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def _bfloat16_is_faster() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0,)) >= BFLOAT16_CAPABILITY
    # Without AMX, bfloat16 takes 1.4 to 1.6 times as long per step (benchmarks/training.py).
    info = Path("/proc/cpuinfo")  # absent on macOS and Windows, which use float32
    if not info.exists():
        return False
    return "amx_bf16" in info.read_text().partition("flags")[2].partition("\n")[0].split()
