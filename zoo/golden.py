"""Runs a SavedModel as a stranger would, and compares it with its golden values.

    python -P golden.py FOLDER

In this process neither zoo nor Keras can be imported. Prints one JSON object: the milliseconds that
one of 64 images takes. Exits with 1 and a line on stderr if an output is not the golden one.
"""

import json
import sys
import time
from pathlib import Path

DRAWS = ("sample", "complete")


def main(folder):
    """Compares every output of golden.npz; returns what is wrong, or None."""
    sys.modules["zoo"] = sys.modules["keras"] = None
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
        # Twice: an endpoint with a state gives the golden values in a fresh process, once.
        for _ in range(2):
            output = next(iter(model.signatures[name](**arguments).values())).numpy()
            if problem := difference(name, golden[name, "output"], output):
                return problem
    print(json.dumps({"ms_per_image": _milliseconds(model.signatures["sample"], tf)}))
    return None


def difference(name, expected, output):
    """Says how an output differs from the golden one, or returns None where it does not.

    A draw is rounded, so that a difference in the last bit can flip a pixel: one in 1,000 may.
    """
    import numpy as np

    if output.shape != expected.shape or output.dtype != expected.dtype:
        return f"{name} gave {output.dtype}{output.shape}, not {expected.dtype}{expected.shape}"
    off = ~np.isclose(output, expected, rtol=1e-4, atol=1e-5)
    allowed = 1e-3 if name in DRAWS else 0.0
    if off.mean() > allowed:
        return f"{name} differs in {off.sum()} of {off.size} values from the model it was made of"
    return None


def _milliseconds(sample, tf, n=64):
    def draw():
        arguments = {"num_samples": n, "seed": [0, 1], "first": 0}
        if "labels" in sample.structured_input_signature[1]:
            arguments["labels"] = [0] * n
        start = time.perf_counter()
        sample(**{k: tf.constant(v, tf.int32) for k, v in arguments.items()})
        return (time.perf_counter() - start) / n * 1000

    draw()
    return round(min(draw() for _ in range(3)), 3)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
