"""Exports: contents, outputs and dependencies of a SavedModel, and errors."""

import contextlib
import math
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.noisy import Noisy
from support.shell import copy_of_finished, here
from support.toys import make
from tensorflow.core.protobuf import saved_model_pb2

import zoo
from zoo import render
from zoo.errors import ArtefactError, InputError
from zoo.exports import clean_process
from zoo.exports.export import end_clean_process, float32_policy
from zoo.model import GenerativeModel
from zoo.models.vae import VAE
from zoo.sampling import latents
from zoo.spec import Spec

IMAGE = ("float32", (None, 8, 8, 1))
SCALAR, SEED, LABELS = ("int32", ()), ("int32", (2,)), ("int32", (None,))


class Chain(GenerativeModel):
    """Binary pixels that are sampled in a loop by a network of the previous pixels."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.size = math.prod(spec.shape)
        self.network = keras.Sequential(
            [keras.Input((self.size,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(2)]
        )
        self.unused = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        self.build()

    def sample(self, num_samples, seed, condition=None, first=0):
        u = zoo.random.uniform(seed, first, num_samples, (self.size,))

        def draw(index, x):
            logits = tf.reduce_sum(self.network(x), axis=1)
            pixel = tf.cast(u[:, index] < tf.sigmoid(logits), tf.float32)
            return index + 1, x + pixel[:, None] * tf.one_hot(index, self.size)

        _, x = tf.while_loop(lambda index, x: index < self.size, draw, (0, tf.zeros_like(u)))
        return tf.reshape(x, (num_samples, *self.shape))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The SavedModel of a Chain with float16 weights, and the Chain."""
    model = make(Chain, (8, 8, 1))
    return zoo.load(zoo.export(model, tmp_path_factory.mktemp("half") / "x", half=True)), model


def test_the_saved_model_samples_without_zoo_and_keras(plain, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['zoo'] = sys.modules['keras'] = sys.modules['tensorflow_probability'] = None\n"
        "import numpy, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(plain.folder)!r})\n"
        "images = model.signatures['sample'](num_samples=tf.constant(5),"
        " seed=tf.constant([0, 3]), first=tf.constant(2))\n"
        "numpy.save('images.npy', *images.values())\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True)
    images = np.load(tmp_path / "images.npy")
    assert images.shape == (5, 8, 8, 1)
    assert np.array_equal(images, plain.sample(5, seed=3, first=2))


def signatures(model):
    loaded = tf.saved_model.load(str(model.folder))
    return {
        name: {
            key: (spec.dtype.name, tuple(spec.shape))
            for key, spec in function.structured_input_signature[1].items()
        }
        for name, function in loaded.signatures.items()
    }


def test_the_signatures_are_the_methods_of_the_model(plain):
    assert signatures(plain) == {
        "sample": {"num_samples": SCALAR, "seed": SEED, "first": SCALAR},
        "log_prob": {"x": IMAGE, "seed": SEED, "first": SCALAR},
    }


def test_a_conditional_model_takes_labels_in_every_signature(conditional):
    z = ("float32", (None, 4))
    assert signatures(conditional[0]) == {
        "sample": {"num_samples": SCALAR, "seed": SEED, "condition": LABELS, "first": SCALAR},
        "log_prob": {"x": IMAGE, "seed": SEED, "condition": LABELS, "first": SCALAR},
        "encode": {"x": IMAGE, "condition": LABELS},
        "decode": {"z": z, "condition": LABELS},
        "reconstruct": {"x": IMAGE, "condition": LABELS},
    }


def test_every_method_equals_that_of_the_model_in_float32(conditional):
    saved, model = conditional
    clone = VAE.from_config(model.get_config())
    clone.set_weights(model.get_weights())
    seed, labels = tf.constant([0, 7]), tf.constant([0, 1, 2, 0])
    x = clone.sample(4, seed, labels)
    z = clone.encode(x, labels)
    for actual, expected in (
        (saved.sample(4, 7, labels), x),
        (saved.encode(x, labels), z),
        (saved.decode(z, labels), clone.decode(z, labels)),
        (saved.reconstruct(x, labels), clone.reconstruct(x, labels)),
        (saved.log_prob(x, 7, labels), clone.log_prob(x, seed, labels)),
    ):
        assert actual.dtype == tf.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_affects_only_the_stored_weights(half, plain):
    saved, model = half
    assert (saved.card["weights"], plain.card["weights"]) == ("float16", "float32")
    stored = tf.train.load_checkpoint(str(saved.folder / "variables" / "variables"))
    (name,) = {*stored.get_variable_to_dtype_map()} - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert stored.get_variable_to_dtype_map()[name] == tf.float16
    size = model.network.count_params()  # without those of `unused`
    assert stored.get_variable_to_shape_map()[name] == [size]
    assert saved.card["parameters"] == size
    rounded = make(Chain, (8, 8, 1))
    for weight, original in zip(rounded.weights, model.weights, strict=True):
        value = original.numpy()
        weight.assign(value if value.dtype == "int64" else value.astype(np.float16))
    assert np.array_equal(saved.sample(64, seed=1), rounded.sample(64, tf.constant([0, 1])))


def test_half_precision_weights_are_cast_once_per_call(half):
    parsed = saved_model_pb2.SavedModel.FromString((half[0].folder / "saved_model.pb").read_bytes())
    functions = {f.signature.name: f for f in parsed.meta_graphs[0].graph_def.library.function}
    nodes = [node for function in functions.values() for node in function.node_def]
    bodies = {n.attr["body"].func.name for n in nodes if n.op in ("While", "StatelessWhile")}
    assert len(bodies) == 1
    steps = [node for name in bodies for node in functions[name].node_def]
    assert "MatMul" in {node.op for node in steps}
    assert "ReadVariableOp" not in {node.op for node in steps}
    from_half = [
        n for n in nodes if n.op == "Cast" and n.attr["SrcT"].type == tf.float16.as_datatype_enum
    ]
    assert len(from_half) == 1
    assert not any(node in steps for node in from_half)


def test_a_weight_too_large_for_half_precision_is_refused(tmp_path):
    model = make(Noisy, (8, 8, 1))
    model.table.assign(tf.fill(model.table.shape, -7e4))
    with pytest.raises(InputError, match=r"up to 65504\. .*Received: 70000 in noisy.*/table"):
        zoo.export(model, tmp_path / "exported", half=True)
    assert not [*tmp_path.iterdir()]


def test_the_saved_model_of_a_run_becomes_half_precision_and_loses_the_scores(tmp_path):
    run = copy_of_finished(tmp_path)
    assert here("export", run, "--half").returncode == 0
    card = zoo.load(run).card
    assert (card["weights"], card["scores"]) == ("float16", [])
    assert here("export", run, "--half").returncode == 0
    assert zoo.load(run).card == card  # it already existed


def test_an_existing_or_invalid_folder_is_refused(tmp_path):
    model = make(Noisy, (8, 8, 1))
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="The folder already exists"):
            zoo.export(model, place)
    for place in (tmp_path / "file" / "exported", "/proc/exported"):
        with pytest.raises(InputError, match="Cannot write the folder"):
            zoo.export(model, place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_grid_of_samples_is_that_of_the_saved_model(conditional, tmp_path):
    model, labels = conditional[0], np.arange(63) % 3
    means = model.decode(latents(model, 63, (0, 0)), labels)
    about = render.describe(conditional[0].name, None, 63, 0, means=True)
    path = tmp_path / "grid.png"
    render.save(path, means, model.spec, model.condition, labels, *about)
    expected = path.read_bytes()
    assert (conditional[0].folder / "samples.png").read_bytes() == expected


@pytest.fixture
def clean_processes(monkeypatch):
    """A list of the clean processes that a test starts. None runs at its start."""
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            processes.append(self)
            super().__init__(*arguments, **options)

    end_clean_process()
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    yield processes
    end_clean_process()


def test_one_clean_process_verifies_all_exports(clean_processes, tmp_path):
    model, large = make(Noisy, (8, 8, 1)), make(Noisy, (8, 8, 1))
    large.table.assign(tf.fill(large.table.shape, 7e4))
    zoo.export(model, tmp_path / "a")
    with pytest.raises(InputError, match="Export without half=True"):
        zoo.export(large, tmp_path / "b", half=True)
    zoo.export(model, tmp_path / "b")
    [process] = clean_processes
    assert process.poll() is None
    process.stdin.close()  # as if this process had ended
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", ArtefactError, "was discarded: exit code -9"),
        ("input(), os.kill(os.getppid(), signal.SIGINT), input()", KeyboardInterrupt, None),
    ],
)
def test_a_verification_that_is_interrupted_or_killed_is_an_error(
    clean_processes, tmp_path, monkeypatch, program, error, message
):
    path = tmp_path / "program.py"
    path.write_text(f"import os, signal; {program}")
    monkeypatch.setattr(clean_process, "__file__", str(path))
    with pytest.raises(error, match=message):
        zoo.export(make(Noisy, (8, 8, 1)), tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    assert [process.returncode for process in clean_processes] == [-signal.SIGKILL]


def test_the_float32_policy_ends_with_its_scope():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with contextlib.suppress(KeyError), float32_policy():
            assert keras.layers.Dense(1).compute_dtype == "float32"
            raise KeyError
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)


class Stateful(Noisy):
    """Noisy whose samples differ at every call but are equal in every new process."""

    def sample(self, num_samples, seed, condition=None, first=0):
        return tf.round(tf.random.uniform((num_samples, *self.shape)))


def test_a_saved_model_with_other_outputs_is_discarded(clean_processes, tmp_path):
    with pytest.raises(ArtefactError, match="was discarded: sample differs in") as caught:
        zoo.export(make(Stateful, (8, 8, 1)), tmp_path / "parent" / "exported")
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.rglob("*exported*")]
    zoo.export(make(Noisy, (8, 8, 1)), tmp_path / "parent" / "exported")  # in a new process
    assert [process.poll() for process in clean_processes] == [1, None]
