"""Training against kill -9: python benchmarks/kill9.py

Trains a small VAE to its end; then, --runs times, starts the same run, kills it with SIGKILL at
random moments, half of them while a checkpoint is being written, and resumes it to its last step.
Counts the runs whose last checkpoint and log equal the unbroken one's bit for bit, and the lost
commits: steps that the program had announced as saved, and that were not there after a kill.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo import storage
from zoo.errors import ArtefactError

PROGRAM = [sys.executable, "-c", "from zoo.commands import main; main()"]
TRAIN = "train vae --data ./digits.npz --epochs 6 --batch-size 8 --set filters=4 --set latent_dim=4"
EPOCHS, STEPS = 6, 40


def start(run):
    """Begins a run, or goes on with it."""
    train = ["train", "--resume", run.name]
    if not (run / "run.json").exists():
        train = [*TRAIN.split(), "--run", run.name]
    return subprocess.Popen(
        [*PROGRAM, *train],
        cwd=run.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_to(process, step):
    """Reads what is printed until a step is announced as saved; returns the steps announced."""
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
    """Kills; returns the steps announced as saved since they were last read."""
    process.kill()
    printed, _ = process.communicate()
    return announcements(printed)


def wait(process, run, old, rng, seconds):
    """Waits some seconds, or for the midst of the next commit; returns whether it is in one."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, seconds))
    else:
        while process.poll() is None and not commits(run) - old:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))
    return bool(commits(run) - old)


def commits(run):
    """Returns the names of the folders that are being written or deleted, or were at a kill."""
    return {path.name for path in (run / "checkpoints").glob(".tmp-*")}


def newest(run):
    """Returns the step of the newest checkpoint that is whole, or -1."""
    for name in reversed(storage.sealed(run / "checkpoints")):
        try:
            return storage.verify(run / "checkpoints" / name)["step"]
        except ArtefactError:
            continue
    return -1


def result(run):
    """Returns all that the newest checkpoint holds, and the log but for its seconds, as bytes."""
    import tensorflow as tf

    folder = run / "checkpoints" / storage.sealed(run / "checkpoints")[-1]
    reader = tf.train.load_checkpoint(str(folder / "variables"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if name[0] != "_")
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    log = json.dumps([{k: v for k, v in line.items() if k != "seconds"} for line in log])
    return {"log": log, **{name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        images = np.random.default_rng(0).random((400, 8, 8)) < 0.3
        np.savez(f"{folder}/digits.npz", images=images.astype(np.uint8))
        unbroken = Path(folder, "unbroken")
        process = start(unbroken)
        read_to(process, EPOCHS * STEPS)
        kill(process)
        expected = result(unbroken)
        equal = lost = kills = torn = 0
        for k in range(arguments.runs):
            run, announced = Path(folder, f"run-{k}"), []
            for epoch in sorted(rng.sample(range(EPOCHS), rng.randint(1, 3))):
                process, old = start(run), commits(run)
                starting_up = newest(run) >= epoch * STEPS or epoch == 0
                if not starting_up:
                    announced += read_to(process, epoch * STEPS)
                torn += wait(process, run, old, rng, 10 if starting_up else 1)
                announced += kill(process)
                kills += 1
                lost += newest(run) < max(announced, default=-1)
            if newest(run) < EPOCHS * STEPS:
                process = start(run)
                read_to(process, EPOCHS * STEPS)
                kill(process)
            same = result(run) == expected
            equal += same
            print(f"{run.name}: {'bit-equal' if same else 'DIFFERENT'}", flush=True)
    print(f"{kills} kills, {torn} in a commit, {time.monotonic() - begun:.0f} s")
    print(f"{equal} of {arguments.runs} bit-equal, {lost} lost commits")
    sys.exit(equal < arguments.runs or lost > 0)


if __name__ == "__main__":
    main()
