"""Measures the time of import, build, first training steps and export of a model.

    python benchmarks/export.py [--models gan,vae,pixelcnn] [--repeats 1]

Each model is measured in a separate process, with its default options on images of 28 x 28. Prints
CPU seconds and elapsed seconds of each part. The clean process that verifies the export runs during
`export`. Its CPU seconds are printed as `clean process`, and its elapsed seconds are part of
`export`.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="gan,vae,pixelcnn")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.measure:
        measure(settings.measure)
        return
    print(f"{'model':10} {'part':14} {'CPU s':>7} {'elapsed s':>10}")
    for name in settings.models.split(",") * settings.repeats:
        subprocess.run([sys.executable, __file__, "--measure", name], check=True)


def measure(name):
    """Prints one line for each part."""
    begin = clock()

    def report(part, cpu, elapsed):
        print(f"{name:10} {part:14} {cpu:7.2f} {elapsed:10.2f}", flush=True)

    def done(part):
        nonlocal begin
        end = clock()
        report(part, end[0] - begin[0], end[1] - begin[1])
        begin = clock()

    import zoo
    from zoo.exports import export  # with TensorFlow and Keras

    done("import")
    model = zoo.create(name, spec=zoo.Spec((28, 28, 1), levels=2))
    done("build")
    model.compile(total_steps=6)
    training = zoo.load_dataset(model.recipe["data"]).train
    begin = clock()
    model.fit(training.stream(32, 0), steps_per_epoch=6, shuffle=False, verbose=0)
    done("6 steps")
    with tempfile.TemporaryDirectory() as folder:
        export.export(model, Path(folder) / "exported")
    done("export")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    report("clean process", children.ru_utime + children.ru_stime, float("nan"))
    total = time.process_time() + children.ru_utime + children.ru_stime
    report("all", total, time.monotonic() - START)


def clock():
    return time.process_time(), time.monotonic()


START = time.monotonic()

if __name__ == "__main__":
    main()
