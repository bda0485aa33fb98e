"""The pretrained models: small, sealed, with a score and the command that made them."""

import runpy
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.commands.train import command as train

ROOT = Path(__file__).parents[1]
SHIPPED = {tag: path for tags in registry.pretrained().values() for tag, path in tags.items()}
SCORES = {"exact": {"log_likelihood"}, "importance_weight": {"elbo", "iw_bound"}}


def test_what_is_shipped():
    assert {*SHIPPED} == {"pixelcnn-binarized_mnist", "pixelrnn-binarized_mnist"}


def test_the_table_in_the_readme_is_that_of_the_cards():
    table = runpy.run_path(str(ROOT / "docs" / "models.py"))["table"]()
    assert table in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("tag", SHIPPED)
def test_a_pretrained_model(tag):
    model = zoo.load(tag)
    card, folder = model.card, model.folder
    assert f"{card['model']}-{card['recipe']['data']['name']}" == tag
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 2_000_000
    verb, *arguments = shlex.split(card["command"])[1:]
    assert verb == "train"
    train.make_context("train", arguments)  # the command can still be given
    options = {o.name for o in train.params if arguments and set(o.opts) & {*arguments}}
    assert options <= {"epochs", "data", "conditional"}
    assert card["training_seconds"] <= 7200
    scored = {s["metric"] for s in card["scores"] if s["protocol"].get("count") == 10_000}
    assert scored >= SCORES[card["log_prob_kind"]]
    labels = np.arange(4) % card["num_classes"] if card["num_classes"] else None
    drawn = model.sample(4, 0, labels).numpy()
    assert drawn.std() > 0.1
    assert len(np.unique(drawn)) <= card["levels"]


@pytest.mark.slow
def test_samples_of_a_conditional_model_follow_the_label():
    classes, each = 10, 50
    (x, y), (test, labels) = (split.arrays() for split in zoo.load_dataset("mnist")[::2])
    classifier = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile("adam", loss, ["accuracy"])
    classifier.fit(x / np.float32(255), y, batch_size=128, epochs=2, verbose=0)
    accuracy = classifier.evaluate(test / np.float32(255), labels, batch_size=500, verbose=0)[1]
    assert accuracy > 0.98

    wanted = np.repeat(np.arange(classes), each).astype(np.int32)
    drawn = zoo.load("pixelcnn-mnist").sample(len(wanted), 0, wanted)
    found = classifier.predict(drawn, batch_size=500, verbose=0).argmax(axis=1)
    assert (found == wanted).mean() > 0.95
