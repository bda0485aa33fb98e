"""Learning rates that models share."""

import math

import keras

__all__ = ["WarmCosine", "warm_cosine"]


def warm_cosine(learning_rate, total_steps, warmup_steps=0):
    """Makes a learning rate that rises from 0 on a line, then falls to 0 on a cosine.

    Args:
      learning_rate: float; its highest value.
      total_steps: int; steps of the whole training, or None: the rate then is constant.
      warmup_steps: int; steps in which it rises, at most a tenth of all.

    Returns:
      WarmCosine, or the float.
    """
    if not total_steps:
        return learning_rate
    return WarmCosine(learning_rate, total_steps, min(warmup_steps, total_steps // 10))


@keras.saving.register_keras_serializable("zoo")
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of `warm_cosine`.

    keras.optimizers.schedules.CosineDecay with a warm-up is a conditional. An optimizer traces its
    schedule for every weight, and the conditionals were a fifth of the time to trace a step.

    Args:
      learning_rate: float; its highest value.
      total_steps: int; steps until it is 0.
      warmup_steps: int; steps in which it rises, fewer than total_steps.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int = 0):
        self.learning_rate = learning_rate
        self.total_steps, self.warmup_steps = total_steps, warmup_steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        cosine = 0.5 + 0.5 * keras.ops.cos(math.pi * keras.ops.clip(done, 0.0, 1.0))
        if self.warmup_steps:
            cosine = keras.ops.minimum(step / self.warmup_steps, cosine)
        return self.learning_rate * cosine

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
        }
