"""Learning rates that models share."""

import keras

__all__ = ["warm_cosine"]


def warm_cosine(learning_rate, total_steps, warmup_steps=0):
    """Makes a learning rate that rises from 0 on a line, then falls to 0 on a cosine.

    Args:
      learning_rate: float; its highest value.
      total_steps: int; steps of the whole training, or None: the rate then is constant.
      warmup_steps: int; steps in which it rises, at most a tenth of all.

    Returns:
      keras.optimizers.schedules.LearningRateSchedule, or the float.
    """
    if not total_steps:
        return learning_rate
    warmup_steps = min(warmup_steps, total_steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total_steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )
