"""The commit protocol: whole or absent, verified, on the disk before it is announced."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.shell import TRAIN, flip, here, write_data

import zoo
from zoo import storage
from zoo.errors import ArtefactError, InputError

FILES = {"weights": b"0123456789", "deep/er/slots": b"abc"}


def write(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def commit(folder, record=None):
    storage.commit(folder, write, record or {"step": 3})
    return folder


def test_what_was_committed_is_there_whole(tmp_path):
    folder = commit(tmp_path / "parent" / "step-1", {"step": 3, "logs": {"loss": 0.5}})
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
    record = storage.verify(folder)
    assert (record["step"], record["logs"]) == (3, {"loss": 0.5})
    assert record["files"].keys() == {*FILES, "manifest.json"}
    assert [p.name for p in folder.parent.iterdir()] == ["step-1"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_commit_that_fails_leaves_nothing(tmp_path, error):
    def fail(path):
        write(path)
        raise error

    with pytest.raises(type(error)):
        storage.commit(tmp_path / "step-1", fail, {})
    assert not [*tmp_path.iterdir()]


def test_a_commit_onto_another_changes_neither_and_leaves_nothing(tmp_path):
    folder = commit(tmp_path / "step-1")
    with pytest.raises(OSError, match="step-1"):
        storage.commit(folder, lambda path: write(path, {"other": b"x"}), {"step": 4})
    assert storage.verify(folder)["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["step-1"]


def test_a_commit_moves_aside_what_has_lost_its_seal(tmp_path):
    for step in (1, 2):
        folder = commit(tmp_path / "step-1", {"step": step})
        (folder / "manifest.json").unlink()
        (folder / "weights").write_text(f"of {step}")
    assert storage.sealed(tmp_path) == []
    commit(folder, {"step": 3})
    assert storage.verify(folder)["step"] == 3
    assert {p.name for p in tmp_path.iterdir()} == {"step-1", ".damaged-step-1"}
    assert (tmp_path / ".damaged-step-1" / "weights").read_text() == "of 2"


def test_the_remains_of_a_killed_commit_are_no_checkpoint_and_are_cleared(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from zoo import storage\n"
        "def write(path):\n"
        "    (path / 'weights').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"storage.commit(Path({str(tmp_path)!r}) / 'step-2', write, {{}})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len([*tmp_path.iterdir()]) == 1
    assert storage.sealed(tmp_path) == []
    commit(tmp_path / "step-2")
    storage.prune(tmp_path, {"step-2"})
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
        storage.verify(folder)
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{folder / name} is missing"):
        storage.verify(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"step": 3}', '{"files": 3}', "\xff"])
def test_a_damaged_seal_is_named(tmp_path, text):
    folder = commit(tmp_path / "step-1")
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtefactError, match=r"manifest\.json is damaged"):
        storage.verify(folder)


def test_a_folder_without_a_seal_is_none(tmp_path):
    write(tmp_path / "step-1")
    with pytest.raises(ArtefactError, match=r"step-1 has no manifest\.json"):
        storage.verify(tmp_path / "step-1")
    assert storage.sealed(tmp_path) == []
    assert storage.sealed(tmp_path / "nowhere") == []


def test_the_first_good_one_is_used_and_bad_ones_before_it_are_moved_aside(tmp_path):
    names = ["step-1", "step-2", "step-3", "step-4"]
    for name in names:
        commit(tmp_path / name, {"step": int(name[-1])})
    flip(tmp_path / "step-1" / "weights")
    flip(tmp_path / "step-3" / "weights")
    (tmp_path / "step-4" / "weights").unlink()
    messages = []
    folder, record = storage.first_good(tmp_path, names[::-1], messages.append)
    assert (folder, record["step"]) == (tmp_path / "step-2", 2)
    assert len(messages) == 2
    assert "step-4/weights is missing" in messages[0]
    assert "step-3/weights is damaged" in messages[1]
    assert f"Moved the folder to {tmp_path / '.damaged-step-3'}" in messages[1]
    assert (tmp_path / ".damaged-step-3" / "weights").exists()
    # One that was never looked at stays: who asks for it will hear of it.
    assert storage.sealed(tmp_path) == ["step-1", "step-2"]


def test_where_none_is_good_there_is_none(tmp_path):
    assert storage.first_good(tmp_path, []) == (None, None)
    flip(commit(tmp_path / "step-1") / "weights")
    assert storage.first_good(tmp_path, ["step-1"]) == (None, None)


def test_prune_keeps_what_is_wanted_and_what_was_moved_aside(tmp_path):
    for k in range(4):
        commit(tmp_path / f"step-{k}")
    flip(tmp_path / "step-3" / "weights")
    storage.first_good(tmp_path, ["step-3", "step-2"])
    (tmp_path / ".tmp-torn").mkdir()
    (tmp_path / ".tmp-file").write_text("")
    storage.prune(tmp_path, {"step-0", "step-2"})
    assert {p.name for p in tmp_path.iterdir()} == {"step-0", "step-2", ".damaged-step-3"}


def test_json_has_one_line_per_list_of_integers(tmp_path):
    value = {"shape": [28, -1, 1], "empty": [], "text": "[\n 1,\n 2\n]", "parts": [0.5, 2, [3, 4]]}
    storage.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert ' "shape": [28, -1, 1],\n' in text
    assert "[3, 4]\n" in text
    assert json.loads(text) == value


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run.json"
    storage.write_json(path, {"a": [1, 2]})
    storage.write_json(path, {"a": [3]})
    assert json.loads(path.read_text()) == {"a": [3]}
    with pytest.raises(TypeError):
        storage.write_json(path, {"a": {1, 2}})
    with pytest.raises(ValueError, match="nan"):
        storage.write_json(path, {"a": float("nan")})
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        storage.write_json(target, {})
    assert json.loads(path.read_text()) == {"a": [3]}
    assert {p.name for p in tmp_path.iterdir()} == {"run.json", "folder"}


PATTERN = "a[b]c\\d"  # TensorFlow would read it as "abcd"


def test_a_path_that_tensorflow_reads_as_a_pattern_is_read_through_a_link(tmp_path):
    with storage.literal_path(tmp_path) as path:
        assert path == tmp_path
    folder = tmp_path / PATTERN
    folder.mkdir()
    (folder / "file").write_text("content")
    with storage.literal_path(folder) as path:
        assert not {"[", "]", "\\"} & {*str(path)}
        assert (path / "file").read_text() == "content"
    assert not path.parent.exists()
    assert (folder / "file").read_text() == "content"


@pytest.mark.parametrize("parent", ["/tmp", None])
def test_a_temporary_directory_that_is_a_pattern_is_not_used(tmp_path, monkeypatch, parent):
    folder = tmp_path / PATTERN
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    if parent is None:
        monkeypatch.setattr(Path, "symlink_to", fail)
        with pytest.raises(
            InputError, match=r"cannot read a path with .*No links.*: choose another"
        ):
            storage.literal_path(folder).__enter__()
        assert not [*folder.iterdir()]
        return
    with storage.literal_path(folder) as path:
        assert path.resolve() == folder
        assert path.parents[1] == Path(parent)


def fail(*arguments, **options):
    raise OSError("No links")


def test_a_run_works_in_a_path_that_tensorflow_reads_as_a_pattern(tmp_path, monkeypatch):
    cwd = tmp_path / PATTERN
    cwd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(cwd))
    write_data(cwd)
    arguments = [*TRAIN[:-1], "1", "--run", "run[1]"]
    assert here(*arguments, cwd=cwd).stderr == ""
    assert here("train", "--resume", "run[1]", "--epochs", "2", cwd=cwd).stderr == ""
    assert here("sample", "./run[1]", cwd=cwd).stderr == ""
    assert here("export", "run[1]", "x[1]", "--half", cwd=cwd).stderr == ""
    run = cwd / "run[1]"
    assert int(zoo.restore(run).step) == zoo.load(cwd / "x[1]").card["step"]
    assert {p.name for p in run.iterdir() if p.name[0] == "."} <= {".lock"}
