"""The pages of the documentation, and the commands and snippets in them."""

import re
import shlex
from pathlib import Path

import click

from zoo.commands import main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDES = sorted(ROOT.glob("docs/guides/*.md"))
PAGES = [
    README,
    *(ROOT / name for name in ("SECURITY.md", "saved_models/README.md", "zoo/template/README.md")),
    *(ROOT / name for name in ("benchmarks/RESULTS.md", "zoo/datasets/files/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("plugins/**/README.md")),
]


def name_of(page):
    """Returns the path of a page in the repository, for the names of tests."""
    return page.relative_to(ROOT).as_posix()


def blocks(page, language):
    """Returns the blocks of a language in a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(text):
    """Returns the commands `zoo …` in the sh blocks of a text, each as a list of words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return words_of(line for block in blocks for line in re.split(r"\n|&&", block))


def mentions(text):
    """Returns the commands `zoo …` in the sentences of a text, as `commands`."""
    return words_of(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def words_of(lines):
    """Returns the words after `zoo` of the lines that are such commands."""
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
