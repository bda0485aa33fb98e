"""Measures the overhead of `zoo train` over `model.fit`, and the speed of bfloat16.

    python benchmarks/training.py [--model vae] [--epochs 6] [--steps 60]

For each precision, epochs of `model.fit` and `zoo.train` (with commits, log, checks and progress
bars) take turns on the same tensors, so that other load on the machine affects both. Times are from
the first to the last step of an epoch. Medians are printed.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["FORCE_COLOR"] = "1"  # makes rich treat any output as a terminal

import keras
import numpy as np

import zoo
from zoo import registry


class Clock(keras.callbacks.Callback):
    """Measures seconds from the first step of each epoch to its last."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(self.end - self.begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vae")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=60)
    settings = parser.parse_args()
    medians = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        bare, ours = measure(settings.model, settings.epochs, settings.steps)
        medians[policy] = bare
        print(
            f"{policy:15} model.fit {1000 * bare:.1f} ms per step, zoo.train {1000 * ours:.1f} ms:"
            f" {bare / ours:.1%} of the steps per second",
            flush=True,
        )
    print(f"bfloat16 takes {medians['mixed_bfloat16'] / medians['float32']:.2f} of float32's time")


def measure(name, epochs, steps):
    """Returns the median seconds per step of model.fit and zoo.train."""
    batch_size = registry.load(name).recipe["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        data = subset(registry.load(name).recipe["data"], steps * batch_size, folder)
        models = [create(name, data.train) for _ in range(2)]
        models[0].compile(total_steps=steps * epochs)
        bare, ours = Clock(), Clock()
        turn = Turns(models[0], data.train.stream(batch_size, 0), steps, bare)
        with contextlib.redirect_stdout(io.StringIO()):
            zoo.train(
                models[1],
                data,
                run=f"{folder}/run",
                epochs=epochs,
                batch_size=batch_size,
                callbacks=[ours, turn],
            )
    return [statistics.median(clock.seconds[1:]) / (steps - 1) for clock in (bare, ours)]


class Turns(keras.callbacks.Callback):
    """Fits another model for an epoch after each epoch of this one."""

    def __init__(self, model, stream, steps, clock):
        super().__init__()
        self.other, self.stream, self.steps, self.clock = model, stream, steps, clock

    def on_epoch_end(self, epoch, logs=None):
        self.other.fit(
            self.stream,
            steps_per_epoch=self.steps,
            callbacks=[self.clock],
            shuffle=False,
            verbose=0,
        )


def subset(name, n, folder):
    """Loads n training images of a data set from a file, like user data."""
    splits = zoo.load_dataset(name)
    path = f"{folder}/images.npz"
    parts = {"train": n, "validation": 256, "test": 256}
    np.savez(
        path,
        **{f"{s.split}_images": np.array(s.arrays()[0][: parts[s.split]]) for s in splits},
    )
    return zoo.load_dataset(path)


def create(name, split):
    keras.utils.set_random_seed(0)
    return zoo.create(name, spec=split.spec)


if __name__ == "__main__":
    main()
