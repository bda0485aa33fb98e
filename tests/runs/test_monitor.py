"""The sample monitor detects mode collapse and ranks checkpoints without a loss."""

import json
import logging
import re

import keras
import pytest
from support.shell import saved_steps
from support.toys import make

import zoo
from zoo.errors import TrainingError
from zoo.models.gan import GAN
from zoo.runs import monitor
from zoo.runs.folder import Run
from zoo.runs.monitor import SampleMonitor


class Collapsed(GAN):
    """A GAN whose generator ignores z."""

    def generate(self, z, label, training=False):
        return super().generate(0.0 * z, label, training)


class Outclassed(GAN):
    """A GAN whose generator is as diverse as the data but does not learn."""

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        for weight in self.generator.trainable_variables:
            weight.assign(4.0 * weight)
        super().compile(optimizer, total_steps, **kwargs)
        self.generator_optimizer = keras.optimizers.SGD(0.0)
        self.generator_optimizer.build(self.generator.trainable_variables)


@pytest.fixture(scope="module")
def patterns():
    """Images of 8 x 8 pixels with three patterns, 8-bit: (train, validation, test)."""
    return zoo.testing.Subject(GAN, "8-bit").data


SMALL = dict(hidden_dim=32, latent_dim=4, learning_rate=1e-3)


@pytest.mark.parametrize("kind", ["8-bit", pytest.param("conditional", marks=pytest.mark.slow)])
def test_mode_collapse_stops_the_run(tmp_path, kind, caplog):
    subject = zoo.testing.Subject(Collapsed, kind, SMALL)
    model, patterns = subject.create(), subject.data
    caplog.set_level(logging.INFO, "zoo")
    with pytest.raises(TrainingError, match=r"At step 1,152 the samples have coll") as caught:
        zoo.train(model, patterns, run=tmp_path, epochs=25, batch_size=8)
    assert caught.value.exit_code == 4
    assert any(
        "pixel_diversity is 1 for images and must stay above 0.1" in m for m in caplog.messages
    )
    assert "export" in str(caught.value)
    assert "the newest checkpoint, step-00001104" in str(caught.value)
    assert saved_steps(tmp_path)[-1] == 1104
    measured = {line["step"]: line.get("pixel_diversity") for line in Run(tmp_path).metrics}
    assert measured[1104] is None
    assert max(measured[576], measured[1152]) < 1e-6


@pytest.mark.parametrize(
    ("diversities", "reason"),
    [
        ([0.9, 0.05, 0.9, 0.05], None),
        ([0.9, 0.05, 0.05], "fell below 0.1 and is now 0.050. Try a smaller"),
        ([0.05, 0.05, 0.05, 0.05], None),
        ([0.01, 0.05, 0.05, 0.05, 0.12, 0.05], None),
        ([0.01, 0.05, 0.05, 0.05, 0.06], "never exceeded 0.1 and is now 0.060. Try a larger"),
    ],
)
def test_samples_collapse_if_diversity_falls_or_never_rises(patterns, diversities, reason):
    sample_monitor = SampleMonitor(None, *patterns[:2], 0)
    log = []
    for k, value in enumerate(diversities):
        log += [{"step": 1000 * k + 500}, {"step": 1000 * k + 1000, "pixel_diversity": value}]
        if k < len(diversities) - 1:
            assert sample_monitor.diagnose(log) is None
    assert (
        (sample_monitor.diagnose(log) is None)
        if reason is None
        else reason in sample_monitor.diagnose(log)
    )
    early = [{**line, "step": line["step"] // 100} for line in log]
    assert sample_monitor.diagnose(early) is None


def test_a_dominating_discriminator_stops_the_run(patterns, tmp_path):
    keras.utils.set_random_seed(1)
    model = make(Outclassed, (8, 8, 1), 256, **SMALL)
    with pytest.raises(TrainingError, match="the discriminator dominates") as caught:
        zoo.train(model, patterns, run=tmp_path, epochs=40, batch_size=8)
    assert caught.value.exit_code == 4
    log = Run(tmp_path).metrics
    assert 1000 <= log[-1]["step"] < 1800
    recent = [x["generator_loss"] for x in log if x["step"] > log[-1]["step"] - 1000]
    assert min(recent) >= 10.0


def test_non_finite_values_stop_the_run_and_keep_the_last_checkpoint(patterns, tmp_path):
    model = make(GAN, (8, 8, 1), 256, **{**SMALL, "learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"is (nan|inf)|not finite"):
        zoo.train(model, patterns, run=tmp_path, epochs=3, batch_size=32)
    assert saved_steps(tmp_path) == [0]


def test_the_best_checkpoint_has_the_samples_nearest_to_validation_images(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(monitor, "COUNT", 1000)
    data = zoo.load_dataset("mnist")
    keras.utils.set_random_seed(1)
    model = make(GAN, (28, 28, 1), 256, hidden_dim=8, latent_dim=4, learning_rate=5e-2)
    caplog.set_level(logging.INFO, "zoo")
    epoch_logs = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch_logs.append(dict(logs))
    )
    run = zoo.train(
        model, data, run=tmp_path / "run", epochs=4, batch_size=512, callbacks=[callback]
    )
    log = run.metrics
    assert [line["frechet_distance"] for line in epoch_logs] == [
        line["frechet_distance"] for line in log
    ]
    distances = {line["step"]: line["frechet_distance"] for line in log}
    assert len(distances) == 4
    best = min(distances, key=distances.get)
    assert best < max(distances)
    assert run.best.step == best
    assert json.loads((run.saved_model / "card.json").read_text())["step"] == best
    messages = caplog.messages
    real = next(filter(None, (re.search(r"training images have ([0-9.]+)\.", m) for m in messages)))
    assert 0.0 < float(real[1]) < 0.1 * min(distances.values())
    so_far = [x == min([*distances.values()][: k + 1]) for k, x in enumerate(distances.values())]
    assert so_far == [
        text.endswith("best so far") for text in messages if text.startswith("epoch ")
    ]
