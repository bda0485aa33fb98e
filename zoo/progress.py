"""Progress of long computations, for a terminal, a notebook or nobody."""

import time

__all__ = ["SILENT", "Bars", "Progress", "format_duration"]

REFRESH_SECONDS = 0.25  # of a notebook, whose display is slow


class Progress:
    """Receives the progress of computations and ignores it. Subclasses show it."""

    def start(self, total: int, what: str, done: int = 0) -> None:
        """Starts a computation named `what`, of `total` parts of which `done` are complete."""

    def advance(self, n: int = 1) -> None:
        """Adds n completed parts to the computation that was started last."""

    def note(self, text: str) -> None:
        """Shows a line of text below the computation that was started last."""


SILENT = Progress()


class Bars(Progress):
    """Shows a bar per computation, on a terminal and in a notebook, and nothing elsewhere.

        with Bars() as progress:
            progress.start(len(files), "reading")

    A terminal is cleared at the end of the block.

    Args:
      console: rich.console.Console. Default: standard output.
    """

    def __init__(self, console=None):
        self._console = console

    def __enter__(self):
        from rich import console, progress

        class Lines(progress.Progress):
            """Bars, and the notes below them, for which a narrow terminal has no room beside."""

            def get_renderables(self):
                yield self.make_tasks_table(self.tasks)
                yield from (task.fields["note"] for task in self.tasks if task.fields["note"])

        terminal = self._console or console.Console(highlight=False, soft_wrap=True)
        self._bars = Lines(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(24),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=terminal,
            speed_estimate_period=120,
            disable=not terminal.is_terminal,
            transient=True,
        )
        self._cell = None
        if terminal.is_jupyter:  # rich alone needs ipywidgets there
            from IPython.display import display

            self._cell = display(self._bars, display_id=True)
        self._shown = time.monotonic()
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()
        if self._cell:
            self._cell.update(self._bars)

    def start(self, total, what, done=0):
        self._task = self._bars.add_task(what, total=total, completed=done, note="")

    def advance(self, n=1):
        self._bars.advance(self._task, n)
        if self._cell and time.monotonic() > self._shown + REFRESH_SECONDS:
            self._shown = time.monotonic()
            self._cell.update(self._bars)

    def note(self, text):
        self._bars.update(self._task, note=text)


def format_duration(seconds: float) -> str:
    """Formats seconds for people: 42 s, 7 min 3 s, 2 h 5 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
