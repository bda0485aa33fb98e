"""Runs `zoo` in a new process or in this one, on small data sets."""

import atexit
import contextlib
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from zoo import storage

TESTS = Path(__file__).parents[1]
NOISY = f"{TESTS / 'support' / 'noisy.py'}:Noisy"
PROGRAM = [sys.executable, "-c", "from zoo.commands import main; main()"]
STEPS = 160  # per epoch of the run of `finished`
EPOCHS = 4
TRAIN = ["train", NOISY, "--data", "./binary.npz", "--batch-size", "2", "--epochs", str(EPOCHS)]


def environment():
    return {**os.environ, "PYTHONPATH": str(TESTS)}


def zoo(*arguments, cwd):
    """Runs `zoo` in a new process and waits for its end."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def here(*arguments, cwd="."):
    """Runs `zoo` in this process, which avoids another import of TensorFlow."""
    import keras

    from zoo.commands import main

    stdout, stderr = io.StringIO(), io.StringIO()
    policy = keras.config.dtype_policy()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main([*map(str, arguments)])
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            keras.config.set_dtype_policy(policy)
    return SimpleNamespace(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())


class Running:
    """A `zoo` process that runs in the background."""

    def __init__(self, *arguments, cwd):
        self.process = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.stdout = ""

    def wait_for(self, text):
        """Reads output until a line contains the text; fails if the process ends first."""
        for line in self.process.stdout:
            self.stdout += line
            if text in line:
                return
        raise AssertionError(f"{text!r} was not in\n{self.stdout}{self.process.stderr.read()}")

    def send(self, number):
        self.process.send_signal(number)

    def send_group(self, number):
        """Sends a signal to the process and its children, as a terminal does at Ctrl-C."""
        os.killpg(self.process.pid, number)

    def wait(self):
        """Waits for the end of the process and returns its result, as `zoo` does."""
        stdout, stderr = self.process.communicate(timeout=120)
        return SimpleNamespace(
            returncode=self.process.returncode, stdout=self.stdout + stdout, stderr=stderr
        )

    def wait_stopped(self):
        """Waits until the process is stopped by SIGSTOP."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def end(self):
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.communicate()


def write_data(folder, count=400):
    """Writes binary.npz, classes.npz, other.npz (binary) and grey.npz: 8 x 8 images."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    probs = rng.random((3, 8, 8))
    for name in ("binary", "other"):
        images = (rng.random((count, 8, 8)) < probs[labels]).astype(np.uint8)
        np.savez(folder / f"{name}.npz", images=images)
    np.savez(folder / "classes.npz", images=images, labels=labels)
    np.savez(folder / "grey.npz", images=rng.integers(0, 256, (count, 8, 8), np.uint8))


@functools.cache
def finished():
    """Trains a model in a new process, once. Returns cwd, run (a folder) and result.

    Tests that change the run use `copy_of_finished`.
    """
    folder = Path(tempfile.mkdtemp(prefix="zoo-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_data(folder)
    result = zoo(*TRAIN, "--run", "done", cwd=folder)
    assert result.returncode == 0, result.stderr
    return SimpleNamespace(cwd=folder, run=folder / "done", result=result)


def copy_of_finished(folder):
    """Copies the finished run and its data; returns the path of the run."""
    shutil.copytree(finished().cwd, folder, dirs_exist_ok=True)
    return folder / "done"


def saved_steps(run):
    return [int(name.removeprefix("step-")) for name in storage.sealed(run / "checkpoints")]


def weights(run):
    """Returns {name: array} of the newest checkpoint."""
    import tensorflow as tf

    newest = storage.sealed(run / "checkpoints")[-1]
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / newest / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name[0] != "_"]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_weights(run, expected):
    actual, expected = weights(run), weights(expected)
    assert actual.keys() == expected.keys()
    assert len(expected) > 5
    for name, value in expected.items():
        assert np.asarray(actual[name]).tobytes() == np.asarray(value).tobytes(), name


def log(run):
    """Returns the lines of metrics.jsonl without the times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_refused(result, code, *parts):
    """Asserts the exit code and a one-line error that contains all parts."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    *usage, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert not usage or usage[0].startswith("Usage: "), result.stderr
    for part in parts:
        assert part in line


def flip(path):
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
