"""Classifiers for feature-based metrics: training, storage, lookup and errors."""

import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.examples import stripes
from support.shell import assert_refused, flip, here, write_data

from zoo import datasets, storage
from zoo.errors import ArtefactError, InputError, TrainingError
from zoo.evaluation import features
from zoo.evaluation.features import Extractor

EPOCHS = 6


@pytest.fixture(scope="module")
def cwd(tmp_path_factory):
    """A folder with stripes.npz and the classifier features-stripes/ trained on it."""
    folder = tmp_path_factory.mktemp("features")
    images, labels = stripes()
    np.savez(folder / "stripes.npz", images=images, labels=labels)
    result = here("features", "train", "./stripes.npz", "--epochs", EPOCHS, cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    (folder / "out.txt").write_text(result.stdout)
    return folder


@pytest.fixture
def copy(cwd, tmp_path):
    """The path of a copy of the classifier."""
    return shutil.copytree(cwd / "features-stripes", tmp_path / "features-stripes")


def images(cwd, count=100):
    data = datasets.load_dataset(str(cwd / "stripes.npz"))
    return next(iter(data[2].batches(count, condition=True)))


def test_the_command_prints_data_and_accuracy(cwd):
    out = (cwd / "out.txt").read_text().splitlines()
    assert out[0] == "stripes: 800/100/100 images 9x8x1, 256 levels, 3 classes"
    epochs = [line for line in out if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == [f"{k + 1}/{EPOCHS}" for k in range(EPOCHS)]
    assert "validation accuracy" in epochs[0]
    grey, binary, last = out[-3:]
    assert grey.startswith("test accuracy ")
    assert grey.endswith("on 100 images as they are")
    assert binary.endswith("on 100 images drawn as binary")
    assert last == f"Wrote {cwd / 'features-stripes'}"


def test_the_card_has_metadata_and_accuracies(cwd):
    folder = cwd / "features-stripes"
    data = datasets.load_dataset(str(cwd / "stripes.npz"))
    card = Extractor(folder).card
    assert (card["schema"], card["kind"], card["serves"]) == (
        2,
        "features",
        [str(cwd / "stripes.npz")],
    )
    assert (card["shape"], card["num_classes"], card["features"]) == ([9, 8, 1], 3, 64)
    assert card["recipe"]["seed"] == 0
    assert card["recipe"]["data"]["name"] == str(cwd / "stripes.npz")
    assert card["recipe"]["data"]["fingerprint"] == data[0].fingerprint
    assert card["command"].startswith("zoo")
    assert {"tensorflow", "keras", "numpy"} < card["environment"]["versions"].keys()
    files = {p for p in folder.rglob("*") if p.is_file()}
    assert {folder / name for name in card["files"]} == files
    assert card["bytes"] == sum(path.stat().st_size for path in files - {folder / "card.json"})
    for score, description in zip(card["scores"], ("as they are", "drawn as binary"), strict=True):
        protocol = score["protocol"]
        assert (score["metric"], protocol["images"]) == ("accuracy", description)
        assert (protocol["split"], protocol["count"]) == ("test", 100)
        assert protocol["fingerprint"] == data[2].fingerprint
        assert score["value"] > 0.8
        assert score["standard_error"] == pytest.approx(
            (score["value"] * (1 - score["value"]) / 100) ** 0.5
        )


def test_the_accuracy_of_the_card_is_that_of_the_logits(cwd):
    extractor = Extractor(cwd / "features-stripes")
    x, labels = images(cwd)
    features, logits = extractor(x)
    assert (features.shape, features.dtype) == ((100, 64), np.float32)
    assert (logits.shape, logits.dtype) == ((100, 3), np.float32)
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    assert extractor.card["scores"][0]["value"] == pytest.approx(accuracy)
    full = np.concatenate([extractor(x[:7])[0], extractor(x[7:].numpy())[0]])
    np.testing.assert_allclose(full, features, atol=1e-5)


def test_features_are_the_layer_before_the_logits(cwd):
    folder = cwd / "features-stripes"
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    [kernel] = [name for name, shape in shapes.items() if shape == [64, 3]]
    [bias] = [name for name, shape in shapes.items() if shape == [3]]
    features, logits = Extractor(folder)(images(cwd)[0])
    expected = features @ reader.get_tensor(kernel) + reader.get_tensor(bias)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert (features > 0).any(axis=1).all()
    weights = [n for n in shapes if n.endswith("VARIABLE_VALUE")]
    sizes = sum(int(np.prod(shapes[name])) for name in weights)
    assert sizes == Extractor(folder).card["parameters"]


def test_the_classifier_requires_only_tensorflow(cwd):
    x = images(cwd)[0].numpy()
    np.savez(cwd / "x.npz", x=x)
    program = """
import sys
from types import SimpleNamespace
sys.modules["zoo"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
extract = tf.saved_model.load("features-stripes").signatures["extract"]
assert extract.structured_input_signature[1]["x"].shape.as_list() == [None, 9, 8, 1]
outputs = extract(x=tf.constant(np.load("x.npz")["x"]))
np.savez("outputs.npz", **{key: value.numpy() for key, value in outputs.items()})
"""
    subprocess.run([sys.executable, "-P", "-c", program], cwd=cwd, check=True, capture_output=True)
    with np.load(cwd / "outputs.npz") as outputs:
        assert sorted(outputs) == ["features", "logits"]
        for actual, expected in zip(
            Extractor(cwd / "features-stripes")(x),
            (outputs["features"], outputs["logits"]),
            strict=True,
        ):
            np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_equal_seeds_give_equal_classifiers_in_any_precision(cwd, tmp_path, seed, same):
    data = datasets.load_dataset(str(cwd / "stripes.npz"))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        features.train(data, tmp_path / "again", EPOCHS, seed)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    x = images(cwd)[0]
    again, first = (Extractor(f)(x)[0] for f in (tmp_path / "again", cwd / "features-stripes"))
    assert np.array_equal(again, first) == same


def test_the_sha256_is_that_of_the_files(cwd, copy):
    names = sorted(str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file())
    names.remove("card.json")
    checksums = subprocess.run(
        ["sha256sum", *names], cwd=copy, capture_output=True, check=True
    ).stdout
    extractor = Extractor(copy)
    assert extractor.sha256 == hashlib.sha256(checksums).hexdigest()
    assert extractor.name == "features-stripes"


def test_half_of_the_images_are_binarized():
    grey = tf.fill((4000, 3, 3, 1), 0.3)
    x = features._augmented(grey, seed=0, first=0, binarize=True).numpy()
    binary, rest = x[:2000], x[2000:]
    assert set(np.unique(binary)) == {0.0, 1.0}
    assert binary.mean() == pytest.approx(0.3, abs=4 * (0.21 / binary.size) ** 0.5)
    assert np.array_equal(rest, grey[2000:])
    assert np.array_equal(features._augmented(grey, seed=0, first=0, binarize=False), grey)
    assert np.array_equal(features._augmented(grey[2:6], 0, 2, False), grey[2:6])


def test_images_are_shifted_by_up_to_two_pixels():
    dot = np.zeros((3000, 9, 11, 1), np.float32)
    dot[:, 4, 5] = 1.0
    x = features._augmented(tf.constant(dot), seed=0, first=0, binarize=False).numpy()
    _, rows, columns, _ = np.nonzero(x)
    counts = np.histogram2d(rows - 4, columns - 5, bins=np.arange(-2.5, 3))[0]
    assert counts.sum() == len(rows) == 3000
    assert counts.min() > 120 - 5 * 120**0.5
    later = features._augmented(tf.constant(dot[5:]), seed=0, first=5, binarize=False).numpy()
    assert np.array_equal(later, x[5:])
    edge = features._augmented(tf.constant(1.0 - dot), seed=0, first=0, binarize=False).numpy()
    assert np.array_equal(edge, 1.0 - x)  # uncovered pixels repeat the edge


@pytest.mark.parametrize(
    ("shape", "convolutions"),
    [((1, 1, 1), 1), ((4, 9, 1), 1), ((8, 8, 1), 2), ((28, 28, 1), 4), ((64, 64, 3), 5)],
)
def test_the_number_of_poolings_follows_the_size(shape, convolutions):
    network = features._network(shape, 10)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds.count("Conv2D") == convolutions
    assert kinds.count("MaxPooling2D") == convolutions - 1
    assert network.layers[-2].output.shape == (None, 64)
    if shape == (28, 28, 1):
        assert network.count_params() < 240_000


@pytest.mark.parametrize("kind", ["binary", "colour"])
def test_binary_and_colour_images_are_not_binarized(tmp_path, kind):
    grey, labels = stripes(400)
    images = {"binary": grey > 100, "colour": np.stack([grey] * 3, axis=-1)}[kind]
    np.savez(tmp_path / "stripes.npz", images=images, labels=labels)
    data = datasets.load_dataset(str(tmp_path / "stripes.npz"))
    folder = features.train(data, tmp_path / kind, EPOCHS)
    [score] = Extractor(folder).card["scores"]
    assert score["protocol"]["images"] == "as they are"
    assert score["value"] > 0.6


def test_bundled_classifiers_are_found_by_their_cards(cwd, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.exports.pretrained.bundled_folder", lambda: tmp_path)
    shape = Extractor(cwd / "features-stripes").card["shape"]

    def find(name, *shape):
        return features.find(SimpleNamespace(source={"name": name}, shape=shape))

    assert find("mnist", *shape) is None
    for name in ("mnist", "fashion_mnist"):
        shutil.copytree(cwd / "features-stripes", tmp_path / f"features-{name}")
        path = tmp_path / f"features-{name}" / "card.json"
        serves = features.SERVES.get(name, (name,))
        path.write_text(json.dumps({**json.loads(path.read_text()), "serves": serves}))
    for name in ("mnist", "mnist_binary", "binarized_mnist"):
        assert find(name, *shape) == tmp_path / "features-mnist"
    assert find("fashion_mnist", *shape) == tmp_path / "features-fashion_mnist"
    assert find("cifar10", *shape) is None
    assert find("mnist", 32, 32, 1) is None
    path.write_text("{")
    with pytest.raises(ArtefactError, match=f"{path} is damaged"):
        find("fashion_mnist", *shape)


def test_a_classifier_cannot_be_loaded_as_a_model(cwd):
    result = here("sample", "./features-stripes", cwd=cwd)
    assert_refused(result, 2, "Expected the SavedModel of a generative model", "features-stripes")


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_the_error_for_a_damaged_file_names_it(copy, name):
    flip(copy / name)
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        Extractor(copy)
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        Extractor(copy)


def test_other_folders_are_refused(copy):
    card = copy / "card.json"
    storage.write_seal(copy, {**json.loads(card.read_text()), "kind": "other"}, card.name)
    with pytest.raises(ArtefactError, match=r"Expected a classifier.*with kind='other'"):
        Extractor(copy)
    card.write_text("{}")
    with pytest.raises(ArtefactError, match=r"card\.json is damaged"):
        Extractor(copy)
    for folder in (copy.parent, copy.parent / "none"):
        with pytest.raises(
            InputError, match=r"classifier\. Train one with: zoo features train DATA"
        ):
            Extractor(folder)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 8, 8, 1)),
        np.zeros((9, 8, 1)),
        np.zeros((0, 9, 8, 1)),
        np.full((2, 9, 8, 1), 255, np.uint8),
        np.full((2, 9, 8, 1), -0.1),
        np.full((2, 9, 8, 1), np.nan),
    ],
    ids=["size", "no batch", "empty", "integers", "negative", "nan"],
)
def test_invalid_images_are_refused(cwd, x):
    with pytest.raises(InputError, match=r"requires images of shape \(n, 9, 8, 1\) from 0 to 1"):
        Extractor(cwd / "features-stripes")(x)


def test_invalid_training_data_are_refused_without_leftovers(cwd, tmp_path):
    write_data(tmp_path)
    images, labels = stripes(200)
    np.savez(tmp_path / "alone.npz", images=images, labels=0 * labels)
    np.savez(tmp_path / "noise.npz", images=images, labels=0 * labels + (np.arange(200) % 5 == 0))
    shutil.copy(cwd / "stripes.npz", tmp_path)
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.iterdir())

    def train(*arguments, epochs=1):
        return here("features", "train", *arguments, "--epochs", epochs, cwd=tmp_path)

    assert_refused(train("./grey.npz"), 2, "two or more classes", "Received: grey with no labels")
    assert_refused(train("./alone.npz"), 2, "Received: alone with one class")
    assert_refused(
        train("./noise.npz"), 4, "which guessing the most frequent class gives", "on 20 images"
    )
    assert_refused(train("./none.npz"), 2, "No such file or folder")
    assert_refused(train("./stripes.npz", "-o", "file"), 2, "The folder already exists")
    assert_refused(train("./stripes.npz", "-o", "file/x"), 2, "Cannot write the folder")
    assert_refused(train("./stripes.npz", epochs=0), 2, "--epochs")
    assert sorted(tmp_path.iterdir()) == before


def test_a_non_finite_loss_ends_training_without_leftovers(cwd, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "LEARNING_RATE", float("inf"))
    data = datasets.load_dataset(str(cwd / "stripes.npz"))
    with pytest.raises(TrainingError, match="The loss is nan in epoch"):
        features.train(data, tmp_path / "features", EPOCHS)
    assert not [*tmp_path.iterdir()]
