"""Both models: exact and causal distributions over texts, and sampling token by token."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from zoo_text.char_gpt import CharGPT
from zoo_text.char_rnn import CharRNN

import zoo

SEED = tf.constant([1, 2])
MODELS = pytest.mark.parametrize(
    ("cls", "options"),
    [
        (CharRNN, dict(num_layers=2, units=6)),
        (CharGPT, dict(num_layers=2, units=8, num_heads=2)),
    ],
    ids=["rnn", "gpt"],
)


def make(cls, options, length=37, levels=5, seed=1, **more):
    """Returns a model with perturbed weights. Its texts have three chunks, the last one short."""
    keras.utils.set_random_seed(seed)
    model = cls(zoo.Spec((length,), levels, "tokens"), **options, **more)
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (seed, k)))
    return model


def sample_by_recomputing(model, n, first=0):
    """Samples n texts by recomputing all logits for each token."""
    u = zoo.random.uniform(SEED, first, n, (model.length,))
    x = np.zeros([n, model.length], np.int32)
    for i in range(model.length):
        x[:, i] = model.draw(model.logits(tf.constant(x))[:, i], u[:, i])
    return x


@MODELS
def test_probabilities_of_all_texts_sum_to_one(cls, options):
    model = make(cls, options, length=4, levels=3)
    x = np.array([*itertools.product(range(3), repeat=4)], np.int32)
    log_prob = model.log_prob(x, SEED).numpy().astype(np.float64)
    assert log_prob.std() > 0.1
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)


@MODELS
def test_samples_have_the_probabilities_of_log_prob(cls, options):
    model = make(cls, options, length=3, levels=3)
    x = np.array([*itertools.product(range(3), repeat=3)], np.int32)
    expected = np.exp(model.log_prob(x, SEED).numpy())
    number = 20_000
    samples = model.sample(number, SEED).numpy() @ [9, 3, 1]
    share = np.bincount(samples, minlength=27) / number
    error = np.sqrt(expected * (1.0 - expected) / number)
    assert (np.abs(share - expected) < 5.0 * error).all()


@MODELS
def test_logits_depend_only_on_previous_tokens(cls, options):
    model = make(cls, options, length=9)
    x = np.random.default_rng(1).integers(0, 5, (1, 9)).astype(np.int32)
    logits = model.logits(tf.constant(x)).numpy()[0]
    for i in range(9):
        other = x.copy()
        other[0, i] = (other[0, i] + 1) % 5
        moved = np.abs(model.logits(tf.constant(other)).numpy()[0] - logits).max(1)
        assert (moved[: i + 1] == 0.0).all()
        assert (moved[i + 1 :] > 1e-6).all()


@MODELS
def test_cached_logits_equal_full_logits(cls, options):
    model = make(cls, options)
    x = tf.constant(np.random.default_rng(1).integers(0, 5, (3, 37)), tf.int32)
    step, join, past, recent = model.cache(3)
    before, cached = model.delayed(x), []
    for i in range(37):
        if i and not i % 16:
            past, recent = join(past, recent)
        logits, recent = step(i, before[:, i], past, recent)
        cached.append(logits)
    np.testing.assert_allclose(tf.stack(cached, axis=1), model.logits(x), atol=1e-4)


@MODELS
def test_samples_equal_recomputed_ones_also_in_graphs(cls, options):
    model = make(cls, options, temperature=0.8, top_k=4)
    expected = sample_by_recomputing(model, 4, first=3)
    assert len({*expected.ravel()}) > 2
    np.testing.assert_array_equal(model.sample(4, SEED, first=3), expected)
    signature = [tf.TensorSpec([], tf.int32)]
    sample = tf.function(
        lambda n: model.sample(n, SEED, first=3), input_signature=signature, autograph=False
    )
    for n in (4, 2):
        np.testing.assert_array_equal(sample(tf.constant(n)), expected[:n])
    fixed = tf.function(lambda: model.sample(4, SEED, first=3), autograph=False)
    np.testing.assert_array_equal(fixed(), expected)


@MODELS
def test_complete_keeps_tokens_and_samples_the_others(cls, options):
    model = make(cls, options)
    x = model.sample(6, SEED).numpy()
    mask = np.zeros([6, 37], np.float32)
    mask[:3, :20] = 1.0  # a prompt
    mask[3:, 10:15] = 1.0  # tokens in the middle
    other = np.where(mask > 0.5, (x + 1) % 5, 99).astype(np.int32)
    completed = model.complete(other, mask, SEED).numpy()
    np.testing.assert_array_equal(completed[mask > 0.5], other[mask > 0.5])
    assert (completed < 5).all()
    # Before the first different token, the completions equal the samples.
    np.testing.assert_array_equal(completed[3:, :10], x[3:, :10])
    assert (completed[:3, 20:] != x[:3, 20:]).any()
    # A sample is completed to itself from its own prompt.
    np.testing.assert_array_equal(model.complete(np.where(mask > 0.5, x, 99), mask, SEED), x)


@MODELS
def test_temperature_and_top_k_affect_only_sampling(cls, options):
    plain, cold, best = (
        make(cls, options, **more) for more in ({}, {"temperature": 1e-3}, {"top_k": 1})
    )
    x = plain.sample(8, SEED)
    for model in (cold, best):
        np.testing.assert_array_equal(model.log_prob(x, SEED), plain.log_prob(x, SEED))
        assert (model.sample(8, SEED).numpy() != x.numpy()).any()
    greedy = np.zeros([1, 37], np.int32)
    for i in range(37):
        greedy[0, i] = np.argmax(plain.logits(tf.constant(greedy))[0, i])
    np.testing.assert_array_equal(best.sample(8, SEED), np.repeat(greedy, 8, 0))
    np.testing.assert_array_equal(cold.sample(8, SEED), np.repeat(greedy, 8, 0))


def test_draws_have_the_probabilities_of_the_logits():
    u = tf.constant((np.arange(1000) + 0.5) / 1000, tf.float32)
    probs = np.array([0.1, 0.0, 0.4, 0.2, 0.3])
    logits = tf.constant(np.tile(np.log(np.maximum(probs, 1e-30)), (1000, 1)), tf.float32)

    def shares(**options):
        model = CharRNN(zoo.Spec((2,), 5, "tokens"), num_layers=1, units=1, **options)
        return np.bincount(model.draw(logits, u), minlength=5) / 1000

    np.testing.assert_allclose(shares(), probs, atol=2e-3)
    powers = probs**2 / (probs**2).sum()
    np.testing.assert_allclose(shares(temperature=0.5), powers, atol=2e-3)
    np.testing.assert_allclose(shares(top_k=2), [0, 0, 4 / 7, 0, 3 / 7], atol=2e-3)
    np.testing.assert_allclose(shares(top_k=5), probs, atol=2e-3)


def test_extreme_noise_gives_possible_tokens():
    model = CharRNN(zoo.Spec((2,), 4, "tokens"), num_layers=1, units=1, top_k=2)
    logits = tf.constant([[0.0, 9.0, 8.0, 1.0]])
    assert int(model.draw(logits, tf.constant([0.0]))[0]) == 2
    assert int(model.draw(logits, tf.constant([1.0 - 2.0**-24]))[0]) == 1


@MODELS
def test_bfloat16_approximates_float32(cls, options):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = make(cls, options)
    finally:
        keras.config.set_dtype_policy("float32")
    plain = make(cls, options)
    x = plain.sample(16, SEED)
    with tf.GradientTape() as tape:
        loss = mixed.compute_loss(x, None, SEED, 0, training=True)
    gradients = tape.gradient(loss, mixed.trainable_variables)
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)
    assert loss.dtype == tf.float32
    loss = mixed.compute_loss(x, None, SEED, 0)
    assert float(loss) == pytest.approx(float(plain.compute_loss(x, None, SEED, 0)), rel=0.02)


@MODELS
def test_the_loss_is_in_nats_per_token(cls, options):
    model = make(cls, options)
    x = model.sample(6, SEED)
    expected = -model.log_prob(x, SEED).numpy().mean() / 37
    assert float(model.compute_loss(x, None, SEED, 0)) == pytest.approx(expected, rel=1e-5)


@MODELS
@pytest.mark.parametrize(
    ("options_refused", "message"),
    [
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_k": 6}, "top_k=6"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
    ],
)
def test_invalid_options_are_refused(cls, options, options_refused, message):
    with pytest.raises(ValueError, match=message):
        cls(zoo.Spec((8,), 5, "tokens"), **options, **options_refused)


@MODELS
def test_images_are_refused(cls, options):
    with pytest.raises(ValueError, match="requires data of kind tokens"):
        cls(zoo.Spec((8, 8, 1)), **options)
