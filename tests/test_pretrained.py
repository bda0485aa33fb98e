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
    options = {o.name for o in train.params if set(o.opts) & {*arguments}}
    assert options <= {"epochs", "data", "conditional"}
    assert card["training_seconds"] <= 7200
    scored = {s["metric"] for s in card["scores"] if s["protocol"].get("count") == 10_000}
    assert scored >= SCORES[card["log_prob_kind"]]
    labels = np.arange(4) % card["num_classes"] if card["num_classes"] else None
    drawn = model.sample(4, 0, labels).numpy()
    assert drawn.std() > 0.1
    assert len(np.unique(drawn)) <= card["levels"]


def test_a_pretrained_model_keeps_its_word_in_seconds():
    result = here("verify", "pixelcnn", "--quick")
    assert (result.returncode, result.stderr) == (0, "")
    assert "pixelcnn keeps what its card says" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("tag", SHIPPED)
def test_a_pretrained_model_keeps_its_word(tag):
    result = here("verify", tag)
    assert (result.returncode, result.stderr) == (0, "")
