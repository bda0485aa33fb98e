"""`zoo.train` and `zoo.resume` from Python, which are equivalent to the command line."""

import csv
import json
import logging
import shutil
import signal
import subprocess
import sys
from html import escape
from pathlib import Path

import keras
import numpy as np
import pytest
from support.data import write_images
from support.noisy import Noisy
from support.shell import (
    NOISY,
    assert_refused,
    assert_same_weights,
    environment,
    here,
    log,
    write_data,
)
from support.toys import make

import zoo
from zoo.errors import InputError, TrainingError
from zoo.runs.folder import Run, epochs_since_best, new_run
from zoo.runs.training import TrainingInterrupted

VOLATILE = ("command", "training_seconds", "ms_per_image", "files", "bytes")  # of a card


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the data sets of `write_data`."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def finished(data):
    """A finished run of a model object on arrays, and the model."""
    model = make(Noisy, (8, 8, 1))
    return zoo.train(model, binary(data), run=data / "finished", epochs=2, batch_size=64), model


def binary(data):
    with np.load(data / "binary.npz") as file:
        return file["images"][..., None].astype(np.float32)


def card(run):
    return json.loads((Run(run).saved_model / "card.json").read_text())


@pytest.mark.parametrize(
    ("model", "file", "options"),
    [
        (NOISY, "binary", {"learning_rate": 0.1}),
        (NOISY, "classes", {"conditional": True}),
        ("vae", "binary", {"latent_dim": 2, "filters": 2, "hidden_dim": 4}),
        ("gan", "grey", {"latent_dim": 2, "hidden_dim": 8}),
    ],
    ids=["one objective", "conditional", "vae", "gan"],
)
def test_the_command_line_and_python_give_equal_weights_card_and_scores(
    data, tmp_path, model, file, options
):
    source, settings = str(data / f"{file}.npz"), dict(options)
    flags = ["--conditional"] if settings.pop("conditional", False) else []
    for key, value in settings.items():
        flags += ["--set", f"{key}={value}"]
    flags += ["--epochs", 1, "--batch-size", 64, "--seed", 3, "--run", tmp_path / "typed"]
    result = here("train", model, "--data", source, *flags)
    assert result.returncode == 0, result.stderr
    run = zoo.train(
        model, source, epochs=1, batch_size=64, seed=3, run=tmp_path / "called", **options
    )
    assert_same_weights(run.folder, tmp_path / "typed")
    assert log(run.folder) == log(tmp_path / "typed")
    cards = [card(run), card(tmp_path / "typed")]
    assert cards[0]["scores"] == cards[1]["scores"]
    assert bool(cards[0]["scores"]) == (model != "gan")
    stable = [{key: value for key, value in c.items() if key not in VOLATILE} for c in cards]
    assert stable[0] == stable[1]
    samples = [zoo.load(r).sample(4, 0, *labels(options)) for r in (run, tmp_path / "typed")]
    assert np.array_equal(*samples)


def labels(options):
    return [[0, 1, 2, 0]] if options.get("conditional") else []


def test_a_run_has_the_best_weights_as_a_keras_model(finished):
    run, model = finished
    assert [line["epoch"] for line in run.metrics] == [1, 2]
    assert run.best.step == min(run.metrics, key=lambda line: line["val_loss"])["step"]
    again = Run(run.folder).model
    assert isinstance(again, zoo.GenerativeModel)
    for a, b in zip(again.weights, run.model.weights, strict=True):
        assert np.array_equal(a, b)
    expected = zoo.load(run).sample(4, seed=1)
    assert np.array_equal(again.sample(4, [0, 1]), expected)
    assert run.model is model


def test_a_run_is_shown_as_zoo_runs_prints_it_with_its_last_grid(finished):
    run, _ = finished
    (shown,) = zoo.list_runs(run.folder.parent)
    assert shown.folder == run.folder
    printed = here("runs", run.folder.parent).stdout.splitlines()[1].split()
    for html in (run._repr_html_(), zoo.list_runs(run.folder.parent)._repr_html_()):
        assert all(escape(word) in html for word in printed)
    assert run._repr_html_().count("<img") == 1
    assert f"{run.metrics[-1]['val_loss']:.4g}" in run.metrics._repr_html_()
    assert zoo.list_runs(run.folder / "nothing") == []


def test_a_run_remembers_the_arrays_that_it_was_trained_on(finished, tmp_path):
    run, _ = finished
    assert run.resume_command.startswith(f"zoo.resume({str(run.folder)!r}, data")
    (score, *_) = scores = zoo.evaluate(run, metrics="likelihood", limit=10)
    assert score["protocol"]["count"] == 10
    assert "10 test images of arrays" in scores._repr_html_()
    checks = zoo.verify(run)
    assert all(check.agrees for check in checks)
    assert checks._repr_html_().count(">yes<") == len(checks)
    copy = Run(shutil.copytree(run.folder, tmp_path / "copy"), run.cls, run.data)
    assert len(zoo.resume(copy, epochs=3).metrics) == 3
    with pytest.raises(InputError, match="Pass them again, as data="):
        zoo.evaluate(run.folder, metrics="likelihood")


def test_a_second_training_of_one_model_is_a_new_run_from_its_weights(finished, data, tmp_path):
    run, model = finished
    before = [weight.numpy() for weight in model.trainable_weights]
    second = zoo.train(model, binary(data), run=tmp_path / "second", epochs=3, batch_size=64)
    assert [line["epoch"] for line in second.metrics] == [1, 2, 3]
    assert second.metrics[0]["loss"] < run.metrics[0]["loss"]
    assert card(second)["step"] > 0
    assert any(
        not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True)
    )


def test_keras_callbacks_receive_every_metric_and_can_stop(data, tmp_path):
    run = zoo.train(
        "gan",
        data / "grey.npz",
        run=tmp_path / "run",
        epochs=3,
        batch_size=64,
        callbacks=[
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.EarlyStopping("pixel_diversity", mode="max", min_delta=1e9, patience=1),
        ],
        latent_dim=2,
        hidden_dim=8,
    )
    with (tmp_path / "log.csv").open() as file:
        rows = [*csv.DictReader(file)]
    written = [float(row["pixel_diversity"]) for row in rows]
    assert written == pytest.approx([line["pixel_diversity"] for line in run.metrics])
    assert len(rows) == 2


def test_patience_stops_a_run_that_does_not_improve(data, tmp_path, caplog):
    caplog.set_level(logging.INFO, "zoo")
    frozen = make(Noisy, (8, 8, 1), learning_rate=1e-30)
    run = zoo.train(frozen, binary(data), run=tmp_path, epochs=9, batch_size=64, patience=2)
    assert len(run.metrics) == 3
    assert "Stopping: no better score for 2 epochs." in caplog.messages
    assert run.recipe["patience"] == 2
    assert run.is_finished


@pytest.mark.parametrize(
    ("losses", "epochs"), [([], 0), ([3, 2, 1], 0), ([1, 2, 3], 2), ([2, 1, 1], 1)]
)
def test_epochs_since_the_best(losses, epochs):
    assert epochs_since_best([{"val_loss": loss} for loss in losses]) == epochs
    assert epochs_since_best([{"loss": loss} for loss in losses]) == 0


def test_a_config_repeats_a_run(data, tmp_path):
    settings = ["--data", data / "binary.npz", "--epochs", 1, "--batch-size", 64]
    settings += ["--set", "learning_rate=0.2"]
    assert here("train", NOISY, *settings, "--run", tmp_path / "a").returncode == 0
    config = tmp_path / "a" / "run.json"
    result = here("train", "--config", config, "--run", tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert_same_weights(tmp_path / "b", tmp_path / "a")
    result = here("train", "--config", config, "--seed", 1, "--run", tmp_path / "c")
    assert result.returncode == 0, result.stderr
    assert Run(tmp_path / "c").recipe == {**Run(tmp_path / "a").recipe, "seed": 1}


class Stop(keras.callbacks.Callback):
    """Sends SIGTERM at a step."""

    def __init__(self, step):
        super().__init__()
        self.at = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step) + 1 == self.at:
            signal.raise_signal(signal.SIGTERM)


def test_an_interrupt_is_a_keyboard_interrupt_and_the_run_resumes(data, tmp_path):
    model = make(Noisy, (8, 8, 1))
    resume = r"Saved step 3\. Resume with: zoo\.resume\('.*/run', data\)"
    with pytest.raises(KeyboardInterrupt, match=resume) as caught:
        zoo.train(
            model, binary(data), run=tmp_path / "run", epochs=2, batch_size=64, callbacks=[Stop(3)]
        )
    assert isinstance(caught.value, TrainingInterrupted)
    assert caught.value.run.checkpoints[0].step == 3
    run = zoo.resume(caught.value.run, binary(data))
    assert [line["epoch"] for line in run.metrics] == [1, 2]


def test_data_can_move_but_must_not_change(data, tmp_path):
    shutil.copy(data / "binary.npz", tmp_path / "first.npz")
    with pytest.raises(TrainingInterrupted):
        zoo.train(
            NOISY,
            tmp_path / "first.npz",
            run=tmp_path / "run",
            epochs=1,
            batch_size=64,
            callbacks=[Stop(3)],
        )
    (tmp_path / "first.npz").rename(tmp_path / "second.npz")
    with pytest.raises(InputError, match="the training data changed"):
        zoo.resume(tmp_path / "run", data / "other.npz")
    run = zoo.resume(tmp_path / "run", tmp_path / "second.npz")
    assert len(run.metrics) == 1


def test_options_are_refused_for_a_model_that_has_its_own(data):
    with pytest.raises(InputError, match="require the name of a model"):
        zoo.train(make(Noisy, (8, 8, 1)), binary(data), learning_rate=0.1)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", [0, -1, 1.5, "1"]),
        ("batch_size", [0, -1, 1.5, "1"]),
        ("seed", [-1, 2**31, 1.5, "a"]),
        ("patience", [0, "a"]),
        ("precision", ["float16", 16]),
        ("callbacks", [["a"], [None]]),
    ],
)
def test_invalid_arguments_are_refused(data, name, values):
    for value in values:
        with pytest.raises(InputError, match=f"Received: {name}="):
            zoo.train(NOISY, binary(data), dry_run=True, **{name: value})


@pytest.mark.parametrize("value", ["a", 1, "False"])
def test_flags_must_be_bools(data, finished, tmp_path, value):
    flags = ["binarize", "conditional", "jit", "deterministic"]
    for name in (*flags, "dry_run"):
        with pytest.raises(InputError, match=f"^{name} must be True or False. Received: {name}="):
            zoo.train(NOISY, binary(data), run=tmp_path / "run", **{name: value})
    run, _ = finished
    for name in flags:
        with pytest.raises(InputError, match=f"Received: {name}={value!r}"):
            zoo.resume(run, **{name: value})
    with pytest.raises(InputError, match=f"Received: half={value!r}"):
        run.export(half=value)
    with pytest.raises(InputError, match=f"Received: quick={value!r}"):
        zoo.verify("vae", quick=value)
    for load in (zoo.load_dataset, zoo.Splits.from_arrays):
        with pytest.raises(InputError, match=f"Received: binarize={value!r}"):
            load(binary(data), binarize=value)


def test_a_run_that_skips_damaged_files_resumes_and_is_evaluated(tmp_path):
    folder = write_images(tmp_path / "photos", 40, size=(8, 8))
    (folder / "bad.png").write_text("not an image")
    flags = ["--binarize", "--batch-size", 8, "--run", tmp_path / "run"]
    result = here("train", NOISY, "--data", folder, "--epochs", 1, "--skip-damaged", *flags)
    assert result.returncode == 0, result.stderr
    assert "1 left out that cannot be read: not an image: bad.png" in result.stdout
    assert len(zoo.resume(tmp_path / "run", epochs=2).metrics) == 2
    zoo.evaluate(tmp_path / "run", metrics="likelihood")
    assert "bad.png" in here("data", folder, "--skip-damaged").stdout
    assert_refused(here("data", folder), 2, "bad.png", "add --skip-damaged")


def test_large_images_without_a_size_are_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.runs.training._create", None)
    images = np.zeros((10, 1025, 1024), bool)
    with pytest.raises(InputError, match=r"1025x1024 .* [Aa]dd size=64"):
        zoo.train(NOISY, images, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_weights_that_exceed_the_memory_are_reported_as_such(data, tmp_path):
    with pytest.raises(TrainingError, match=r"Out of memory for the weights.*OOM.*smaller options"):
        zoo.train("vae", data / "binary.npz", run=tmp_path / "run", latent_dim=2 * 10**9)
    assert not (tmp_path / "run").exists()


class _Allocate(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        np.ones(2**50)


def test_a_step_that_exceeds_the_memory_is_reported_as_such(data, tmp_path):
    with pytest.raises(TrainingError, match=r"Out of memory \(Unable to allocate.*smaller batch"):
        zoo.train(NOISY, data / "binary.npz", run=tmp_path / "run", callbacks=_Allocate())


@pytest.mark.parametrize("number", [99, 100])
def test_only_a_very_short_run_is_advised_to_be_longer(tmp_path, caplog, number):
    class Instant(Noisy):
        def fit(self, *args, **kwargs):
            raise KeyboardInterrupt

    images = np.zeros((number, 8, 8), np.float32)
    splits = zoo.Splits.from_arrays(images, validation=images[:2], test=images[:2])
    with caplog.at_level("INFO", "zoo"), pytest.raises(KeyboardInterrupt):
        zoo.train(make(Instant, (8, 8, 1)), splits, run=tmp_path / "run", epochs=1, batch_size=1)
    assert ("too few to learn much" in caplog.text) == (number < 100)


@pytest.mark.parametrize("model", [3, Noisy, keras.Sequential()])
def test_an_invalid_model_is_refused(data, model):
    with pytest.raises(InputError, match=r"must be a name or a zoo\.GenerativeModel object"):
        zoo.train(model, binary(data))


@pytest.mark.parametrize("model", [None, 3, make(Noisy, (8, 8, 1))])
@pytest.mark.parametrize("call", [zoo.evaluate, zoo.verify, zoo.load, zoo.restore])
def test_an_invalid_saved_model_is_refused(call, model):
    with pytest.raises(InputError, match=r"must be the name .* or the path of a SavedModel"):
        call(model)


def test_runs_that_start_within_a_second_have_different_folders(tmp_path):
    folders = {new_run("zoo-a:vae", "my data/[x]", tmp_path).folder.name for _ in range(3)}
    assert len(folders) == 3
    assert all(name.isprintable() and not set(name) & set("[]/ :") for name in folders)


def test_the_optimizer_of_a_compiled_model_is_kept_and_resumed(data, tmp_path):
    def moved(run):
        return np.abs(run.model.table.numpy() - start).max()

    runs = {}
    for rate in (None, 1e-6):
        keras.utils.set_random_seed(1)
        model = make(Noisy, (8, 8, 1))
        start = model.table.numpy()
        if rate:
            model.compile(keras.optimizers.SGD(rate))
        runs[rate] = zoo.train(
            model, binary(data), epochs=1, batch_size=64, run=tmp_path / f"{rate}"
        )
        assert (moved(runs[rate]) < 1e-3) == (rate is not None)
    assert "compile" not in runs[None].recipe
    assert runs[1e-6].recipe["compile"]["optimizer"]["class_name"] == "SGD"
    longer = zoo.resume(runs[1e-6].folder, binary(data), epochs=2)
    assert moved(longer) < 1e-3
    assert longer.export(tmp_path / "exported").is_dir()


@pytest.mark.slow
def test_several_trainings_do_not_warn_of_retracing(data, tmp_path, caplog):
    for k in range(5):
        zoo.train(
            make(Noisy, (8, 8, 1)), binary(data), epochs=1, batch_size=160, run=tmp_path / f"{k}"
        )
    assert not [r for r in caplog.records if "retracing" in r.getMessage()]


SCRIPT = """
import numpy as np
import tensorflow as tf
import zoo
from support.toys import Pixels, make

class Mine(Pixels):
    pass

data = np.zeros((40, 4, 4, 1), np.float32)
{guard}zoo.train(make(Mine, (4, 4, 1)), data, run="run", epochs=1, batch_size=8)
"""


def test_a_class_of_a_script_is_imported_without_training(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=""))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Call zoo.train below `if __name__ == '__main__':`" in done.stderr
    before = sorted(tmp_path.rglob("*"))
    result = here("export", "run", "exported", cwd=tmp_path)
    assert_refused(result, 2, "script.py trains a model when it is imported")
    assert [p for p in sorted(tmp_path.rglob("*")) if p.suffix != ".pyc"] == before
    script.write_text(SCRIPT.format(guard="if __name__ == '__main__': "))
    result = here("export", "run", "exported", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "exported" / "card.json").is_file()


def test_a_class_of_an_interactive_session_is_reported_and_passed_as_cls(
    data, tmp_path, caplog, monkeypatch
):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)  # as in a shell
    scope = {"Noisy": Noisy, "__name__": "__main__"}
    exec("class Typed(Noisy): pass", scope)
    model = make(scope["Typed"], (8, 8, 1))
    run = zoo.train(model, binary(data), run=tmp_path, epochs=1, batch_size=64)
    assert "Typed is defined in an interactive session" in caplog.text
    with pytest.raises(InputError, match="cls=CLASS"):
        zoo.restore(tmp_path)
    again = zoo.restore(tmp_path, cls=scope["Typed"])
    assert np.array_equal(again.sample(4, 0), run.model.sample(4, 0))


def test_missing_labels_are_detected_before_training(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 2, (60, 8, 8), np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "half.npz", x_train=images[:40], y_train=labels[:40], x_test=images[40:])
    result = here(
        "train", NOISY, "--data", tmp_path / "half.npz", "--conditional", "--run", tmp_path / "run"
    )
    assert_refused(result, 2, "The test split of half has no labels")
    assert not (tmp_path / "run").exists()


def test_a_run_that_cannot_be_written_is_exported_elsewhere(finished, data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        run = Path(shutil.copytree(finished[0].folder, disk / "run"))
        (run / ".lock").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        result = here("export", run, tmp_path / "exported")
        assert result.returncode == 0, result.stderr
        with pytest.raises(InputError, match=r"Cannot (create|write) the folder of the run"):
            zoo.resume(run, binary(data))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
