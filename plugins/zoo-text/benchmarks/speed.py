"""Measures the training speed of CharGPT and the speedup of its sampling cache.

    python plugins/zoo-text/benchmarks/speed.py [--steps 4] [--rounds 5]

Training: a step of AdamW on 16 texts of 256 characters, in bfloat16, with a transformer of 6 layers
and 384 channels, compared with the same network in eager PyTorch if PyTorch is installed. The two
alternate, and the ratio is that of their fastest rounds.

Sampling: texts of 256 characters in float32 with the default CharGPT. The cached sampler is
compared with a loop that runs the complete network for every character. Only a few steps of the
loop are timed, because all take equally long. Both sample the same characters.
"""

import argparse
import os
from timeit import timeit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from zoo_text.char_gpt import EPSILON, FUTURE, SLOPES, STDDEV, WEIGHT_DECAY, CharGPT

import zoo

try:
    import torch
except ImportError:
    torch = None

LENGTH, VOCABULARY, BATCH_SIZE = 256, 65, 16
LAYERS, UNITS, HEADS = 6, 384, 6
DROPOUT_RATE, LEARNING_RATE = 0.1, 1e-3
SPEC = zoo.Spec((LENGTH,), VOCABULARY, "tokens")
SEED = tf.constant([0, 1])
STEPS = 8  # recomputed steps that are compared and timed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
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
    """Prints the characters per second of training, and their ratio to PyTorch's."""
    x = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH_SIZE, LENGTH)).astype(np.int32)
    trainers = {"CharGPT": train_step(x)}
    if torch:
        trainers["PyTorch"] = torch_train_step(x)
    best = {name: 0.0 for name in trainers}
    for _ in range(rounds):
        for name, step in trainers.items():
            seconds = timeit(step, number=steps)
            best[name] = max(best[name], x.size * steps / seconds)
    for name, speed in best.items():
        print(f"training {LAYERS} x {UNITS}, {name}: {speed:.0f} characters/s")
    if torch:
        ratio = best["CharGPT"] / best["PyTorch"]
        print(f"training: {ratio:.2f}x PyTorch {torch.__version__}", flush=True)


def train_step(x):
    """Returns a function that trains CharGPT on x, int32 [B, L], by one step."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = CharGPT(
        SPEC, num_layers=LAYERS, units=UNITS, num_heads=HEADS, dropout_rate=DROPOUT_RATE
    )
    model.compile()
    keras.config.set_dtype_policy("float32")
    x = tf.constant(x)
    step = tf.function(lambda: model.train_step(x)["loss"], autograph=False)
    step()  # traced
    return lambda: step().numpy()


def torch_train_step(x):
    """Returns the same function of the same network in eager PyTorch.

    Weights are float32, and cast in every step; activations are bfloat16, as in CharGPT.
    """
    from torch import nn
    from torch.nn import functional

    def linear(inputs, outputs, stddev=STDDEV):
        layer = nn.Linear(inputs, outputs, bias=False)
        nn.init.normal_(layer.weight, std=stddev)
        return layer

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            residual = STDDEV / (2 * LAYERS) ** 0.5
            self.qkv = linear(UNITS, 3 * UNITS)
            self.projection = linear(UNITS, UNITS, residual)
            self.expansion = linear(UNITS, 4 * UNITS)
            self.contraction = linear(4 * UNITS, UNITS, residual)

        def forward(self, h, bias):
            heads = self.qkv(norm(h)).view(BATCH_SIZE, LENGTH, 3, HEADS, UNITS // HEADS)
            q, keys, values = heads.permute(2, 0, 3, 1, 4)  # [B, H, L, D] each
            y = functional.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
            y = y.transpose(1, 2).reshape(BATCH_SIZE, LENGTH, UNITS)
            h = h + functional.dropout(self.projection(y), DROPOUT_RATE)
            y = functional.relu(self.expansion(norm(h))).square()
            return h + functional.dropout(self.contraction(y), DROPOUT_RATE)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY + 1, UNITS)
            nn.init.normal_(self.embedding.weight, std=STDDEV)
            self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
            self.head = linear(UNITS, VOCABULARY)

        def forward(self, tokens, bias):
            h = functional.dropout(self.embedding(tokens).bfloat16(), DROPOUT_RATE)  # [B, L, C]
            for block in self.blocks:
                h = block(h, bias)
            return self.head(norm(h)).float()

    def norm(h):
        return functional.rms_norm(h, (UNITS,), eps=EPSILON)

    places = torch.arange(LENGTH)
    distance = places[:, None] - places
    slopes = torch.tensor(np.geomspace(*SLOPES, HEADS), dtype=torch.float32)[:, None, None]
    bias = torch.where(distance < 0, FUTURE, -slopes * distance).bfloat16()[None]
    targets = torch.tensor(x, dtype=torch.int64)
    tokens = functional.pad(targets[:, :-1], (1, 0), value=VOCABULARY)
    network = Network()
    optimizer = torch.optim.AdamW(
        network.parameters(), LEARNING_RATE, (0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True
    )

    def step():
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(tokens, bias)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    step()
    return step


def sampling(model, n, rounds):
    """Returns the seconds of cached and recomputed sampling, and the share of equal characters."""
    cached = tf.function(lambda: model.sample(n, SEED), autograph=False)
    u = zoo.random.uniform(SEED, 0, n, (LENGTH,))

    @tf.function(autograph=False)
    def recomputed(x, i):
        """Samples the character at i given the previous characters of x, int32 [n, L]."""
        return model.draw(tf.gather(model.logits(x), i, axis=1), tf.gather(u, i, axis=1))

    texts = cached()
    places = tf.range(0, LENGTH, LENGTH // STEPS)
    equal = [np.mean(recomputed(texts, i) == texts[:, i]) for i in places]
    best = min(timeit(cached, number=1) for _ in range(rounds))
    step = min(timeit(lambda: recomputed(texts, places[0]), number=1) for _ in range(STEPS))
    return best, step * LENGTH, np.mean(equal)


if __name__ == "__main__":
    main()
