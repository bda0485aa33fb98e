"""What is accepted in a SavedModel, and `zoo inspect`."""

import ast
import importlib.util
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from support.shell import assert_refused, here
from support.toys import Pixels, make

import zoo
from zoo.errors import ArtefactError
from zoo.exports import inspection, pretrained

ROOT = Path(__file__).parents[2]
TOUCH_MORE_THAN_TENSORS = (
    "File|Reader|Dataset|PyFunc|ImmutableConst|Table|Summary|Rpc|Remote|Debug|Print|Send|Recv"
    "|Collective|Restore|Save|Shard|Checkpoint|Iterator|Asset|Decode|Xla|TPU|Custom|Server|Symbolic"
)


@pytest.fixture(scope="module")
def allow_list():
    """The script that writes what is accepted."""
    spec = importlib.util.spec_from_file_location("allow_list", ROOT / "benchmarks/allow_list.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_is_what_its_script_makes_of_tensorflow(allow_list):
    assert allow_list.schema() == allow_list.SCHEMA.read_bytes()


def test_the_operations_are_those_of_the_pretrained_models_and_more(allow_list):
    used = {
        name for path in allow_list.saved_models() for name in inspection.inspect(path).operations
    }
    assert used - inspection.SAVER < inspection.allowed()


def test_the_operations_touch_tensors_alone():
    for name in inspection.allowed():
        assert hasattr(tf.raw_ops, name), name
        assert name == "ShardedFilename" or not re.search(TOUCH_MORE_THAN_TENSORS, name), name


class Inverse(Pixels):
    """A model with an operation that no model of zoo has."""

    def sample(self, num_samples, seed, condition=None, first=0):
        return tf.cast(tf.math.bessel_i0e(super().sample(num_samples, seed)) > 0.7, tf.float32)


def test_an_author_learns_at_once_of_an_operation_that_is_refused(
    tmp_path, no_clean_process, caplog
):
    with caplog.at_level(logging.WARNING, "zoo"):
        folder = zoo.export(make(Inverse, (8, 8, 1)), tmp_path / "exported")
    [message] = caplog.messages
    assert "SavedModel of Inverse loads only with --trust SHA256 (trust=…)" in message
    assert "the operation 'BesselI0e', in the node " in message
    with pytest.raises(ArtefactError, match="is refused: it has the operation 'BesselI0e'"):
        zoo.load(folder)
    sha256 = inspection.inspect(folder / "saved_model.pb").sha256
    assert zoo.load(folder, trust=sha256).sample(2, seed=0).shape == (2, 8, 8, 1)


@pytest.mark.parametrize("half", [False, True])
def test_what_is_exported_now_is_accepted(tmp_path, no_clean_process, caplog, half):
    model = make(Pixels, (8, 8, 1), num_classes=3)
    path = zoo.export(model, tmp_path / "exported", half=half)
    assert not caplog.messages
    result = inspection.inspect(path / "saved_model.pb")
    assert result.findings == []
    assert result.weights >= 3 * 64
    assert result.signatures["sample"]["outputs"] == {"output_0": "float32 [n, 8, 8, 1]"}


def test_inspect_imports_no_tensorflow():
    program = (
        "import sys; from zoo.commands import main\n"
        "try: main(['inspect', 'gan'])\n"
        "finally: print({'tensorflow', 'keras', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("\naccepted\nset()\n")


def test_inspect_shows_what_a_file_contains(tmp_path):
    folder = pretrained.bundled_folder() / "gan-mnist"
    text = here("inspect", folder).stdout
    assert re.search(
        r"sample +first: int32 \[\], num_samples: int32 \[\], seed: int32 \[2\] ", text
    )
    fields = json.loads(here("inspect", folder / "saved_model.pb", "--json").stdout)
    assert fields["accepted"]
    assert fields["findings"] == []
    assert fields["bytes"] == (folder / "saved_model.pb").stat().st_size
    assert fields["operations"]["MatMul"] == 3
    assert fields["tensorflow"].startswith("2.")
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert_refused(here("inspect", tmp_path), 3, "card.json cannot be read")
    assert_refused(here("inspect", tmp_path / "saved_model.pb"), 3, "no protocol buffer")


UNSAFE = {  # modules and functions that make code or objects of data
    *("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("eval", "exec", "__import__", "yaml.load", "torch.load"),
    "keras.config.enable_unsafe_deserialization",
}
ALLOWED = {  # of files that the same function has written, or that were inspected
    "keras.models.load_model": {"testing.py"},
    "tf.saved_model.load": {"clean_process.py", "features.py", "saved_model.py"},
}


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/*/zoo_*/*.py")],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_nothing_makes_code_of_data(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names, given = set(), {}
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
        elif isinstance(node, ast.Call):
            names = {ast.unparse(node.func)}
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert not names & UNSAFE, node.lineno
        assert given.get("allow_pickle", "False") == "False", node.lineno
        assert given.get("safe_mode", "True") == "True", node.lineno
        for name in names & ALLOWED.keys():
            assert path.name in ALLOWED[name], node.lineno
