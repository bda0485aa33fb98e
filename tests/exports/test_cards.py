"""card.json: contents, scores and errors."""

import json

import pytest
from support.shell import assert_refused, finished, here

import zoo
from zoo import datasets
from zoo.errors import ArtefactError
from zoo.evaluation.likelihood import log_likelihood
from zoo.exports import cards


def test_the_card_has_metadata_and_provenance(plain):
    card = json.loads((finished().run / "saved_model" / "card.json").read_text())
    assert card["schema"] == 2
    assert card["can"] == ["sample", "log_prob"]
    assert card["log_prob_kind"] == "exact"
    assert card["parameters"] == 64
    assert card["recipe"] == json.loads((finished().run / "run.json").read_text())["recipe"]
    assert card["command"].startswith("zoo train ")
    assert card["ms_per_image"] > 0
    assert card["training_seconds"] > 0
    files = {p for p in plain.folder.rglob("*") if p.is_file()}
    assert {plain.folder / name for name in card["files"]} == files
    [score] = card["scores"]
    assert score["metric"] == "log_likelihood"
    assert (score["protocol"]["dataset"], score["protocol"]["split"]) == ("binary", "test")


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '"schema"'])
def test_the_error_for_a_damaged_card_names_it(copy, text):
    (copy / "card.json").write_text(text)
    assert_refused(here("sample", copy, cwd=copy.parent), 3, f"{copy / 'card.json'} is damaged")


def test_a_card_of_another_schema_is_refused(copy):
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps({**card, "schema": 3}))
    with pytest.raises(ArtefactError, match="has schema 3, but this version of zoo reads schema 2"):
        zoo.load(copy)


def test_one_image_has_a_log_likelihood_without_a_standard_error(copy):
    split = datasets.load_dataset(str(finished().cwd / "binary.npz"))[2]
    model = zoo.load(copy)
    scores = [log_likelihood(model, split, limit=limit) for limit in (1, 2)]
    assert scores[0]["standard_error"] is None
    assert scores[1]["standard_error"] > 0
    cards.add_score(copy, scores[0])
    assert cards.read_card(copy)["scores"][-1] == scores[0]


def test_a_non_finite_score_is_not_stored(copy):
    before = (copy / "card.json").read_text()
    score = {"metric": "fd", "value": float("-inf"), "protocol": {"dataset": "binary"}}
    with pytest.raises(ArtefactError, match="The numbers of a score must be finite"):
        cards.add_score(copy, score)
    assert (copy / "card.json").read_text() == before


def test_a_score_replaces_one_of_the_same_kind(copy):
    score = {"metric": "fd", "value": 3.0, "protocol": {"dataset": "binary", "count": 9}}
    before = cards.read_card(copy)["scores"]
    cards.add_score(copy, score)
    cards.add_score(copy, {**score, "value": 2.0})
    assert cards.read_card(copy)["scores"] == [*before, {**score, "value": 2.0}]
    assert zoo.load(copy).sample(1, 0).shape == (1, 8, 8, 1)
