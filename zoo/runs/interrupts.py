"""Defers SIGINT and SIGTERM until the current training step is complete and saved."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

from zoo.errors import for_caller, traceback_for_notebook

__all__ = ["TrainingInterrupted", "deferred_signals"]

log = logging.getLogger("zoo")


class TrainingInterrupted(KeyboardInterrupt):
    """Raised when SIGINT or SIGTERM stopped training, after the last step was saved.

    Args:
      number: int; the signal number.
      step: the step at which training stopped.
      run: zoo.runs.folder.Run, which can be resumed.
    """

    def __init__(self, number, step, run):
        super().__init__(f"Saved step {step:,}. Resume with: {run.resume_command}")
        self.number, self.step, self.run = number, step, run

    def _render_traceback_(self):  # of IPython
        return traceback_for_notebook(self)


@contextlib.contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Returns a scope that yields a list to which SIGINT and SIGTERM append their number.

    A second signal raises KeyboardInterrupt at once. Outside the main thread, Python handles no
    signals, so the list remains empty.
    """
    received = []

    def receive(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        again = for_caller("Press Ctrl-C again", "Interrupt again")
        log.info("Saving before exit. %s to quit immediately.", again)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    handlers = {n: signal.signal(n, receive) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
