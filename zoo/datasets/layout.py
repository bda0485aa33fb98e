"""Files in a folder: which there are, and the splits and classes that its subfolders name."""

import collections
import contextlib
import dataclasses
import errno
import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from zoo.datasets.assembly import Contents, assemble
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError
from zoo.spec import Spec

SUFFIXES = {
    "images": (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"),
    "sounds": (".wav",),
    "texts": (".txt",),
}
"""The names of the files that each kind of folder is read from; their content says how."""

_SPLITS = {  # in any case
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_RUN_FILE = "run.json"  # marks a folder of `zoo train`, whose samples are no data
_NAMED_FILES = 3  # for each reason in an error
MAX_ENTRIES = 4 * 10**6  # of a folder; ImageNet has 1.4 million


class FileExamples:
    """Examples that are read from their files when they are indexed, like an array.

    Args:
      files: Path [n] array.
      decode: function from a Path to an array [*shape] of the dtype.
      shape: tuple of int; of an example.
      dtype: numpy.dtype.
    """

    def __init__(self, files, decode, shape, dtype):
        self._files, self._decode, self.shape = files, decode, (len(files), *shape)
        self.dtype = np.dtype(dtype)

    def __len__(self):
        return len(self._files)

    def __getitem__(self, index):
        """Reads [b, *shape] of a slice, in threads, or of int [b]."""
        files = self._files[index]
        examples = np.empty((len(files), *self.shape[1:]), self.dtype)
        is_slice = isinstance(index, slice)
        each = read_each(files, self._decode) if is_slice else map(self._decode, files)
        for i, example in enumerate(each):
            examples[i] = example
        return examples


class UnreadableError(Exception):
    """Raised at the first file that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder that are examples.

    Args:
      folder: Path.
      kind: as of `SUFFIXES`.
      files: list of Path, sorted.
      notes: list of str, on what was ignored.
    """

    folder: Path
    kind: str
    files: list
    notes: list


def scan(folder: Path, kind: str | None = None) -> Listing:
    """Lists the files of one kind that are not hidden, also behind symbolic links.

    A link to a folder above itself is not followed. Pipes, sockets and devices are ignored.

    Args:
      folder: Path.
      kind: as of `SUFFIXES`. Default: the first of which there is a file.

    Raises:
      InputError: if there are no such files, the folder or one below it cannot be read, has system
        files, or there are too many.
    """
    kind_of = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
    files, runs, others, special = {kind: [] for kind in SUFFIXES}, [], 0, 0
    for path, what in _walk(folder):
        if what == "run":
            runs.append(path.relative_to(folder).as_posix())
        elif what == "special":
            special += 1
        elif each := kind_of.get(path.suffix.lower()):
            files[each].append(path)
        else:
            others += 1
    kind = kind or next((kind for kind in files if files[kind]), "images")
    others += sum(len(files[other]) for other in files if other != kind)
    count = f"{others} other file{'s' * (others != 1)}"
    if not files[kind]:
        suffixes = [f"{kind} ({', '.join(s[1:] for s in some)})" for kind, some in SUFFIXES.items()]
        raise InputError(
            f"There are no {', no '.join(suffixes)} in this folder, but {count}. Received: {folder}"
        )
    notes = [f"{count} ignored"] if others else []
    if special:
        notes.append(f"{special} pipes, sockets or devices ignored")
    notes += [f"ignored, because it is a run: {run}" for run in sorted(runs)]
    return Listing(folder, kind, sorted(files[kind]), notes)


def _walk(folder):
    """Yields (Path, "file", "special" or "run") of what is in a folder; of a run, its folder."""
    system, entries = _system_devices(), 0
    pending = collections.deque([(folder, frozenset())])
    while pending:
        here, above = pending.popleft()
        try:
            status = here.stat()
            key = status.st_dev, status.st_ino
            if key in above:  # a link to a folder above it
                continue
            if status.st_dev in system:
                raise InputError(
                    f"This folder has system files, in {here}: use the folder of the data itself."
                    f" Received: {folder}"
                )
            with os.scandir(here) as scanned:
                for entry in scanned:
                    entries += 1
                    if entries > MAX_ENTRIES:
                        raise InputError(
                            f"This folder has more than {MAX_ENTRIES:,} files and folders: use the"
                            f" folder of the data itself. Received: {folder}"
                        )
                    if entry.name.startswith("."):
                        continue
                    what = _what(entry)
                    if what != "folder":
                        yield here / entry.name, what
                    elif Path(entry.path, _RUN_FILE).exists():
                        yield here / entry.name, "run"
                    else:
                        pending.append((here / entry.name, above | {key}))
        except OSError as error:
            if isinstance(error, PermissionError):
                message = "No permission to read this folder"
            else:
                message = f"Cannot read this folder ({error.strerror})"
            raise InputError(f"{message}. Received: {error.filename}") from None


def _what(entry):
    """Returns whether an os.DirEntry is a "file", a "folder" or "special"."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError:  # a broken link, or no permission: reported when it is read
        return "file"
    return "special"


def _system_devices():
    """Returns the numbers of the file systems of /proc, /sys and /dev, whose files are no data."""
    numbers = set()
    for system in ("/proc", "/sys", "/dev"):
        with contextlib.suppress(OSError):
            numbers.add(Path(system).stat().st_dev)
    with contextlib.suppress(OSError):
        numbers.discard(Path("/").stat().st_dev)
    return numbers


def name_splits(folder, places, kind):
    """Reads the splits that the first names of places say.

    Args:
      folder: Path, for errors.
      places: list of tuples of names, below the folder.
      kind: as of `SUFFIXES`, for errors.

    Returns:
      (the split of each place, the rest of each place, notes); all is train if no split is named.

    Raises:
      InputError: if there are other places beside those of splits.
    """
    tops = {place[0] if place else "" for place in places}
    split_of = {top: _SPLITS[top.lower()] for top in sorted(tops) if top.lower() in _SPLITS}
    named = {*split_of.values()}
    if len(named) < 2 or not ("train" in named or len(split_of) == len(tops)):
        return ["train"] * len(places), places, []
    if stray := sorted(tops - {*split_of}):
        raise InputError(
            f"Beside {', '.join(split_of)} there must be no other {kind}. "
            f"Received: {kind} in {folder.joinpath(stray[0])}"
        )
    where = "in" if kind == "texts" else "in the folder"  # texts may be in files of these names
    notes = ["splits: " + ", ".join(f"{split_of[top]} {where} {top}" for top in split_of)]
    return [split_of[place[0]] for place in places], [place[1:] for place in places], notes


def group(folder, files, kind):
    """Sorts files by split and class, and shuffles them.

    Returns:
      ({split: (Path [n] array, int32 [n] or None)}, class names, notes).
    """
    places = [file.relative_to(folder).parts[:-1] for file in files]
    wrapper, places = unwrap(places)
    notes = [f"all {kind} are in the subfolder {'/'.join(wrapper)}"] if wrapper else []
    splits, places, more = name_splits(folder.joinpath(*wrapper), places, kind)
    if more:
        _, places = unwrap(places)
    classes = [place[0] if place else None for place in places]
    class_names = sorted({*classes} - {None})
    if class_names and None in classes:
        flat, deep = (files[classes.index(name)].parent for name in (None, class_names[0]))
        raise InputError(
            f"{kind.capitalize()} must be either all in one folder per split, or all in one "
            f"subfolder per class. Received: {flat} with {kind} of its own and in "
            f"{deep.relative_to(folder)}"
        )
    number = {name: k for k, name in enumerate(class_names)}
    shuffled = sorted(range(len(files)), key=lambda i: _shuffling_key(folder, files[i]))
    groups = {}
    for split in (split for split in Splits._fields if split in splits):
        members = [i for i in shuffled if splits[i] == split]
        labels = np.array([number[classes[i]] for i in members], np.int32) if number else None
        groups[split] = np.array([files[i] for i in members], object), labels
    return groups, tuple(class_names), [*notes, *more]


def unwrap(places):
    """Returns (the names of the folders that all files are in, the rest of each place)."""
    shared = os.path.commonprefix(places)  # noqa: RUF071 (of tuples of names)
    return shared, [place[len(shared) :] for place in places]


def _shuffling_key(folder, file):
    """Returns a random key that depends on one file only: new files leave the others in order."""
    return hashlib.sha256(os.fsencode(file.relative_to(folder).as_posix())).digest()


def load(folder, grouped, spec, decode, before=(), after=(), size=None, binarize=False):
    """Makes the splits of the files of a folder, an example each.

    Args:
      folder: Path.
      grouped: as `group` returns.
      spec: zoo.Spec of an example.
      decode: function from a Path to an example, [*spec.shape], as of `Spec.store`.
      before: notes on the files, before those on the layout.
      after: notes on how the examples were changed.
      size: int or None, as in `load_dataset`.
      binarize: bool, as in `load_dataset`.

    Returns:
      Splits.

    Raises:
      UnreadableError: if a file is damaged.
    """
    groups, class_names, layout = grouped
    name = folder.resolve().name
    counts = {split: len(files) for split, (files, _) in groups.items()}

    def examples(source, index):
        files, labels = groups[source]
        labels = None if labels is None else labels[index]
        return FileExamples(files[index], decode, spec.shape, spec.stored_dtype), labels

    def read(source, index):
        unread, labels = examples(source, index)
        return unread[:], labels

    def stream(split, source, index, about):
        unread, labels = examples(source, index)
        streamed = ArraySplit(name, split, unread, spec, labels, **about)
        _ = streamed.fingerprint  # reads every file
        return streamed

    contents = Contents(
        name,
        str(folder),
        counts,
        spec,
        read,
        stream,
        {split: labels for split, (_, labels) in groups.items() if labels is not None},
        notes=(f"{sum(counts.values())} files in {folder}", *before, *layout, *after),
        condition=Spec((), len(class_names), "label", class_names) if class_names else None,
    )
    return assemble(contents, size, binarize)


def read_each(files, read):
    """Yields `read(file)` of each file, in order, read in threads."""
    with ThreadPoolExecutor() as pool:
        for i in range(0, len(files), 256):  # results that are ready early are held in memory
            try:
                yield from pool.map(read, files[i : i + 256])
            except Exception as error:  # readers raise anything on a damaged file
                raise UnreadableError from error


def reasons(files, read, damage):
    """Returns {file: reason} of the files that cannot be read.

    Args:
      files: list of Path.
      read: function of a Path, called in threads; raises anything on a file that cannot be read.
      damage: function of what it raised on an invalid content -> reason.
    """

    def reason(file):
        try:
            read(file)
        except Exception as error:
            match getattr(error, "errno", None):
                case None:
                    return damage(error)
                case errno.ENOENT | errno.ELOOP:
                    return "broken link"
                case errno.EACCES | errno.EPERM:
                    return "no permission"
                case _:
                    return error.strerror

    with ThreadPoolExecutor() as pool:
        pairs = zip(files, pool.map(reason, files), strict=True)
        return {file: why for file, why in pairs if why}


def leave_out(folder, files, kind, reasons):
    """Returns (the files that can be read, a note on the others).

    Args:
      folder: Path.
      files: list of Path.
      kind: as of `SUFFIXES`.
      reasons: {file: reason} of those that cannot be read.

    Raises:
      InputError: if none can be read.
    """
    if not reasons:
        return files, []
    if len(reasons) == len(files):
        raise InputError(f"No {kind[:-1]} in {folder} can be read: {_listed(folder, reasons)}")
    note = f"{len(reasons)} left out that cannot be read: {_listed(folder, reasons)}"
    return [file for file in files if file not in reasons], [note]


def damage(folder, kind, reasons):
    """Returns an InputError that names the files that cannot be read."""
    if not reasons:
        return InputError(f"Files changed while they were read: try again. Received: {folder}")
    one = len(reasons) == 1
    return InputError(
        f"{len(reasons)} {kind[: -1 if one else None]} in {folder} cannot be read. Fix or remove "
        f"{'it' if one else 'them'}, or add --skip-damaged (skip_damaged=True): "
        f"{_listed(folder, reasons)}"
    )


def _listed(folder, reasons):
    """Lists files by reason, a few of each, and writes a file of all where some are left out."""
    names_of, details = {}, []
    for file, why in reasons.items():
        names_of.setdefault(why, []).append(str(file.relative_to(folder)))
    for why, names in names_of.items():
        more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
        details.append(f"{why}: {', '.join(names[:_NAMED_FILES])}{more}")
    text = "; ".join(details)
    if any(len(names) > _NAMED_FILES for names in names_of.values()):
        with tempfile.NamedTemporaryFile(
            "w", prefix="zoo-unreadable-", suffix=".txt", delete=False, errors="surrogateescape"
        ) as file:
            file.writelines(f"{why}: {name}\n" for why, names in names_of.items() for name in names)
        text += f". All of them: {file.name}"
    return text
