"""Measures the speed of PixelCNN against a naive sampler and the network of keras.io.

    python benchmarks/pixelcnn.py [--rounds 4] [--steps 20]

* Sampling: the cached sampler with 784 steps for 28 x 28 pixels (block=1), against a loop that runs
  the complete network for every pixel. Only a few pixels of the loop are timed, because all take
  equally long.
* Training: `model.fit` in bfloat16, against the same network in the style of keras.io: Keras
  defaults, float32, kernels multiplied by masks, a loss on logits.

All of them take turns, so that other load on the machine affects each. The best rounds count.
"""

import argparse
import os
from timeit import timeit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import zoo

SHAPE = (28, 28, 1)
BATCH_SIZE = 128
FILTERS, LAYERS = 64, 8
SEED = tf.constant([0, 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    settings = parser.parse_args()
    for n in (16, 64):
        cached, naive = sampling(n, settings.rounds)
        print(
            f"sampling {n} images: cached {cached:.2f} s, naive {naive:.1f} s:"
            f" {naive / cached:.0f}x",
            flush=True,
        )
    ours, theirs, rate = training(settings.rounds, settings.steps)
    work = 3 * 2 * products(zoo.create("pixelcnn", spec=zoo.Spec(SHAPE, levels=2))) * BATCH_SIZE
    print(
        f"training: {BATCH_SIZE / ours:.0f} images/s, as keras.io {BATCH_SIZE / theirs:.0f}:",
        end="",
    )
    print(f" {theirs / ours:.1f}x")
    print(
        f"training does {work / ours / 1e9:.0f} GFLOP/s, {work / ours / rate:.0%} of the"
        f" {rate / 1e9:.0f} of a product of bfloat16 matrices of 2,048 x 2,048"
    )


def sampling(n, rounds, pixels=4):
    """Returns the seconds of cached and naive sampling of n images."""
    model = zoo.create("pixelcnn", spec=zoo.Spec(SHAPE, levels=2), block=1)
    label = tf.zeros([n, 0])

    @tf.function(autograph=False)
    def naive(x):
        def step(i, x):
            row, column = i // SHAPE[1], i % SHAPE[1]
            parameters = model.parameters(x, label)[:, row, column]
            here = tf.zeros([n, 1])
            u = zoo.random.uniform(SEED, 0, n, (1, 2))
            value = model.raster.distribution(parameters).fill(here, here, u)
            at = tf.stack([tf.range(n), tf.fill([n], row), tf.fill([n], column)], axis=1)
            return i + 1, tf.tensor_scatter_nd_update(x, at, value)

        begin = SHAPE[0] * SHAPE[1] // 2
        return tf.while_loop(lambda i, x: i < begin + pixels, step, (begin, x))[1]

    cached = tf.function(lambda: model.sample(n, SEED), autograph=False)
    x = tf.zeros([n, *SHAPE])
    cached(), naive(x)
    turns = (cached, lambda: naive(x))
    best = np.array([[timeit(turn, number=1) for turn in turns] for _ in range(rounds)]).min(0)
    return best[0], best[1] / pixels * SHAPE[0] * SHAPE[1]


def training(rounds, steps):
    """Returns the seconds per step of zoo and keras.io, and the FLOP/s of a matrix product."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    ours = zoo.create(
        "pixelcnn", spec=zoo.Spec(SHAPE, levels=2), filters=FILTERS, num_layers=LAYERS
    )
    ours.compile(total_steps=1000)
    keras.config.set_dtype_policy("float32")
    theirs = as_keras_io(*ours.raster.grid, ours.raster.num_parameters)
    x = tf.cast(tf.random.uniform((BATCH_SIZE, *SHAPE)) < 0.2, tf.float32)
    positions = ours.raster.positions(x)
    targets = tf.cast(tf.linalg.matvec(positions, [8.0, 4.0, 2.0, 1.0]), tf.int32)
    matrix = tf.cast(tf.random.normal((2048, 2048)), tf.bfloat16)
    product = tf.function(lambda: matrix @ matrix)

    def fit(model, *data):
        data = tf.data.Dataset.from_tensors(data if len(data) > 1 else data[0]).repeat()
        return lambda: model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0)

    turns = [fit(ours, x), fit(theirs, positions, targets), product]
    for turn in turns:
        turn()
    best = np.array([[timeit(turn, number=1) for turn in turns] for _ in range(rounds)]).min(0)
    return best[0] / steps, best[1] / steps, 2 * 2048**3 / best[2]


class MaskedConv2D(keras.layers.Layer):
    """A convolution whose kernel is multiplied by a mask, as in keras.io's PixelCNN."""

    def __init__(self, filters, size, visible):
        super().__init__()
        self.conv = keras.layers.Conv2D(filters, size, padding="same")
        self.visible = visible

    def build(self, shape):
        self.conv.build(shape)
        self.mask = np.zeros(self.conv.kernel.shape, np.float32)
        self.mask[self.visible] = 1.0

    def call(self, inputs):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(inputs)


def as_keras_io(height, width, size, parameters):
    """Builds the network of PixelCNN with square, masked kernels."""
    x = keras.Input((height, width, size))
    v = MaskedConv2D(FILTERS, (7, 7), np.s_[:3])(x)
    h = MaskedConv2D(FILTERS, (1, 7), np.s_[:, :3])(x)
    for _ in range(LAYERS):
        a = MaskedConv2D(2 * FILTERS, (3, 3), np.s_[:2])(v)
        b = MaskedConv2D(2 * FILTERS, (1, 3), np.s_[:, :2])(h)
        b = keras.layers.Add()([b, keras.layers.Conv2D(2 * FILTERS, 1)(a)])
        v, update = gate(a), gate(b)
        h = keras.layers.Add()([h, keras.layers.Conv2D(FILTERS, 1)(update)])
    h = keras.layers.Activation("relu")(h)
    h = keras.layers.Conv2D(2 * FILTERS, 1, activation="relu")(h)
    model = keras.Model(x, keras.layers.Conv2D(parameters + 1, 1)(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-4), loss)
    return model


def gate(x):
    a, b = keras.ops.split(x, 2, axis=-1)
    return keras.ops.tanh(a) * keras.ops.sigmoid(b)


def products(model):
    """Returns the number of multiplications in a forward pass of one image."""
    height, width, _ = model.raster.grid
    kernels = [w for w in model.trainable_weights if w.path.endswith("kernel")]
    return height * width * sum(int(np.prod(w.shape)) for w in kernels)


if __name__ == "__main__":
    main()
