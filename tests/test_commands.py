import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from zoo.commands import VERBS, main

ROOT = Path(__file__).parent.parent
HEAVY = ("tensorflow", "keras", "numpy", "tensorflow_probability", "rich", "PIL")


def python(*arguments, path=None, **environment):
    """Runs a fresh Python process; `path` goes before everything on its path."""
    environment = {**os.environ, **environment}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), *sys.path])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )


def zoo(*arguments, code="", **settings):
    return python("-c", f"{code}\nfrom zoo.commands import main\nmain()", *arguments, **settings)


def install(folder, package, module, text):
    """Puts a distribution with one model on the path as pip would."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(f"[zoo.models]\n{module} = {module}:Model\n")
    (folder / f"{module}.py").write_text(text)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("list",), *((verb, "--help") for verb in VERBS)]
)
def test_nothing_heavy_is_imported(arguments):
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy', [m for m in {HEAVY} if m in sys.modules]))"
    )
    result = zoo(*arguments, code=code)
    assert result.stdout.endswith("heavy []\n")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_api_is_lazy():
    result = python(
        "-c",
        "import sys, zoo\n"
        "assert {'create', 'train', 'load', 'export', 'random', '__version__'} <= set(dir(zoo))\n"
        "assert 'vae' in zoo.list_models()\n"
        f"print([m for m in {HEAVY} if m in sys.modules])\n"
        "print(zoo.__version__)\n"
        "zoo.nothing",
    )
    assert result.stdout.splitlines()[0] == "[]"
    assert result.stdout.splitlines()[1] in zoo("--version").stdout
    assert "module 'zoo' has no attribute 'nothing'" in result.stderr


def test_every_name_of_the_api_is_there():
    result = python("-c", "from zoo import *; print(create, testing)")
    assert result.returncode == 0, result.stderr


def test_help_lists_the_verbs_in_their_order():
    lines = zoo("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == [*VERBS]
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("lst",), 2, "Did you mean 'list'?"),
        (("list", "--jsn"), 2, "Did you mean '--json'?"),
        (("list", "--jsn"), 2, "zoo list --help"),
        (("info",), 2, "NAME"),
        (("info", "vea"), 2, "Error: No model is named 'vea'. Did you mean vae?"),
        (("info", "./none.py:Model"), 2, "There is no file"),
    ],
)
def test_wrong_use(arguments, code, message):
    result = zoo(*arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_list():
    result = zoo("list")
    assert result.stdout.split()[:2] == ["NAME", "FAMILY"]
    assert "keras-genzoo" in result.stdout
    rows = json.loads(zoo("list", "--json").stdout)
    vae = next(row for row in rows if row["name"] == "vae")
    assert vae["problem"] is None
    assert isinstance(vae["pretrained"], list)


def test_hostile_plugins_do_not_disturb_the_list(tmp_path):
    install(tmp_path, "zoo_exit", "exits", "ZOO_API = 1\nraise SystemExit(9)")
    install(tmp_path, "zoo_sleep", "sleeps", "ZOO_API = 1\nimport time\ntime.sleep(1000)")
    install(tmp_path, "zoo_print", "prints", "ZOO_API = 1\nprint('roar')")
    install(tmp_path, "zoo_new", "future", "ZOO_API = 99")
    (tmp_path / "corrupt-1.0.dist-info").mkdir()
    (tmp_path / "corrupt-1.0.dist-info" / "entry_points.txt").write_bytes(b"[[\xff\x00\n=\n")
    result = zoo("list", path=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "roar" not in result.stdout
    assert {"exits", "sleeps", "prints", "future", "vae"} <= set(result.stdout.split())
    assert "Cannot be used: it was written for zoo API 99" in result.stdout
    only_own = zoo("list", path=tmp_path, ZOO_PLUGINS="")
    assert "zoo-" not in only_own.stdout
    assert only_own.stderr == "Plugins are switched off by ZOO_PLUGINS=.\n"
    assert "vae" in only_own.stdout


def test_info(tmp_path):
    install(
        tmp_path,
        "zoo_print",
        "prints",
        '"""Loud."""\nimport os\nfrom zoo.model import GenerativeModel\nZOO_API = 1\n'
        "print('noise')\nclass Model(GenerativeModel):\n"
        "    def __init__(self, shape: tuple[int, ...], depth: int = 3): pass\n"
        "    def sample(self, num_samples, seed, labels=None, first=0): pass\n",
    )
    result = zoo("info", "prints", "--json", path=tmp_path)
    found = json.loads(result.stdout)
    assert "noise" in result.stderr
    assert found["can"] == ["sample"]
    assert [option["name"] for option in found["options"]] == ["depth"]

    install(tmp_path, "zoo_thief", "vae", (tmp_path / "prints.py").read_text())
    for typed, name in (("zoo_thief:vae", "zoo-thief:vae"), ("keras-genzoo:vae", "vae")):
        result = zoo("info", typed, path=tmp_path)
        assert result.stdout.split()[:2] == ["name", name]

    result = zoo("info", "vae")
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("arxiv.org", "latent_dim", "int", "log_prob", "mnist_binary", "keras-genzoo"):
        assert word in result.stdout


def test_a_broken_plugin_ends_with_3(tmp_path):
    install(tmp_path, "zoo_exit", "exits", "ZOO_API = 1\nraise SystemExit(0)")
    result = zoo("info", "exits", path=tmp_path)
    assert result.returncode == 3
    assert "pip uninstall zoo-exit" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bug_of_ours_is_saved(tmp_path):
    code = "from zoo import registry\nregistry.models = lambda: 1 / 0"
    result = zoo("list", code=code, TMPDIR=str(tmp_path))
    assert result.returncode == 1
    (report,) = tmp_path.glob("zoo-*.txt")
    assert "ZeroDivisionError" in result.stderr
    assert str(report) in result.stderr
    assert "ZeroDivisionError" in report.read_text()


def test_an_interrupt_ends_with_130():
    code = (
        "from zoo import registry\ndef interrupt(): raise KeyboardInterrupt\n"
        "registry.models = interrupt"
    )
    result = zoo("list", code=code)
    assert result.returncode == 130
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="a pipe closed early, as in `zoo list | true`")
def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        result = subprocess.run(
            [sys.executable, ROOT / "cli.py", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.stderr == b""


def test_models_complete_in_the_shell():
    def complete(*words):
        *words, incomplete = words
        completion = ShellComplete(main, {}, "zoo", "_ZOO_COMPLETE")
        return [item.value for item in completion.get_completions(words, incomplete)]

    assert complete("inf") == ["info"]
    assert "vae" in complete("info", "")
    assert complete("info", "va") == ["vae"]
    assert complete("info", "none") == []
    for verb in ("sample", "export", "runs"):
        completion = ShellComplete(main, {}, "zoo", "_ZOO_COMPLETE")
        [item] = completion.get_completions([verb], "ru")
        assert (item.value, item.type) == ("ru", "dir" if verb == "runs" else "file")
    result = zoo(_ZOO_COMPLETE="bash_complete", COMP_WORDS="zoo info va", COMP_CWORD="2")
    assert result.stdout == "plain,vae\n"


def test_known_noise_is_dropped_and_the_rest_is_shown(tmp_path):
    noise = "I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on."
    (tmp_path / "tensorflow.py").write_text(
        f"import os\nos.write(2, b'{noise}\\nGPU 0 has fallen off the bus\\n')"
    )
    code = "from zoo.commands import quiet_tensorflow\nquiet_tensorflow()"
    result = python("-c", code, path=tmp_path)
    assert result.stderr == "GPU 0 has fallen off the bus\n"


def test_the_door_of_a_checkout_is_the_same_program():
    door = python(str(ROOT / "cli.py"), "list", "--json")
    assert door.stdout == zoo("list", "--json").stdout
    wrong = python(str(ROOT / "cli.py"), "lst")
    assert (wrong.returncode, wrong.stderr) == (2, zoo("lst").stderr)
