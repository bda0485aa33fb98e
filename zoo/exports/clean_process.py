"""Verifies SavedModels in a process without zoo and Keras.

    python -P clean_process.py [ENDPOINT …] <FOLDERS

Reads one folder path per line, a JSON string. Compares the outputs of the SavedModel with its
golden.npz and prints one line of JSON: the milliseconds per image in a batch of 64. Exits with 1
and one line on stderr if an output differs, and with 0 at the end of the input. The arguments name
the endpoints that draw random data. TensorFlow is imported before the first line is read, so the
process can be started before the SavedModel exists.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

BATCH = 64  # images per timed call
CALLS, SECONDS = 2, 0.5  # minimum number of timed calls, and minimum total time


def main(draws):
    """Verifies the folders on stdin, up to the first that fails.

    Args:
      draws: names of the endpoints whose outputs are rounded random data.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    sys.modules["zoo"] = sys.modules["keras"] = None
    import tensorflow as tf  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(check(Path(json.loads(line)), draws)), file=answers, flush=True)


def check(folder, draws):
    """Compares every output of a SavedModel with golden.npz.

    Args:
      folder: Path of the SavedModel.
      draws: as in `main`.

    Returns:
      dict of measurements: {"ms_per_image": float}.

    Raises:
      SystemExit: if an output differs.
    """
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    with np.load(folder / "golden.npz") as file:
        golden = {tuple(key.split("/")): file[key] for key in file}
    for name in sorted({name for name, _ in golden}):
        arguments = {
            key: tf.constant(value)
            for (endpoint, key), value in golden.items()
            if endpoint == name and key != "output"
        }
        # Twice, because an endpoint with a state gives the golden values only in the first call.
        for _ in range(2):
            output = next(iter(model.signatures[name](**arguments).values())).numpy()
            if problem := difference(name, golden[name, "output"], output, name in draws):
                sys.exit(problem)
    sample = model.signatures["sample"]
    condition = sample.structured_input_signature[1].get("condition")

    def draw(n, seed):
        arguments = {"num_samples": n, "seed": [0, seed], "first": 0}
        arguments = {name: tf.constant(value, tf.int32) for name, value in arguments.items()}
        if condition is not None:
            arguments["condition"] = tf.zeros([n, *condition.shape[1:]], condition.dtype)
        return next(iter(sample(**arguments).values())).numpy()

    milliseconds, _ = time_per_image(draw, BATCH)
    return {"ms_per_image": round(milliseconds, 3)}


def difference(name, expected, output, draws):
    """Returns how an output differs from the golden one, or None if it does not.

    Rounding can turn a difference in the last bit of a random number into a different value.
    Therefore, one value in 1,000 may differ if `draws` is true.
    """
    import numpy as np

    if output.shape != expected.shape or output.dtype != expected.dtype:
        return f"{name} returns {output.dtype}{output.shape}, not {expected.dtype}{expected.shape}"
    off = ~np.isclose(output, expected, rtol=1e-4, atol=1e-5)
    allowed = 1e-3 if draws else 0.0
    if off.mean() > allowed:
        return f"{name} differs in {off.sum()} of {off.size} values from the exported model"
    return None


def time_per_image(sample, n):
    """Measures the time per sampled image.

    Args:
      sample: function of (n, seed) that returns an array of n images.
      n: int; number of images per call.

    Returns:
      (milliseconds per image, standard error), floats. Calls are repeated at least twice and for at
      least half a second. The first call also initializes the computation, so it is excluded
      unless it takes longer than that.
    """
    times = []
    planned = False
    while len(times) < CALLS or sum(times) < SECONDS:
        start = time.perf_counter()
        sample(n, len(times))
        seconds = time.perf_counter() - start
        if planned or seconds > SECONDS:
            times.append(seconds)
        planned = True
    milliseconds = [1000.0 * t / n for t in times]
    return statistics.mean(milliseconds), statistics.stdev(milliseconds) / len(times) ** 0.5


if __name__ == "__main__":
    main(sys.argv[1:])
