"""The precision of computing, chosen for the device."""

from pathlib import Path

import tensorflow as tf

from zoo.errors import InputError

__all__ = ["PRECISIONS", "policy_for"]

PRECISIONS = ("auto", "float32", "bfloat16")
BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability with bfloat16 tensor cores (Ampere)


def policy_for(precision: str | None, recorded: str | None = None) -> str:
    """Returns the Keras dtype policy for a precision.

    Args:
      precision: "float32", "bfloat16", "auto" (bfloat16 where it is faster), or None, which is the
        recorded policy of a resumed run, or else "auto".
      recorded: the policy with which a resumed run was started.

    Returns:
      "float32" or "mixed_bfloat16": weights and losses are float32 in both.

    Raises:
      InputError: if the precision is none of these.
    """
    if precision not in (None, *PRECISIONS):
        raise InputError(
            f"Choose a precision from {', '.join(PRECISIONS)}. Received: precision={precision!r}"
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
    # Without AMX a step takes 1.4 to 1.6 times as long in bfloat16 (benchmarks/training.py).
    info = Path("/proc/cpuinfo")  # absent on macOS and Windows: float32
    if not info.exists():
        return False
    return "amx_bf16" in info.read_text().partition("flags")[2].partition("\n")[0].split()
