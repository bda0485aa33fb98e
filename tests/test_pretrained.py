"""The pretrained models: small, sealed, with a score and the command that made them."""

import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from shell import here

import zoo
from zoo import registry
from zoo.commands.train import command as train
from zoo.evaluation.features import Extractor, find

ROOT = Path(__file__).parents[1]
FOUND = {tag: path for tags in registry.pretrained().values() for tag, path in tags.items()}
OWN = {tag: path for tag, path in FOUND.items() if path.parent == registry.shipped()}
OF_PLUGINS = {path.name: path for path in ROOT.glob("plugins/*/*/saved_models/*")}
SHIPPED = {**OWN, **OF_PLUGINS}
PREPARED = ROOT.parent / "shared" / "tfds"  # Fashion-MNIST, where it has been prepared
LIKELIHOODS = {
    None: set(),
    "exact": {"log_likelihood"},
    "importance_weight": {"elbo", "iw_bound"},
    "lower_bound": {"lower_bound"},
}
OF_SAMPLES = {"frechet_distance", "kernel_distance", "classifier_score", "diversity"}
OF_SAMPLES |= {"precision", "recall", "density", "coverage", "authenticity"}
ACCURACIES = {"features-mnist": 0.993, "features-fashion_mnist": 0.91}


def test_what_is_shipped():
    assert {*OWN} == {
        "dcgan-fashion_mnist",
        "dcgan-mnist",
        "gan-mnist",
        "pixelcnn-binarized_mnist",
        "pixelcnn-mnist",
        "pixelrnn-binarized_mnist",
        "vae-mnist_binary",
    }


def test_what_plugins_ship():
    assert {*OF_PLUGINS} == {
        "ddpm-mnist",
        "glow-mnist",
        "lsgan-mnist",
        "realnvp-mnist",
        "wgan-gp-mnist",
    }
    assert not {*OWN} & {*OF_PLUGINS}


def test_the_tables_in_the_readmes_are_those_of_the_cards():
    program = runpy.run_path(str(ROOT / "docs" / "models.py"))
    readmes = program["readmes"]()
    assert ROOT / "README.md" in readmes
    assert {folder.parents[2] / "README.md" for folder in OF_PLUGINS.values()} < {*readmes}
    for readme in readmes:
        assert program["table"](readme) in readme.read_text()


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
    train.make_context("train", arguments)  # the command can still be given
    options = {o.name for o in train.params if set(o.opts) & {*arguments}}
    assert options <= {"epochs", "data", "conditional"}
    assert card["training_seconds"] <= 7200
    scored = {s["metric"] for s in card["scores"] if s["protocol"].get("count") == 10_000}
    assert scored >= LIKELIHOODS[card["log_prob_kind"]] | OF_SAMPLES
    assert ("reconstruct" in card["can"]) == ("psnr" in scored)
    labels = np.arange(4) % card["num_classes"] if card["num_classes"] else None
    drawn = model.sample(4, 0, labels).numpy()
    assert drawn.std() > 0.1
    assert len(np.unique(drawn)) <= card["levels"]


def test_a_pretrained_model_keeps_its_word_in_seconds():
    result = here("verify", "pixelcnn", "--quick")
    assert (result.returncode, result.stderr) == (0, "")
    assert "500 test images" in result.stdout
    assert result.stdout.endswith("its card says: the files, and 1 score.\n")


@pytest.mark.slow
@pytest.mark.parametrize("tag", SHIPPED)
def test_a_pretrained_model_keeps_its_word(tag, monkeypatch):
    if tag.endswith("fashion_mnist"):
        if not PREPARED.is_dir():
            pytest.skip(f"there is no {PREPARED}")
        monkeypatch.setenv("TFDS_DATA_DIR", str(PREPARED))
    result = here("verify", SHIPPED[tag])
    assert (result.returncode, result.stderr) == (0, "")


# The classifiers know 99.5 % of the test images of MNIST, 91.5 % of those of Fashion-MNIST.
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
    labels = np.arange(1000, dtype=np.int32) % 10
    assert (known(tag, labels) == labels).mean() > least


def test_the_unconditional_gan_draws_all_digits():
    shares = np.bincount(known("gan-mnist", None, 5000), minlength=10) / 5000
    assert shares.min() > 0.06
    assert shares.max() < 0.14


def known(tag, labels, count=1000):
    """What the classifier of the data takes samples for, int [count]."""
    classifier = Extractor(registry.shipped() / f"features-{tag.rpartition('-')[2]}")
    _, logits = classifier(zoo.load(SHIPPED[tag]).sample(count, 0, labels))
    return logits.argmax(axis=1)


@pytest.mark.parametrize("name", ACCURACIES)
def test_a_classifier_is_small_and_accurate(name):
    folder = registry.shipped() / name
    card = Extractor(folder).card
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000
    assert card["scores"][0]["value"] >= ACCURACIES[name]
    assert card["command"] == f"zoo features train {name.partition('-')[2]} -o {name}"


def test_the_accuracy_of_the_classifier_is_what_its_card_says():
    test = zoo.load_dataset("mnist")[2]
    extractor = Extractor(find(test))
    hits = [
        extractor(x.numpy())[1].argmax(axis=1) == y.numpy()
        for x, y in test.batches(500, labels=True)
    ]
    assert np.concatenate(hits).mean() == pytest.approx(
        extractor.card["scores"][0]["value"], abs=5e-4
    )
