"""`zoo compare` and `zoo verify`: what is put side by side, what is not, and what must hold."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.shell import assert_refused, copy_of_finished, here, write_data
from support.toys import Pixels, make

import zoo
from zoo.evaluation.comparison import match, winners
from zoo.evaluation.likelihood import log_likelihood
from zoo.evaluation.verification import agrees, is_quick


def score(metric="frechet_distance", value=1.0, error=0.1, **protocol):
    protocol = {"version": 1, "split": "test", "count": 10, **protocol}
    return {"metric": metric, "value": value, "standard_error": error, "protocol": protocol}


@pytest.fixture
def runs(tmp_path):
    """The folder of two finished runs of one recipe: done, and better, whose scores differ."""
    run = copy_of_finished(tmp_path)
    run.rename(tmp_path / "better")
    change_scores(tmp_path / "better", value=lambda v: v + 100.0)
    copy_of_finished(tmp_path)
    return tmp_path


def change_scores(run, value=lambda v: v, **protocol):
    path = run / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    for found in card["scores"]:
        found["value"] = value(found["value"])
        found["protocol"] |= protocol
    path.write_text(json.dumps(card))


def test_scores_of_equal_protocols_are_one_row():
    a, b, c = score(value=1.0), score(value=2.0), score(value=3.0, count=20)
    rows, reasons = match({"A": [c, a], "B": [b], "C": [score("psnr")]})
    assert rows == [{"A": a, "B": b}]
    assert reasons == []


def test_a_model_that_is_in_no_row_is_named():
    rows, reasons = match({"A": [score()], "B": [score()], "C": [score(count=20)]})
    assert len(rows) == 1
    assert reasons == [
        "frechet_distance of C and A not comparable: they differ in count (20 | 10)."
    ]
    rows, reasons = match({"A": [score()], "B": [score(count=20)], "C": [score(count=30)]})
    assert rows == []
    assert [reason.split()[2:5:2] for reason in reasons] == [["A", "B"], ["C", "A"]]


def test_what_is_not_compared_for_one_reason_is_one_line():
    a, b = ([score(count=count), score("coverage", count=count)] for count in (10, 20))
    _, [reason] = match({"A": a, "B": b})
    assert reason.startswith(
        "frechet_distance, coverage of A and B not comparable: they differ in c"
    )


def test_other_images_of_one_name_are_told_apart():
    a, b = score(dataset="x", fingerprint="f"), score(dataset="x", fingerprint="g")
    _, [reason] = match({"A": [a], "B": [b]})
    assert reason.endswith("they differ in fingerprint (f | g).")
    _, [reason] = match({"A": [a], "B": [score(dataset="y", fingerprint="g")]})
    assert reason.endswith("they differ in dataset (x | y).")


def test_a_likelihood_that_knows_the_label_is_not_compared_with_one_that_does_not(
    tmp_path, no_clean_process
):
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
    assert reason.endswith("they differ in conditional (False | True).")


def test_scores_of_other_protocols_are_not_and_the_nearest_tell_why():
    far, near = score(count=20, split="train"), score(count=20)
    rows, [reason] = match({"A": [far, near], "B": [score()]})
    assert rows == []
    assert reason == "frechet_distance of A and B not comparable: they differ in count (20 | 10)."


def test_a_likelihood_is_not_compared_with_a_bound():
    exact, bound = score("log_likelihood", kind="exact"), score("elbo", kind="importance_weight")
    rows, [reason] = match({"A": [exact], "B": [bound]})
    assert rows == []
    assert "metric (log_likelihood | elbo)" in reason
    assert "kind (exact | importance_weight)" in reason


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
def test_the_best_are_those_that_none_is_better_than_beyond_the_errors(metric, values, best):
    row = {name: score(metric, value) for name, value in zip("ABC", values, strict=True)}
    assert winners(row) == best


def test_scores_of_the_same_images_differ_by_less_than_their_errors():
    parts = np.random.default_rng(0).normal(-80.0, 1.0, 20)
    worse = parts - 0.2 + 0.01 * np.random.default_rng(1).normal(size=20)
    a, b = ({**score("elbo", p.mean(), 0.2), "parts": [*p]} for p in (parts, worse))
    assert winners({"A": a, "B": b}) == {"A"}
    assert winners({"A": a, "B": {**b, "parts": [*parts[::-1]]}}) == set()


def test_a_psnr_without_some_of_the_images_is_not_ranked():
    row = {"A": {**score("psnr", 30.0), "exact": 1}, "B": {**score("psnr", 20.0), "exact": 0}}
    assert winners(row) == set()


def test_compare_prints_a_table_and_draws_samples_of_one_seed(runs):
    result = here("compare", "./done", "./better", "--seed", "3", "-o", "both.png", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    wrote, head, row = result.stdout.splitlines()
    assert head.split() == ["METRIC", "./done", "./better", "REAL", "ON"]
    assert row.startswith("log_likelihood  -")
    assert row.count("*") == 1
    assert "* " in row.partition(" nats")[2].partition(" nats")[2]  # the second is the better
    assert wrote.startswith("Wrote 16 samples per row, of ./done, ./better, seed 3")
    with Image.open(runs / "both.png") as picture:
        width, height = picture.size
    assert 7 < width / height < 9


def test_compare_refuses_what_does_not_compare(runs):
    change_scores(runs / "better", seed=7)
    result = here("compare", "./done", "./better", cwd=runs)
    assert_refused(
        result, 2, "No scores are comparable. Run zoo evaluate on all with equal options."
    )
    assert "differ in seed (None | 7)" in result.stdout
    assert_refused(
        here("compare", "./done", cwd=runs), 2, "requires two or more models. Received: ./done"
    )
    assert_refused(
        here("compare", "./done", "./done", cwd=runs),
        2,
        "requires two or more models. Received: ./done",
    )
    assert_refused(here("compare", "./done", "./none", cwd=runs), 2, "./none does not exist")
    asked = ["./done", "./better", "-o", "both.txt"]
    assert_refused(here("compare", *asked, cwd=runs), 2, "must end in one of .png", "both.txt")


def test_compare_tells_who_has_no_scores(runs, no_clean_process):
    zoo.export(make(Pixels, (8, 8, 1)), runs / "new")
    result = here("compare", "./done", "./new", cwd=runs)
    assert_refused(result, 2, "./new has no scores. Compute them with: zoo evaluate ./new")


def test_verify_computes_what_the_card_says(runs):
    result = here("verify", "./done", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    head, row, end = result.stdout.splitlines()
    assert head.split() == ["METRIC", "CARD", "HERE", "AGREE", "ON"]
    assert " yes " in row
    assert end == "./done verified: all files and 1 score match."


def test_the_quick_form_leaves_out_what_takes_minutes():
    quick = [score("elbo", count=1000, k=1), score("coverage", count=10_000, samples=1000)]
    slow = [score("iw_bound", count=500, k=128), score("coverage", count=10, samples=1001)]
    slow.append(score("psnr", count=10))
    assert [*filter(is_quick, quick + slow)] == quick


def test_verify_takes_data_that_were_moved(runs):
    path = runs / "done" / "saved_model" / "card.json"
    card = json.loads(path.read_text())
    source = card["recipe"]["data"]
    shutil.copy(source["name"], runs / "renamed.npz")
    source["name"] = str(runs / "gone.npz")
    path.write_text(json.dumps(card))
    assert_refused(here("verify", "./done", cwd=runs), 2, "no such folder or file", "gone.npz")
    result = here("verify", "./done", "--data", "./renamed.npz", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")


def test_verify_finds_a_score_that_is_not_true(runs):
    result = here("verify", "./better", cwd=runs)
    assert_refused(result, 3, "./better does not match its card. Different: log_likelihood.")
    assert " NO " in result.stdout
    change_scores(runs / "better", value=lambda v: v - 100.0 + 1e-4)
    assert here("verify", "./better", cwd=runs).returncode == 0


def test_verify_finds_damage_and_what_it_cannot_compute(runs):
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
