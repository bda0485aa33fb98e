"""Hostile SavedModels are refused before TensorFlow reads them; those of zoo are not."""

import contextlib
import random
import re
import resource
import shutil
import time
from pathlib import Path

import pytest
from support import hostile
from support.shell import assert_refused, here
from tensorflow.core.protobuf import saved_model_pb2

import zoo
from zoo.errors import ArtefactError, InputError
from zoo.exports import inspection, pretrained

ROOT = Path(__file__).parents[2]
BASE = pretrained.bundled_folder() / "gan-mnist"
GRAPHS = sorted(
    [*ROOT.glob("saved_models/*/saved_model.pb"), *ROOT.glob("plugins/*/*/saved_models/*/*.pb")]
)
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def saved():
    return saved_model_pb2.SavedModel.FromString((BASE / "saved_model.pb").read_bytes())


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BASE, tmp_path / "model")


def refusal(folder, content=None):
    """Returns why a folder, with another graph and its checksum, is refused, or ""."""
    if content is not None:
        (folder / "saved_model.pb").write_bytes(content)
        hostile.seal(folder)
    try:
        inspection.check(folder)
    except ArtefactError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", hostile.PLACES, ids=lambda place: place.__name__)
def test_an_operation_that_is_not_allowed_is_refused_wherever_it_is(folder, saved, place):
    harmless = hostile.edited(saved, hostile.add_operation("Neg", place))
    assert refusal(folder, harmless) == ""
    for op in hostile.OPERATIONS:
        reason = refusal(folder, hostile.edited(saved, hostile.add_operation(op, place)))
        assert re.search(rf"the operation '?{op}'?.*, in the node 'added' of ", reason), op
        assert "\n" not in reason


@pytest.mark.parametrize("name", hostile.STRUCTURES)
def test_a_hostile_graph_is_refused(folder, saved, name):
    edit, expected = hostile.STRUCTURES[name]
    assert re.search(expected, refusal(folder, hostile.edited(saved, edit)))


def test_bytes_that_belong_to_no_field_are_refused(folder):
    content = (BASE / "saved_model.pb").read_bytes()
    assert "the field 15 of SavedModel" in refusal(folder, content + b"\x78\x01")
    assert "unknown fields of 200,000 bytes" in refusal(folder, content + b"\x78\x01" * 100_000)
    assert "a field twice" in refusal(folder, b"\x08\x01" + content)
    assert "no protocol buffer" in refusal(folder, content[:-1])


def test_nesting_and_size_are_bounded(folder):
    value = b""
    for _ in range(5000):  # StructuredValue.list_value.values
        value = b"\x9a\x03" + _length(b"\x0a" + _length(value))
    function = b"\x0a\x01x\x12" + _length(b"\x1a" + _length(value))
    objects = b"\x3a" + _length(b"\x12" + _length(function))
    assert "no protocol buffer" in refusal(folder, b"\x12" + _length(objects))
    functions = b"\x12" + _length(b"\x0a\x00" * 60_000)
    graph = b"\x12" + _length(b"\x12" + _length(functions))
    assert "more than 50,000 functions" in refusal(folder, graph)
    with (folder / "saved_model.pb").open("wb") as file:
        file.truncate(2 * inspection.MAX_BYTES)
    hostile.seal(folder)
    assert "bytes, the most that zoo reads" in refusal(folder)


def _length(content):
    size, prefix = len(content), b""
    while size > 127:
        prefix += bytes([size & 127 | 128])
        size >>= 7
    return prefix + bytes([size]) + content


@pytest.mark.parametrize("name", hostile.FOLDERS)
def test_a_hostile_folder_is_refused(folder, name):
    edit, expected = hostile.FOLDERS[name]
    edit(folder)
    assert re.search(expected, refusal(folder))


def test_the_corpus_is_large():
    count = len(hostile.OPERATIONS) * len(hostile.PLACES)
    assert count + len(hostile.STRUCTURES) + len(hostile.FOLDERS) >= 400


def test_hidden_files_of_the_system_are_ignored(folder):
    (folder / ".DS_Store").touch()
    assert refusal(folder) == ""


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.parent.name)
def test_no_export_of_zoo_is_refused(path):
    assert inspection.check(path.parent)["files"]


def test_the_graph_runs_only_if_it_is_trusted(folder, saved, tmp_path, monkeypatch):
    target = tmp_path / "written.txt"

    def write_file(saved):
        graph = saved.meta_graphs[0]
        function = hostile.endpoint(graph)
        for name, text in (("path", str(target)), ("text", "x")):
            node = function.node_def.add(name=name, op="Const")
            node.attr["dtype"].type = 7
            node.attr["value"].tensor.dtype = 7
            node.attr["value"].tensor.tensor_shape.SetInParent()
            node.attr["value"].tensor.string_val.append(text.encode())
        inputs = ["path:output:0", "text:output:0"]
        function.node_def.add(name="write", op="WriteFile", input=inputs)
        function.control_ret["write"] = "write"
        function.signature.control_output.append("write")

    (folder / "saved_model.pb").write_bytes(hostile.edited(saved, write_file))
    hostile.seal(folder)
    sha256 = inspection.inspect(folder / "saved_model.pb").sha256
    for verb in ("sample", "evaluate", "verify", "inspect"):
        refused = here(verb, folder, cwd=tmp_path)
        assert_refused(refused, 3, f"{folder}/saved_model.pb is refused", "'WriteFile'")
    with pytest.raises(ArtefactError, match=f"add: trust='{sha256}'"):
        zoo.load(folder, trust="0" * 64)
    with pytest.raises(InputError, match="trust must be a sha256"):
        zoo.load(folder, trust="yes")
    assert not target.exists()
    assert zoo.load(folder, trust=sha256).sample(2, seed=0).shape == (2, 28, 28, 1)
    assert target.read_text() == "x"  # so the attack is a real one
    (folder / "golden.npz").write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"golden\.npz is damaged"):
        zoo.load(folder, trust=sha256)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files_end_in_a_refusal_or_an_inspection(folder, count):
    rng = random.Random(0)
    graph, card = folder / "saved_model.pb", folder / "card.json"
    contents = {path: path.read_bytes() for path in (graph, card)}
    memory, longest = _memory(), 0.0
    for k in range(count):
        path = graph if k % 2 else card
        path.write_bytes(_mutated(contents[path], rng))
        start = time.monotonic()
        if path == graph:
            inspection.inspect(graph)
        refusal(folder)
        longest = max(longest, time.monotonic() - start)
        path.write_bytes(contents[path])
    assert longest < 5.0
    assert _memory() - memory < 200 * MEGABYTE


def test_weights_with_valid_checksums_are_refused_if_they_cannot_be_read(folder):
    index = folder / "variables/variables.index"
    content, rng = index.read_bytes(), random.Random(0)
    for _ in range(4):
        index.write_bytes(_mutated(content, rng))
        hostile.seal(folder, "variables/variables.index")
        with contextlib.suppress(ArtefactError):  # a change may be one that does not matter
            zoo.restore(folder)
    for wrong in (b"", b"x" * 1000, content[: len(content) // 2]):
        index.write_bytes(wrong)
        hostile.seal(folder, "variables/variables.index")
        with pytest.raises(ArtefactError, match="variables cannot be read as a checkpoint: "):
            zoo.restore(folder)


def _memory():
    """Returns the largest memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mutated(content, rng):
    """Returns bytes of which a few are changed, removed, repeated or added."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at, size = rng.randrange(len(content)), rng.choice([1, 1, 4, 64])
        match rng.randrange(5):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.choice([0, 1, 127, 128, 255])
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = content[at : at + size]
            case 4:
                content[at:at] = rng.randbytes(size)
        content = content or bytearray(b"\0")
    return bytes(content)
