"""Pretrained models are small and have checksums, scores and the command that created them."""

import json
import os
import shlex
import shutil
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.shell import finished, here

import zoo
from zoo.commands.train import command as train
from zoo.errors import InputError
from zoo.evaluation.features import Extractor, find
from zoo.exports import pretrained
from zoo.exports.clean_process import difference
from zoo.model import ENDPOINTS
from zoo.sampling import conditions_in_turn

ROOT = Path(__file__).parents[2]
PRETRAINED = {tag: path for tags in pretrained.pretrained().values() for tag, path in tags.items()}
BUILT_IN = {
    tag: path for tag, path in PRETRAINED.items() if path.parent == pretrained.bundled_folder()
}
OF_PLUGINS = {path.name: path for path in ROOT.glob("plugins/*/*/saved_models/*")}
SHIPPED = {**BUILT_IN, **OF_PLUGINS}
LIKELIHOODS = {
    None: set(),
    "exact": {"log_likelihood"},
    "importance_weight": {"elbo", "iw_bound"},
    "lower_bound": {"lower_bound"},
}
OF_SAMPLES = {"frechet_distance", "kernel_distance", "classifier_score", "diversity"}
OF_SAMPLES |= {"precision", "recall", "density", "coverage", "authenticity"}
ACCURACIES = {"features-mnist": 0.993, "features-fashion_mnist": 0.91}


def test_bundled_pretrained_models():
    assert {*BUILT_IN} == {
        "dcgan-fashion_mnist",
        "dcgan-mnist",
        "gan-mnist",
        "pixelcnn-binarized_mnist",
        "pixelcnn-mnist",
        "pixelrnn-binarized_mnist",
        "vae-mnist_binary",
    }


def test_pretrained_models_of_plugins():
    assert {*OF_PLUGINS} == {
        "ddpm-mnist",
        "glow-mnist",
        "lsgan-mnist",
        "realnvp-mnist",
        "wgan-gp-mnist",
    }
    assert not {*BUILT_IN} & {*OF_PLUGINS}


def test_the_name_of_a_model_selects_the_data_of_its_recipe(tmp_path, monkeypatch):
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
    (package / "__init__.py").write_text("ZOO_API = 2\nraise SystemExit")
    assert pretrained.find("noisy") == folders["noisy-mnist_binary"]
    for tag, folder in folders.items():
        assert pretrained.find(tag) == pretrained.find(f"zoo-toys:{tag}") == folder
    assert pretrained.find("zoo-toys:noisy") == folders["noisy-mnist_binary"]
    assert pretrained.find("keras-genzoo:vae") == pretrained.find("vae")
    with pytest.raises(InputError, match=r"Choose from: lone-mnist\."):
        pretrained.find("lone")  # is trained on mnist_binary by default
    with pytest.raises(InputError, match=r"Available: .*noisy-mnist, noisy-mnist_binary"):
        pretrained.find("none")


@pytest.mark.parametrize("name", ["exp", "glow", "my exp"])
@pytest.mark.parametrize("file", ["card.json", "saved_model/card.json", "run.json"])
def test_the_error_for_the_name_of_a_folder_gives_its_path(tmp_path, monkeypatch, name, file):
    (tmp_path / name / file).parent.mkdir(parents=True)
    (tmp_path / name / file).touch()
    monkeypatch.chdir(tmp_path)
    path = shlex.quote(f"./{name}")
    with pytest.raises(
        InputError, match=f"^No pretrained model {name!r}, but a folder .* write {path}"
    ):
        zoo.load(name)


def test_a_folder_does_not_hide_a_pretrained_model(tmp_path, monkeypatch):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "card.json").touch()
    monkeypatch.chdir(tmp_path)
    assert pretrained.find("vae") == BUILT_IN["vae-mnist_binary"]


@pytest.mark.parametrize("tag", SHIPPED)
def test_a_pretrained_model(tag):
    model = zoo.load(SHIPPED[tag])
    card, folder = model.card, model.folder
    assert f"{card['model'].rpartition(':')[2]}-{card['recipe']['data']['name']}" == tag
    assert card["bytes"] <= 2_000_000
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "card.json"]
    assert card["bytes"] == sum(path.stat().st_size for path in files)
    verb, *arguments = shlex.split(card["command"])[1:]
    assert verb == "train"
    train.make_context("train", arguments)  # the command is still valid
    options = {o.name for o in train.params if set(o.opts) & {*arguments}}
    assert options <= {"epochs", "data", "conditional"}
    assert card["training_seconds"] <= 7200
    scored = {s["metric"] for s in card["scores"] if s["protocol"].get("count") == 10_000}
    assert scored >= LIKELIHOODS[card["log_prob_kind"]] | OF_SAMPLES
    assert ("reconstruct" in card["can"]) == ("psnr" in scored)
    samples = model.sample(4, 0, conditions_in_turn(model.condition, 4)).numpy()
    assert samples.std() > 0.1
    assert len(np.unique(samples)) <= model.spec.levels


def test_a_pretrained_model_passes_quick_verification():
    result = here("verify", "pixelcnn", "--quick")
    assert (result.returncode, result.stderr) == (0, "")
    assert "500 test images" in result.stdout
    assert result.stdout.endswith("pixelcnn verified: all files and 1 score match.\n")


@pytest.mark.slow
@pytest.mark.parametrize("tag", SHIPPED)
def test_a_pretrained_model_passes_verification(tag):
    if tag.endswith("fashion_mnist") and "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("TFDS_DATA_DIR is not set to a folder with a prepared Fashion-MNIST")
    result = here("verify", SHIPPED[tag])
    assert (result.returncode, result.stderr) == (0, "")


def test_a_pretrained_model_is_restored_by_its_name():
    restored = zoo.restore("gan")
    assert_golden(restored, SHIPPED["gan-mnist"])


@pytest.mark.slow
@pytest.mark.parametrize("tag", SHIPPED)
def test_each_pretrained_model_is_restored(tag):
    package, _, name = json.loads((SHIPPED[tag] / "card.json").read_text())["model"].rpartition(":")
    cls = None
    if package:  # the plugin may not be installed
        project = tomllib.loads((ROOT / "plugins" / package / "pyproject.toml").read_text())
        value = project["project"]["entry-points"]["zoo.models"][name]
        module, _, class_name = value.partition(":")
        cls = getattr(import_module(module), class_name)
    assert_golden(zoo.restore(SHIPPED[tag], cls=cls), SHIPPED[tag])


def assert_golden(model, folder):
    """Asserts that a restored model reproduces the golden outputs of its SavedModel."""
    with np.load(folder / "golden.npz") as file:
        golden = {tuple(key.split("/")): file[key] for key in file}
    for name in {endpoint for endpoint, _ in golden}:
        arguments = {
            key: tf.constant(value)
            for (endpoint, key), value in golden.items()
            if endpoint == name and key != "output"
        }
        output = tf.function(getattr(model, name), autograph=False)(**arguments).numpy()
        assert difference(name, golden[name, "output"], output, ENDPOINTS[name].draws) is None


# The accuracies of the classifiers are 99.5 % on MNIST and 91.5 % on Fashion-MNIST.
@pytest.mark.parametrize(
    ("tag", "least"),
    [
        ("dcgan-fashion_mnist", 0.87),
        ("dcgan-mnist", 0.95),
        ("ddpm-mnist", 0.95),
        ("glow-mnist", 0.85),
        ("lsgan-mnist", 0.95),
        ("pixelcnn-mnist", 0.95),
        ("realnvp-mnist", 0.7),
        ("wgan-gp-mnist", 0.95),
    ],
)
def test_samples_of_a_conditional_model_follow_the_label(tag, least):
    labels = np.arange(250, dtype=np.int32) % 10
    assert (predicted_labels(tag, labels, 250) == labels).mean() > least


def test_the_unconditional_gan_samples_all_digits():
    shares = np.bincount(predicted_labels("gan-mnist", None, 5000), minlength=10) / 5000
    assert shares.min() > 0.06
    assert shares.max() < 0.14


def predicted_labels(tag, labels, count):
    """Returns the labels that the classifier of the data predicts for samples, int [count]."""
    classifier = Extractor(pretrained.bundled_folder() / f"features-{tag.rpartition('-')[2]}")
    _, logits = classifier(zoo.load(SHIPPED[tag]).sample(count, 0, labels))
    return logits.argmax(axis=1)


@pytest.mark.parametrize("name", ACCURACIES)
def test_a_classifier_is_small_and_accurate(name):
    folder = pretrained.bundled_folder() / name
    card = Extractor(folder).card
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000
    assert card["scores"][0]["value"] >= ACCURACIES[name]
    assert card["command"] == f"zoo features train {name.partition('-')[2]} -o {name}"


def test_the_accuracy_of_the_classifier_agrees_with_its_card():
    test = zoo.load_dataset("mnist")[2]
    extractor = Extractor(find(test))
    hits = [
        extractor(x.numpy())[1].argmax(axis=1) == y.numpy()
        for x, y in test.batches(500, condition=True)
    ]
    assert np.concatenate(hits).mean() == pytest.approx(
        extractor.card["scores"][0]["value"], abs=5e-4
    )
