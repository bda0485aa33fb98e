"""SIGINT and SIGTERM in a training: the step ends, the run is saved, then it stops."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

__all__ = ["TrainingInterrupted", "deferred_signals"]

log = logging.getLogger("zoo")


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by SIGINT or SIGTERM, after its last step was saved.

    Args:
      number: the signal.
      step: the step at which training stopped.
      run: zoo.runs.folder.Run, which can be resumed.
    """

    def __init__(self, number, step, run):
        super().__init__(f"Saved step {step:,}. Resume with: {run.resume_command}")
        self.number, self.step, self.run = number, step, run


@contextlib.contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Yields a list to which SIGINT and SIGTERM append their number.

    A second signal raises KeyboardInterrupt at once. Outside the main thread, where Python
    handles no signals, the list stays empty.
    """
    received = []

    def receive(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.info("Saving before exit. Press Ctrl-C again to quit immediately.")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    old = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
