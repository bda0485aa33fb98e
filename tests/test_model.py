"""The contract: the moving average by its recurrence, parameter checks, and the ways of Keras."""

import contextlib
import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import Duel, Pixels, make

import zoo
from zoo.errors import InputError
from zoo.model import CAPABILITIES, ENDPOINTS, GenerativeModel
from zoo.models.dcgan import DCGAN
from zoo.models.gan import GAN
from zoo.models.pixelcnn import PixelCNN
from zoo.models.pixelrnn import PixelRNN
from zoo.models.vae import VAE
from zoo.runs import checkpoints

SHAPE = (4, 4, 1)
RATE, DECAY, BATCH, STEPS = 2.0, 0.5, 8, 12  # the decay is below (1 + t) / (10 + t) from step 8


class Averaged(Pixels):
    """Pixels whose weights are a moving average of those that plain gradient descent moves."""

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        optimizer = optimizer or keras.optimizers.SGD(RATE)
        GenerativeModel.compile(self, optimizer, average=DECAY, **kwargs)


def images(n=BATCH * STEPS):
    x = np.random.default_rng(1).random((n, *SHAPE)) < np.linspace(0.1, 0.9, 16).reshape(SHAPE)
    return x.astype(np.float32)


def nats(table, x):
    """-log p(x), the mean over images, in float64."""
    p = 1 / (1 + np.exp(-table))
    return -np.mean(np.sum(np.where(x > 0.5, np.log(p), np.log(1 - p)), axis=(1, 2, 3)))


def recurrence(table, x):
    """Returns the weights that the gradient moves, their average, and the mean of the losses."""
    moved = average = table.astype(np.float64)
    losses = []
    for step, batch in enumerate(np.split(x, len(x) // BATCH), start=1):
        losses.append(nats(moved, batch))
        moved = moved - RATE * (1 / (1 + np.exp(-moved)) - batch.mean(0))
        decay = min(DECAY, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * moved
    return moved, average, np.mean(losses)


def fitted(**settings):
    keras.utils.set_random_seed(1)
    model = make(Averaged, SHAPE)
    model.compile()
    table, x = model.table.numpy(), images()
    history = model.fit(x, batch_size=BATCH, shuffle=False, verbose=0, **settings).history
    return model, recurrence(table, x), history


@pytest.fixture(scope="module")
def trained():
    return fitted(validation_data=(images(40),))


def test_the_weights_are_the_average_of_the_raw_weights(trained):
    model, (moved, average, _), _ = trained
    assert np.abs(moved - average).max() > 0.1
    np.testing.assert_allclose(model.moved_weights[0], moved, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.table, average, rtol=1e-4, atol=1e-5)


def test_training_uses_the_raw_weights_and_everything_else_the_average(trained):
    model, (_, average, loss), history = trained
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)
    x = images(40)
    expected = nats(average, x)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert -np.mean(model.log_prob(x, 0)) == pytest.approx(expected, rel=1e-5)
    seed = tf.constant([1, 2])
    u = zoo.random.uniform(seed, 0, 50, SHAPE)
    np.testing.assert_array_equal(model.sample(50, seed), u < 1 / (1 + np.exp(-average)))


def test_the_same_under_xla():
    keras.utils.set_random_seed(1)
    model = make(Averaged, SHAPE)
    model.compile()
    model.jit_compile = True
    table, x = model.table.numpy(), images()
    model.fit(x, batch_size=BATCH, shuffle=False, verbose=0)
    moved, average, _ = recurrence(table, x)
    np.testing.assert_allclose(model.moved_weights[0], moved, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.table, average, rtol=1e-4, atol=1e-5)


def test_raw_weights_are_not_weights_of_the_model(trained):
    model, *_ = trained
    assert [w.name for w in model.trainable_weights] == ["table"]
    assert len(model.get_weights()) == len(make(Pixels, SHAPE).get_weights())


def test_without_an_average_there_is_one_set_of_weights():
    model = make(Pixels, SHAPE)
    model.compile()
    assert not model.moved_weights
    before = model.table.numpy()
    with model.training_weights():
        model.table.assign_add(tf.ones_like(model.table))
    np.testing.assert_array_equal(model.table, before + 1)


def test_an_export_contains_only_the_average(trained, tmp_path):
    model, (_, average, _), _ = trained
    folder = zoo.export(model, tmp_path / "model")
    variables = tf.train.list_variables(str(folder / "variables" / "variables"))
    assert [shape for _, shape in variables if shape] == [[1, *SHAPE]]
    x = images(40)
    log_prob = zoo.load(folder).log_prob(x, 0)
    assert -np.mean(log_prob) == pytest.approx(nats(average, x), rel=1e-5)


def test_a_checkpoint_restores_the_raw_weights(trained, tmp_path):
    model, *_ = trained
    path = checkpoints.trackable(model).write(str(tmp_path / "variables"))
    again = make(Averaged, SHAPE)
    again.compile()
    checkpoints.trackable(again).read(path).assert_consumed()
    np.testing.assert_array_equal(again.moved_weights[0], model.moved_weights[0])
    np.testing.assert_array_equal(again.table, model.table)


def test_an_option_that_is_not_json_serializable_is_refused():
    message = "learning_rate must be JSON-serializable. Received: learning_rate=<ufunc"
    with pytest.raises(ValueError, match=message):
        make(Pixels, (8, 8, 1), learning_rate=np.tanh)


TINY = {
    VAE: dict(latent_dim=2, filters=4, hidden_dim=8),
    GAN: dict(latent_dim=2, hidden_dim=8),
    DCGAN: dict(latent_dim=2, filters=2),
    PixelCNN: dict(filters=4, num_layers=1),
    PixelRNN: dict(units=4, num_layers=1),
}
# Of Keras 3.15 with NumPy 2.4, when it saves any model.
saves = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
each_model = pytest.mark.parametrize("cls", TINY, ids=lambda cls: cls.__name__)


def create(cls, num_classes=0, levels=2):
    keras.utils.set_random_seed(1)
    return make(cls, (8, 8, 1), levels, num_classes, **TINY[cls])


def examples(n=40):
    """Returns binary images and their labels."""
    x = np.random.default_rng(1).random((n, 8, 8, 1)) < 0.3
    return x.astype(np.float32), np.arange(n) % 3


def optimizers(model):
    return {k: v for k, v in vars(model).items() if isinstance(v, keras.Optimizer)}


@each_model
def test_an_optimizer_is_a_name_or_an_instance_or_that_of_the_model(cls):
    model = create(cls)
    model.compile("sgd")
    assert {type(optimizer) for optimizer in optimizers(model).values()} == {keras.optimizers.SGD}
    model.compile(optimizer=keras.optimizers.RMSprop(0.125), run_eagerly=True)
    assert model.run_eagerly
    copies = optimizers(model).values()
    assert len({*map(id, copies)}) == (1 if cls.has_one_objective() else 2)
    for optimizer in copies:
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        assert float(optimizer.learning_rate) == 0.125
    model.compile()
    assert {type(optimizer).__name__ for optimizer in optimizers(model).values()} <= {
        "Adam",
        "AdamW",
    }


@saves
@pytest.mark.parametrize(
    ("cls", "num_classes"), [(VAE, 0), (GAN, 3), (DCGAN, 0), (PixelCNN, 3), (PixelRNN, 0)]
)
def test_fit_on_arrays_with_callbacks_then_save_and_load(cls, num_classes, tmp_path):
    model, (x, y) = create(cls, num_classes), examples()
    model.compile(total_steps=12)
    monitor = "val_loss" if cls.has_one_objective() else "val_discriminator_loss"
    history = model.fit(
        x,
        y if num_classes else None,
        batch_size=10,
        epochs=2,
        verbose=0,
        validation_data=(x, y) if num_classes else x,
        callbacks=[
            keras.callbacks.EarlyStopping(monitor, mode="min", patience=5),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras")),
        ],
    ).history
    assert len(history[monitor]) == 2
    assert monitor in (tmp_path / "log.csv").read_text().splitlines()[0]
    model.save(tmp_path / "model.keras")
    for path in (tmp_path / "2.keras", tmp_path / "model.keras"):
        loaded = keras.models.load_model(path)
        assert type(loaded) is cls
        assert int(loaded.step) == 8
        assert len(loaded.moved_weights) == len(model.moved_weights)
        same = [(model.variables, loaded.variables), (model.moved_weights, loaded.moved_weights)]
        for name, optimizer in optimizers(model).items():
            again = getattr(loaded, name)
            assert float(again.learning_rate) == float(optimizer.learning_rate) > 0
            assert len(again.variables) > 2
            same.append((optimizer.variables, again.variables))
        for pair in same:
            for value, again in zip(*pair, strict=True):
                np.testing.assert_array_equal(value, again)


@saves
@pytest.mark.parametrize("cls", [Averaged, Duel])
def test_a_loaded_model_continues_as_the_saved_one(cls, tmp_path):
    keras.utils.set_random_seed(1)
    model, x = make(cls, SHAPE), images()
    model.compile()
    model.fit(x, batch_size=BATCH, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = [w.numpy() for w in model.trainable_weights]
    for each in (model, loaded):
        each.fit(x, batch_size=BATCH, shuffle=False, verbose=0)
    assert int(model.step) == 2 * STEPS
    assert not any(map(np.array_equal, before, model.trainable_weights))
    for value, again in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(value, again)


@saves
def test_a_new_process_loads_a_file_after_importing_the_class(tmp_path):
    model = create(VAE)
    model.compile("adam")
    model.save(tmp_path / "model.keras")
    program = (
        "import sys, keras; from zoo.models.vae import VAE\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "print(float(model.encode(model.sample(3, seed=5)).numpy().sum()))"
    )
    command = [sys.executable, "-c", program, tmp_path / "model.keras"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = float(model.encode(model.sample(3, seed=5)).numpy().sum())
    assert float(done.stdout) == pytest.approx(expected, rel=1e-5)


@saves
def test_weights_without_raw_weights_are_refused_by_a_model_with_an_average(tmp_path):
    make(Averaged, SHAPE).save_weights(tmp_path / "plain.weights.h5")
    model = make(Averaged, SHAPE)
    model.compile()
    with pytest.raises(ValueError, match="Load it before compile"):
        model.load_weights(tmp_path / "plain.weights.h5")


@each_model
def test_a_clone_is_compiled_as_the_model_is(cls):
    model = create(cls, num_classes=3)
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    clone = keras.models.clone_model(model)
    assert type(clone) is cls
    assert clone.get_config() == model.get_config()
    rates = [float(optimizer.learning_rate) for optimizer in optimizers(clone).values()]
    assert {*rates} == {0.25}


@each_model
def test_the_parts_of_a_summary_have_names_and_sizes(cls):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        create(cls).summary()
    parts = {
        VAE: ["encoder", "decoder"],
        PixelCNN: ["above", "left", "gated_0", "hidden", "head"],
        PixelRNN: ["above", "left", "recurrent_0", "hidden", "head"],
    }.get(cls, ["generator", "discriminator"])
    for part in parts:
        assert f"{part} (" in text.getvalue()
    assert "unbuilt" not in text.getvalue()


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_fit_on_tf_data(num_classes, labelled):
    model, (x, y) = create(GAN, num_classes), examples()
    model.compile()
    data = tf.data.Dataset.from_tensor_slices((x, y) if labelled else x).batch(10)
    if num_classes and not labelled:
        with pytest.raises(InputError, match="Received: no labels"):
            model.fit(data, verbose=0)
    else:
        model.fit(data, validation_data=data, epochs=2, verbose=0)
        assert int(model.step) == 8


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    x = np.random.default_rng(1).integers(0, 256, (100, 8, 8), np.uint8)
    np.savez(path, images=x, labels=np.arange(100) % 3)
    return zoo.load_dataset(path)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_fit_on_a_split_continues_its_stream(splits, num_classes):
    train, validation, _ = splits
    model, twin = (create(GAN, num_classes, levels=256) for _ in range(2))
    for each in (model, twin):
        each.compile("sgd")
    for _ in range(2):
        history = model.fit(train, validation_data=validation, batch_size=16, verbose=0).history
        assert "val_generator_loss" in history
    steps = 2 * (len(train) // 16)
    assert int(model.step) == steps
    stream = train.stream(16, seed=0, condition=num_classes > 0)
    twin.fit(stream, steps_per_epoch=steps, verbose=0)
    for value, again in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(value, again)


def test_fit_on_splits_trains_and_validates(splits):
    every = type("Splits", (), dict(zip(("train", "validation", "test"), splits, strict=True)))()
    model = create(GAN, levels=256)
    model.compile()
    assert "val_generator_loss" in model.fit(every, verbose=0).history
    assert int(model.step) == 1  # a batch is that of the recipe, but not larger than the split


def test_a_split_that_does_not_fit_is_refused(splits):
    model = create(GAN)
    model.compile()
    with pytest.raises(
        InputError, match=r"and 2 levels\. Received: digits with .* 256 levels\. Add binarize=True"
    ):
        model.fit(splits[0])


@pytest.mark.parametrize(
    ("levels", "change", "message"),
    [
        (2, lambda x: np.uint8(255 * x), r"Received: uint8 .*Binarize it.*> 127"),
        (256, lambda x: np.uint8(255 * x), r"expects floats .*1/255.*Received: uint8.*/ 255$"),
        (17, np.int64, r"Received: int64 .*/ 16$"),
        (
            2,
            lambda x: x[..., 0],
            r"\(n, 8, 8, 1\).*float32 of shape \(40, 8, 8\).*Add the last axis",
        ),
        (2, lambda x: x[:, :7], r"Received: float32 of shape \(40, 7, 8, 1\)"),
        (2, lambda x: 0.5 * x, r"0 or 1\. Received: a value 0\.5 levels from .*\. Binarize it"),
        (256, lambda x: 255.0 * x, r"from 0 to 1\. Received: a value 6\.5e\+04 levels from"),
    ],
    ids=["bytes", "grey bytes", "integers", "no channels", "size", "grey", "not scaled"],
)
@pytest.mark.parametrize("place", ["x", "validation_data"])
def test_arrays_that_do_not_fit_are_refused_with_one_line(levels, change, message, place):
    model, (x, _) = create(GAN, levels=levels), examples()
    model.compile()
    with pytest.raises(InputError, match=message) as caught:
        model.fit(**{"x": x, "verbose": 0} | {place: change(x)})
    assert "\n" not in str(caught.value)
    assert int(model.step) == 0


def test_batches_off_the_grid_are_refused_with_one_line():
    model, (x, _) = create(VAE), examples()
    model.compile()
    data = tf.data.Dataset.from_tensor_slices(0.5 * x).batch(10)
    with pytest.raises(
        InputError,
        match=r"^Data must be one of 2 values .*Binarize it, or train with 256 levels\.$",
    ):
        model.fit(data, verbose=0)
    with pytest.raises(InputError, match=r"Received: uint8"):
        model.fit(data.map(lambda x: tf.cast(x, tf.uint8)), verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no labels. Pass one label per example"),
        (np.eye(3)[np.arange(40) % 3], r"float64 of shape \(40, 3\)"),
        (np.arange(40)[:, None] % 3, r"shape \(40, 1\)\. Remove the last axis"),
        (np.arange(40) % 4, "values from 0 to 3"),
    ],
    ids=["none", "one-hot", "two axes", "too large"],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    model, (x, _) = create(GAN, num_classes=3), examples()
    model.compile()
    with pytest.raises(InputError, match=f"integer labels of shape .* from 0 to 2.*{message}"):
        model.fit(x, labels, verbose=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_can_have_any_integer_dtype(dtype):
    model, (x, y) = create(GAN, num_classes=3), examples()
    model.compile()
    model.fit(x, y.astype(dtype), verbose=0)


def test_live_and_saved_models_have_equal_arguments_and_outputs(tmp_path):
    model, (x, y) = create(VAE, num_classes=3), examples(4)
    model.export(tmp_path / "model")
    loaded = zoo.load(tmp_path / "model")
    np.testing.assert_array_equal(
        model.sample(np.int64(4), seed=0, condition=y), loaded.sample(4, seed=0, condition=y)
    )
    calls = {
        "sample": dict(num_samples=4, seed=np.int32(7), first=np.int64(2)),
        "log_prob": dict(x=x.astype(np.float64), seed=[1, 2]),
        "encode": dict(x=x.tolist()),
        "decode": dict(z=np.ones((4, 2))),
        "reconstruct": dict(x=x),
    }
    for name, arguments in calls.items():
        live, saved = (
            np.asarray(getattr(each, name)(**arguments, condition=y.astype(np.uint8)))
            for each in (model, loaded)
        )
        assert live.dtype == np.float32
        np.testing.assert_allclose(live, saved, rtol=1e-4, atol=1e-5)


def test_complete_accepts_arrays():
    model, (x, _) = create(PixelCNN), examples(2)
    mask = np.zeros(x.shape, bool)
    mask[:, :4] = True
    completed = model.complete(x, mask, seed=3).numpy()
    np.testing.assert_array_equal(completed[:, :4], x[:, :4])


@pytest.mark.parametrize("seed", [2**32, "1", [1, 2, 3], 0.5])
def test_an_invalid_seed_is_refused(seed):
    with pytest.raises(InputError, match="seed must be"):
        make(Pixels, SHAPE).sample(1, seed)


X = np.zeros((2, *SHAPE), np.float32)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sample", (-1, 0, []), "num_samples must not be negative. Received: num_samples=-1"),
        ("sample", (2.5, 0, [0, 1]), "num_samples must be int32 of shape .*Received: 2.5"),
        ("sample", (2, 0, [0, 1], 2**40), "first must be int32"),
        ("sample", (2, None, [0, 1]), "seed must be.*Received: seed=None"),
        ("sample", (2, 0, [0, 1], -1), "first must not be negative. Received: first=-1"),
        ("sample", (2, 0), "Received: no labels. Pass one label per example"),
        ("sample", (2, 0, 1), "Received: int. Pass an array"),
        ("sample", (2, 0, [0.5, 1]), "integer labels .* from 0 to 1. Received: float64"),
        ("sample", (2, 0, [0, 2]), "Received: values from 0 to 2"),
        ("sample", (2, 0, [0]), "the same number of examples. Received: .*2.*1"),
        ("log_prob", (X[..., 0], 0, [0, 1]), "x must be float32.*Received: shape"),
        ("log_prob", (X + 0.5, 0, [0, 1]), "Data must be one of 2 values from 0 to 1"),
        ("log_prob", (X, 0, [0]), "the same number of examples"),
    ],
)
@pytest.mark.parametrize("kind", ["live", "saved"])
def test_invalid_arguments_are_refused_with_one_line(pixels, kind, name, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        getattr(pixels[kind], name)(*arguments)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    model = make(Pixels, SHAPE, num_classes=2)
    folder = tmp_path_factory.mktemp("pixels") / "exported"
    return {"live": model, "saved": zoo.load(zoo.export(model, folder))}


@pytest.mark.parametrize("data", [None, "mnist", [1, 2], np.zeros((4, *SHAPE), np.uint8)])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_names_are_refused_as_data(method, data):
    model = make(Pixels, SHAPE)
    model.compile()
    with pytest.raises(InputError, match=r"Received: (None|x='mnist'|list|uint8)") as caught:
        getattr(model, method)(data, verbose=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labelled", [True, False])
def test_evaluate_takes_arrays_and_splits(splits, labelled):
    model = create(GAN, num_classes=3 * labelled, levels=256)
    model.compile()
    x, y = splits.test.take(10, labelled)
    arrays = model.evaluate(x, y, verbose=0, return_dict=True, batch_size=len(x))
    split = model.evaluate(splits.test, verbose=0, return_dict=True)
    assert arrays.keys() == split.keys()
    assert arrays["generator_loss"] > 0


def test_arguments_in_graphs_are_unchanged():
    received = []

    class Watched(Pixels):
        def sample(self, num_samples, seed, condition=None, first=0):
            received.append((num_samples, seed, first))
            return super().sample(num_samples, seed, condition, first)

    model = make(Watched, SHAPE)
    arguments = (tf.constant(2), tf.constant([1, 2]), None, tf.constant(3))

    @tf.function(autograph=False)
    def draw(n, seed, first):
        passed.append((n, seed, first))
        return model.sample(n, seed, first=first)

    passed = []
    draw(arguments[0], arguments[1], arguments[3])
    assert [*map(id, received[0])] == [*map(id, passed[0])]


@pytest.mark.parametrize("fmt", ["tf_saved_model"])
def test_an_export_of_keras_is_a_saved_model_of_zoo(tmp_path, fmt):
    model = make(Duel, SHAPE)
    model.export(tmp_path / "model", format=fmt)
    signatures = tf.saved_model.load(tmp_path / "model").signatures
    samples = signatures["sample"](
        num_samples=tf.constant(3), seed=tf.constant([0, 5]), first=tf.constant(0)
    )
    np.testing.assert_array_equal(samples["output_0"], model.sample(3, seed=5))
    assert zoo.load(tmp_path / "model").card["can"] == ["sample"]


def test_errors_of_require_end_with_the_received_values():
    GenerativeModel.require(True, "a must be 1.", a=1)
    with pytest.raises(ValueError, match=r"^a must be below b\. Received: a='2', b=1$"):
        GenerativeModel.require(False, "a must be below b.", a="2", b=1)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_table_binds_calls_as_the_methods_do(name):
    endpoint = ENDPOINTS[name]
    values = [*range(len(endpoint.arguments))]
    assert [*endpoint.bind(*values).items()] == [*zip(endpoint.arguments, values, strict=True)]
    required = {k: 1 for k in endpoint.arguments if k not in ("condition", "first")}
    assert endpoint.bind(**required) == {
        k: {"condition": None, "first": 0}.get(k, 1) for k in endpoint.arguments
    }
    with pytest.raises(TypeError, match="missing"):
        endpoint.bind()
    assert endpoint.draws == (name in ("sample", "complete"))


def test_capabilities_are_the_endpoints_with_methods():
    assert tuple(ENDPOINTS) == CAPABILITIES
    assert Pixels.capabilities() == ("sample", "log_prob")
