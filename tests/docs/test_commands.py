"""Commands in the documentation are valid: their names, options, and options of models."""

import contextlib

import click
import pytest
from support.pages import GUIDES, PAGES, README, commands, mentions, name_of, parse

from zoo import registry
from zoo.commands import VERBS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_are_valid(page):
    text = page.read_text()
    for words in commands(text):
        if words[-1] != "…":
            parse(words)
    for words in mentions(text):
        if words[0][0].islower():  # `zoo --help` and `zoo VERB` name no command
            with contextlib.suppress(click.MissingParameter):  # `zoo train` names the command
                parse(words)


def test_an_invalid_command_is_detected():
    (words,) = commands("```sh\n.venv/bin/zoo train vae --epoch-s 3  # a comment\n```")
    with pytest.raises(click.NoSuchOption):
        parse(words)
    with pytest.raises(click.UsageError):
        parse(["trian", "vae"])


def test_readme_and_guides_show_every_command():
    shown = {words[0] for page in (README, *GUIDES) for words in commands(page.read_text())}
    assert {*VERBS} <= shown


def test_the_options_of_models_exist():
    checked = 0
    for words in [words for page in (README, *GUIDES) for words in commands(page.read_text())]:
        parameters = parse(words) if words[0] == "train" else {}
        for setting in parameters.get("settings", ()):
            options = {option.name for option in registry.describe(parameters["name"]).options}
            assert setting.partition("=")[0] in options
            checked += 1
    assert checked >= 2
