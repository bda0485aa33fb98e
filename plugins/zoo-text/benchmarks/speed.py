"""How fast CharGPT trains, and what its cache gains in sampling.

    python plugins/zoo-text/benchmarks/speed.py [--steps 4] [--rounds 3]

Training: a step of AdamW on 16 texts of 256 characters, in bfloat16, by a transformer of 6 layers
and 384 channels.

Sampling: texts of 256 characters in float32, as a SavedModel draws them, by the default CharGPT:
cached, against a loop that runs the whole network for every character. Of that loop, each step of
which costs the same, a few are timed. Both draw the same characters.
"""

import argparse
import os
from timeit import timeit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from zoo_text.char_gpt import CharGPT

import zoo

LENGTH, VOCABULARY, BATCH_SIZE = 256, 65, 16
LAYERS, UNITS, HEADS = 6, 384, 6
SPEC = zoo.Spec((LENGTH,), VOCABULARY, "tokens")
SEED = tf.constant([0, 1])
STEPS = 8  # of recomputing that are compared and timed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    training(settings.rounds, settings.steps)
    model = CharGPT(SPEC)
    for n in (1, 16, 64):
        cached, recomputed, equal = sampling(model, n, settings.rounds)
        print(
            f"sampling {n} texts: cached {cached:.2f} s, recomputed {recomputed:.1f} s:"
            f" {recomputed / cached:.0f}x, {equal:.2%} of the characters equal",
            flush=True,
        )


def training(rounds, steps):
    """Prints the characters per second of a training step."""
    x = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH_SIZE, LENGTH)).astype(np.int32)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = CharGPT(SPEC, num_layers=LAYERS, units=UNITS, num_heads=HEADS)
    model.compile()
    keras.config.set_dtype_policy("float32")
    x = tf.constant(x)
    step = tf.function(lambda: model.train_step(x)["loss"], autograph=False)
    step()  # traced
    best = min(timeit(lambda: step().numpy(), number=steps) for _ in range(rounds))
    print(f"training {LAYERS} x {UNITS}: {x.shape.num_elements() * steps / best:.0f} characters/s")


def sampling(model, n, rounds):
    """Returns the seconds of cached sampling and of recomputing, and the share of equal draws."""
    cached = tf.function(lambda: model.sample(n, SEED), autograph=False)
    u = zoo.random.uniform(SEED, 0, n, (LENGTH,))

    @tf.function(autograph=False)
    def recomputed(x, i):
        """Draws the character at i given those of x, int32 [n, L], before it."""
        return model.draw(tf.gather(model.logits(x), i, axis=1), tf.gather(u, i, axis=1))

    texts = cached()
    places = tf.range(0, LENGTH, LENGTH // STEPS)
    equal = [np.mean(recomputed(texts, i) == texts[:, i]) for i in places]
    best = min(timeit(cached, number=1) for _ in range(rounds))
    step = min(timeit(lambda: recomputed(texts, places[0]), number=1) for _ in range(STEPS))
    return best, step * LENGTH, np.mean(equal)


if __name__ == "__main__":
    main()
