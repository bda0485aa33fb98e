"""PixelCNN and PixelRNN: conformance tests, and exact probabilities of tiny images."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import make

import zoo
from zoo.models.pixelcnn import PixelCNN
from zoo.models.pixelrnn import PixelRNN

SEED = tf.constant([1, 2])
CHANNELS = {PixelCNN: "filters", PixelRNN: "units"}

test_pixelcnn_conformance = zoo.testing.conformance(PixelCNN, filters=8, num_layers=1)
test_pixelrnn_conformance = zoo.testing.conformance(PixelRNN, units=8, num_layers=1)


@pytest.fixture(scope="module", params=CHANNELS, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def loud(cls, shape, levels, spread=0.4, **options):
    """Returns a model with large random weights, which is far from uniform."""
    keras.utils.set_random_seed(1)
    model = make(cls, shape, levels, **{CHANNELS[cls]: 8, "num_layers": 2, **options})
    for k, weight in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(weight.shape, (3, k))
        weight.assign(weight + spread * noise)
    return model


def all_images(shape, levels):
    values = [*itertools.product(range(levels), repeat=int(np.prod(shape)))]
    return tf.constant(np.array(values, np.float32).reshape(-1, *shape) / (levels - 1))


def random_images(n, shape, levels):
    values = np.random.default_rng(1).integers(0, levels, (n, *shape))
    return tf.constant(values.astype(np.float32) / np.float32(levels - 1))


def labels_in_turn(model, n):
    return tf.range(n) % model.num_classes if model.num_classes else None


TINY = [
    ((2, 2, 1), 2, {"block": 1}),
    ((2, 2, 1), 2, {"block": 2}),
    ((2, 2, 1), 4, {"block": 1}),
    ((2, 2, 1), 4, {"block": 2}),
    ((4, 2, 1), 2, {"block": 1}),
    ((4, 2, 1), 2, {"block": 2}),
    ((1, 2, 3), 3, {"block": 1}),
    ((2, 2, 1), 4, {"block": 1, "num_classes": 2}),
    ((2, 2, 1), 2, {"block": 2, "num_classes": 2}),
]


@pytest.mark.parametrize(("shape", "levels", "options"), TINY)
def test_probabilities_of_all_images_sum_to_one(cls, shape, levels, options):
    model = loud(cls, shape, levels, **options)
    x = all_images(shape, levels)
    actual = []
    for label in range(max(1, model.num_classes)):
        labels = tf.fill([len(x)], label) if model.num_classes else None
        p = np.exp(model.log_prob(x, 0, condition=labels).numpy().astype(np.float64))
        assert p.sum() == pytest.approx(1.0, abs=1e-4)
        assert np.abs(p - 1 / len(p)).sum() / 2 > 0.25  # in total variation from uniform
        actual.append(p)
    assert np.abs(actual[0] - actual[-1]).sum() > 0.1 or not model.num_classes


@pytest.mark.parametrize(
    ("shape", "levels", "block"),
    [((6, 6, 1), 2, 1), ((5, 4, 3), 256, 1), ((8, 8, 1), 2, 2), ((4, 6, 3), 4, 2)],
)
def test_parameters_depend_on_every_value_before_their_position_and_on_no_other(
    cls, shape, levels, block
):
    model = loud(cls, shape, levels, block=block, num_layers=4)
    x = model.raster.positions(random_images(1, shape, levels))
    height, width, size = model.raster.grid
    with tf.GradientTape() as tape:
        tape.watch(x)
        parameters = model.parameters(x, model.one_hot(None, 1))
        mixed = parameters * tf.random.stateless_normal(parameters.shape, (1, 2))
        output = tf.reshape(tf.reduce_sum(mixed, axis=-1), [-1])
    jacobian = tape.jacobian(output, x).numpy().reshape(height * width, height * width, size)
    before = np.tri(height * width, k=-1, dtype=bool)[:, :, None]
    np.testing.assert_array_equal(jacobian != 0, np.broadcast_to(before, jacobian.shape))


def test_every_position_depends_on_the_label(cls):
    model = loud(cls, (4, 4, 1), 2, block=1, num_classes=3)
    x = model.raster.positions(tf.tile(random_images(1, model.shape, 2), (3, 1, 1, 1)))
    parameters = model.parameters(x, tf.eye(3)).numpy()
    assert (np.abs(parameters - parameters[0])[1:] > 1e-3).all()


def draw_naively(model, n, seed, condition=None, first=0):
    """Samples with a full pass per position. Returns images and the parameters of each."""
    u = zoo.random.uniform(seed, first, n, (*model.raster.grid, 2)).numpy()
    x, label = np.zeros((n, *model.raster.grid), np.float32), model.one_hot(condition, n)
    compute = tf.function(model.parameters)
    used = []
    for at in np.ndindex(model.raster.grid[:2]):
        here = (slice(None), *at)
        parameters = compute(tf.constant(x), label)[here]
        zeros = tf.zeros_like(x[here])
        samples = model.raster.distribution(parameters).fill(zeros, zeros, u[here])
        x[here] = samples / (model.levels - 1.0)
        used.append(parameters)
    return model.raster.images(tf.constant(x)), tf.stack(used)


@pytest.mark.parametrize(
    ("shape", "levels", "options"),
    [
        ((8, 6, 1), 2, {"block": 1}),
        ((8, 8, 1), 2, {"block": 2}),
        ((8, 6, 1), 256, {"block": 2}),
        ((5, 7, 3), 256, {"block": 1}),
        ((8, 8, 1), 2, {"block": 2, "num_classes": 3}),
        ((6, 5, 1), 256, {"block": 1, "num_classes": 3}),
        ((1, 1, 1), 2, {"block": 1}),
    ],
)
def test_the_cached_sampler_equals_the_naive_one(cls, shape, levels, options, monkeypatch):
    model = loud(cls, shape, levels, **options, num_layers=3, spread=0.2)
    labels = labels_in_turn(model, 5)
    expected, expected_parameters = draw_naively(model, 5, SEED, labels, first=2)

    distribution, used = model.raster.distribution, []
    monkeypatch.setattr(model.raster, "distribution", lambda p: used.append(p) or distribution(p))
    samples = model.sample(5, SEED, condition=labels, first=2)
    np.testing.assert_allclose(tf.stack(used), expected_parameters, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(samples, expected, atol=1e-6)
    assert len(np.unique(samples)) > 1 or samples.shape[1:] == (1, 1, 1)


@pytest.fixture(scope="module")
def exported(cls, tmp_path_factory):
    model = loud(cls, (4, 6, 1), 256, block=2, num_classes=2)
    return model, zoo.load(zoo.export(model, tmp_path_factory.mktemp("exported") / "model"))


def test_the_saved_model_samples_like_the_naive_sampler(exported):
    model, saved = exported
    labels = labels_in_turn(model, 5)
    expected, _ = draw_naively(model, 5, SEED, labels)
    np.testing.assert_allclose(saved.sample(5, SEED, condition=labels), expected, atol=1e-6)


def test_the_saved_model_completes_and_scores(exported):
    model, saved = exported
    labels, x = labels_in_turn(model, 5), random_images(5, model.shape, 256)
    mask = np.zeros(x.shape, np.float32)
    mask[:, :3] = 1
    expected = model.complete(x, mask, SEED, condition=labels)
    completed = saved.complete(x, mask, SEED, condition=labels).numpy()
    np.testing.assert_allclose(completed, expected, atol=1e-6)
    np.testing.assert_array_equal(completed[mask == 1], x[mask == 1])
    log_prob = model.log_prob(x, 0, condition=labels)
    np.testing.assert_allclose(saved.log_prob(x, SEED, condition=labels), log_prob, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "levels", "block"), [((4, 4, 1), 2, 1), ((4, 4, 1), 256, 2), ((3, 3, 3), 256, 1)]
)
def test_complete_keeps_values_where_mask_is_1(cls, shape, levels, block):
    model = loud(cls, shape, levels, block=block)
    x = random_images(6, shape, levels)
    mask = np.random.default_rng(2).integers(0, 2, x.shape).astype(np.float32)
    samples = model.complete(x, mask, SEED).numpy()
    np.testing.assert_array_equal(samples[mask == 1], x.numpy()[mask == 1])
    assert not np.array_equal(samples, x)
    np.testing.assert_array_equal(model.complete(x, tf.ones_like(x), SEED), x)
    zeros = model.complete(x, tf.zeros_like(x), SEED)
    np.testing.assert_array_equal(zeros, model.sample(6, SEED))


def test_completions_do_not_depend_on_the_batch(cls):
    model = loud(cls, (4, 4, 1), 2)
    x = random_images(6, model.shape, 2)
    mask = np.random.default_rng(2).integers(0, 2, x.shape).astype(np.float32)
    full = model.complete(x, mask, SEED).numpy()
    np.testing.assert_array_equal(model.complete(x[4:], mask[4:], SEED, first=4), full[4:])


@pytest.mark.parametrize(("block", "num_classes"), [(1, 0), (2, 0), (1, 2)])
def test_complete_draws_from_the_conditional_distribution(cls, block, num_classes):
    """p(rest | prefix) = p(image) / p(prefix), for prefixes of 2 x 2 images."""
    model = loud(cls, (2, 2, 1), 2, block=block, num_classes=num_classes)
    images, n = all_images((2, 2, 1), 2), 4000
    label = tf.ones([n], tf.int32) if num_classes else None
    joint = np.exp(model.log_prob(images, 0, condition=None if label is None else label[:16]))
    for prefix in ([], [1], [0, 1], [1, 0, 1]):
        x, mask = np.zeros((2, n, 4), np.float32)
        x[:, : len(prefix)], mask[:, : len(prefix)] = prefix, 1
        x, mask = tf.reshape(x, [n, 2, 2, 1]), tf.reshape(mask, [n, 2, 2, 1])
        samples = model.complete(x, mask, SEED, condition=label)
        counts = np.bincount(samples.numpy().reshape(n, 4).astype(int) @ [8, 4, 2, 1], minlength=16)
        possible = (images.numpy().reshape(16, 4)[:, : len(prefix)] == prefix).all(1)
        expected = n * joint * possible / joint[possible].sum()
        assert not counts[~possible].any()
        np.testing.assert_array_less(np.abs(counts - expected), 5 * np.sqrt(expected) + 5)


def test_sampled_values_do_not_depend_on_later_kept_values(cls):
    model = loud(cls, (4, 4, 1), 2, block=1)
    mask = np.zeros((6, 4, 4, 1), np.float32)
    mask[:, 2] = 1
    black, white = (model.complete(tf.fill(mask.shape, v), mask, SEED) for v in (0.0, 1.0))
    np.testing.assert_array_equal(black[:, :2], white[:, :2])
    assert not np.array_equal(black[:, 3], white[:, 3])


def test_sample_has_the_frequencies_of_the_model(cls):
    model = loud(cls, (2, 2, 1), 4, block=1)
    samples = model.sample(20_000, SEED).numpy().reshape(-1, 4) * 3
    counts = np.bincount(np.rint(samples).astype(int) @ [64, 16, 4, 1], minlength=256)
    expected = 20_000 * np.exp(model.log_prob(all_images((2, 2, 1), 4), 0))
    np.testing.assert_array_less(np.abs(counts - expected), 5 * np.sqrt(expected) + 5)


def test_the_loss_is_the_negative_log_prob_with_dropout_only_in_training(cls):
    model = loud(cls, (4, 4, 1), 2, dropout_rate=0.5)
    x = random_images(8, model.shape, 2)
    loss = model.compute_loss(x, None, SEED, 0)
    assert loss.numpy() == pytest.approx(-np.mean(model.log_prob(x, 0)), rel=1e-5)
    dropped = model.compute_loss(x, None, SEED, 0, training=True)
    assert dropped.numpy() != pytest.approx(loss.numpy(), rel=1e-3)
    halves = [
        model.compute_loss(x[k : k + 4], None, SEED, k, training=True).numpy() for k in (0, 4)
    ]
    assert dropped.numpy() == pytest.approx(np.mean(halves), rel=1e-5)


@pytest.fixture
def bfloat16():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(
    ("levels", "options"), [(2, {"num_classes": 3}), (256, {}), (256, {"block": 1})]
)
def test_bfloat16_gives_finite_float32_outputs(cls, levels, options):
    model = loud(cls, (4, 4, 1), levels, **options, spread=1.0)
    x, labels = random_images(5, model.shape, levels), labels_in_turn(model, 5)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, labels, SEED, 0, training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert loss.dtype == tf.float32
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    samples = model.sample(5, SEED, condition=labels)
    assert samples.dtype == tf.float32
    assert np.isin(np.rint(samples * (levels - 1)), range(levels)).all()
    assert np.isfinite(model.log_prob(samples, 0, condition=labels)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 8)}, "shape="),
        ({"levels": 0}, "levels=0"),
        ({"block": 0}, "block=0"),
        ({"block": 3}, "block=3"),
        ({"shape": (9, 9, 1), "block": 3}, r"shape=\(9, 9, 1\)"),
        ({"shape": (8, 8, 3)}, "smaller block"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"mixtures": 0}, "mixtures=0"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"dropout_rate": -0.1}, "dropout_rate=-0.1"),
        ({"dropout_rate": float("nan")}, "dropout_rate=nan"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
        ({"num_classes": -1}, "levels=-1"),
    ],
)
def test_invalid_options_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        make(cls, **{"shape": (8, 8, 1), **options})


def test_no_channels(cls):
    with pytest.raises(ValueError, match=f"{CHANNELS[cls]}=0"):
        make(cls, (8, 8, 1), **{CHANNELS[cls]: 0})
