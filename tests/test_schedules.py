"""Learning rate schedules: values and configs."""

import keras
import numpy as np
import pytest

from zoo.schedules import warm_cosine


@pytest.mark.parametrize(("warmup", "rises"), [(0, 0), (7, 7), (100, 12)])
def test_warm_cosine_is_the_cosine_decay_of_keras(warmup, rises):
    rate = warm_cosine(0.3, 120, warmup)
    expected = keras.optimizers.schedules.CosineDecay(
        0.0, 120 - rises, warmup_target=0.3, warmup_steps=rises
    )
    values = [float(rate(step)) for step in range(130)]
    np.testing.assert_allclose(values, [expected(step) for step in range(130)], atol=1e-7)
    assert values[rises] == max(values) == pytest.approx(0.3)


def test_the_rate_is_constant_without_total_steps():
    assert warm_cosine(0.3, None, 7) == 0.3


def test_an_optimizer_keeps_its_schedule_in_its_config():
    optimizer = keras.optimizers.Adam(warm_cosine(0.3, 120, 7))
    again = keras.optimizers.Adam.from_config(optimizer.get_config())
    assert float(again.learning_rate) == float(optimizer.learning_rate) == 0.0
    again.iterations.assign(50)
    optimizer.iterations.assign(50)
    assert float(again.learning_rate) == float(optimizer.learning_rate) > 0.1
