"""The commit protocol: a folder is there whole and verified, or it is not there.

A folder is written aside under `.tmp-…`, sealed with a JSON file that holds the sha256 of every
other file, flushed to the disk (files, folders), renamed into place, and the parent flushed.
There is no pointer to the newest: the newest folder whose seal verifies wins.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

from zoo.errors import ArtefactError

__all__ = [
    "FULL",
    "commit",
    "first_good",
    "prune",
    "remove",
    "remove_torn",
    "sealed",
    "verify",
    "write_json",
]

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What `OSError.errno` is where a disk, a quota or the largest file allowed is full."""


def commit(folder, write, record, seal=MANIFEST):
    """Puts a new folder in place, whole or not at all.

    Args:
      folder: Path; what is there without a seal was never committed, or has been damaged since,
        and is moved to `.damaged-…`.
      write: function of a Path: fills that empty folder.
      record: dict, kept in the seal beside the sums under "files".
      seal: name of the JSON file that seals the folder.

    Raises:
      OSError: if the folder is there and sealed, the disk is full or the parent cannot be written;
        nothing is left.
    """
    folder = Path(folder)
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        _flush(folder.parent.parent)
    aside = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    remove(aside)
    aside.mkdir()
    try:
        write(aside)
        _write_json(aside / seal, {**record, "files": _sums(aside)})
        for path in sorted(aside.rglob("*"), reverse=True):
            _flush(path)
        _flush(aside)
        if folder.exists() and not (folder / seal).is_file():
            _set_aside(folder)
        aside.rename(folder)
    except BaseException:
        remove(aside)
        raise
    _flush(folder.parent)


def verify(folder, seal=MANIFEST):
    """Returns the record of a sealed folder after checking every file against it.

    Raises:
      ArtefactError: if it is not sealed, or a file is missing or damaged; the message names it.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / seal).read_text())
        files = dict(record["files"])
    except FileNotFoundError:
        raise ArtefactError(f"Expected {seal} in {folder}, which is not there.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtefactError(f"{folder / seal} is damaged: {error}.") from None
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"{path} is missing; {seal} lists it.")
        try:
            found = _sum(path)
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
        if found != expected:
            raise ArtefactError(f"{path} is damaged: its sha256 is not the one in {seal}.")
    return record


def sealed(parent, seal=MANIFEST):
    """Returns the names of the committed folders in parent, in order, none of them verified."""
    parent = Path(parent)
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.name[0] != "." and (p / seal).is_file())


def first_good(parent, names, say=lambda message: None):
    """Finds the first of the named folders in parent that verifies; moves the bad ones aside.

    Args:
      parent: Path of the folder of committed folders.
      names: names of committed folders, the wanted one first.
      say: function of a str, told of each folder that was moved aside, and why.

    Returns:
      (Path, record) or (None, None).
    """
    for name in names:
        folder = Path(parent) / name
        try:
            return folder, verify(folder)
        except ArtefactError as error:
            say(f"{error} Moved the folder to {_set_aside(folder)}.")
    return None, None


def prune(parent, keep):
    """Deletes the committed folders in parent whose names are not in keep, and torn remains."""
    parent = Path(parent)
    for name in sealed(parent):
        if name not in keep:
            # Renamed first: a half-deleted folder must not look like a damaged checkpoint.
            (parent / name).rename(parent / f".tmp-{name}")
    remove_torn(parent)


def remove_torn(parent):
    """Deletes what a process that was killed has left in parent."""
    for torn in Path(parent).glob(".tmp-*"):
        remove(torn)


def remove(path):
    """Deletes a folder or file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_json(path, value):
    """Writes a JSON file, whole or not at all, and flushes it to the disk."""
    path = Path(path)
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        _write_json(aside, value)
        _flush(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _set_aside(folder):
    """Moves a damaged folder out of the way; returns the Path where it is now."""
    aside = folder.with_name(f".damaged-{folder.name}")
    remove(aside)
    return folder.rename(aside)


def _sums(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sum(path) for path in paths}


def _sum(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _flush(path):
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder, and orders renames itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
