"""Faults in the file layer: a kill, or an error, at the k-th change of the disk.

`Faults` stands between Python and the system calls that change files and folders: open for writing,
write, truncate, fsync, rename, replace, mkdir, rmdir, unlink. What only reads cannot leave anything
behind, so a kill at a reading call leaves what a kill at the next changing call leaves.
"""

import builtins
import contextlib
import errno
import io
import os
from pathlib import Path

CALLS = ("rename", "replace", "mkdir", "rmdir", "unlink", "truncate", "link", "symlink")
GROWING = ("open", "write", "mkdir", "rename", "replace")  # what a full disk refuses


class Killed(BaseException):
    """Raised where the process would have died."""


class Faults(contextlib.ContextDecorator):
    """Counts the changes of the disk in its scope, and stops or fails one of them.

    Args:
      at: index of the change; None only counts.
      code: None for a kill: from this change on, the disk stays as it is, and half a write is done.
        Else an errno: this change fails, and for ENOSPC all that need space after it.
      within: path of a folder; changes of files elsewhere do not count.

    Attributes:
      calls: list of (name, path or None); the changes so far.
    """

    def __init__(self, at=None, code=None, within="/"):
        self.at, self.code, self.within = at, code, within
        self.calls, self.dead = [], False

    def happens(self, name, path=None):
        """Counts a change, and raises if it is not to be."""
        elsewhere = path is not None and not Path(path).is_relative_to(self.within)
        if elsewhere and Path(path).is_absolute():  # a relative one is of a folder that is removed
            return
        if self.dead:
            raise Killed
        k = len(self.calls)
        self.calls.append((name, path))
        if self.at is None or k < self.at:
            return
        if self.code is None:
            self.dead = True
            raise Killed
        if k == self.at or (self.code == errno.ENOSPC and name in GROWING):
            raise OSError(self.code, os.strerror(self.code), path)

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        for name in CALLS:
            self._replace(os, name, self._counted(name, getattr(os, name)))
        # Only a power cut would show the difference, and it takes most of the time.
        self._replace(os, "fsync", self._counted("fsync", lambda descriptor: None))
        self._replace(os, "open", self._os_open(os.open))
        opened = self._open(io.open)
        self._replace(io, "open", opened)
        self._replace(builtins, "open", opened)
        return self

    def __exit__(self, *error):
        self._stack.close()

    def _replace(self, module, name, function):
        self._stack.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, function)

    def _counted(self, name, function):
        def call(*arguments, **options):
            first = arguments[0]
            self.happens(name, None if isinstance(first, int) else os.fspath(first))
            return function(*arguments, **options)

        return call

    def _os_open(self, function):
        def call(path, flags, *arguments, **options):
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.happens("open", os.fspath(path))
            return function(path, flags, *arguments, **options)

        return call

    def _open(self, function):
        def call(
            file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *more, **options
        ):
            if more or options or isinstance(file, int) or not {*"wax+"} & {*mode}:
                return function(file, mode, buffering, encoding, errors, newline, *more, **options)
            self.happens("open", os.fspath(file))
            raw = _File(file, mode.replace("b", "").replace("t", ""))
            raw.faults = self
            stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

        return call


class _File(io.FileIO):
    """A file whose writes are counted."""

    faults = None

    def write(self, data):
        if self.faults.dead:  # of a buffer that is flushed after the kill
            return len(data)
        try:
            self.faults.happens("write", os.fspath(self.name))
        except Killed:
            super().write(bytes(data)[: len(data) // 2])
            raise
        return super().write(data)


def changes(action, within="/"):
    """Returns the changes of the disk that an action makes, as of `Faults.calls`."""
    with Faults(within=within) as faults:
        action()
    return faults.calls
