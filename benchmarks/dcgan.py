"""Compares the training speed of DCGAN with the same networks in keras.io and PyTorch code.

    pip install torch==2.13.0
    python benchmarks/dcgan.py [--rounds 5] [--steps 20]

* keras.io: the `train_step` of its guide to DCGAN, with three passes, fakes generated twice, and
  Keras defaults.
* PyTorch: plain eager code with the same three passes, and fakes generated once.

Only zoo has spectral normalization, rounding to levels and averaged weights. All of them take turns
on one batch, so that other load on the machine affects each. The best rounds are compared.
"""

import argparse
import itertools
import os
from timeit import timeit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

import zoo
from zoo.models import dcgan

SHAPE = (28, 28, 1)
RATE = 2e-4
FILTERS = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    settings = parser.parse_args()
    size = dcgan.DCGAN.recipe["batch_size"]
    x = np.random.default_rng(0).integers(0, 256, (size, *SHAPE)).astype(np.float32) / 255.0
    turns = {
        "zoo, float32": ours("float32", x, settings.steps),
        "zoo, bfloat16": ours("mixed_bfloat16", x, settings.steps),
        "keras.io": as_keras_io(x, settings.steps),
        "PyTorch": as_pytorch(x, settings.steps),
    }
    for turn in turns.values():
        turn()
    rounds = range(settings.rounds)
    times = np.array([[timeit(turn, number=1) for turn in turns.values()] for _ in rounds])
    rates = dict(zip(turns, size * settings.steps / times.min(0), strict=True))
    for name, rate in rates.items():
        print(f"{name:14} {rate:6.0f} images/s", end="")
        for other in ("keras.io", "PyTorch"):
            if name != other:
                print(f"  {rate / rates[other]:.2f}x of {other}", end="")
        print()


def ours(policy, x, steps):
    keras.config.set_dtype_policy(policy)
    model = zoo.create("dcgan", spec=zoo.Spec(SHAPE), filters=FILTERS)
    model.compile()
    keras.config.set_dtype_policy("float32")
    return fitting(model, x, steps)


def fitting(model, x, steps):
    data = tf.data.Dataset.from_tensors(x).repeat()
    return lambda: model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0)


class KerasIO(keras.Model):
    """The training step of keras.io's guide, "DCGAN to generate face images"."""

    def __init__(self, generator, discriminator, latent_dim):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim = latent_dim
        self.seeds = keras.random.SeedGenerator(1)
        self.loss_metrics = [keras.metrics.Mean(name=name) for name in ("d_loss", "g_loss")]
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        self.optimizers = [keras.optimizers.Adam(RATE, beta_1=0.5) for _ in range(2)]

    @property
    def metrics(self):
        return self.loss_metrics

    def fakes(self, n, training=False):
        z = keras.random.normal((n, self.latent_dim), seed=self.seeds)
        return self.generator([z, tf.zeros((n, 0))], training=training)

    def train_step(self, images):
        n = tf.shape(images)[0]
        both = tf.concat([self.fakes(n), images], axis=0)
        labels = tf.concat([tf.ones((n, 1)), tf.zeros((n, 1))], axis=0)
        labels += 0.05 * keras.random.uniform((2 * n, 1), seed=self.seeds)
        with tf.GradientTape() as tape:
            d_loss = self.cross_entropy(labels, self.discriminator(both))
        weights = self.discriminator.trainable_weights
        self.optimizers[0].apply(tape.gradient(d_loss, weights), weights)
        with tf.GradientTape() as tape:
            logits = self.discriminator(self.fakes(n, training=True))
            g_loss = self.cross_entropy(tf.zeros((n, 1)), logits)
        weights = self.generator.trainable_weights
        self.optimizers[1].apply(tape.gradient(g_loss, weights), weights)
        for metric, loss in zip(self.loss_metrics, (d_loss, g_loss), strict=True):
            metric.update_state(loss)
        return self.get_metrics_result()


def as_keras_io(x, steps):
    model = zoo.create("dcgan", spec=zoo.Spec(SHAPE), filters=FILTERS)
    image = h = keras.Input(SHAPE)
    for kernel in model.discriminator.convolutions:
        h = keras.layers.Conv2D(kernel.kernel.shape[-1], 4, 2, "same")(h)
        h = keras.layers.LeakyReLU(dcgan.SLOPE)(h)
    logit = keras.layers.Dense(1)(keras.layers.Flatten()(h))
    theirs = KerasIO(model.generator, keras.Model(image, logit), model.latent_dim)
    theirs.compile()
    return fitting(theirs, x, steps)


class TorchGenerator(nn.Module):
    def __init__(self, latent_dim, sizes, widths):
        super().__init__()
        self.grid = (widths[-1], *sizes[-1])
        self.dense = nn.Linear(latent_dim, int(np.prod(self.grid)), bias=False)
        pairs = [*itertools.pairwise([*widths[::-1], SHAPE[2]])]
        doubling = [nn.ConvTranspose2d(*p, 4, 2, 1, bias=p is pairs[-1]) for p in pairs]
        first = nn.Conv2d(widths[-1], widths[-1], 3, padding=1, bias=False)
        self.convolutions = nn.ModuleList([first, *doubling])
        self.norms = nn.ModuleList(nn.BatchNorm2d(c.in_channels) for c in self.convolutions)

    def forward(self, z):
        h = self.dense(z).view(-1, *self.grid)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = convolution(nn.functional.leaky_relu(norm(h), dcgan.SLOPE))
        return torch.sigmoid(h)


class TorchDiscriminator(nn.Module):
    def __init__(self, kernels, features):
        super().__init__()
        widths = [tuple(kernel.kernel.shape[2:]) for kernel in kernels]
        self.convolutions = nn.ModuleList(nn.Conv2d(*width, 4, 2) for width in widths)
        self.dense = nn.Linear(features, 1)

    def forward(self, x):
        h = 2.0 * x - 1.0
        for convolution in self.convolutions:
            more = 2 * (-(-h.shape[-1] // 2) - 1) + 4 - h.shape[-1]  # TensorFlow's "same"
            h = nn.functional.pad(h, 2 * (more // 2, more - more // 2))
            h = nn.functional.leaky_relu(convolution(h), dcgan.SLOPE)
        return self.dense(h.flatten(1))[:, 0]


def as_pytorch(x, steps):
    model = zoo.create("dcgan", spec=zoo.Spec(SHAPE), filters=FILTERS)
    generator = TorchGenerator(model.latent_dim, *dcgan.pyramid(SHAPE, FILTERS, smallest=7))
    judge = model.discriminator
    discriminator = TorchDiscriminator(judge.convolutions, judge.head.kernel.shape[0])
    for theirs, network in ((generator, model.generator), (discriminator, judge)):
        count = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
        if sum(w.numel() for w in theirs.parameters()) != count:
            raise RuntimeError(f"Expected {count} parameters. Received: {theirs}")
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=RATE, betas=(0.5, 0.999))
        for network in (discriminator, generator)
    ]
    softplus = nn.functional.softplus

    def step():
        fakes = generator(torch.randn(len(images), model.latent_dim))
        optimizers[0].zero_grad()
        softplus(-discriminator(images)).mean().backward()
        softplus(discriminator(fakes.detach())).mean().backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        softplus(-discriminator(fakes)).mean().backward()
        optimizers[1].step()

    return lambda: [step() for _ in range(steps)]


if __name__ == "__main__":
    main()
