"""Progress is ignored by default and shown only on a terminal and in a notebook."""

import io
import sys
from types import SimpleNamespace

import pytest
import rich.console

from zoo.progress import SILENT, Bars


@pytest.fixture
def console(monkeypatch):
    """Returns a function that shows `Bars` on a terminal, notebook or file and returns the text."""
    make = rich.console.Console

    def console(**settings):
        file = io.StringIO()
        made = make(file=file, width=80, **settings)
        monkeypatch.setattr(rich.console, "Console", lambda **options: made)
        return file

    return console


def test_by_default_it_is_ignored(capsys):
    progress = SILENT
    progress.start(3, "reading")
    progress.advance()
    assert capsys.readouterr() == ("", "")


def test_bars_are_shown_only_on_a_terminal(console):
    for settings in ({}, {"force_terminal": True}):
        file = console(**settings)
        with Bars() as progress:
            progress.start(4, "reading")
            progress.advance(3)
            progress.start(1, "scoring")
            progress.advance()
        terminal = file.getvalue()
        assert ("reading" in terminal) == ("3/4" in terminal) == bool(settings)
    assert terminal.index("reading") < terminal.index("scoring")


def test_a_notebook_has_one_cell_that_is_updated(console, monkeypatch):
    shown = []

    def display(bars, display_id):
        shown.append(bars._repr_mimebundle_([], [])["text/plain"])
        return SimpleNamespace(update=lambda bars: display(bars, display_id))

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    console(force_jupyter=True)
    with Bars() as progress:
        progress.start(4, "reading")
        for _ in range(4):
            progress.advance()
    assert "reading" not in shown[0]
    assert "4/4" in shown[-1]
    assert len(shown) < 4  # no update for each part
