"""README.md and the guides: every Python snippet and every command runs.

All run in one folder and share one run, which the first snippet of README.md trains. `SMALL` lists
the replacements that make snippets small. The guides, and what traces more models, are slow.
"""

import contextlib
import io
import logging
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image
from support.pages import GUIDES, README, blocks, commands, name_of, parse
from support.shell import here

import zoo

RUN = "runs/20260101-120000-vae-mnist_binary"  # the name in the commands
TINY = "--set filters=4 --set hidden_dim=16"
SMALL = {  # in snippets
    'zoo.train("vae", epochs=1, filters=16)': (
        'zoo.train("vae", "./tiny.npz", epochs=1, filters=4, hidden_dim=16)'
    ),
    'metrics=["likelihood"], limit=500': 'metrics=["likelihood"], limit=20',
    'conditional=True, epochs=2, batch_size=100, filters=8, run="runs/mine"': (
        'conditional=True, epochs=2, batch_size=100, filters=4, hidden_dim=16, run="runs/mine"'
    ),
    "(1000, 16, 16)": "(200, 16, 16)",
    "np.arange(1000)": "np.arange(200)",
    "train.take(1000)": "train.take(200)",
    "spec=zoo.Spec((28, 28, 1), levels=2))": "spec=zoo.Spec((28, 28, 1), levels=2), filters=4)",
    'load("smaller")': 'load("exported")',  # by README.md, in the same way
}
PYTHON = [page for page in (README, *GUIDES) if blocks(page, "python")]
ELSEWHERE = "plugins.md"  # tests/docs/test_plugins_page.py
QUICK = ("data", "info", "list", "runs", "sample")  # verbs that trace nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that everything runs in, with small data sets."""
    folder = tmp_path_factory.mktemp("examples")
    x, _ = zoo.load_dataset("mnist_binary").train.take(300)
    np.savez(folder / "tiny.npz", images=np.asarray(x).astype(np.uint8))
    rng = np.random.default_rng(0)
    for name, darkest in (("cats", 0), ("dogs", 128)):  # classes that a classifier can learn
        (folder / "photos" / name).mkdir(parents=True)
        for k in range(100):
            pixels = rng.integers(darkest, darkest + 128, (40, 36, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def workspace(folder):
    """The folder after the snippets of README.md, with their run under the name in the commands."""
    run_snippets(README, folder)
    (run,) = (folder / "runs").iterdir()
    shutil.copytree(run, folder / RUN)
    return folder


def run_snippets(page, folder):
    """Runs the Python snippets of a page, one after the other; returns what they print."""
    names, output, log = {}, io.StringIO(), logging.getLogger("zoo")
    level, handlers = log.level, logging.getLogger().handlers[:]
    with contextlib.chdir(folder), contextlib.redirect_stdout(output):
        for snippet in blocks(page, "python"):
            for text, small in SMALL.items():
                snippet = snippet.replace(text, small)
            if not snippet.startswith("class Mine"):  # an outline of a model
                exec(compile(snippet, name_of(page), "exec"), names)
    log.setLevel(level)
    logging.getLogger().handlers[:] = handlers
    return output.getvalue()


def test_what_is_made_small_is_in_the_pages():
    text = "".join(page.read_text() for page in PYTHON)
    for part in SMALL:
        assert part in text


def test_the_snippets_of_the_readme_run(workspace):
    assert (workspace / RUN / "metrics.jsonl").is_file()
    assert (workspace / "exported" / "card.json").is_file()


def guides():
    """Yields the guides with snippets."""
    for page in PYTHON[1:]:
        if page.name != ELSEWHERE:
            yield pytest.param(page, id=name_of(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [*guides()])
def test_the_snippets_of_a_guide_run(page, workspace):
    output = run_snippets(page, workspace)
    if page.name == "train.md":
        for name in ("runs/mine/saved_model/card.json", "finetuned/card.json", "vae.keras"):
            assert (workspace / name).is_file()
        assert (workspace / "log.csv").is_file()
    if page.name == "evaluate.md":
        assert "True" in output
        assert "False" not in output


def shown():
    """Yields the commands of README.md and the guides, each once."""
    lines = {
        shlex.join(words): words
        for page in (README, *GUIDES)
        if page.name != ELSEWHERE
        for words in commands(page.read_text())
    }
    for line, words in lines.items():
        is_quick = words[0] in QUICK or line == "compare pixelcnn pixelrnn"
        yield pytest.param(words, id=line, marks=[] if is_quick else [pytest.mark.slow])


def small(words):
    """Returns a command with the options that make it small."""
    if words[0] == "train" and "--resume" in words:
        return [*words[:-1], "2"]  # epochs
    if words[0] == "train":
        options = parse(words)
        has_data = options["data"] or options["config"]
        data = [] if has_data else ["--data", "./tiny.npz"]
        vae = shlex.split(TINY) if words[1] == "vae" else []
        return [*words, *data, *vae, "--epochs", "1", "--batch-size", "16"]
    if words[0] == "features":
        return [*words, "--epochs", "60"]  # of one step each
    return [word if word != "500" else "50" for word in words]  # --limit


@pytest.mark.parametrize("words", [*shown()])
def test_a_command_runs(words, workspace):
    if words[0] == "export":
        shutil.rmtree(workspace / words[2], ignore_errors=True)
    result = here(*small(words), cwd=workspace)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout or result.stderr
