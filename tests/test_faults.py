"""Kills and errors at every change of the disk, damage at every byte: nothing is lost.

docs/concepts/reliability.md says what is promised, and has the figures of the slow tests.
"""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.artefacts import ARTEFACTS, NEW, Card, Checkpoint, Record, fill
from support.faults import Faults, Killed, changes
from support.shell import TESTS

from zoo import storage
from zoo.errors import ArtefactError, InputError
from zoo.runs.folder import new_run

ERRORS = (errno.ENOSPC, errno.EIO)


@pytest.fixture(params=ARTEFACTS, ids=lambda artefact: artefact.__name__.lower())
def artefact(request):
    return request.param()


def places(artefact, folder):
    """Yields (index of a change of the disk, a new folder in which it is to happen)."""
    template = folder / "template"
    template.mkdir()
    changes(lambda: artefact.prepare(template))
    shutil.copytree(template, folder / "counted")
    calls = changes(lambda: artefact.save(folder / "counted"))
    artefact.check(folder / "counted", saved=True)
    assert {name for name, _ in calls} >= {"open", "write"}
    for k in range(len(calls)):
        yield k, Path(shutil.copytree(template, folder / f"{k}"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # who is killed closes nothing
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_kill_at_any_change_of_the_disk_loses_nothing(artefact, tmp_path):
    for k, folder in places(artefact, tmp_path):
        with Faults(k), pytest.raises(Killed):
            artefact.save(folder)
        artefact.check(folder, saved=False)


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_an_error_at_any_change_of_the_disk_loses_nothing_and_is_reported(artefact, tmp_path, code):
    for k, folder in places(artefact, tmp_path):
        reported = None
        try:
            with Faults(k, code):
                artefact.save(folder)
        except (OSError, InputError) as error:
            reported = error
        # What is only cleaned up afterwards may fail silently.
        artefact.check(folder, saved=reported is None)
        if reported is not None:  # in one sentence of the command line: the file and the reason
            assert os.strerror(code) in str(reported)
            assert isinstance(reported, InputError) or reported.filename is not None


@pytest.mark.parametrize(
    ("artefact", "place"),
    [(Checkpoint(), "step-3"), (Record(), "run.json"), (Card(), "card.json")],
    ids=["checkpoint", "record", "card"],
)
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(
    artefact, place, tmp_path
):
    artefact.prepare(tmp_path)
    calls = changes(lambda: artefact.save(tmp_path))
    names = [name for name, _ in calls]
    if place == "step-3":
        names = names[: next(k for k, (_, path) in enumerate(calls) if "/step-1" in str(path))]
    rename = max(k for k, name in enumerate(names) if name in ("rename", "replace"))
    last_write = max(k for k, name in enumerate(names) if name == "write")
    assert "fsync" in names[last_write:rename]
    assert "fsync" in names[rename:]


def sealed_folder(folder):
    def write(path):
        (path / "variables").write_bytes(bytes(range(200)))
        (path / "deep").mkdir()
        (path / "deep" / "slots").write_bytes(b"0123456789")

    record = {"step": 640, "logs": {"loss": 0.25, "val_loss": 1.5e-3}, "name": "Fréchet"}
    storage.commit(folder, write, record)
    return folder


def undetected(folder, number, seed):
    """Changes one byte of any file of a folder, `number` times; returns those that nobody saw."""
    rng = np.random.default_rng(seed)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    places = [(path, k) for path in files for k in range(len(contents[path]))]
    missed = []
    for i in rng.integers(len(places), size=number):
        path, k = places[i]
        damaged = bytearray(contents[path])
        damaged[k] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            storage.verify(folder)
        except ArtefactError:
            pass
        else:
            missed.append((path.name, k, damaged[k]))
        path.write_bytes(contents[path])
    storage.verify(folder)
    return missed


def test_every_damaged_byte_is_detected(tmp_path):
    assert undetected(sealed_folder(tmp_path / "step-1"), 300, seed=0) == []


@pytest.mark.slow
def test_every_one_of_ten_thousand_damaged_bytes_is_detected(tmp_path):
    assert undetected(sealed_folder(tmp_path / "step-1"), 10_000, seed=1) == []


def test_a_seal_without_a_sha256_of_its_own_is_read(tmp_path):
    folder = sealed_folder(tmp_path / "step-1")
    record = storage.verify(folder)
    del record["files"]["manifest.json"]
    (folder / "manifest.json").write_text(json.dumps(record))
    assert storage.verify(folder)["step"] == 640
    digest = storage.digest(folder)
    storage.write_seal(folder, {**record, "step": 641})
    assert storage.verify(folder)["step"] == 641
    assert storage.digest(folder) == digest  # of what it seals


def test_two_writers_leave_what_one_of_them_wrote(tmp_path):
    path, values, errors = tmp_path / "card.json", [{"a": "x" * 5000}, {"b": "y" * 7000}], []
    storage.write_json(path, values[0])

    def work(value):
        try:
            for _ in range(50):
                storage.write_json(path, value)
                assert json.loads(path.read_text()) in values
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_a_clock_that_is_set_back_changes_no_order(tmp_path, monkeypatch):
    first = new_run("vae", "mnist", tmp_path)
    for step, time in ((1, 2_000_000_000), (2, 1_000_000_000), (3, 0)):
        folder = first.checkpoints_path / f"step-{step:08}"
        storage.commit(folder, fill(NEW), {"step": step, "logs": {}})
        os.utime(folder, (time, time))
    assert [checkpoint.step for checkpoint in first.checkpoints] == [3, 2, 1]
    assert first.best.step == 3
    monkeypatch.setattr("time.strftime", lambda pattern: first.folder.name[:15])
    assert new_run("vae", "mnist", tmp_path).folder.name == f"{first.folder.name}-2"


PROGRAM = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support import artefacts
artefact, folder = artefacts.{name}(), Path({folder!r})
os.access("/{begin}", os.F_OK)
artefact.save(folder)
os.access("/{end}", os.F_OK)
"""
BEGIN, END = "the-save-begins", "the-save-ends"


def traced(tmp_path, folder, artefact, *options):
    """Runs the save of an artefact in a process of its own below strace; returns the trace."""
    name, trace = type(artefact).__name__, tmp_path / "trace"
    program = PROGRAM.format(tests=str(TESTS), name=name, folder=str(folder), begin=BEGIN, end=END)
    subprocess.run(
        ["strace", "-qq", "-o", trace, *options, sys.executable, "-c", program],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
    )
    return trace.read_text()


def system_calls(trace):
    """Yields (name, how often it was called before and now) of each call between the marks."""
    counts, saving = Counter(), False
    for line in trace.splitlines():
        if not (match := re.match(r"(\w+)\(", line)):
            continue
        counts[match[1]] += 1
        if END in line:
            return
        if saving:
            yield match[1], counts[match[1]]
        saving = saving or BEGIN in line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("kind", ARTEFACTS[:-1], ids=lambda kind: kind.__name__.lower())
def test_a_process_that_is_killed_at_any_system_call_loses_nothing(kind, tmp_path):
    artefact = kind()
    template = tmp_path / "template"
    template.mkdir()
    artefact.prepare(template)
    shutil.copytree(template, tmp_path / "counted")
    calls = [*system_calls(traced(tmp_path, tmp_path / "counted", artefact))]
    artefact.check(tmp_path / "counted", saved=True)
    assert {name for name, _ in calls} >= {"openat", "write", "fsync"}
    killed = 0
    for k, (name, count) in enumerate(calls):
        folder = Path(shutil.copytree(template, tmp_path / f"{k}"))
        inject = f"inject={name}:signal=KILL:when={count}"
        killed += "+++ killed by SIGKILL" in traced(tmp_path, folder, artefact, "-e", inject)
        artefact.check(folder, saved=False)
    print(f"{kind.__name__}: killed at {killed} of {len(calls)} system calls, 0 lost")
    assert killed >= 0.9 * len(calls)  # the others come too late, after a call that varies
