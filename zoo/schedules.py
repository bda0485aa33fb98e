"""Shared learning rate schedules."""

import math

import keras

__all__ = ["WarmCosine", "warm_cosine"]


def warm_cosine(learning_rate, total_steps, warmup_steps=0):
    """Creates a learning rate schedule with a linear warm-up from 0 and a cosine decay to 0.

    Args:
      learning_rate: float; peak value.
      total_steps: int; total number of training steps, or None for a constant rate.
      warmup_steps: int; steps of the warm-up, reduced to at most a tenth of total_steps.

    Returns:
      WarmCosine, or the float.
    """
    if not total_steps:
        return learning_rate
    return WarmCosine(learning_rate, total_steps, min(warmup_steps, total_steps // 10))


@keras.saving.register_keras_serializable("zoo")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of `warm_cosine`.

    With a warm-up, keras.optimizers.schedules.CosineDecay contains a conditional. An optimizer
    traces its schedule for every weight, and the conditionals took a fifth of the tracing time.

    Args:
      learning_rate: float; peak value.
      total_steps: int; step at which the rate is 0.
      warmup_steps: int; steps of the warm-up, fewer than total_steps.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0):
        self.learning_rate = learning_rate
        self.total_steps, self.warmup_steps = total_steps, warmup_steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        share = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        cosine = 0.5 + 0.5 * keras.ops.cos(math.pi * keras.ops.clip(share, 0.0, 1.0))
        if self.warmup_steps:
            cosine = keras.ops.minimum(step / self.warmup_steps, cosine)
        return self.learning_rate * cosine

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }
