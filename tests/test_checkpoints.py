"""The commit protocol: whole or absent, verified, on the disk before it is announced."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shell import flip

from zoo import checkpoints
from zoo.errors import ArtefactError

FILES = {"weights": b"0123456789", "deep/er/slots": b"abc"}


def write(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def commit(folder, record=None):
    checkpoints.commit(folder, write, record or {"step": 3})
    return folder


def test_what_was_committed_is_there_whole(tmp_path):
    folder = commit(tmp_path / "parent" / "step-1", {"step": 3, "logs": {"loss": 0.5}})
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
    record = checkpoints.verify(folder)
    assert (record["step"], record["logs"]) == (3, {"loss": 0.5})
    assert record["files"].keys() == FILES.keys()
    assert [p.name for p in folder.parent.iterdir()] == ["step-1"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_commit_that_fails_leaves_nothing(tmp_path, error):
    def fail(path):
        write(path)
        raise error

    with pytest.raises(type(error)):
        checkpoints.commit(tmp_path / "step-1", fail, {})
    assert not [*tmp_path.iterdir()]


def test_a_commit_onto_another_changes_neither_and_leaves_nothing(tmp_path):
    folder = commit(tmp_path / "step-1")
    with pytest.raises(OSError, match="step-1"):
        checkpoints.commit(folder, lambda path: write(path, {"other": b"x"}), {"step": 4})
    assert checkpoints.verify(folder)["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["step-1"]


def test_a_commit_moves_aside_what_has_lost_its_seal(tmp_path):
    for step in (1, 2):
        folder = commit(tmp_path / "step-1", {"step": step})
        (folder / "manifest.json").unlink()
        (folder / "weights").write_text(f"of {step}")
    assert checkpoints.sealed(tmp_path) == []
    commit(folder, {"step": 3})
    assert checkpoints.verify(folder)["step"] == 3
    assert {p.name for p in tmp_path.iterdir()} == {"step-1", ".damaged-step-1"}
    assert (tmp_path / ".damaged-step-1" / "weights").read_text() == "of 2"


def test_the_remains_of_a_killed_commit_are_no_checkpoint_and_are_cleared(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from zoo import checkpoints\n"
        "def write(path):\n"
        "    (path / 'weights').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"checkpoints.commit(Path({str(tmp_path)!r}) / 'step-2', write, {{}})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len([*tmp_path.iterdir()]) == 1
    assert checkpoints.sealed(tmp_path) == []
    commit(tmp_path / "step-2")
    checkpoints.prune(tmp_path, {"step-2"})
    assert [p.name for p in tmp_path.iterdir()] == ["step-2"]


def test_all_is_on_the_disk_before_it_is_in_place(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, Path.rename

    def record_fsync(descriptor):
        done.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def record_rename(path, target):
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "rename", record_rename)
    folder = commit(tmp_path / "step-1")
    renamed = done.index("rename")
    assert set(done[:renamed]) == {path.stat().st_ino for path in (folder, *folder.rglob("*"))}
    assert done[renamed + 1 :] == [tmp_path.stat().st_ino]
    done.clear()
    commit(tmp_path / "new" / "step-1")
    assert done[0] == tmp_path.stat().st_ino  # which lists the new parent


@pytest.mark.parametrize("name", FILES)
def test_verify_names_the_file_that_is_damaged_or_missing(tmp_path, name):
    folder = commit(tmp_path / "step-1")
    flip(folder / name)
    with pytest.raises(ArtefactError, match=f"{folder / name} is damaged"):
        checkpoints.verify(folder)
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{folder / name} is missing"):
        checkpoints.verify(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"step": 3}', '{"files": 3}', "\xff"])
def test_a_damaged_seal_is_named(tmp_path, text):
    folder = commit(tmp_path / "step-1")
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtefactError, match=r"manifest\.json is damaged"):
        checkpoints.verify(folder)


def test_a_folder_without_a_seal_is_none(tmp_path):
    write(tmp_path / "step-1")
    with pytest.raises(ArtefactError, match="Expected manifest"):
        checkpoints.verify(tmp_path / "step-1")
    assert checkpoints.sealed(tmp_path) == []
    assert checkpoints.sealed(tmp_path / "nowhere") == []


def test_the_first_good_one_is_used_and_bad_ones_before_it_are_moved_aside(tmp_path):
    names = ["step-1", "step-2", "step-3", "step-4"]
    for name in names:
        commit(tmp_path / name, {"step": int(name[-1])})
    flip(tmp_path / "step-1" / "weights")
    flip(tmp_path / "step-3" / "weights")
    (tmp_path / "step-4" / "weights").unlink()
    said = []
    folder, record = checkpoints.first_good(tmp_path, names[::-1], said.append)
    assert (folder, record["step"]) == (tmp_path / "step-2", 2)
    assert len(said) == 2
    assert "step-4/weights is missing" in said[0]
    assert "step-3/weights is damaged" in said[1]
    assert f"Moved the folder to {tmp_path / '.damaged-step-3'}" in said[1]
    assert (tmp_path / ".damaged-step-3" / "weights").exists()
    # One that was never looked at stays: who asks for it will hear of it.
    assert checkpoints.sealed(tmp_path) == ["step-1", "step-2"]


def test_where_none_is_good_there_is_none(tmp_path):
    assert checkpoints.first_good(tmp_path, []) == (None, None)
    flip(commit(tmp_path / "step-1") / "weights")
    assert checkpoints.first_good(tmp_path, ["step-1"]) == (None, None)


def test_prune_keeps_what_is_wanted_and_what_was_moved_aside(tmp_path):
    for k in range(4):
        commit(tmp_path / f"step-{k}")
    flip(tmp_path / "step-3" / "weights")
    checkpoints.first_good(tmp_path, ["step-3", "step-2"])
    (tmp_path / ".tmp-torn").mkdir()
    (tmp_path / ".tmp-file").write_text("")
    checkpoints.prune(tmp_path, {"step-0", "step-2"})
    assert {p.name for p in tmp_path.iterdir()} == {"step-0", "step-2", ".damaged-step-3"}


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run.json"
    checkpoints.write_json(path, {"a": [1, 2]})
    checkpoints.write_json(path, {"a": [3]})
    assert json.loads(path.read_text()) == {"a": [3]}
    with pytest.raises(TypeError):
        checkpoints.write_json(path, {"a": {1, 2}})
    with pytest.raises(ValueError, match="nan"):
        checkpoints.write_json(path, {"a": float("nan")})
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        checkpoints.write_json(target, {})
    assert json.loads(path.read_text()) == {"a": [3]}
    assert {p.name for p in tmp_path.iterdir()} == {"run.json", "folder"}
