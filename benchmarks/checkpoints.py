"""What checkpoints cost: python benchmarks/checkpoints.py [--models vae,gan] [--steps 30]

Trains each model, with its own options, data and batch size, for some steps; then commits a
checkpoint several times as `zoo.train` does. Prints the median time of a commit, and its share of
the time between two commits: an epoch, or COMMIT_SECONDS if an epoch takes longer.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import zoo
from zoo import registry
from zoo.runs import checkpoints, loop
from zoo.runs.folder import Run

COMMITS = 7


def seconds_per_step(model, split, batch_size, steps):
    """Returns the median of the times of single steps; the first, which traces, is left out."""
    times = []
    for x in split.stream(batch_size, seed=0).take(steps + 1):
        start = time.perf_counter()
        float(next(iter(model.train_on_batch(x, return_dict=True).values())))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def seconds_per_commit(model, folder):
    """Returns the median of the times of commits."""
    run, times = Run(folder), []
    for step in range(COMMITS):
        start = time.perf_counter()
        checkpoints.commit(run, model, {"step": step, "logs": {"val_loss": 1.0 / (step + 1)}})
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(name, steps):
    """Prints the row of a model."""
    recipe = registry.load(name).recipe
    splits = zoo.load_dataset(recipe["data"])
    model = zoo.create(name, spec=splits.train.spec)
    model.compile(total_steps=1000)
    each = seconds_per_step(model, splits.train, recipe["batch_size"], steps)
    epoch = each * (len(splits.train) // recipe["batch_size"])
    with tempfile.TemporaryDirectory(dir=".") as folder:
        commit = seconds_per_commit(model, Path(folder))
    between = min(epoch, loop.COMMIT_SECONDS)
    print(
        f"{name:10} commit {1000 * commit:6.0f} ms, every {between:6.1f} s: {commit / between:.2%}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", help="names with commas; default: all that are installed")
    parser.add_argument("--steps", type=int, default=30)
    settings = parser.parse_args()
    names = settings.models.split(",") if settings.models else registry.list_models()
    for name in names:
        measure(name, settings.steps)


if __name__ == "__main__":
    main()
