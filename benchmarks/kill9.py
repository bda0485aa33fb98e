"""Tests that training survives SIGKILL.

    python benchmarks/kill9.py [--runs 200] [--models vae,gan] [--seed 0]

Trains a small model of each name without interruption. Then, for each run, starts one of these
trainings again, kills it with SIGKILL at random moments, and resumes it to its last step. Half of
the kills happen while a checkpoint is being written. Counts the runs whose last checkpoint and log
are bit-equal to those of the uninterrupted run, and the lost commits: steps that were reported as
saved but missing after a kill.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo import registry, storage
from zoo.errors import ArtefactError

PROGRAM = [sys.executable, "-c", "from zoo.commands import main; main()"]
EPOCHS, STEPS = 6, 40
SETTINGS = f"--epochs {EPOCHS} --batch-size 8"
DATA = {"image": "--data ./digits.npz", "tokens": "--data ./text.txt --length 8"}
SMALL = {  # of the options that make a model large, those that it has
    **{"filters": 4, "latent_dim": 4, "hidden_dim": 8, "units": 8, "num_heads": 2, "mixtures": 2},
    **{"num_layers": 1, "num_blocks": 1, "num_scales": 1, "num_couplings": 1, "num_steps": 2},
    **{"diffusion_steps": 10},
}


def command(name):
    """Returns the arguments that train a small model of a name."""
    kind = next(kind for kind in DATA if kind in registry.load(name).kinds)
    has = {option.name for option in registry.describe(name).options}
    small = [f"--set {option}={value}" for option, value in SMALL.items() if option in has]
    return " ".join(["train", name, DATA[kind], SETTINGS, *small]).split()


def write_data(folder):
    """Writes data of 40 steps of 8 examples per epoch."""
    rng = np.random.default_rng(0)
    np.savez(f"{folder}/digits.npz", images=(rng.random((400, 8, 8)) < 0.3).astype(np.uint8))
    Path(folder, "text.txt").write_text("".join(rng.choice([*"abc \n"], 3050)))


def start(run, train):
    """Starts a run, or resumes it."""
    train = ["train", "--resume", run.name] if (run / "run.json").exists() else train
    if "--resume" not in train:
        train = [*train, "--run", run.name]
    return subprocess.Popen(
        [*PROGRAM, *train],
        cwd=run.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_to(process, step):
    """Reads output until a step is reported as saved. Returns all reported steps."""
    announced, printed = [], ""
    while step not in announced:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{process.wait()} before step {step}:\n{printed}")
        printed += line
        announced += announcements(line)
    return announced


def announcements(text):
    return [int(step.replace(",", "")) for step in re.findall(r"\(saved step ([\d,]+)\)", text)]


def kill(process):
    """Kills a process. Returns the reported steps in its unread output."""
    process.kill()
    printed, _ = process.communicate()
    return announcements(printed)


def wait(process, run, old, rng, seconds):
    """Waits some seconds, or until the next commit. Returns whether a commit is in progress."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, seconds))
    else:
        while process.poll() is None and not commits(run) - old:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))
    return bool(commits(run) - old)


def commits(run):
    """Returns the names of the temporary folders of commits."""
    return {path.name for path in (run / "checkpoints").glob(".tmp-*")}


def newest(run):
    """Returns the step of the newest valid checkpoint, or -1."""
    for name in reversed(storage.sealed(run / "checkpoints")):
        try:
            return storage.verify(run / "checkpoints" / name)["step"]
        except ArtefactError:
            continue
    return -1


def result(run):
    """Returns the contents of the newest checkpoint, and the log without times."""
    import tensorflow as tf

    folder = run / "checkpoints" / storage.sealed(run / "checkpoints")[-1]
    reader = tf.train.load_checkpoint(str(folder / "variables"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if name[0] != "_")
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    log = json.dumps([{k: v for k, v in line.items() if k != "seconds"} for line in log])
    return {"log": log, **{name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}}


def interrupt(run, train, rng):
    """Trains a run to its end with up to three kills: (kills, those in a commit, lost commits)."""
    announced, kills, torn, lost = [], 0, 0, 0
    for epoch in sorted(rng.sample(range(EPOCHS), rng.randint(1, 3))):
        process, old = start(run, train), commits(run)
        starting_up = newest(run) >= epoch * STEPS or epoch == 0
        if not starting_up:
            announced += read_to(process, epoch * STEPS)
        torn += wait(process, run, old, rng, 10 if starting_up else 1)
        announced += kill(process)
        kills += 1
        lost += newest(run) < max(announced, default=-1)
    if newest(run) < EPOCHS * STEPS:
        finish(run, train)
    return kills, torn, lost


def finish(run, train):
    """Trains a run to its last step, which is not exported."""
    process = start(run, train)
    read_to(process, EPOCHS * STEPS)
    kill(process)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--models", help="names with commas; default: all that are installed")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = arguments.models.split(",") if arguments.models else registry.list_models()
    rng, started = random.Random(arguments.seed), time.monotonic()
    equal, counts = 0, np.zeros(3, int)
    with tempfile.TemporaryDirectory() as folder:
        write_data(folder)
        expected = {}
        for k in range(arguments.runs):
            name = names[k % len(names)]
            train = command(name)
            if name not in expected:
                unbroken = Path(folder, f"unbroken-{len(expected)}")
                finish(unbroken, train)
                expected[name] = result(unbroken)
            run = Path(folder, f"run-{k}")
            counts += interrupt(run, train, rng)
            same = result(run) == expected[name]
            equal += same
            print(f"{run.name} ({name}): {'bit-equal' if same else 'DIFFERENT'}", flush=True)
            shutil.rmtree(run)
    kills, torn, lost = counts
    print(f"{kills} kills, {torn} in a commit, {time.monotonic() - started:.0f} s")
    print(f"{equal} of {arguments.runs} bit-equal, {lost} lost commits")
    sys.exit(equal < arguments.runs or lost > 0)


if __name__ == "__main__":
    main()
