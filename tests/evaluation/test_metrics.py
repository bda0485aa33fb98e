"""The table of metrics, in which one entry adds a metric, and the Python API of evaluation."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support.examples import Arrays
from support.shell import copy_of_finished, here
from support.toys import Duel, make

import zoo
from zoo import datasets, storage
from zoo.errors import InputError, UndefinedError
from zoo.evaluation import metrics
from zoo.evaluation.evaluate import compute
from zoo.evaluation.metrics import GROUPS, Group, Metric
from zoo.evaluation.scores import mean_score
from zoo.exports import cards, clean_process

BRIGHTNESS = Group(
    name="brightness",
    summary="Mean of the pixels of the images.",
    needs=("sample",),
    compute="test_metrics:score_brightness",
    metrics=(Metric("mean_pixel", unit="lux", better="higher"),),
    quick=lambda protocol: protocol["count"] < 100,
)


def score_brightness(model, split, seed):
    """The function of a group, with the arguments that it requires."""
    pixels = np.concatenate([x.numpy().mean(axis=(1, 2, 3)) for x in split.batches(16)])
    yield mean_score("mean_pixel", pixels, {"seed": seed}, model, split, len(pixels))


@pytest.fixture
def runs(tmp_path):
    """A folder with two equal finished runs, done and twin."""
    copy_of_finished(tmp_path).rename(tmp_path / "twin")
    copy_of_finished(tmp_path)
    return tmp_path


def stored(run):
    return cards.read_card(run / "saved_model")["scores"]


def test_one_entry_adds_a_metric_to_all_commands(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "test_metrics", sys.modules[__name__])
    monkeypatch.setattr(metrics, "GROUPS", (*GROUPS, BRIGHTNESS))
    assert "brightness       Mean of the pixels of the images." in here("evaluate", "--help").stdout
    for run in ("./done", "./twin"):
        result = here("evaluate", run, "--metrics", "brightness", "--seed", "3", cwd=runs)
        assert (result.returncode, result.stderr) == (0, "")
        assert " lux " in result.stdout.splitlines()[-1]
    result = here("compare", "./done", "./twin", cwd=runs)
    assert "  mean_pixel, lux  " in result.stdout

    path = runs / "twin" / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    card["scores"][-1]["value"] += 1.0
    card["scores"][-1].pop("parts", None)
    storage.write_seal(path.parent, card, path.name)
    result = here("compare", "./done", "./twin", cwd=runs)
    assert result.stdout.splitlines()[-1].endswith(" *")  # it is ranked
    assert here("verify", "./done", "--quick", cwd=runs).stdout.count(" yes ") == 2
    result = here("verify", "./twin", "--quick", cwd=runs)
    assert (result.returncode, result.stdout.count(" NO ")) == (3, 1)


def test_every_metric_of_the_table_is_unique_and_its_function_exists():
    names = [metric.name for group in GROUPS for metric in group.metrics]
    assert len(names) == len({*names}) > 10
    assert {metric.better for group in GROUPS for metric in group.metrics} == {
        "higher",
        "lower",
        "",
    }
    for group in GROUPS:
        assert callable(group.function)
        assert "model" in group.arguments
        assert {metrics.find_group(metric.name) for metric in group.metrics} == {group}
    assert metrics.find_group("of a later version") is None
    assert metrics.find_metric("of a later version") == Metric("of a later version")


@pytest.mark.parametrize("kind", ["folder", "path", "model"])
def test_python_and_the_command_compute_equal_scores(runs, kind):
    run = runs / "done"
    here("evaluate", runs / "twin", "--metrics", "likelihood", "--limit", "9")
    model = {"folder": str(run / "saved_model"), "path": run, "model": zoo.load(run)}[kind]
    reported = []
    scores = zoo.evaluate(model, metrics=["likelihood"], limit=9, on_score=reported.append)
    assert scores == reported == stored(runs / "twin")[-1:]
    assert stored(run) == stored(runs / "twin")


def test_python_takes_data_in_memory_and_reports_progress(runs, progress):
    splits = zoo.load_dataset(str(runs / "binary.npz"))
    [score] = zoo.evaluate(runs / "done", "likelihood", data=splits, progress=progress)
    assert progress.totals == progress.done == {"likelihood": len(splits.test)}
    assert score == stored(runs / "done")[0]
    [check] = zoo.verify(runs / "done", data=splits, progress=progress)
    assert (check.score, check.new, check.agrees, check.reason) == (score, score, True, "")


def test_python_does_not_change_the_card_of_a_pretrained_model(runs, monkeypatch):
    folder = runs / "done" / "saved_model"
    before = (folder / "card.json").read_bytes()
    model = zoo.load(folder)
    monkeypatch.setattr("zoo.exports.pretrained.pretrained", lambda: {None: {"toy": folder}})
    assert zoo.evaluate(model, "likelihood", limit=9)
    assert (folder / "card.json").read_bytes() == before


def test_python_compares_and_prints(runs):
    comparison = zoo.compare(runs / "done", zoo.load(runs / "twin"))
    done, twin = comparison.names
    assert comparison.rows == [{done: stored(runs / "done")[0], twin: stored(runs / "twin")[0]}]
    assert comparison.mismatches == []
    data, *_, row = repr(comparison).splitlines()
    assert data == "40 test images of binary"
    assert row.startswith("  log_likelihood, nats  -")
    assert row.count(f"{stored(runs / 'done')[0]['value']:.1f}") == 2


def test_verify_gives_the_reason_for_a_skipped_score(runs):
    path = runs / "done" / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    [score] = card["scores"]
    card["scores"] += [{**score, "metric": "new"}]
    card["scores"] += [{**score, "protocol": {**score["protocol"], "split": "dev"}}]
    storage.write_seal(path.parent, card, path.name)
    _, unknown, other = zoo.verify(runs / "done")
    assert (unknown.new, unknown.agrees) == (None, None)
    assert unknown.reason == "Unknown metric 'new'."
    assert other.reason == "Unknown split 'dev'. Choose from: train, validation, test"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["likelihood", "fid"]}, "Unknown metric 'fid'"),
        ({"metrics": "likelihood", "split": "dev"}, "Unknown split 'dev'"),
        ({"metrics": "speed", "k": 5}, "k requires metric 'likelihood', .* Received: k=5"),
        ({"metrics": "likelihood", "samples": 500}, "samples requires metric 'samples'"),
        ({"metrics": "likelihood", "data": np.zeros((50, 4, 4))}, r"shape \(8, 8, 1\)"),
    ],
)
def test_invalid_settings_are_refused(runs, settings, message):
    with pytest.raises(InputError, match=message):
        zoo.evaluate(runs / "done", **settings)
    assert len(stored(runs / "done")) == 1


def test_a_group_requires_its_methods(exported):
    with pytest.raises(UndefinedError, match="because the model has no method log_prob"):
        compute(GROUPS[0], exported(make(Duel, (2, 2, 1))))


def test_sample_metrics_are_undefined_for_too_few_images(exported):
    x = np.zeros((20, 2, 2, 1), np.float32)
    splits = datasets.Splits(
        *(Arrays(x, levels=2, split=s) for s in ("train", "validation", "test"))
    )
    model = exported(make(Duel, (2, 2, 1)))
    with pytest.raises(UndefinedError, match="20 training and 20 test images"):
        compute(metrics.find_group("coverage"), model, splits, extractor=object())


@pytest.mark.parametrize(
    "statement",
    [
        "zoo.compare('pixelcnn', 'pixelrnn')",
        "main(['compare', 'pixelcnn', 'pixelrnn'])",
        "main(['compare', 'pixelcnn', 'pixelrn'])",
        "main(['evaluate', 'pixelrn'])",
        "main(['evaluate', 'pixelcnn', '--metrics', 'fid'])",
        "main(['verify', './nothing'])",
    ],
)
def test_commands_without_computation_do_not_import_tensorflow_or_numpy(statement):
    program = (
        "import sys, zoo\nfrom zoo.commands import main\n"
        f"try:\n    {statement}\nexcept SystemExit:\n    pass\n"
        "print('large:', *{'tensorflow', 'keras', 'numpy'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "large:", result.stderr


@pytest.mark.parametrize(("slow", "calls"), [(False, 6), (True, 2)])
def test_the_time_per_image_is_a_mean_without_the_first_call(monkeypatch, slow, calls):
    now, seeds = [0.0], []

    def sample(n, seed):
        seeds.append(seed)
        now[0] += 8.0 if slow else 0.3 if len(seeds) == 1 else 0.1

    monkeypatch.setattr(clean_process.time, "perf_counter", lambda: now[0])
    milliseconds, error = clean_process.time_per_image(sample, 4)
    assert milliseconds == pytest.approx(2000.0 if slow else 25.0)
    assert error == pytest.approx(0.0, abs=1e-9)
    assert len(seeds) in (calls, calls + 1)  # sums of 0.1 are rounded
