"""Two-stage models, with an option that names a trained model."""

import json
import shutil

import numpy as np
import pytest
from support.noisy import Noisy, Sharpened
from support.shell import TESTS, copy_of_finished, finished, here, write_data

import zoo
from zoo.errors import ArtefactError, InputError

SHARPENED = f"{TESTS / 'support' / 'noisy.py'}:Sharpened"


@pytest.fixture
def place(tmp_path):
    """A folder with data and, in `done`, a finished run of Noisy."""
    copy_of_finished(tmp_path)
    return tmp_path


def train(place, first="./done", epochs=1):
    arguments = ["--data", "./binary.npz", "--epochs", epochs, "--batch-size", "32"]
    return here(
        "train", SHARPENED, *arguments, "--set", f"first={first}", "--run", "second", cwd=place
    )


def test_a_model_of_two_stages_passes_the_conformance_tests():
    subjects = zoo.testing.subjects(Sharpened, first=str(finished().run))
    [subject] = [subject for subject in subjects if not subject.refusal]
    assert "resume_is_bit_equal" in subject.checks()
    for name in subject.checks():
        zoo.testing.CHECKS[name](subject)


def test_the_stage_is_part_of_the_model_and_recorded(place):
    assert train(place).returncode == 0
    recipe = json.loads((place / "second" / "run.json").read_text())["recipe"]
    stage = recipe["stages"]["first"]
    assert stage["source"] == recipe["options"]["first"] == str(place / "done")
    best = zoo.Run(place / "done").best.folder / "manifest.json"
    assert len(stage["sha256"]) == 64
    assert stage["sha256"] not in best.read_text()
    card = json.loads((place / "second" / "saved_model" / "card.json").read_text())
    assert card["recipe"]["stages"] == recipe["stages"]
    model = zoo.restore(place / "second")
    np.testing.assert_array_equal(model.first.table, zoo.restore(place / "done").table)
    saved = zoo.load(place / "second")
    shutil.rmtree(place / "done")  # the SavedModel has the weights of both
    np.testing.assert_array_equal(saved.sample(8, 1), model.sample(8, 1))


def test_a_changed_or_missing_stage_is_refused(place):
    assert train(place).returncode == 0
    shutil.move(place / "done", place / "away")
    result = here("train", "--resume", "second", "--epochs", 2, cwd=place)
    assert result.returncode == 2
    assert f"{place / 'done'} does not exist." in result.stderr.splitlines()[-1]
    zoo.train(
        Noisy(zoo.Spec((8, 8, 1), levels=2)),
        str(place / "binary.npz"),
        epochs=1,
        run=place / "done",
    )
    result = here("train", "--resume", "second", "--epochs", 2, cwd=place)
    assert result.returncode == 2
    assert "Changed: stages.first.sha256" in result.stderr.splitlines()[-1]


def test_an_invalid_stage_is_refused(tmp_path):
    write_data(tmp_path)
    result = train(tmp_path, "vea")
    assert result.returncode == 2
    assert "Did you mean 'vae" in result.stderr
    with pytest.raises(InputError, match=r"first must be a Pretrained\. Received: first=3"):
        zoo.create(SHARPENED, spec=zoo.Spec((8, 8, 1), levels=2), first=3)


def test_a_damaged_stage_is_refused(place):
    for path in (place / "done" / "checkpoints").rglob("*.data-*"):
        path.write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match="contains no valid checkpoint"):
        Sharpened(zoo.Spec((8, 8, 1), levels=2), str(place / "done"))
