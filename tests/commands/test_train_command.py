"""`zoo train`, `runs`, `sample` and `export`: results and errors."""

import io
import json
import shutil
import tempfile

import numpy as np
import pytest
import rich.console
from PIL import Image
from support.shell import (
    EPOCHS,
    NOISY,
    STEPS,
    TESTS,
    assert_refused,
    copy_of_finished,
    finished,
    here,
    write_data,
    zoo,
)

from zoo.exports import cards
from zoo.progress import Bars
from zoo.runs.folder import Run

QUICK = ["train", NOISY, "--data", "./binary.npz", "--epochs", "1", "--run", "run"]


@pytest.fixture
def cwd(tmp_path):
    """A folder with the data sets of `write_data`, and grey photos in photos/."""
    write_data(tmp_path)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for k in range(50):
        photo = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
        photo.save(tmp_path / "photos" / f"{k}.png")
    return tmp_path


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A folder with a finished conditional run in ./run."""
    folder = tmp_path_factory.mktemp("conditional")
    write_data(folder)
    result = here(*QUICK, "--data", "./classes.npz", "--conditional", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def images(path):
    with np.load(path) as file:
        return file["images"]


def test_train_prints_plan_time_and_results():
    out = finished().result.stdout
    assert finished().result.stderr == ""
    assert out.startswith("binary: 320/40/40 images 8x8x1, 2 levels")
    for line in ("Noisy, 64 trainable parameters", "4 epochs of 160 steps of 2 images", "jit off"):
        assert line in out
    assert out.index("Expected time: ") < out.index(f"epoch 1/{EPOCHS}  loss ")
    grid, score, model, sample = out.splitlines()[-4:]
    assert grid == f"samples  done/samples/step-{EPOCHS * STEPS:08}.png"
    assert score.startswith("score    log_likelihood -")
    assert score.endswith("bits/dim) on 40 test images of binary")
    assert model.startswith("model    done/saved_model (")
    assert sample == "sample   zoo sample ./done"


def test_the_last_line_of_train_is_a_command_that_works(tmp_path):
    copy_of_finished(tmp_path)
    last = finished().result.stdout.splitlines()[-1]
    assert here(*last.split()[2:], cwd=tmp_path).returncode == 0
    assert (tmp_path / "samples.png").stat().st_size > 500


def test_a_dry_run_runs_each_stage_and_saves_nothing(cwd, monkeypatch):
    scratch = cwd / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = {*cwd.iterdir()}
    result = here("train", NOISY, "--data", "./grey.npz", "--binarize", "--dry-run", cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    assert "8x8x1, 2 levels" in result.stdout
    assert "(saved step 1)" in result.stdout
    assert "log_likelihood" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Dry run")
    assert {*cwd.iterdir()} == before
    assert not [path for path in scratch.iterdir() if path.is_dir()]  # AutoGraph's files go at exit


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train"], ["A model NAME (see zoo list), --resume RUN"]),
        (["train", "vea"], ["Unknown model 'vea'. Did you mean 'vae'?"]),
        (["train", "./mine.py:Mine"], ["No such file", "mine.py"]),
        (["train", "vae", "--data", "mnst"], ["Did you mean 'mnist'"]),
        (["train", "vae", "--data", "./nowhere"], ["No such file or folder", "nowhere"]),
        (["train", "vae", "--batch-sze", "8"], ["Did you mean '--batch-size'?"]),
        (["train", "vae", "--batch-size", "0"], ["'--batch-size'", "x>=1"]),
        (["train", "vae", "--epochs", "many"], ["'--epochs'", "'many'"]),
        (["train", "vae", "--seed", "-1"], ["'--seed'"]),
        (["train", "vae", "--precision", "float8"], ["'--precision'", "bfloat16"]),
        (["train", "--resume", "nowhere"], ["Not a run", "nowhere"]),
        (["train", "--resume", "a", "--run", "b"], ["Omit --run"]),
        (["train", "--resume", "a", "--dry-run"], ["Omit --dry-run"]),
        (["train", "vae", "vae"], ["unexpected extra argument"]),
    ],
)
def test_train_errors_are_one_line(tmp_path, arguments, parts):
    assert_refused(here(*arguments, cwd=tmp_path), 2, *parts)
    assert not [*tmp_path.iterdir()]


def test_the_error_for_a_missing_recipe_names_the_options(tmp_path):
    (tmp_path / "mine.py").write_text("import zoo\nclass Mine(zoo.GenerativeModel): pass\n")
    result = here("train", "mine.py:Mine", "--epochs", "1", cwd=tmp_path)
    assert_refused(result, 2, "Mine.recipe is incomplete. Add --batch-size … --data …")


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("latent_dm=4", ["VAE has no option 'latent_dm'", "Did you mean 'latent_dim'?"]),
        ("latent_dim=many", ["latent_dim must be an int. Received: latent_dim='many'"]),
        ("latent_dim=1.5", ["latent_dim must be an int. Received: latent_dim='1.5'"]),
        ("latent_dim=0", ["must be positive", "Received: latent_dim=0"]),
        ("learning_rate=-1", ["must be positive", "learning_rate=-1.0"]),
        ("latent_dim", ["expected NAME=VALUE"]),
        ("levels=2", ["levels is set by the data"]),
        ("shape=(4,4,1)", ["shape is set by the data"]),
    ],
)
def test_an_invalid_setting_gives_one_line(cwd, setting, parts):
    arguments = ["train", "vae", "--data", "./binary.npz", "--set", setting]
    assert_refused(here(*arguments, cwd=cwd), 2, *parts)
    assert not (cwd / "runs").exists()


@pytest.mark.parametrize("data", ["./grey.npz", "./photos"])
def test_grey_data_for_a_binary_model_are_refused(cwd, data):
    result = here(*QUICK, "--data", data, cwd=cwd)
    assert_refused(result, 2, "binary images", "levels=256")
    assert not (cwd / "run").exists()


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (NOISY, "./binary.npz", "binary has no labels. Omit --conditional"),
        (
            f"{TESTS / 'support' / 'toys.py'}:Duel",
            "./classes.npz",
            "Duel cannot be conditional. Omit --conditional",
        ),
    ],
)
def test_conditional_requires_labels_and_a_conditional_model(cwd, model, data, message):
    result = here("train", model, "--data", data, "--conditional", "--run", "run", cwd=cwd)
    assert_refused(result, 2, message)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("binary.npz", "folder of the run"),
        ("binary.npz/run", "folder of the run"),
        ("/proc/run", "Not enough free disk space in /proc"),
    ],
)
def test_an_invalid_folder_for_a_run_is_refused(cwd, run, message):
    assert_refused(here(*QUICK, "--run", run, cwd=cwd), 2, message, "Received: ")


def test_an_existing_run_is_not_overwritten(tmp_path):
    run = copy_of_finished(tmp_path)
    result = here(*QUICK, "--run", run, cwd=tmp_path)
    assert_refused(result, 2, "must be new or empty", f"--resume {run}")


def test_a_run_of_one_model_is_not_resumed_as_another(tmp_path):
    run = copy_of_finished(tmp_path)
    assert_refused(here("train", "vae", "--resume", run), 2, "is a run of", "Noisy")


def test_runs_lists_the_state_of_each_run(tmp_path):
    copy_of_finished(tmp_path)
    shutil.copytree(tmp_path / "done", tmp_path / "longer")
    description = json.loads((tmp_path / "done/run.json").read_text())
    description["recipe"]["epochs"] += 1
    (tmp_path / "longer" / "run.json").write_text(json.dumps(description))
    for name in ("busy", "half", "harmed", "judged", "torn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes((tmp_path / "done/run.json").read_bytes())
    (tmp_path / "harmed" / "run.json").write_text('{"recipe": {}}')
    (tmp_path / "judged" / "metrics.jsonl").write_text(
        '{"epoch": 1, "frechet_distance": 0.5}\n{"epoch": 2}\n'
    )
    (tmp_path / "torn" / "metrics.jsonl").write_text("x\n{}\n")
    with Run(tmp_path / "busy").locked():
        result = here("runs", tmp_path)
        records = json.loads(here("runs", tmp_path, "--json").stdout)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["RUN", "MODEL", "DATA", "EPOCH", "STEP", "LOSS", "VALIDATION", "STATE"]
    states = {row[0].rpartition("/")[2]: row[-1] for row in rows[1:]}
    assert states == {
        "busy": "running",
        "done": "finished",
        "half": "resumable",
        "harmed": "damaged",
        "judged": "resumable",
        "longer": "resumable",
        "torn": "damaged",
    }
    assert rows[2][3:5] == [f"{EPOCHS}/{EPOCHS}", str(EPOCHS * STEPS)]
    assert rows[3][3:5] == ["0/4", "-"]
    assert rows[5][3:8] == ["2/4", "-", "-", "0.5", "(Fréchet)"]
    assert [row["state"] for row in records] == [row[-1] for row in rows[1:]]
    last = json.loads((tmp_path / "done/metrics.jsonl").read_text().splitlines()[-1])
    assert (records[1]["loss"], records[1]["val_loss"]) == (last["loss"], last["val_loss"])


def test_progress_and_losses_fit_a_narrow_terminal():
    terminal = rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=80, highlight=False, soft_wrap=True
    )
    with Bars(terminal) as progress:
        progress.start(100, "training", done=40)
        progress.advance()
        progress.note("discriminator_accuracy 0.75  discriminator_loss 0.5  generator_loss 0.25")
        progress._bars.refresh()
    written = terminal.file.getvalue()
    assert "41/100" in written
    assert "discriminator_accuracy 0.75  discriminator_loss 0.5  generator_loss 0.25" in written


def test_an_empty_folder_of_runs_prints_advice(tmp_path):
    result = here("runs", tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert "zoo train NAME" in result.stderr
    assert json.loads(here("runs", tmp_path, "--json").stdout) == []


def test_samples_are_equal_in_every_process(tmp_path):
    run = finished().run
    result = zoo("sample", run, "-n", 8, "--seed", 3, "-o", "a.npz", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    step = cards.read_card(run / "saved_model")["step"]
    expected = f"8 samples of Noisy, step {step}, seed 3, to a.npz"
    assert result.stdout.splitlines()[-1].endswith(expected)
    here("sample", run / "saved_model", "-n", 8, "--seed", 3, "-o", "b.npz", cwd=tmp_path)
    here("sample", run, "-n", 4, "--seed", 3, "-o", "c.npz", cwd=tmp_path)
    here("sample", run, "-n", 8, "--seed", 4, "-o", "d.npz", cwd=tmp_path)
    a, b, c, d = (images(tmp_path / f"{name}.npz") for name in "abcd")
    assert (a.shape, a.dtype) == ((8, 8, 8, 1), np.float32)
    assert set(np.unique(a)) == {0.0, 1.0}
    assert np.array_equal(a, b)
    assert np.array_equal(a[:4], c)
    assert not np.array_equal(a, d)


def test_samples_do_not_depend_on_batches(tmp_path):
    from zoo.exports.saved_model import load

    here("sample", finished().run, "-n", 300, "-o", "many.npz", cwd=tmp_path)
    many = images(tmp_path / "many.npz")
    assert len(many) == 300
    assert np.array_equal(many[250:], load(finished().run).sample(50, 0, first=250))


def test_sample_writes_a_grid_or_one_file_per_image(tmp_path):
    run = finished().run
    here("sample", run, "-n", 9, "-o", "new/grid.png", cwd=tmp_path)
    here("sample", run, "-n", 9, "-o", "folder", cwd=tmp_path)
    here("sample", run, "-n", 9, "-o", "numbers.npz", cwd=tmp_path)
    with Image.open(tmp_path / "new" / "grid.png") as grid:
        assert grid.mode == "L"
        assert grid.size[0] < grid.size[1] < 1.2 * grid.size[0]  # 3 x 3 below a title
        assert grid.text["index"] == "0-8"
    paths = sorted((tmp_path / "folder").iterdir())
    assert [path.name for path in paths] == [f"{k:06}.png" for k in range(9)]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert np.array_equal(pixels, images(tmp_path / "numbers.npz")[..., 0] * 255)
    for k, path in enumerate(paths):
        with Image.open(path) as image:
            assert image.text["index"] == str(k)


def test_the_samples_of_a_run_become_a_film(tmp_path):
    run = copy_of_finished(tmp_path)
    assert here("film", run, cwd=tmp_path).returncode == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == len([*(run / "samples").iterdir()]) == EPOCHS
    (run / "samples" / "step-00000160.png").write_bytes(b"torn")
    assert_refused(here("film", run, cwd=tmp_path), 3, "step-00000160.png is damaged")
    for path in (run / "samples").iterdir():
        path.unlink()
    assert_refused(here("film", run, cwd=tmp_path), 2, "has no pictures of samples yet")


def test_sample_uses_all_labels_in_turn_or_the_given_one(conditional):
    for arguments, expected in (([], [0, 1, 2, 0]), (["--label", "2"], [2, 2, 2, 2])):
        here("sample", "./run", "-n", 4, *arguments, "-o", "x.npz", cwd=conditional)
        with np.load(conditional / "x.npz") as file:
            assert file["labels"].tolist() == expected
            assert file["images"].shape == (4, 8, 8, 1)


@pytest.mark.parametrize("label", ["3", "-1", "cat", "1.0", ""])
def test_an_unknown_label_is_refused(conditional, label):
    result = here("sample", "./run", "--label", label, cwd=conditional)
    assert_refused(result, 2, f"--label must be 0 to 2. Received: {label!r}")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["./done", "--label", "1"], ["not conditional on labels. Omit --label"]),
        (["./done", "-o", "x.gif"], ["must end in one of .png, .jpg, .jpeg, .npz", "x.gif"]),
        (["./done", "-o", "binary.npz/x.png"], ["Cannot write binary.npz/x.png"]),
        (["./done", "-o", "binary.npz/x"], ["Cannot write binary.npz/x"]),
        (["./done", "-o", "/proc/x.npz"], ["Cannot write /proc/x.npz"]),
        (["./done", "-n", "0"], ["'-n'", "x>=1"]),
        (["./done", "--seed", "x"], ["'--seed'"]),
        (
            ["done"],
            ["Error: No pretrained model 'done', but a folder of this name exists", "write ./done"],
        ),
        (["nowhere"], ["Unknown pretrained model 'nowhere'", "To use a folder, write ./nowhere"]),
        (["my run"], ["Unknown pretrained model 'my run'", "To use a folder, write './my run'"]),
        (["./nowhere"], ["./nowhere does not exist"]),
        (["./binary.npz"], ["binary.npz is neither a run nor a SavedModel"]),
    ],
)
def test_sample_errors_are_one_line(arguments, parts):
    before = {*finished().cwd.iterdir()}
    assert_refused(here("sample", *arguments, cwd=finished().cwd), 2, *parts)
    assert {*finished().cwd.iterdir()} == before


def test_a_run_without_a_saved_model_can_be_exported(tmp_path):
    run = copy_of_finished(tmp_path)
    (run / "saved_model").rename(tmp_path / "old")
    assert_refused(here("sample", run), 2, "has no SavedModel yet", f"zoo export {run}")
    result = here("export", "done", "parent/new", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "parent/new" in result.stdout
    for name in ("old", "parent/new"):
        here("sample", f"./{name}", "-n", 5, "-o", f"{name}.npz", cwd=tmp_path)
    assert np.array_equal(images(tmp_path / "old.npz"), images(tmp_path / "parent/new.npz"))
    assert not (run / "saved_model").exists()


def test_commands_in_messages_are_quoted_for_the_shell(tmp_path):
    run = copy_of_finished(tmp_path / "my models")
    (run / "saved_model").rename(tmp_path / "old")
    assert_refused(here("sample", run), 2, f"zoo export '{run}'")


def test_export_errors_are_one_line(tmp_path):
    run = copy_of_finished(tmp_path)
    for arguments, part in (
        (["./nowhere"], "Not a run"),
        ([run, tmp_path], "The folder already exists"),
        ([run, "binary.npz/new"], "Cannot write the folder"),
    ):
        assert_refused(here("export", *arguments, cwd=tmp_path), 2, part)
    for path in run.glob("checkpoints/*/variables.index"):
        path.unlink()
    result = here("export", run)
    *warnings, error = result.stderr.splitlines()
    assert (result.returncode, len(warnings)) == (3, 2)
    assert "contains no valid checkpoint" in error
    assert (run / "saved_model" / "card.json").exists()
