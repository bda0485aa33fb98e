"""README.md: its Python snippets run, and its commands are valid."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from zoo import registry
from zoo.commands import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "saved_models/README.md", "zoo/template/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("plugins/**/README.md")),
]
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FIRST, *OTHERS = SNIPPETS  # the first trains on all of MNIST


def commands(text):
    """Returns the commands `zoo …` in the blocks of a page, each as a list of words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return words_of(line for block in blocks for line in re.split(r"\n|&&", block))


def mentions(text):
    """Returns the commands `zoo …` in the sentences of a page, as `commands`."""
    return words_of(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def words_of(lines):
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if len(line) > 1 and Path(line[0]).name == "zoo"]


def parse(words):
    """Parses a command as click does, without running it; returns its parameters."""
    command, context = main, click.Context(main)
    while isinstance(command, click.Group):
        command = command.get_command(context, words[0])
        if command is None:
            raise click.UsageError(f"No such command: {words[0]}")
        words = words[1:]
    return command.make_context(command.name, [*words]).params


def run(snippets, folder):
    """Runs snippets in one new process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = "import zoo\n" + "".join(snippets)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_python_snippets_run(tmp_path):
    output = run(OTHERS, tmp_path)
    assert re.search(r"^log_likelihood .* \*", output, re.MULTILINE)  # of zoo.compare
    assert "False" not in output  # of zoo.verify
    for name in ("runs/mine/saved_model", "finetuned"):
        assert (tmp_path / name / "card.json").is_file()
    for name in ("vae.keras", "log.csv"):
        assert (tmp_path / name).is_file()


@pytest.mark.slow
def test_the_snippet_that_trains_on_mnist_runs(tmp_path):
    output = run([FIRST, "\nassert images.shape == (16, 28, 28, 1)\n"], tmp_path)
    assert re.search(r"^elbo .* vae|^METRIC .* vae", output, re.MULTILINE)
    assert (tmp_path / "exported" / "card.json").is_file()
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_are_valid(page):
    text = page.read_text()
    for words in commands(text):
        if words[-1] != "…":
            parse(words)
    for words in mentions(text):
        with contextlib.suppress(click.MissingParameter):  # `zoo train` names the command
            parse(words)


def test_the_readme_shows_every_command():
    shown = {words[0] for words in commands(README)}
    assert {*main.list_commands(None)} <= shown


def test_an_invalid_command_is_found():
    (words,) = commands("```sh\n.venv/bin/zoo train vae --epoch-s 3  # a comment\n```")
    with pytest.raises(click.NoSuchOption):
        parse(words)
    with pytest.raises(click.UsageError):
        parse(["trian", "vae"])


def test_the_options_of_models_exist():
    checked = 0
    for words in commands(README):
        parameters = parse(words) if words[0] == "train" else {}
        for setting in parameters.get("settings", ()):
            options = {option.name for option in registry.describe(parameters["name"]).options}
            assert setting.partition("=")[0] in options
            checked += 1
    assert checked >= 3


def test_every_file_that_the_readme_names_exists():
    for name in re.findall(r"\]\(([^):#]+)\)", README):
        assert (ROOT / name).exists(), name


def test_every_module_in_the_source_layout_exists():
    (layout,) = re.findall(r"## Source layout\n\n```\n(.*?)```", README, re.DOTALL)
    names = re.findall(r"^zoo/\S+|(?<=, )\w+\.py", layout, re.MULTILINE)
    assert len(names) > 15
    for name in names:
        name = name.rstrip(",")
        assert (ROOT / (name if name.startswith("zoo/") else f"zoo/{name}")).exists(), name
