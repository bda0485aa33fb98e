"""Commands with a model of texts: training, scores, samples and completions."""

import math

import numpy as np
import pytest
import tensorflow as tf
from support.shell import TESTS, assert_refused, here
from support.toys import Bigram

import zoo
from zoo.evaluation.scores import format_score
from zoo.exports import cards
from zoo.render import to_text, to_tokens
from zoo.runs.folder import Run
from zoo.spec import Spec

BIGRAM = f"{TESTS / 'support' / 'toys.py'}:Bigram"
TEXT = "the cat sat on the mat. " * 300
SPEC = Spec((12,), 3, "tokens", names=tuple("abc"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text and a finished run in ./run, and the output of training."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "cats.txt").write_text(TEXT)
    result = here(
        *("train", BIGRAM, "--data", "./cats.txt", "--length", 16, "--epochs", 2, "--run", "run"),
        cwd=folder,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return folder, result.stdout


def test_training_on_a_text(trained):
    folder, output = trained
    assert output.startswith("cats: 381/22/45 texts of 16 tokens out of 11")
    assert "2 epochs of 23 steps of 16 texts" in output
    assert "ms per text)" in output
    recipe = Run(folder / "run").recipe
    names = sorted(set(TEXT))
    assert recipe["options"]["spec"] == {
        **{"kind": "tokens", "shape": [16], "levels": 11},
        "names": names,
    }
    assert recipe["data"]["length"] == 16
    assert cards.read_card(folder / "run" / "saved_model")["spec"]["names"] == names
    result = here("train", "--resume", "run", "--epochs", 3, cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")


def test_scores_of_texts_have_the_units_of_texts(trained):
    folder, output = trained
    [score] = zoo.evaluate(folder / "run", metrics="likelihood")
    nats = -score["value"] / 16
    assert score["nats_per_token"] == pytest.approx(nats)
    assert score["bits_per_token"] == pytest.approx(nats / math.log(2))
    assert score["perplexity"] == pytest.approx(math.exp(nats))
    assert "bits_per_dim" not in score
    assert len(score["parts"]) == 20
    _, value, _, context = format_score(score)
    assert value.endswith(
        f" nats ({nats:.4f} nats/token, {nats / math.log(2):.3f} bits/token,"
        f" perplexity {math.exp(nats):.3f})"
    )
    assert context == "45 test texts of cats"
    assert "45 test texts of cats" in output


def test_metrics_of_images_are_not_defined_for_texts(trained):
    folder, _ = trained
    result = here("evaluate", "./run", "--metrics", "samples", cwd=folder)
    assert_refused(result, 2, "'samples' is not defined for", "requires images", "texts of 16")


def test_samples_are_printed_or_written(trained, tmp_path):
    folder, _ = trained
    model = zoo.load(folder / "run")
    texts = [to_text(x, model.spec) for x in model.sample(3, 5).numpy()]
    headed = "".join(f"--- {k} ---\n{text}\n" for k, text in enumerate(texts))
    result = here("sample", "./run", "-n", 3, "--seed", 5, cwd=folder)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", headed)
    here("sample", "./run", "-n", 3, "--seed", 5, "-o", tmp_path / "x.txt", cwd=folder)
    assert (tmp_path / "x.txt").read_text() == headed
    here("sample", "./run", "-n", 3, "--seed", 5, "-o", tmp_path / "all", cwd=folder)
    assert [path.read_text() for path in sorted((tmp_path / "all").iterdir())] == texts
    assert_refused(here("sample", "./run", "-o", "x.png", cwd=folder), 2, ".txt, .npz")


def test_a_prompt_is_completed_by_the_model(trained, tmp_path):
    folder, _ = trained
    arguments = ("complete", "./run", "--prompt", "the cat", "-n", 300, "--seed", 3)
    result = here(*arguments, "-o", tmp_path / "x.npz", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    with np.load(tmp_path / "x.npz") as file:
        texts, mask = file["completions"], file["mask"]
    model = zoo.load(folder / "run")
    assert mask.sum(axis=1).tolist() == [7] * 300
    assert {to_text(x[:7], model.spec) for x in texts} == {"the cat"}
    assert len(np.unique(texts, axis=0)) > 20
    x = np.where(mask, texts, 0).astype(np.int32)
    np.testing.assert_array_equal(texts, model.complete(x, mask, 3))
    few = here(*arguments, "-n", 2, cwd=folder).stdout
    assert few == "".join(f"--- {k} ---\n{to_text(texts[k], model.spec)}\n" for k in range(2))
    here(*arguments, "-n", 2, "-o", tmp_path / "x.txt", cwd=folder)
    assert (tmp_path / "x.txt").read_text() == few


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["model of texts", "Add --prompt TEXT"]),
        (["--prompt", "the dog"], ["11 characters: ' .acehmnost'", "'d' in 'the dog'"]),
        (["--prompt", "the cat sat on t"], ["shorter than 16 tokens", "Received: 16 tokens"]),
        (["--prompt", "a", "--keep", "left"], ["--keep is for test images"]),
        (["--prompt", "a", "--data", "mnist"], ["--data is for test images"]),
        (["--prompt", "a", "-o", "x.png"], ["must end in one of .txt, .npz"]),
    ],
)
def test_invalid_prompts_are_refused(trained, arguments, parts):
    assert_refused(here("complete", "./run", *arguments, cwd=trained[0]), 2, *parts)


def test_a_prompt_is_for_models_of_texts(trained):
    result = here("complete", "pixelcnn", "--prompt", "a", cwd=trained[0])
    assert_refused(result, 2, "not defined for pixelcnn", "a model of images, not of texts")


def test_tensorboard_can_read_the_texts(trained):
    run = Run(trained[0] / "run")
    values = {}
    for record in tf.data.TFRecordDataset([str(path) for path in sorted(run.events.iterdir())]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value
    last = values["samples"][46]
    assert last.metadata.plugin_data.plugin_name == "text"
    [text] = tf.make_ndarray(last.tensor)
    assert text == (run.samples / "step-00000046.txt").read_bytes()
    assert text.startswith(b"--- 0 ---\n")


def test_tokens_of_texts_bytes_and_numbers():
    tokens = np.array([2, 0, 1], np.int32)
    assert to_text(tokens, SPEC) == "cab"
    for spec, text, expected in (
        (SPEC, "cab", [2, 0, 1]),
        (Spec((9,), 256, "tokens"), "aé", [97, 195, 169]),
        (Spec((9,), 12, "tokens"), "11 3", [11, 3]),
    ):
        assert to_tokens(text, spec).tolist() == expected
        assert to_tokens(text, spec).dtype == np.int32
        assert to_text(to_tokens(text, spec), spec) == text
    assert to_text(np.array([255, 65]), Spec((9,), 256, "tokens")) == "\ufffdA"


def test_the_toy_is_a_distribution_and_its_samples_follow_it():
    model = Bigram(Spec((3,), 2, "tokens"))
    model.table.assign(np.random.default_rng(0).normal(size=(3, 2)))
    x = np.array(list(np.ndindex(2, 2, 2)), np.int32)
    probs = np.exp(model.log_prob(x, 0))
    assert probs.sum() == pytest.approx(1.0, abs=1e-5)
    outcomes = model.sample(4000, 0).numpy() @ [4, 2, 1]
    np.testing.assert_allclose(np.bincount(outcomes, minlength=8) / 4000, probs, atol=0.03)
