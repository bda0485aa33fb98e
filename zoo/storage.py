"""Atomic, checksummed folders and JSON files.

A folder is written aside under `.tmp-…`, sealed with a JSON file that holds the sha256 of every
file, flushed to the disk (files, folders), renamed into place, and the parent flushed. The seal's
own sha256 is that of its bytes without this sha256; older seals hold none.
There is no pointer to the newest: the newest folder whose seal verifies is the valid one.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from zoo.errors import ArtefactError, InputError

__all__ = [
    "FULL",
    "commit",
    "digest",
    "first_good",
    "literal_path",
    "named",
    "prune",
    "remove",
    "remove_torn",
    "replacing",
    "sealed",
    "settle",
    "supersede",
    "verify",
    "write_json",
    "write_seal",
]

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""`OSError.errno` if the disk or the quota is full, or a file exceeds the largest size."""


def commit(
    folder: str | os.PathLike,
    write: Callable[[Path], object],
    record: dict,
    seal: str = MANIFEST,
) -> None:
    """Puts a complete new folder in place, or nothing.

    Args:
      folder: Path. An existing folder without a seal is incomplete or damaged, and is moved to
        `.damaged-…`.
      write: function of a Path, which fills that empty folder.
      record: dict, stored in the seal together with the checksums, "files".
      seal: name of the JSON file that seals the folder.

    Raises:
      OSError: if the folder exists with a seal, the disk is full or the parent cannot be written;
        nothing is left.
    """
    folder = Path(folder)
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        _flush(folder.parent.parent)
    aside = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    with named(folder):
        remove(aside)
        aside.mkdir()
        try:
            write(aside)
            (aside / seal).write_bytes(_sealing({**record, "files": _sums(aside)}, seal))
            for path in sorted(aside.rglob("*"), reverse=True):
                _flush(path)
            _flush(aside)
            if folder.exists() and not (folder / seal).is_file():
                _set_aside(folder)
            aside.rename(folder)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the reason
                remove(aside)
            raise
        _flush(folder.parent)


def verify(folder: str | os.PathLike, seal: str = MANIFEST) -> dict:
    """Checks every file of a sealed folder against its checksum and returns the record.

    Raises:
      ArtefactError: if there is no seal, or a file is missing or damaged; the message names it.
    """
    folder = Path(folder)
    try:
        content = (folder / seal).read_bytes()
        record = json.loads(content.decode("utf-8"))
        files = dict(record["files"])
    except FileNotFoundError:
        raise ArtefactError(f"{folder} has no {seal}.") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ArtefactError(f"{folder / seal} is damaged: {error}.") from None
    if seal in files and not _is_intact(content, str(files.pop(seal))):
        raise ArtefactError(
            f"{folder / seal} is damaged, or was changed: its sha256 is not the one that it holds."
        )
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"{path} is missing; {seal} lists it.")
        try:
            actual = _sum(path)
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
        if actual != expected:
            raise ArtefactError(f"{path} is damaged: its sha256 is not the one in {seal}.")
    return record


def digest(folder: str | os.PathLike, seal: str = MANIFEST) -> str:
    """Returns the sha256 in hex that identifies the files of a sealed folder.

    It is that of what the program `sha256sum` prints for them but for the seal, in the order of
    their names.

    Raises:
      ArtefactError: as `verify`.
    """
    files = sorted(verify(folder, seal)["files"].items())
    lines = [f"{value}  {name}\n" for name, value in files if name != seal]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sealed(parent: str | os.PathLike, seal: str = MANIFEST) -> list[str]:
    """Returns the sorted names of the committed folders in parent, without verifying them."""
    parent = Path(parent)
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.name[0] != "." and (p / seal).is_file())


def first_good(
    parent: str | os.PathLike,
    names: Iterable[str],
    say: Callable[[str], object] = lambda message: None,
) -> tuple[Path, dict] | tuple[None, None]:
    """Returns the first of the named folders in parent that verifies; moves invalid ones aside.

    Args:
      parent: Path of the folder of committed folders.
      names: names of committed folders, in order of preference.
      say: function of a str, called with a message per folder that is moved aside.

    Returns:
      (Path, record) or (None, None).
    """
    for name in names:
        folder = Path(parent) / name
        try:
            return folder, verify(folder)
        except ArtefactError as error:
            try:
                say(f"{error} Moved the folder to {_set_aside(folder)}.")
            except OSError:  # read-only, or another process has deleted it
                say(str(error))
    return None, None


@contextlib.contextmanager
def literal_path(folder: str | os.PathLike) -> Iterator[Path]:
    r"""Yields a path of a folder that TensorFlow can read.

    TensorFlow writes to any path, but reads the variables of a checkpoint or of a SavedModel by a
    pattern, in which `[a]` and `\` do not stand for themselves. Such a folder is read through a
    symbolic link in the temporary directory, which the scope removes.

    Args:
      folder: path.

    Yields:
      Path, absolute.

    Raises:
      InputError: if the link cannot be made.
    """
    folder = Path(folder).absolute()
    if not _is_pattern(folder):
        yield folder
        return
    with contextlib.ExitStack() as stack:
        try:
            parent = None if not _is_pattern(tempfile.gettempdir()) else "/tmp"
            aside = stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-", dir=parent))
            link = Path(aside) / "folder"
            link.symlink_to(folder, target_is_directory=True)
        except OSError as error:
            raise InputError(
                "TensorFlow cannot read a path with '[', ']' or '\\', and there is no temporary"
                f" directory for a link to it ({error}): choose another path. Received: {folder}"
            ) from None
        yield link


def prune(parent: str | os.PathLike, keep: Collection[str]) -> None:
    """Deletes the committed folders in parent that are not in keep, and incomplete ones."""
    parent = Path(parent)
    for name in sealed(parent):
        if name not in keep:
            # Renamed first: a half-deleted folder must not look like a damaged checkpoint.
            (parent / name).rename(parent / f".tmp-{name}")
    remove_torn(parent)


def supersede(folder: Path, fresh: Path) -> None:
    """Replaces a folder by a committed one, and deletes the old folder afterwards.

    Killed in between, it leaves no `folder`, but the old one as `.replaced-…`: see `settle`.
    """
    old = _replaced(folder)
    if folder.exists():
        remove(old)
        folder.rename(old)
    fresh.rename(folder)
    _flush(folder.parent)
    remove(old)


def settle(folder: Path) -> None:
    """Puts back, or deletes, the old folder that a killed `supersede` left."""
    old = _replaced(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    remove(old)


def remove_torn(parent: str | os.PathLike) -> None:
    """Deletes the incomplete folders and files that a killed process left in parent."""
    for torn in Path(parent).glob(".tmp-*"):
        remove(torn)


def remove(path: Path) -> None:
    """Deletes a folder or file, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_json(path: str | os.PathLike, value: object) -> None:
    """Writes a complete JSON file, or nothing, and flushes it to the disk."""
    _write(path, _dump(value).encode())


def write_seal(folder: str | os.PathLike, record: dict, seal: str = MANIFEST) -> None:
    """Replaces the record in a sealed folder by another one, completely or not at all.

    Args:
      folder: path.
      record: dict, as `verify` returns it, changed but for its "files".
      seal: name of the JSON file that seals the folder.
    """
    _write(Path(folder) / seal, _sealing(record, seal))


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields the path of a file to write, which takes the place of `path` when it is complete.

    So do other files that are written beside it. If the scope fails, or writes nothing, all stays
    as it was. What replaces a file is flushed to the disk first.
    """
    path = Path(path)
    with named(path):
        aside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
        try:
            yield aside / path.name
            for written in aside.iterdir():
                if path.with_name(written.name).exists():
                    _flush(written)
                written.replace(path.with_name(written.name))
        finally:
            with contextlib.suppress(OSError):
                remove(aside)


@contextlib.contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """Adds a path to an OSError that names none, as that of a write."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _write(path, content):
    path = Path(path)
    with replacing(path) as aside:
        aside.write_bytes(content)
        _flush(aside)
    _flush(path.parent)


def _is_pattern(path):
    return bool({"[", "]", "\\"} - {os.sep} & {*str(path)})


def _replaced(folder):
    return folder.with_name(f".replaced-{folder.name}")


def _set_aside(folder):
    """Moves a damaged folder aside and returns its new Path."""
    aside = folder.with_name(f".damaged-{folder.name}")
    remove(aside)
    return folder.rename(aside)


def _sums(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sum(path) for path in paths}


def _sum(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealing(record, seal):
    """Returns the bytes of a seal, in which "files" lists the seal itself too."""
    files = {name: value for name, value in record["files"].items() if name != seal}
    text = _dump({**record, "files": {**files, seal: ""}})
    own = hashlib.sha256(text.encode()).hexdigest()
    return _dump({**record, "files": {**files, seal: own}}).encode()


def _is_intact(content, expected):
    """Returns whether the bytes of a seal have the sha256 that it holds of itself."""
    return hashlib.sha256(content.replace(expected.encode(), b"")).hexdigest() == expected


def _dump(value):
    text = json.dumps(value, indent=1, allow_nan=False)
    # One line per shape. Within a JSON string a line break is escaped, so no text matches.
    return re.sub(r"\[\n\s+(-?\d+(,\n\s+-?\d+)*)\n\s*\]", _on_one_line, text) + "\n"


def _on_one_line(integers):
    return f"[{' '.join(integers[1].split())}]"


def _flush(path):
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder, and orders renames itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
