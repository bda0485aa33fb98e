"""Interrupted, killed and damaged runs resume to the exact result of an uninterrupted run."""

import contextlib
import errno
import json
import logging
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.faults import Faults, Killed, changes
from support.noisy import Noisy
from support.shell import (
    EPOCHS,
    NOISY,
    STEPS,
    TESTS,
    TRAIN,
    Running,
    assert_refused,
    assert_same_weights,
    copy_of_finished,
    finished,
    flip,
    here,
    log,
    saved_steps,
    write_data,
)
from support.toys import make

import zoo
from zoo import datasets, storage
from zoo.errors import ArtefactError, InputError, TrainingError
from zoo.runs import training
from zoo.runs.folder import Run


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One run that is interrupted, killed and damaged, and the result of each command."""
    cwd = tmp_path_factory.mktemp("broken")
    write_data(cwd)
    results = {"run": cwd / "run", "resume": ["train", "--resume", "run"]}
    arguments = [*TRAIN, "--run", "run"]
    for name, number in (("terminated", signal.SIGTERM), ("interrupted", signal.SIGINT)):
        running = Running(*arguments, cwd=cwd)
        running.wait_for("Expected time")  # printed in the first quarter of the epoch
        running.send(number)
        start = time.monotonic()
        running.wait_for("Saved step")
        results[f"{name} seconds"] = time.monotonic() - start
        results[name] = running.wait()
        arguments = results["resume"]

    running = Running(*arguments, cwd=cwd)
    running.wait_for(f"(saved step {3 * STEPS})")
    running.send(signal.SIGSTOP)
    running.wait_stopped()
    results["second"] = here(*arguments, cwd=cwd)
    running.send(signal.SIGKILL)
    results["killed"] = running.wait()

    results["damaged"] = saved_steps(results["run"])[-1]
    flip(results["run"] / "checkpoints" / f"step-{results['damaged']:08}" / "variables.index")
    running = Running(*arguments, cwd=cwd)
    while not [*results["run"].glob(".tmp-*saved_model-*/samples.png")]:
        assert running.process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)  # now the clean process verifies the export
    running.send_group(signal.SIGINT)
    results["exporting"] = running.wait()
    (cwd / "elsewhere").mkdir()
    results["last"] = here("train", "--resume", "../run", cwd=cwd / "elsewhere")
    yield results
    running.end()


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return datasets.load_dataset(folder / "binary.npz")


def train(model, splits, run, **settings):
    return zoo.train(model, splits, run=run, **{"epochs": 4, "batch_size": 32, **settings})


@pytest.fixture
def messages(caplog):
    """Returns a function that returns the log messages."""
    caplog.set_level(logging.INFO, "zoo")
    return lambda: caplog.messages


@pytest.mark.parametrize(("name", "code"), [("terminated", 143), ("interrupted", 130)])
def test_a_signal_saves_and_prints_the_resume_command(broken, name, code):
    result = broken[name]
    assert (result.returncode, result.stderr) == (code, "")
    last = result.stdout.splitlines()[-1]
    step = int(re.fullmatch(r"Saved step (\d+)\. Resume with: zoo train --resume run", last)[1])
    assert step % STEPS
    assert broken[f"{name} seconds"] < 5
    resumed = {"terminated": "interrupted", "interrupted": "killed"}[name]
    assert f"Resuming at step {step} of {EPOCHS * STEPS}." in broken[resumed].stdout


def test_a_second_process_on_a_run_is_refused(broken):
    assert_refused(broken["second"], 2, "run is locked by another process")


def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(broken):
    damaged = f"step-{broken['damaged']:08}"
    lines = broken["exporting"].stdout.splitlines()
    [told] = broken["exporting"].stderr.splitlines()
    assert f"{damaged}/variables.index is damaged" in told
    assert f"Moved the folder to run/checkpoints/.damaged-{damaged}" in told
    resumed = next(line for line in lines if line.startswith("Resuming"))
    assert int(re.search(r"step (\d+)", resumed)[1]) < broken["damaged"]
    assert (broken["run"] / "checkpoints" / f".damaged-{damaged}" / "variables.index").exists()


def test_ctrl_c_during_the_export_does_not_interrupt_it(broken):
    result = broken["exporting"]
    assert result.returncode == 130
    assert f"Saved step {EPOCHS * STEPS}." in result.stdout.splitlines()[-1]


def test_an_interrupted_run_is_bit_equal_to_an_uninterrupted_one(broken):
    assert broken["killed"].returncode == -signal.SIGKILL
    assert broken["last"].returncode == 0, broken["last"].stderr
    assert_same_weights(broken["run"], finished().run)
    assert log(broken["run"]) == log(finished().run)
    cards = [json.loads((run / "saved_model/card.json").read_text()) for run in _both(broken)]
    assert cards[0]["scores"] == cards[1]["scores"]
    grids = [(run / "saved_model/samples.png").read_bytes() for run in _both(broken)]
    assert grids[0] == grids[1]


def test_an_interrupted_run_leaves_no_temporary_files(broken):
    hidden = {path.name for path in broken["run"].rglob(".*")}
    assert hidden == {".lock", f".damaged-step-{broken['damaged']:08}"}


def _both(broken):
    return broken["run"], finished().run


def test_a_run_writes_its_log_samples_and_environment(splits):
    run = finished().run
    lines = log(run)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["step"] for line in lines] == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]
    assert lines[-1]["val_loss"] < lines[0]["val_loss"]
    grids = sorted(path.name for path in (run / "samples").iterdir())
    assert grids == [f"step-{STEPS * k:08}.png" for k in (1, 2, 3, 4)]
    description = json.loads((run / "run.json").read_text())
    assert description["recipe"]["data"]["fingerprint"] == splits[0].fingerprint
    assert description["recipe"]["options"]["learning_rate"] == 0.05
    assert description["environment"]["versions"]["keras"] == keras.__version__


def test_tensorboard_can_read_the_losses_and_the_grids():
    events = {}
    paths = sorted((finished().run / "events").iterdir())
    for record in tf.data.TFRecordDataset([str(path) for path in paths]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            events.setdefault(value.tag, {})[event.step] = value
    lines = log(finished().run)
    for key in ("loss", "val_loss"):
        written = {line["step"]: np.float32(line[key]) for line in lines}
        assert {step: value.simple_value for step, value in events[key].items()} == written
    picture = tf.io.decode_png(events["samples"][4 * STEPS].image.encoded_image_string)
    assert min(picture.shape[:2]) > 100
    below_the_title = picture[picture.shape[0] // 2 :]
    assert len(np.unique(below_the_title)) == 2


class Rising(Noisy):
    """Noisy with a loss that increases with the step."""

    def compute_loss(self, x, condition, seed, first, training=False):
        return super().compute_loss(x, condition, seed, first, training) + tf.cast(
            self.step, tf.float32
        )


def test_the_newest_two_checkpoints_and_the_best_are_kept_and_the_best_is_exported(
    splits, tmp_path
):
    run = train(make(Rising, (8, 8, 1)), splits, tmp_path)
    assert saved_steps(tmp_path) == [10, 30, 40]
    assert run.best.step == 10
    assert json.loads((run.saved_model / "card.json").read_text())["step"] == 10


def test_a_run_can_be_extended_to_more_epochs(tmp_path):
    run = copy_of_finished(tmp_path)
    result = here("train", "--resume", run, "--epochs", EPOCHS + 1)
    assert result.returncode == 0, result.stderr
    assert f"Resuming at step {EPOCHS * STEPS} of {(EPOCHS + 1) * STEPS}." in result.stdout
    assert log(run)[:-1] == log(finished().run)
    assert log(run)[-1]["epoch"] == EPOCHS + 1
    assert json.loads((run / "run.json").read_text())["recipe"]["epochs"] == EPOCHS + 1
    assert json.loads((run / "saved_model/card.json").read_text())["step"] == saved_steps(run)[-1]
    assert not [*run.glob(".tmp-*")]


def test_a_resume_keeps_the_precision_or_reports_the_change(tmp_path):
    run = copy_of_finished(tmp_path)
    description = json.loads((run / "run.json").read_text())
    other = {"float32": "mixed_bfloat16", "mixed_bfloat16": "float32"}
    began = other[description["environment"]["precision"]]
    description["environment"]["precision"] = began
    (run / "run.json").write_text(json.dumps(description))
    kept = here("train", "--resume", run)
    assert kept.returncode == 0, kept.stderr
    assert "The environment changed" not in kept.stdout
    assert json.loads((run / "run.json").read_text())["environment"]["precision"] == began
    option = other[began].removeprefix("mixed_")
    changed = here("train", "--resume", run, "--precision", option)
    assert f"The environment changed: precision {began} -> {other[began]}" in changed.stdout


def test_the_commands_that_start_and_extend_a_run_are_recorded(tmp_path):
    run = copy_of_finished(tmp_path)
    command = json.loads((run / "run.json").read_text())["command"]
    result = here("train", "--resume", run, "--epochs", EPOCHS + 1)
    note = f"{EPOCHS} -> {EPOCHS + 1} epochs: this stretches the learning rate schedule"
    assert note in result.stdout
    card = json.loads((run / "saved_model/card.json").read_text())
    assert card["command"] == command
    assert len(card["extended_by"]) == 1


def test_the_commands_resume_and_export_a_run_from_python(tmp_path):
    write_data(tmp_path)
    splits = datasets.load_dataset(tmp_path / "binary.npz")
    train(make(Noisy, (8, 8, 1)), splits, tmp_path / "run", epochs=1, batch_size=64)
    result = here("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert result.returncode == 0, result.stderr
    result = here("export", tmp_path / "run", tmp_path / "exported")
    assert result.returncode == 0, result.stderr


def test_a_callback_that_stops_training_ends_the_run(splits, tmp_path):
    class StopAfterOne(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    run = tmp_path / "run"
    train(make(Noisy, (8, 8, 1)), splits, run, epochs=4, batch_size=64, callbacks=[StopAfterOne()])
    assert [line["epoch"] for line in log(run)] == [1]
    assert (run / "saved_model" / "card.json").is_file()


def test_an_export_of_the_same_step_keeps_the_scores(tmp_path):
    run = copy_of_finished(tmp_path)
    scores = json.loads((run / "saved_model/card.json").read_text())["scores"]
    assert scores
    assert here("export", run).returncode == 0
    assert here("export", run, tmp_path / "exported").returncode == 0
    for folder in (run / "saved_model", tmp_path / "exported"):
        assert json.loads((folder / "card.json").read_text())["scores"] == scores


def test_a_failed_export_keeps_the_previous_one(splits, tmp_path):
    class Stateful(Noisy):
        def sample(self, num_samples, seed, condition=None, first=0):
            return tf.round(tf.random.uniform((num_samples, *self.shape)))

    run = tmp_path / "run"
    train(make(Noisy, (8, 8, 1)), splits, run, epochs=1, batch_size=64)
    card = run / "saved_model" / "card.json"
    before = json.loads(card.read_text()) | {"step": -1}
    storage.write_seal(card.parent, before, card.name)
    before = json.loads(card.read_text())
    with pytest.raises(ArtefactError, match="failed verification and was discarded"):
        training.export_run(Run(run), make(Stateful, (8, 8, 1)))
    assert json.loads(card.read_text()) == before
    assert not [*run.glob(".tmp-*")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copy_of_finished(tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (["--batch-size", 8], "Changed: batch_size: 2 -> 8"),
        (["--seed", 1], "Changed: seed: 0 -> 1"),
        (["--epochs", 2], "Changed: epochs: 4 -> 2"),
        (["--set", "learning_rate=0.1"], "Changed: options.learning_rate: 0.05 -> 0.1"),
        (["--data", "./other.npz"], "binary.npz' -> '"),
        (
            ["--data", "./classes.npz", "--conditional"],
            "options.condition: None -> {'kind': 'label'",
        ),
    ],
)
def test_a_changed_recipe_is_refused_with_the_difference(copy, changes, difference):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    result = here("train", "--resume", "done", *changes, cwd=copy.parent)
    assert_refused(result, 2, "recipe of a resumed run must not change", difference)
    needs_data = not difference.startswith(("Changed: epochs", "Changed: seed"))
    assert bool(result.stdout) == needs_data
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_model_file_may_be_named_in_another_way(copy):
    (copy.parent / "link.py").symlink_to(TESTS / "support" / "noisy.py")
    for path in (TESTS / "models" / ".." / "support" / "noisy.py", "./link.py"):
        result = here("train", f"{path}:Noisy", "--resume", "done", cwd=copy.parent)
        assert (result.returncode, result.stderr) == (0, "")


def test_changed_data_under_the_same_name_is_refused(tmp_path):
    run = copy_of_finished(tmp_path)
    description = json.loads((run / "run.json").read_text())
    description["recipe"]["data"]["name"] = str(tmp_path / "binary.npz")
    (run / "run.json").write_text(json.dumps(description))
    shutil.copy(tmp_path / "other.npz", tmp_path / "binary.npz")
    assert_refused(here("train", "--resume", run), 2, "the training data changed")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"recipe": {"model": "vae"}}'])
def test_a_damaged_run_is_refused(tmp_path, text):
    run = copy_of_finished(tmp_path)
    (run / "run.json").write_text(text)
    assert_refused(here("train", "--resume", run), 3, f"{run / 'run.json'} is damaged")


def test_a_run_without_valid_checkpoints_restarts_with_a_warning(splits, tmp_path, messages):
    with pytest.raises(_EnoughError):
        train(make(Noisy, (8, 8, 1)), splits, tmp_path, callbacks=[_StopAtOnce()])
    for seal in tmp_path.glob("checkpoints/*/manifest.json"):
        seal.write_text("")
    with pytest.raises(_EnoughError):
        zoo.resume(Run(tmp_path, Noisy), splits, callbacks=[_StopAtOnce()])
    assert messages()[-1] == "No valid checkpoint found. Restarting from step 0."
    assert saved_steps(tmp_path) == [0]


class _EnoughError(Exception):
    pass


class _StopAtOnce(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise _EnoughError


def test_a_run_killed_before_its_first_checkpoint_can_be_started_again(splits, tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".tmp-run.json-1").touch()
    with pytest.raises(_EnoughError):
        train(make(Noisy, (8, 8, 1)), splits, tmp_path, callbacks=[_StopAtOnce()])
    assert saved_steps(tmp_path) == [0]
    assert not (tmp_path / ".tmp-run.json-1").exists()


class _InterruptTwice(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step) == 15:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_stops_at_once_and_frees_the_run(splits, tmp_path, messages):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make(Noisy, (8, 8, 1)), splits, tmp_path, callbacks=[_InterruptTwice()])
    assert signal.getsignal(signal.SIGINT) is before
    assert saved_steps(tmp_path) == [0, 10]
    with pytest.raises(_EnoughError):
        zoo.resume(Run(tmp_path, Noisy), splits, callbacks=[_StopAtOnce()])
    assert messages()[-1] == "Resuming at step 10 of 40."


@pytest.mark.parametrize(
    ("shape", "num_classes", "data", "message"),
    [
        ((9, 9, 1), 0, "binary.npz", r"Noisy expects images of shape \(9, 9, 1\).*Add size=9"),
        ((8, 8, 1), 0, "grey.npz", r"Received: grey with .* 256 levels.*Add binarize=True"),
        ((8, 8, 1), 3, "binary.npz", "expects labels of 3 classes.*binary with no labels"),
        ((8, 8, 1), 4, "classes.npz", "expects labels of 4 classes.*classes with labels of 3"),
    ],
    ids=["shape", "grey", "no labels", "other labels"],
)
def test_data_that_do_not_fit_the_model_are_refused(tmp_path, shape, num_classes, data, message):
    write_data(tmp_path)
    model = make(Noisy, shape, num_classes=num_classes)
    with pytest.raises(InputError, match=message):
        train(model, datasets.load_dataset(tmp_path / data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["run.json", "photo.png"])
def test_a_folder_that_is_not_empty_is_refused_for_a_new_run(splits, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="must be new or empty"):
        train(make(Noisy, (8, 8, 1)), splits, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_non_finite_loss_stops_the_run_at_its_step(tmp_path):
    write_data(tmp_path)
    result = here(*TRAIN, "--set", "nan_at=200", "--run", "run", cwd=tmp_path)
    assert_refused(result, 4, "loss is nan at step 200.", f"step-{STEPS:08} in run/checkpoints")
    run = tmp_path / "run"
    assert saved_steps(run) == [0, STEPS]
    storage.verify(run / "checkpoints" / f"step-{STEPS:08}")
    assert [line["epoch"] for line in log(run)] == [1]
    assert not (run / "saved_model").exists()


class BadMetric(Noisy):
    """Noisy with a metric that becomes infinite while the loss is finite."""

    def build(self, input_shape=None):
        self.norm = keras.metrics.Mean(name="norm")

    def train_step(self, data):
        self.norm.update_state(1.0 / (7.0 - tf.cast(self.step, tf.float32)))
        return super().train_step(data)


class BadWeight(Noisy):
    """Noisy with a weight that becomes infinite while all metrics are finite."""

    def build(self, input_shape=None):
        self.scale = self.add_weight(shape=(2,), name="scale", trainable=False)

    def train_step(self, data):
        self.scale.assign(tf.ones([2]) / (7.0 - tf.cast(self.step, tf.float32)))
        return super().train_step(data)


@pytest.mark.parametrize(
    ("model", "epochs_of_one_step", "message"),
    [
        (BadMetric, False, "norm is inf at step 8"),
        (BadWeight, True, "scale is not finite at step 8"),
    ],
)
def test_non_finite_metrics_and_weights_stop_the_run(
    splits, tmp_path, model, epochs_of_one_step, message
):
    size = len(splits[0]) if epochs_of_one_step else 16
    with pytest.raises(TrainingError, match=message) as caught:
        train(make(model, (8, 8, 1)), splits, tmp_path, epochs=20, batch_size=size)
    assert caught.value.exit_code == 4
    assert saved_steps(tmp_path)[-1] == (7 if epochs_of_one_step else 0)


@contextlib.contextmanager
def small_disk(folder):
    """Mounts a disk of 3 MB."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Heavy(Noisy):
    """Noisy with 120 kB of weights."""

    def build(self, input_shape=None):
        self.ballast = self.add_weight(shape=(30_000,), trainable=False, name="ballast")


class _LimitFiles(keras.callbacks.Callback):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, hard))


def test_a_failed_checkpoint_ends_the_run_and_keeps_the_previous_one(splits, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(TrainingError, match=r"The disk is full .*variables.*File too large"):
            train(make(Heavy, (8, 8, 1)), splits, tmp_path, callbacks=[_LimitFiles(2**16)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000000",
        "step-00000010",
    ]
    storage.verify(tmp_path / "checkpoints" / "step-00000010")


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path):
    write_data(tmp_path)
    with small_disk(tmp_path / "disk"):
        running = Running(*TRAIN, "--run", "disk/run", cwd=tmp_path)
        running.wait_for("(saved step")
        running.send(signal.SIGSTOP)
        running.wait_stopped()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "filler").write_bytes(bytes(2**22))
        running.send(signal.SIGCONT)
        result = running.wait()
        assert_refused(result, 4, "The disk is full", "zoo train --resume disk/run")
        announced = re.findall(r"\(saved step (\d+)\)", result.stdout)
        assert saved_steps(tmp_path / "disk/run")[-1] == int(announced[-1])
        (tmp_path / "disk" / "filler").unlink()
        result = here("train", "--resume", "disk/run", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert_same_weights(tmp_path / "disk/run", finished().run)
        assert log(tmp_path / "disk/run") == log(finished().run)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a killed process closes nothing
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_is_killed_or_fails_at_any_change_of_the_disk_resumes_bit_for_bit(
    splits, tmp_path, no_clean_process
):
    def start(run):
        zoo.train(NOISY, splits.train.source["name"], run=run, epochs=2, batch_size=32)

    calls = changes(lambda: start(tmp_path / "unbroken"), tmp_path / "unbroken")
    for k in range(len(calls)):
        code = (None, errno.ENOSPC, errno.EIO)[k % 3]
        run = tmp_path / f"{k}"
        with contextlib.suppress(Killed, TrainingError, InputError), Faults(k, code, run):
            start(run)
        if (run / "run.json").exists():
            zoo.resume(run)
        else:
            start(run)
        assert_same_weights(run, tmp_path / "unbroken")
        assert log(run) == log(tmp_path / "unbroken")
        storage.verify(run / "saved_model", "card.json")
        shutil.rmtree(run)
    print(f"{len(calls)} changes of the disk in a run: each killed or failed, all bit-equal")


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_committed_step():
    program = TESTS.parent / "benchmarks" / "kill9.py"
    result = subprocess.run(
        [sys.executable, program, "--runs", "3"], capture_output=True, text=True, check=False
    )
    assert result.stdout.endswith("\n3 of 3 bit-equal, 0 lost commits\n"), result.stderr
