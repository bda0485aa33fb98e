"""`zoo evaluate`: scores, cards and errors."""

import errno
import json

import numpy as np
import pytest
import tensorflow as tf
from support.shell import assert_refused, copy_of_finished, finished, here, write_data
from support.toys import Duel, Pixels, make

import zoo
import zoo.random
from zoo import registry, storage
from zoo.errors import ArtefactError
from zoo.exports import cards
from zoo.spec import Spec


class Weighted(Pixels):
    """Pixels with importance weights p(x) e, where E e = 1 and E log e = -0.125.

    Args:
      shape: (height, width, channels) of an image.
      levels: 2.
    """

    log_prob_kind = "importance_weight"

    def __init__(self, spec: Spec):
        super().__init__(spec)

    def log_prob(self, x, seed, condition=None, first=0):
        noise = zoo.random.normal(seed, first, tf.shape(x)[0], (1,))[:, 0]
        return super().log_prob(x, seed, condition, first) + 0.5 * noise - 0.125


class Impossible(Pixels):
    """Pixels with probability 0 for images whose first pixel is white.

    Args:
      shape: (height, width, channels) of an image.
      levels: 2.
    """

    def __init__(self, spec: Spec):
        super().__init__(spec)

    def log_prob(self, x, seed, condition=None, first=0):
        value = super().log_prob(x, seed, condition, first)
        return tf.where(x[:, 0, 0, 0] > 0, float("-inf"), value)


@pytest.fixture
def run(tmp_path):
    """A copy of a finished run of an exact model, and its data."""
    return copy_of_finished(tmp_path)


@pytest.fixture
def export(tmp_path, no_clean_process):
    """Returns a function that exports a model to ./exported, with data of `write_data`."""
    write_data(tmp_path)

    def export(model, data="binary"):
        source = {"name": str(tmp_path / f"{data}.npz"), "size": None, "binarize": False}
        card = {"model": "toy", "recipe": {"data": source}} if data else {}
        return zoo.export(model, tmp_path / "exported", card)

    return export


def scores(folder):
    return cards.read_card(folder)["scores"]


def protocols(folder):
    return [score["protocol"] for score in scores(folder)]


def test_evaluate_reproduces_the_score_of_training(run):
    before = scores(run / "saved_model")
    arguments = ["--metrics", "likelihood", "-o", "new/scores.json"]
    result = here("evaluate", "./done", *arguments, cwd=run.parent)
    assert (result.returncode, result.stderr) == (0, "")
    *lines, size, head, row = result.stdout.splitlines()
    assert lines == finished().result.stdout.splitlines()[: len(lines)]
    assert lines[0].startswith("binary: 320/40/40 images")
    assert size.endswith(": 64 parameters")
    assert head.split() == ["METRIC", "VALUE", "ON"]
    assert row.startswith("log_likelihood  -")
    assert " nats (" in row
    assert row.endswith("40 test images of binary")
    assert json.loads((run.parent / "new" / "scores.json").read_text()) == before
    assert scores(run / "saved_model") == before
    assert zoo.load(run).sample(1, 0).shape == (1, 8, 8, 1)


def test_evaluate_computes_all_defined_metrics_by_default(run):
    result = here("evaluate", run)
    assert (result.returncode, result.stderr) == (0, "")
    metrics = [score["metric"] for score in scores(run / "saved_model")]
    assert metrics == ["log_likelihood", "ms_per_image", "ms_per_image"]
    samples, reconstructions, _, *rows = result.stdout.splitlines()[-6:]
    assert [row.split()[0] for row in rows] == [
        "log_likelihood",
        "ms_per_image",
        "ms_per_image,",
    ]
    assert samples.startswith("Metric 'samples' is not defined for binary, because zoo has no")
    assert samples.endswith("bundled classifier for it. Training one requires labels.")
    assert reconstructions.startswith("Metric 'reconstructions' is not defined for ")
    assert reconstructions.endswith("no method reconstruct. Supported methods: sample, log_prob.")


def test_scores_computed_before_an_error_are_kept(run, monkeypatch):
    from zoo.evaluation import speed

    def fail(model):
        raise ArtefactError("It broke.")

    monkeypatch.setattr(speed, "score_speed", fail)
    arguments = ["--metrics", "likelihood,speed", "--limit", "9", "-o", run / "scores.json"]
    result = here("evaluate", run, *arguments)
    assert_refused(result, 3, "It broke.")
    assert result.stdout.splitlines()[-1].endswith("9 test images of binary")
    assert [p["count"] for p in protocols(run / "saved_model")] == [40, 9]
    assert json.loads((run / "scores.json").read_text())[0]["protocol"]["count"] == 9


def test_the_card_of_a_pretrained_model_is_not_changed(run, monkeypatch):
    folder = run / "saved_model"
    before = (folder / "card.json").read_bytes()
    shipped = {registry.find("vae"): {"noisy-binary": folder}}
    monkeypatch.setattr("zoo.exports.pretrained.pretrained", lambda among: shipped)
    result = here("evaluate", "noisy-binary", "--metrics", "speed")
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        "The card of noisy-binary is read-only. To store the scores, add -o FILE.json."
        in result.stdout
    )
    assert (folder / "card.json").read_bytes() == before


def test_scores_of_different_images_are_kept(run):
    folder = run / "saved_model"
    for arguments in (
        ["--split", "train"],
        ["--limit", "9"],
        ["--limit", "9", "--batch-size", "2"],
    ):
        assert here("evaluate", folder, "--metrics", "likelihood", *arguments).returncode == 0
    kept = [(p["split"], p["count"]) for p in protocols(folder)]
    assert kept == [("test", 40), ("train", 320), ("test", 9)]


def test_other_data_are_named_in_the_score(run):
    data = run.parent / "grey.npz"
    arguments = ["--metrics", "likelihood", "--data", data, "--binarize", "--split", "validation"]
    assert here("evaluate", run, *arguments).returncode == 0
    protocol = protocols(run / "saved_model")[-1]
    split = zoo.load_dataset(str(data), binarize=True)[1]
    assert (protocol["dataset"], protocol["fingerprint"]) == ("grey", split.fingerprint)
    assert protocol["trained_on"] == "binary.npz"


def test_importance_weights_give_two_bounds(export):
    model = make(Weighted, (8, 8, 1))
    folder = export(model)
    only = ["--metrics", "likelihood", "--split", "train"]
    result = here("evaluate", folder, *only)
    assert (result.returncode, result.stderr) == (0, "")
    elbo, bound = scores(folder)
    x = zoo.load_dataset(str(folder.parent / "binary.npz"))[0].arrays()[0].astype(np.float32)
    exact = Pixels.log_prob(model, x, 0).numpy().mean()
    assert (elbo["metric"], bound["metric"]) == ("elbo", "iw_bound")
    kinds = [(p["kind"], p["k"]) for p in protocols(folder)]
    assert kinds == [("importance_weight", 1), ("importance_weight", 128)]
    assert elbo["value"] == pytest.approx(exact - 0.125, abs=4 * 0.5 / len(x) ** 0.5)
    # The bias of the bound is -var(e) / 2k, its noise that of the mean of 128 x 320 weights.
    assert bound["value"] == pytest.approx(
        exact - 0.284 / 256, abs=4 * 0.54 / (128 * len(x)) ** 0.5
    )
    rows = [line.split("  ")[0] for line in result.stdout.splitlines()[-2:]]
    assert rows == ["elbo", "iw_bound, k=128"]

    assert here("evaluate", folder, *only, "-k", "1").returncode == 0
    assert scores(folder) == [bound, elbo]
    assert here("evaluate", folder, *only, "-k", "3", "--seed", "1").returncode == 0
    assert [(p["k"], p["seed"]) for p in protocols(folder)] == [(128, 0), (1, 1), (3, 1)]


def test_a_conditional_model_is_scored_with_labels(export):
    model = make(Pixels, (8, 8, 1), num_classes=3)
    folder = export(model, "classes")
    assert here("evaluate", folder, "--metrics", "likelihood").returncode == 0
    x, labels = zoo.load_dataset(str(folder.parent / "classes.npz"))[2].arrays()
    expected = model.log_prob(x.astype(np.float32), 0, labels).numpy().mean()
    assert scores(folder)[0]["value"] == pytest.approx(expected, abs=1e-4)
    result = here("evaluate", folder, "--data", folder.parent / "binary.npz")
    assert_refused(result, 2, "expects labels of 3 classes", "binary with no labels")


def test_an_impossible_image_is_a_result(export):
    folder = export(make(Impossible, (8, 8, 1)))
    only = ["--metrics", "likelihood", "-o", folder.parent / "scores.json"]
    result = here("evaluate", folder, *only)
    assert (result.returncode, result.stderr) == (0, "")
    [score] = scores(folder)
    assert score["value"] is None
    assert json.loads((folder.parent / "scores.json").read_text()) == [score]
    row = result.stdout.splitlines()[-1]
    assert row.split()[:3] == ["log_likelihood", "-inf", "nats"]
    assert row.endswith(f"40 test images of binary, -inf for {score['minus_infinity']} of them")


def test_a_read_only_card_loses_no_score(run, monkeypatch):
    def refuse(folder, record, seal):
        raise OSError(errno.EROFS, "Read-only file system", str(folder / seal))

    monkeypatch.setattr(storage, "write_seal", refuse)
    only = ["--metrics", "likelihood", "--limit", "9"]
    result = here("evaluate", run, *only, "-o", run / "scores.json")
    assert result.returncode == 0
    card = run / "saved_model" / "card.json"
    assert result.stderr == f"Cannot write {card}: Read-only file system.\n"
    assert result.stdout.splitlines()[-1].endswith("9 test images of binary")
    assert json.loads((run / "scores.json").read_text())[0]["protocol"]["count"] == 9


def test_a_model_without_a_likelihood_has_none(export):
    folder = export(make(Duel, (8, 8, 1)))
    result = here("evaluate", folder, "--metrics", "likelihood")
    assert_refused(
        result,
        2,
        "not defined for toy, because the model has no method log_prob. Supported methods: sample.",
    )
    assert_refused(
        here("evaluate", folder, "--limit", 9), 2, "limit requires metric 'likelihood'", "limit=9"
    )
    assert here("evaluate", folder).returncode == 0
    assert {score["metric"] for score in scores(folder)} == {"ms_per_image"}


def test_a_card_without_data_requires_data(export):
    folder = export(make(Pixels, (8, 8, 1)), data=None)
    assert_refused(here("evaluate", folder), 2, "names no training data. Add --data NAME")
    arguments = ["--metrics", "likelihood", "--data", folder.parent / "other.npz"]
    assert here("evaluate", folder, *arguments).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nothing"], ["Unknown pretrained model 'nothing'"]),
        (["./nothing"], ["./nothing does not exist"]),
        (["./done", "--data", "./grey.npz"], ["and 2 levels", "Add --binarize", "256 levels"]),
        (["./done", "--data", "mnist"], ["shape (8, 8, 1)", "Add --size 8", "(28, 28, 1)"]),
        (["./done", "--data", "./nothing.npz"], ["No such file or folder", "nothing.npz"]),
        (
            ["./done", "--metrics", "speed,fid"],
            ["Unknown metric 'fid'", "likelihood, samples, reconstructions, speed"],
        ),
        (["./done", "--metrics", "samples"], ["no bundled classifier for it"]),
        (["./done", "--metrics", ""], ["Unknown metric ''"]),
        (["./done", "--samples", "99"], ["must be from 100 to 320", "99"]),
        (["./done", "--features", "none"], ["Expected the folder of a classifier", "none"]),
        (["./done", "-k", "2"], ["k must be 1", "whose log_prob is exact"]),
        (["./done", "-k", "0"], ["'-k'", "x>=1"]),
        (["./done", "--limit", "0"], ["'--limit'", "x>=1"]),
        (["./done", "--limit", "9", "--metrics", "speed"], ["limit requires metric 'likelihood'"]),
        (["./done", "--split", "tset"], ["'--split'", "'tset'"]),
        (["./done", "-o", "scores.txt"], ["must end in one of .json", "scores.txt"]),
        (
            ["./done", "-o", "./done/run.json/scores.json"],
            ["Cannot write done/run.json/scores.json"],
        ),
        ([], ["Missing argument"]),
    ],
)
def test_evaluate_errors_are_one_line(run, arguments, parts):
    before = (run / "saved_model" / "card.json").read_bytes()
    assert_refused(here("evaluate", *arguments, cwd=run.parent), 2, *parts)
    if arguments[-2:-1] != ["-o"]:
        assert (run / "saved_model" / "card.json").read_bytes() == before
