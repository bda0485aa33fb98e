"""The CharGPT: the conformance checks, and its mathematics against independent numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo_text.char_gpt import CharGPT, attention

import zoo

test_conformance = zoo.testing.conformance(CharGPT, num_layers=2, units=16, num_heads=2)


def small(length=37, levels=5, **options):
    """A small CharGPT whose logits are not nearly 0; three chunks of tokens, the last short."""
    keras.utils.set_random_seed(1)
    options = dict(num_layers=2, units=8, num_heads=2) | options
    model = CharGPT(zoo.Spec((length,), levels, "tokens"), **options)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (3, k)))
    return model


def test_logits_are_those_of_a_transformer_by_hand():
    """Vaswani et al., equation 1, with the slopes of Press et al., token by token in NumPy."""
    model = small(length=7)
    x = np.array([3, 0, 4, 4, 1, 2, 2])

    def norm(h):
        return h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)

    h = model.embedding.numpy()[[5, *x[:-1]]]
    for qkv, projection, expansion, contraction in model.blocks:
        q, keys, values = np.split(norm(h) @ qkv.numpy(), 3, axis=1)
        y = np.zeros_like(h)
        for head, slope in ((slice(0, 4), 1.0), (slice(4, 8), 1 / 64)):
            for i in range(7):
                distance = i - np.arange(i + 1)
                scores = keys[: i + 1, head] @ q[i, head] / np.sqrt(4.0) - slope * distance
                scores = np.exp(scores)
                y[i, head] = scores / scores.sum() @ values[: i + 1, head]
        h = h + y @ projection.numpy()
        h = h + np.maximum(norm(h) @ expansion.numpy(), 0.0) ** 2 @ contraction.numpy()
    logits = model.logits(tf.constant(x[None], tf.int32))[0]
    np.testing.assert_allclose(logits, norm(h) @ model.head.numpy(), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_attention_is_that_of_softmax():
    q, keys, values, weight = tf.random.stateless_normal([4, 2, 3, 6, 4], (1, 2))
    mask = -1e9 * (1.0 - tf.linalg.band_part(tf.ones([6, 6]), -1, 0))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([q, keys, values])
        ours = attention(q, keys, values, mask)
        scores = tf.matmul(q, keys, transpose_b=True) + mask
        plain = tf.nn.softmax(scores) @ values
        losses = [tf.reduce_sum(weight * y) for y in (ours, plain)]
    np.testing.assert_allclose(ours, plain, atol=1e-6)
    pairs = zip(*(tape.gradient(loss, [q, keys, values]) for loss in losses), strict=True)
    for gradient, expected in pairs:
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_dropout_depends_only_on_seed_and_index():
    model = small(dropout_rate=0.5)
    x = tf.tile(model.sample(1, 1), [4, 1])
    seed = tf.constant([1, 2])
    logits = model.logits(x, seed, first=3).numpy()
    np.testing.assert_allclose(model.logits(x[:2], seed, first=5), logits[2:], rtol=1e-5, atol=1e-5)
    for other in (logits[1], model.logits(x, tf.constant([1, 3]), first=3)[0], model.logits(x)[0]):
        assert np.abs(other - logits[0]).max() > 0.1


def test_initial_residual_weights_and_weight_decay():
    model = CharGPT(zoo.Spec((8,), 5, "tokens"), num_layers=2, units=64, num_heads=1)
    for qkv, projection, expansion, contraction in model.blocks:
        for weight, expected in (
            (qkv, 0.02),
            (projection, 0.01),
            (expansion, 0.02),
            (contraction, 0.01),
        ):
            assert np.std(weight.numpy()) == pytest.approx(expected, rel=0.1)
    model.compile()
    kept = [w for w in model.trainable_weights if not model.optimizer._use_weight_decay(w)]
    assert kept == [model.embedding]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"units": 10, "num_heads": 4}, "units=10, num_heads=4"),
        ({"units": 0}, "units=0"),
        ({"num_heads": 0}, "num_heads=0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CharGPT(zoo.Spec((8,), 5, "tokens"), **options)
