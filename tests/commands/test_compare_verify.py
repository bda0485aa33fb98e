"""`zoo compare` and `zoo verify`: comparable scores, verification and errors."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.shell import assert_refused, copy_of_finished, here, write_data
from support.toys import Pixels, make

import zoo
from zoo import storage
from zoo.evaluation.comparison import Comparison, match, winners
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.verification import agrees, is_quick


def score(metric="frechet_distance", value=1.0, error=0.1, **protocol):
    protocol = {"version": 1, "split": "test", "count": 10, **protocol}
    return {"metric": metric, "value": value, "standard_error": error, "protocol": protocol}


@pytest.fixture
def runs(tmp_path):
    """A folder with two finished runs of one recipe, done and better, with different scores."""
    run = copy_of_finished(tmp_path)
    run.rename(tmp_path / "better")
    change_scores(tmp_path / "better", value=lambda v: v + 100.0)
    copy_of_finished(tmp_path)
    return tmp_path


def change_scores(run, value=lambda v: v, **protocol):
    path = run / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    for score in card["scores"]:
        score["value"] = value(score["value"])
        score["protocol"] |= protocol
    storage.write_seal(path.parent, card, path.name)


def test_scores_of_equal_protocols_are_one_row():
    a, b, c = score(value=1.0), score(value=2.0), score(value=3.0, count=20)
    rows, reasons = match({"A": [c, a], "B": [b], "C": [score("psnr")]})
    assert rows == [{"A": a, "B": b}]
    assert reasons == []


def test_a_model_without_comparable_scores_is_reported():
    rows, reasons = match({"A": [score()], "B": [score()], "C": [score(count=20)]})
    assert len(rows) == 1
    assert [*map(str, reasons)] == ["frechet_distance: C and A differ in count (20 | 10)."]
    rows, reasons = match({"A": [score()], "B": [score(count=20)], "C": [score(count=30)]})
    assert rows == []
    assert [reason.models for reason in reasons] == [("A", "B"), ("C", "A")]


def test_metrics_with_the_same_reason_share_a_line():
    a, b = ([score(count=count), score("coverage", count=count)] for count in (10, 20))
    _, [reason] = match({"A": a, "B": b})
    assert str(reason) == "frechet_distance and 1 more: A and B differ in count (10 | 20)."


def test_data_sets_with_equal_names_are_distinguished():
    a, b = score(dataset="x", fingerprint="f"), score(dataset="x", fingerprint="g")
    _, [reason] = match({"A": [a], "B": [b]})
    assert str(reason).endswith("differ in the contents of the data.")
    _, [reason] = match({"A": [a], "B": [score(dataset="y", fingerprint="g")]})
    assert str(reason).endswith("A and B differ in data (x | y).")
    assert reason.differences == {"dataset": ["x", "y"], "fingerprint": ["f", "g"]}


def test_conditional_and_unconditional_likelihoods_are_not_compared(tmp_path, no_clean_process):
    write_data(tmp_path)
    split = zoo.load_dataset(str(tmp_path / "classes.npz"))[2]
    scores = {}
    for num_classes in (0, 3):
        folder = zoo.export(
            make(Pixels, (8, 8, 1), num_classes=num_classes), tmp_path / str(num_classes)
        )
        scores[str(num_classes)] = [log_likelihood(zoo.load(folder), split)]
    rows, [reason] = match(scores)
    assert rows == []
    assert str(reason).endswith("differ in conditional (no | yes).")


def test_the_reason_refers_to_the_most_similar_scores():
    far, near = score(count=20, split="train"), score(count=20)
    rows, [reason] = match({"A": [far, near], "B": [score()]})
    assert rows == []
    assert reason.differences == {"count": [20, 10]}


def test_a_likelihood_is_not_compared_with_a_bound():
    exact, bound = score("log_likelihood", kind="exact"), score("elbo", kind="importance_weight")
    rows, [reason] = match({"A": [exact], "B": [bound]})
    assert rows == []
    assert str(reason) == "likelihood: A and B differ in metric (log_likelihood | elbo)."
    assert reason.differences["kind"] == ["exact", "importance_weight"]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("coverage", (0.5, 0.9, 0.4), {"B"}),
        ("frechet_distance", (0.5, 0.9, 0.4), {"A", "C"}),  # 0.1 is no difference: errors are 0.1
        ("frechet_distance", (0.5, 0.55, 0.6), set()),
        ("diversity", (0.5, 5.0, 0.1), set()),
        ("elbo", (-5.0, None, -9.0), {"A"}),  # None is of an impossible image
        ("elbo", (None, None, None), set()),
        ("ms_per_image", (1.0, 2.0, 3.0), set()),
    ],
)
def test_the_best_models_are_equal_within_errors(metric, values, best):
    row = {name: score(metric, value) for name, value in zip("ABC", values, strict=True)}
    assert winners(row) == best


def test_scores_of_the_same_images_are_compared_in_pairs():
    parts = np.random.default_rng(0).normal(-80.0, 1.0, 20)
    worse = parts - 0.2 + 0.01 * np.random.default_rng(1).normal(size=20)
    a, b = ({**score("elbo", p.mean(), 0.2), "parts": [*p]} for p in (parts, worse))
    assert winners({"A": a, "B": b}) == {"A"}
    assert winners({"A": a, "B": {**b, "parts": [*parts[::-1]]}}) == set()


def test_a_psnr_that_excludes_images_is_not_ranked():
    row = {"A": {**score("psnr", 30.0), "exact": 1}, "B": {**score("psnr", 20.0), "exact": 0}}
    assert winners(row) == set()


def test_compare_prints_a_table_and_draws_samples_of_one_seed(runs):
    result = here("compare", "./done", "./better", "--seed", "3", "-o", "both.png", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    data, head, row, wrote = result.stdout.splitlines()
    assert data == "40 test images of binary"
    assert head.split() == ["./done", "./better"]
    assert row.startswith("  log_likelihood, nats  -")
    assert row.count("*") == 1
    assert row.endswith(" *")  # the second is the better
    assert wrote.startswith("Wrote 16 samples per row, of ./done, ./better, seed 3")
    assert f"\n{row}" in repr(zoo.compare(runs / "done", runs / "better"))
    with Image.open(runs / "both.png") as picture:
        width, height = picture.size
        digests = picture.text["sha256"].split(", ")
        assert picture.text["seed"] == "3"
    assert digests == [zoo.load(runs / name).sha256 for name in ("done", "better")]
    assert 5 < width / height < 9


def test_compare_prints_complete_protocols_as_json(runs):
    result = here("compare", "./done", "./better", "--json", cwd=runs)
    (row,) = json.loads(result.stdout)["rows"]
    assert row["best"] == ["./better"]
    assert row["scores"]["./done"] == zoo.load(runs / "done").card["scores"][0]
    change_scores(runs / "better", seed=7)
    result = here("compare", "./done", "./better", "--json", cwd=runs)
    (mismatch,) = json.loads(result.stdout)["not_comparable"]
    assert mismatch["differences"] == {"seed": [None, 7]}
    assert mismatch["models"] == ["./done", "./better"]


@pytest.mark.parametrize(("width", "has_errors"), [(44, False), (60, False), (80, True)])
def test_a_table_fits_the_width(width, has_errors):
    names = ["vae", "./runs/20260101-120000-pixelcnn-binarized_mnist", "gan"]
    rows = [
        {name: score(metric, k + 0.123, 0.01, dataset="x") for k, name in enumerate(names)}
        for metric in ("coverage", "frechet_distance")
    ]
    table = Comparison(names, rows, match({"A": [score()], "B": [score(count=1)]})[1]).table(width)
    lines = table.splitlines()
    assert max(map(len, lines)) <= width
    assert ("+-" in table) == has_errors
    assert lines[0] == "10 test images of x"
    cells = " ".join(line for line in lines if "coverage" in line).split()
    assert [cell for cell in cells if cell[1:] == ".123"] == ["0.123", "1.123", "2.123"]
    assert " ".join(line for line in lines if "frechet" in line).count("*") == 1
    end = " ".join(table.partition("Not comparable:\n")[2].split())
    assert end == "frechet_distance: A and B differ in count (10 | 1)."


def test_compare_refuses_incomparable_models(runs):
    change_scores(runs / "better", seed=7)
    result = here("compare", "./done", "./better", cwd=runs)
    assert_refused(
        result, 2, "No scores are comparable. Run zoo evaluate on all with equal options."
    )
    assert "./done and ./better differ in seed (none | 7)" in result.stdout
    assert_refused(
        here("compare", "./done", cwd=runs), 2, "requires two or more models. Received: ./done"
    )
    assert_refused(
        here("compare", "./done", "./done", cwd=runs),
        2,
        "requires two or more models. Received: ./done",
    )
    assert_refused(here("compare", "./done", "./none", cwd=runs), 2, "./none does not exist")
    arguments = ["./done", "./better", "-o", "both.txt"]
    assert_refused(here("compare", *arguments, cwd=runs), 2, "must end in one of .png", "both.txt")


def test_compare_names_a_model_without_scores(runs, no_clean_process):
    zoo.export(make(Pixels, (8, 8, 1)), runs / "new")
    result = here("compare", "./done", "./new", cwd=runs)
    assert_refused(result, 2, "./new has no scores. Compute them with: zoo evaluate ./new")


def test_verify_recomputes_the_scores_of_the_card(runs):
    result = here("verify", "./done", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    head, row, end = result.stdout.splitlines()
    assert head.split() == ["METRIC", "CARD", "HERE", "AGREE", "ON"]
    assert " yes " in row
    assert end == "./done verified: all files and 1 score match."


def test_quick_verification_skips_slow_scores():
    quick = [score("elbo", count=1000, k=1), score("coverage", count=10_000, samples=1000)]
    slow = [score("iw_bound", count=500, k=128), score("coverage", count=10, samples=1001)]
    slow.append(score("psnr", count=10))
    assert [*filter(is_quick, quick + slow)] == quick


def test_verify_accepts_a_new_path_of_the_data(runs):
    path = runs / "done" / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    source = card["recipe"]["data"]
    shutil.copy(source["name"], runs / "renamed.npz")
    source["name"] = str(runs / "gone.npz")
    storage.write_seal(path.parent, card, path.name)
    assert_refused(here("verify", "./done", cwd=runs), 2, "No such file or folder", "gone.npz")
    result = here("verify", "./done", "--data", "./renamed.npz", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")


def test_verify_detects_a_wrong_score(runs):
    result = here("verify", "./better", cwd=runs)
    assert_refused(result, 3, "./better does not match its card. Different: log_likelihood.")
    assert " NO " in result.stdout
    change_scores(runs / "better", value=lambda v: v - 100.0 + 1e-4)
    assert here("verify", "./better", cwd=runs).returncode == 0


def test_verify_detects_damage_and_reports_skipped_scores(runs):
    change_scores(runs / "done", fingerprint="another")
    result = here("verify", "./done", cwd=runs)
    assert result.returncode == 2
    left_out, error = result.stderr.splitlines()
    assert left_out.startswith("Not verified: log_likelihood. Differs in fingerprint (another |")
    assert "No score in the card of ./done can be recomputed here." in error
    weights = runs / "better" / "saved_model" / "variables" / "variables.index"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert_refused(here("verify", "./better", cwd=runs), 3, "variables.index is damaged")


def test_an_impossible_score_is_verified_as_such():
    assert agrees(score(value=None), score(value=None))
    assert not agrees({**score(value=None), "minus_infinity": 1}, score(value=None))
    assert agrees(score(value=1.0, error=0.0), score(value=1.0 + 5e-6, error=0.0))
    assert not agrees(score(value=1.0, error=None), score(value=1.0001, error=None))
    assert not agrees(score(value=None), score(value=1.0))
    assert agrees(score(value=1.0), score(value=1.02))
    assert not agrees(score(value=1.0), score(value=1.02502))
