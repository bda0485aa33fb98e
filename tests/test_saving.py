"""The SavedModel: runs without zoo and Keras, says what it is, and is refused when damaged."""

import json
import math
import shutil
import subprocess
import sys
from copy import copy as shallow_copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from noisy import Noisy
from shell import assert_refused, copy_of_finished, finished, flip, here
from tensorflow.core.protobuf import saved_model_pb2

import zoo
from zoo import datasets, saving
from zoo.errors import ArtefactError, InputError
from zoo.evaluation.likelihood import log_likelihood
from zoo.model import GenerativeModel
from zoo.models.vae import VAE

IMAGE = ("float32", (None, 8, 8, 1))
SCALAR, SEED, LABELS = ("int32", ()), ("int32", (2,)), ("int32", (None,))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """The SavedModel of a conditional VAE that computes in bfloat16, and the VAE."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = VAE(shape=(8, 8, 1), levels=2, num_classes=3, filters=4, latent_dim=4)
    keras.config.set_dtype_policy(policy)
    folder = tmp_path_factory.mktemp("vae") / "exported"
    return zoo.load(zoo.export(model, folder, {"model": "vae"})), model


@pytest.fixture(scope="module")
def plain():
    """The SavedModel of the finished run, which is unconditional."""
    return zoo.load(finished().run)


class Chain(GenerativeModel):
    """Binary pixels, each drawn in a step of a loop, by a network that sees those before it."""

    def __init__(self, shape: tuple[int, int, int], levels: int = 2):
        super().__init__(shape, levels)
        self.size = math.prod(shape)
        self.network = keras.Sequential(
            [keras.Input((self.size,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(2)]
        )
        self.unused = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        self.build()

    def sample(self, num_samples, seed, labels=None, first=0):
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
    model = Chain((8, 8, 1))
    return zoo.load(zoo.export(model, tmp_path_factory.mktemp("half") / "x", half=True)), model


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(finished().run / "saved_model", tmp_path / "copy")


def test_it_samples_where_zoo_and_keras_cannot_be_imported(plain, tmp_path):
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
        "sample": {"num_samples": SCALAR, "seed": SEED, "labels": LABELS, "first": SCALAR},
        "log_prob": {"x": IMAGE, "seed": SEED, "labels": LABELS, "first": SCALAR},
        "encode": {"x": IMAGE, "labels": LABELS},
        "decode": {"z": z, "labels": LABELS},
        "reconstruct": {"x": IMAGE, "labels": LABELS},
    }


def test_every_method_gives_what_the_model_gives_in_float32(conditional):
    saved, model = conditional
    clone = VAE(**model.get_config())
    clone.set_weights(model.get_weights())
    seed, labels = tf.constant([0, 7]), tf.constant([0, 1, 2, 0])
    x = clone.sample(4, seed, labels)
    z = clone.encode(x, labels)
    for found, expected in (
        (saved.sample(4, 7, labels), x),
        (saved.encode(x, labels), z),
        (saved.decode(z, labels), clone.decode(z, labels)),
        (saved.reconstruct(x, labels), clone.reconstruct(x, labels)),
        (saved.log_prob(x, 7, labels), clone.log_prob(x, seed, labels)),
    ):
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_that_of_the_stored_weights_alone(half, plain):
    saved, model = half
    assert (saved.card["weights"], plain.card["weights"]) == ("float16", "float32")
    stored = tf.train.load_checkpoint(str(saved.folder / "variables" / "variables"))
    (name,) = {*stored.get_variable_to_dtype_map()} - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert stored.get_variable_to_dtype_map()[name] == tf.float16
    size = model.network.count_params()  # those of `unused` are not among them
    assert stored.get_variable_to_shape_map()[name] == [size]
    assert saved.card["parameters"] == size
    rounded = Chain((8, 8, 1))
    for weight, original in zip(rounded.weights, model.weights, strict=True):
        value = original.numpy()
        weight.assign(value if value.dtype == "int64" else value.astype(np.float16))
    assert np.array_equal(saved.sample(64, seed=1), rounded.sample(64, tf.constant([0, 1])))


def test_half_precision_weights_are_cast_once_a_call_not_once_a_step(half):
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
    model = Noisy((8, 8, 1))
    model.table.assign(tf.fill(model.table.shape, -7e4))
    with pytest.raises(InputError, match=r"at most 65504, .*Received: 70000 in noisy.*/table"):
        zoo.export(model, tmp_path / "exported", half=True)
    assert not [*tmp_path.iterdir()]


def test_the_saved_model_of_a_run_becomes_half_precision_and_loses_the_scores(tmp_path):
    run = copy_of_finished(tmp_path)
    assert here("export", run, "--half").returncode == 0
    card = zoo.load(run).card
    assert (card["weights"], card["scores"]) == ("float16", [])
    assert here("export", run, "--half").returncode == 0
    assert zoo.load(run).card == card  # it was there


def test_the_name_of_a_model_means_the_data_of_its_recipe(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "zoo_toys-1.0.dist-info").mkdir()
    (tmp_path / "zoo_toys-1.0.dist-info" / "entry_points.txt").write_text(
        "[zoo.models]\nnoisy = zoo_toys:Noisy\nlone = zoo_toys:Noisy\n"
    )
    package = tmp_path / "zoo_toys"
    folders = {
        tag: package / "saved_models" / tag
        for tag in ("lone-mnist", "noisy-mnist", "noisy-mnist_binary")
    }
    for folder in folders.values():
        shutil.copytree(finished().run / "saved_model", folder)
    (package / "__init__.py").write_text("ZOO_API = 1\nraise SystemExit")
    assert saving.find("noisy") == folders["noisy-mnist_binary"]
    for tag, folder in folders.items():
        assert saving.find(tag) == saving.find(f"zoo-toys:{tag}") == folder
    assert saving.find("zoo-toys:noisy") == folders["noisy-mnist_binary"]
    assert saving.find("keras-genzoo:vae") == saving.find("vae")
    with pytest.raises(InputError, match=r"Expected a pretrained model: one of lone-mnist\."):
        saving.find("lone")  # is trained on mnist_binary by default
    with pytest.raises(InputError, match=r"one of .*noisy-mnist, noisy-mnist_binary"):
        saving.find("none")


def test_the_card_says_what_it_is_and_where_it_comes_from(plain):
    card = json.loads((finished().run / "saved_model" / "card.json").read_text())
    assert card["schema"] == 1
    assert card["can"] == ["sample", "log_prob"]
    assert card["log_prob_kind"] == "exact"
    assert card["parameters"] == 64
    assert card["recipe"] == json.loads((finished().run / "run.json").read_text())["recipe"]
    assert card["command"].startswith("zoo train ")
    assert card["ms_per_image"] > 0
    assert card["training_seconds"] > 0
    files = {p for p in plain.folder.rglob("*") if p.is_file() and p.name != "card.json"}
    assert {plain.folder / name for name in card["files"]} == files
    [score] = card["scores"]
    assert score["metric"] == "log_likelihood"
    assert (score["protocol"]["dataset"], score["protocol"]["split"]) == ("binary", "test")


def test_a_seed_may_be_one_int_and_a_draw_may_be_made_in_parts(plain):
    whole = plain.sample(6, seed=5).numpy()
    assert np.array_equal(whole, plain.sample(6, [0, 5]))
    assert np.array_equal(whole, plain.sample(num_samples=6, seed=np.int64(5), first=0))
    assert np.array_equal(whole[4:], plain.sample(2, 5, first=4))
    assert not np.array_equal(whole, plain.sample(6, seed=6))


def test_an_empty_batch_is_empty(conditional, plain):
    nothing = np.zeros((0, 8, 8, 1), np.float32)
    assert plain.sample(0, seed=5).shape == nothing.shape
    assert plain.log_prob(nothing, seed=0).shape == (0,)
    assert conditional[0].encode(nothing, np.zeros(0, np.int32)).shape[0] == 0


@pytest.mark.parametrize("seed", [2**32, -(2**31) - 1, [0, 2**31], [1], [1, 2, 3], 0.5, "1", None])
def test_bad_seeds_are_told(plain, seed):
    with pytest.raises(InputError, match="Expected a seed: an int32, or two"):
        plain.sample(1, seed)


def test_a_loaded_model_can_be_copied(plain):
    assert np.array_equal(shallow_copy(plain).sample(2, 0), plain.sample(2, 0))


@pytest.mark.parametrize(
    "labels", [None, [0, 1], [[0, 1, 2]], [0, 1, 3], [0, 1, -1], [0.0, 1.0, 2.0]]
)
def test_bad_labels_are_told(conditional, labels):
    with pytest.raises(InputError, match=r"3 .*of 0 to 2"):
        conditional[0].sample(3, 0, labels)


def test_labels_for_an_unconditional_model_are_told(plain):
    with pytest.raises(InputError, match="trained without labels, so takes none"):
        plain.sample(3, 0, [0, 1, 2])


def test_grey_data_for_a_binary_model_are_told(conditional, plain):
    grey = np.full((3, 8, 8, 1), 0.5, np.float32)
    message = r"Data must be one of 2 values from 0 to 1, evenly spaced\. Binarise it,[^']*$"
    with pytest.raises(InputError, match=message):
        plain.log_prob(grey, seed=0)
    with pytest.raises(InputError, match=message):
        conditional[0].encode(grey, [0, 1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.log_prob(np.zeros((3, 9, 9, 1), np.float32), seed=0),
        lambda model: model.log_prob(np.zeros((8, 8, 1), np.float32), seed=0),
        lambda model: model.log_prob("photo.png", seed=0),
        lambda model: model.sample(4, seed=[1, 2, 3]),
        lambda model: model.sample(4, seed="dice"),
        lambda model: model.sample(-1, seed=0),
        lambda model: model.sample("four", seed=0),
    ],
    ids=["size", "no batch", "path", "seed of 3", "seed of str", "negative", "number as str"],
)
def test_a_bad_argument_is_told_in_one_line(plain, call):
    with pytest.raises(InputError) as caught:
        call(plain)
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_dir_lists_what_it_can(plain, conditional):
    assert {"sample", "log_prob", "card", "name"} <= {*dir(plain)}
    assert "encode" not in dir(plain)
    assert "encode" in dir(conditional[0])


def test_one_image_has_a_log_likelihood_without_a_standard_error(copy):
    split = datasets.load_dataset(str(finished().cwd / "binary.npz"))[2]
    model = zoo.load(copy)
    scores = [log_likelihood(model, split, limit=limit) for limit in (1, 2)]
    assert scores[0]["standard_error"] is None
    assert scores[1]["standard_error"] > 0
    saving.add_score(copy, scores[0])
    assert saving.read_card(copy)["scores"][-1] == scores[0]


def test_a_score_that_is_not_finite_does_not_enter_the_card(copy):
    before = (copy / "card.json").read_text()
    score = {"metric": "fd", "value": float("-inf"), "protocol": {"dataset": "binary"}}
    with pytest.raises(ArtefactError, match="Expected a score of finite numbers"):
        saving.add_score(copy, score)
    assert (copy / "card.json").read_text() == before


def test_what_a_model_cannot_is_no_attribute(plain):
    assert not hasattr(plain, "encode")
    with pytest.raises(AttributeError, match="has no 'encode': it can sample, log_prob"):
        plain.encode(np.zeros((1, 8, 8, 1)))
    with pytest.raises(TypeError, match="num"):
        plain.sample(3, seed=0, num=4)


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "golden.npz",
    ],
)
def test_a_damaged_file_is_refused_and_named(copy, name):
    flip(copy / name)
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        zoo.load(copy)
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / name} is damaged")
    (copy / name).unlink()
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / name} is missing")
    assert not (copy.parent / "samples.png").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '"schema"'])
def test_a_damaged_card_is_refused_and_named(copy, text):
    (copy / "card.json").write_text(text)
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / 'card.json'} is damaged")


def test_a_card_of_another_schema_is_refused(copy):
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps({**card, "schema": 2}))
    with pytest.raises(ArtefactError, match="has schema 2; this zoo reads 1"):
        zoo.load(copy)


def test_a_new_score_of_a_kind_takes_the_place_of_the_old(copy):
    score = {"metric": "fd", "value": 3.0, "protocol": {"dataset": "binary", "count": 9}}
    before = saving.read_card(copy)["scores"]
    saving.add_score(copy, score)
    saving.add_score(copy, {**score, "value": 2.0})
    assert saving.read_card(copy)["scores"] == [*before, {**score, "value": 2.0}]
    assert zoo.load(copy).sample(1, 0).shape == (1, 8, 8, 1)


def test_export_refuses_a_place_that_is_taken_or_cannot_be_made(tmp_path):
    model = Noisy((8, 8, 1))
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="Expected a folder that is not there yet"):
            zoo.export(model, place)
    for place in (tmp_path / "file" / "exported", "/proc/exported"):
        with pytest.raises(InputError, match="Expected a folder that can be written"):
            zoo.export(model, place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Stateful(Noisy):
    """Noisy whose samples are others at every call, but the same in every fresh process."""

    def sample(self, num_samples, seed, labels=None, first=0):
        return tf.round(tf.random.uniform((num_samples, *self.shape)))


def test_a_saved_model_that_gives_something_else_is_not_kept(tmp_path):
    with pytest.raises(ArtefactError, match="was not kept: sample differs in") as caught:
        zoo.export(Stateful((8, 8, 1)), tmp_path / "parent" / "exported")
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.rglob("*exported*")]
