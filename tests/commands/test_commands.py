import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from zoo.commands import VERBS, main

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "numpy", "tensorflow_probability", "rich", "PIL")


def python(*arguments, path=None, **environment):
    """Runs a new Python process, with `path` first on its path."""
    environment = {**os.environ, **environment}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), *sys.path])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )


def zoo(*arguments, code="", **settings):
    return python("-c", f"{code}\nfrom zoo.commands import main\nmain()", *arguments, **settings)


def install(folder, package, module, text):
    """Installs a distribution with one model into a folder."""
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


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("info", "vae"), 0),
        (("info", "pixelcnn", "--json"), 0),
        (("runs", "."), 0),
        (("plugins",), 0),
        (("train", "VAE"), 2),
        (("check", "vea"), 2),
        (("sample", "vea"), 2),
        (("complete", "vae"), 2),
        (("interpolate", "./none"), 2),
        (("reconstruct", "pixelcnn"), 2),
        (("export", "./none"), 2),
    ],
)
def test_tensorflow_is_imported_only_to_compute(arguments, code):
    report = "import atexit, sys\natexit.register(lambda: print('tensorflow' in sys.modules))"
    result = zoo(*arguments, code=report)
    assert result.stdout.endswith("False\n")
    assert result.returncode == code


def test_cards_are_read_without_tensorflow():
    result = python(
        "-c",
        "import sys\n"
        "from zoo.exports import cards, pretrained\n"
        "print(cards.read_card(pretrained.find('vae'))['model'])\n"
        f"print([m for m in {HEAVY} if m in sys.modules])",
    )
    assert (result.stdout, result.stderr) == ("vae\n[]\n", "")


def test_the_api_is_lazy():
    result = python(
        "-c",
        "import sys, zoo\n"
        "assert {'create', 'train', 'load', 'export', 'random', '__version__'} <= set(dir(zoo))\n"
        "assert 'vae' in zoo.list_models()\n"
        f"print([m for m in {HEAVY} if m in sys.modules])\n"
        "print(zoo.__version__)\n"
        "zoo.missing",
    )
    assert result.stdout.splitlines()[0] == "[]"
    assert result.stdout.splitlines()[1] in zoo("--version").stdout
    assert "module 'zoo' has no attribute 'missing'" in result.stderr


def test_every_public_name_can_be_imported():
    result = python("-c", "from zoo import *; print(create, testing)")
    assert result.returncode == 0, result.stderr


def test_help_lists_the_verbs_in_order():
    lines = zoo("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == [*VERBS]
    assert all(len(line.split()) > 2 for line in lines)


def help_pages(command, name):
    """Yields (name, command) of a command and its subcommands."""
    yield name, command
    for key in command.list_commands(None) if isinstance(command, click.Group) else ():
        yield from help_pages(command.get_command(None, key), f"{name} {key}")


def test_help_pages_are_complete_and_fit_80_columns():
    for name, command in help_pages(main, "zoo"):
        context = click.Context(command, info_name=name, terminal_width=80)
        page = command.get_help(context)
        lines = page.splitlines()[1:]  # without the usage line
        assert [line for line in lines if len(line) > 80 or line.endswith("...")] == [], name
        options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
        assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("lst",), 2, "Did you mean 'list'?"),
        (("list", "--jsn"), 2, "Did you mean '--json'?"),
        (("list", "--jsn"), 2, "zoo list --help"),
        (("info",), 2, "NAME"),
        (("info", "vea"), 2, "Error: Unknown model 'vea'. Did you mean 'vae'?"),
        (("info", "./none.py:Model"), 2, "Error: No such file"),
        (("train", "VAE"), 2, "Error: Unknown model 'VAE'. Did you mean 'vae'?"),
        (("sample", "vea"), 2, "Error: Unknown pretrained model 'vea'. Did you mean 'vae'"),
        (("check", "vea"), 2, "Error: Unknown model 'vea'. Did you mean 'vae'?"),
        (("export", "./none"), 2, "none"),
        (("complete", "vae"), 2, "complete is not defined for vae, because it cannot generate"),
    ],
)
def test_usage_errors(arguments, code, message):
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


def test_list_is_unaffected_by_hostile_plugins(tmp_path):
    install(tmp_path, "zoo_exit", "exits", "ZOO_API = 2\nraise SystemExit(9)")
    install(tmp_path, "zoo_sleep", "sleeps", "ZOO_API = 2\nimport time\ntime.sleep(1000)")
    install(tmp_path, "zoo_print", "prints", "ZOO_API = 2\nprint('noise')")
    install(tmp_path, "zoo_new", "future", "ZOO_API = 99")
    (tmp_path / "corrupt-1.0.dist-info").mkdir()
    (tmp_path / "corrupt-1.0.dist-info" / "entry_points.txt").write_bytes(b"[[\xff\x00\n=\n")
    result = zoo("list", path=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "noise" not in result.stdout
    assert {"exits", "sleeps", "prints", "future", "vae"} <= set(result.stdout.split())
    assert "Unusable: it uses API 99" in result.stdout
    built_in = zoo("list", path=tmp_path, ZOO_PLUGINS="")
    assert "zoo-" not in built_in.stdout
    assert built_in.stderr == "Plugins are disabled, because ZOO_PLUGINS is empty.\n"
    assert "vae" in built_in.stdout


def test_info(tmp_path):
    install(
        tmp_path,
        "zoo_print",
        "prints",
        '"""Loud."""\nimport os\nfrom zoo.model import GenerativeModel\nZOO_API = 2\n'
        "print('noise')\nclass Model(GenerativeModel):\n"
        "    def __init__(self, shape: tuple[int, ...], depth: int = 3): pass\n"
        "    def sample(self, num_samples, seed, condition=None, first=0): pass\n",
    )
    result = zoo("info", "prints", "--json", path=tmp_path)
    fields = json.loads(result.stdout)
    assert result.stderr == ""  # the code of the plugin did not run
    assert fields["can"] == ["sample"]
    assert [option["name"] for option in fields["options"]] == ["depth"]

    install(tmp_path, "zoo_thief", "vae", (tmp_path / "prints.py").read_text())
    for typed, name in (("zoo_thief:vae", "zoo-thief:vae"), ("keras-genzoo:vae", "vae")):
        result = zoo("info", typed, path=tmp_path)
        assert result.stdout.split()[:2] == ["name", name]

    result = zoo("info", "vae")
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("arxiv.org", "latent_dim", "int", "log_prob", "mnist_binary", "keras-genzoo"):
        assert word in result.stdout


def test_a_broken_plugin_gives_exit_code_3(tmp_path):
    install(tmp_path, "zoo_exit", "exits", "ZOO_API = 2\nraise SystemExit(0)")
    result = zoo("info", "exits", path=tmp_path)
    assert result.returncode == 3
    assert "pip uninstall zoo-exit" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_traceback_of_a_bug_is_saved(tmp_path):
    code = "from zoo import registry\nregistry.models = lambda: 1 / 0"
    result = zoo("list", code=code, TMPDIR=str(tmp_path))
    assert result.returncode == 1
    (report,) = tmp_path.glob("zoo-*.txt")
    assert "ZeroDivisionError" in result.stderr
    assert str(report) in result.stderr
    assert "ZeroDivisionError" in report.read_text()


def test_an_interrupt_gives_exit_code_130():
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


def test_shell_completion_of_model_names():
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


def test_only_start_up_messages_of_tensorflow_are_dropped(tmp_path):
    noise = "I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on."
    (tmp_path / "tensorflow.py").write_text(
        f"import os\nos.write(2, b'{noise}\\nGPU 0 has fallen off the bus\\n')"
    )
    code = "from zoo import registry\nregistry.models = lambda: __import__('tensorflow') and {}"
    result = zoo("list", code=code, path=tmp_path)
    assert result.stderr.splitlines()[0] == "GPU 0 has fallen off the bus"
    assert "oneDNN" not in result.stderr


@pytest.mark.parametrize("program", [(str(ROOT / "cli.py"),), ("-m", "zoo")])
def test_the_entry_points_are_equivalent(program):
    assert python(*program, "list", "--json").stdout == zoo("list", "--json").stdout
    wrong = python(*program, "lst")
    assert (wrong.returncode, wrong.stderr) == (2, zoo("lst").stderr)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_cannot_be_encoded_are_replaced(tmp_path, encoding):
    install(tmp_path, "zoo_far", "far", '"""Far \u2192 \u4e2d."""\nZOO_API = 1')
    result = zoo("list", path=tmp_path, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Far ? ?." in result.stdout


def shell(command, **settings):
    """Runs `zoo` with a redirection of its output."""
    program = shlex.join([sys.executable, str(ROOT / "cli.py")])
    return subprocess.run(
        f"{program} {command}", shell=True, capture_output=True, text=True, check=False, **settings
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("command", "code", "stderr"),
    [
        ("list > /dev/full", 2, "Error: Cannot write to standard output: No space left on device."),
        ("list >&-", 0, ""),
        ("list >&- 2>&-", 0, ""),
        ("lst 2> /dev/full", 2, ""),
        ("lst 2>&-", 2, ""),
    ],
)
def test_failed_output_is_reported_without_a_traceback(command, code, stderr):
    result = shell(command)
    assert (result.returncode, result.stderr.strip()) == (code, stderr)


def test_a_command_continues_after_its_output_was_closed(tmp_path):
    program = (
        "from zoo.commands import _console\n_console.protect_streams()\n"
        "[_console.echo('x' * 100000) for _ in range(3)]\nopen('done', 'w').close()"
    )
    subprocess.run(
        f"{shlex.join([sys.executable, '-c', program])} | true",
        shell=True,
        cwd=tmp_path,
        check=True,
    )
    assert (tmp_path / "done").exists()


def test_a_closed_stderr_does_not_become_the_next_opened_file(tmp_path):
    program = (
        "import os\nfrom zoo.commands import _console\n_console.protect_streams()\n"
        "file = open('file', 'w')\nos.write(2, b'log')\nassert file.fileno() > 2"
    )
    command = f"{shlex.join([sys.executable, '-c', program])} 2>&-"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_bytes() == b""


def test_control_characters_in_names_never_reach_the_terminal(tmp_path):
    run = tmp_path / "runs" / "\x1b[31mred\x9b\u202e\udcff"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    result = subprocess.run(
        [sys.executable, ROOT / "cli.py", "runs", tmp_path / "runs"],
        capture_output=True,
        check=False,
    )
    assert b"?[31mred???" in result.stdout
    assert b"\x1b" not in result.stdout
    result = zoo("info", f"{run}/x.py:M")
    assert result.stderr.startswith("Error: No such file")
    assert "\x1b" not in result.stderr


LONG = "x" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", LONG),
        ("sample", f"./{LONG}"),
        ("info", f"./{LONG}.py:Model"),
        ("new-plugin", LONG),
        ("runs", "~no-such-user/runs"),
        ("sample", "vae", "-o", "~no-such-user/x.png"),
        ("export", "~no-such-user/run"),
        ("info", "\udcff"),
        ("sample", "\udcff"),
        ("plugins", "\udcff"),
    ],
)
def test_an_invalid_path_gives_one_line(arguments):
    result = zoo(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_a_quoted_tilde_is_expanded(tmp_path):
    (tmp_path / "runs").mkdir()
    result = zoo("runs", "~/runs", HOME=str(tmp_path))
    assert result.stderr == f"No runs in {tmp_path / 'runs'}. Start one with: zoo train NAME\n"


def test_a_deleted_current_folder_gives_one_line(tmp_path):
    deleted = tmp_path / "deleted"
    deleted.mkdir()
    result = subprocess.run(
        f"rmdir {deleted}; {shlex.join([sys.executable, str(ROOT / 'cli.py')])} info ./x.py:Model",
        shell=True,
        cwd=deleted,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert (
        result.stderr == "Error: The current folder no longer exists. Change to another folder.\n"
    )


def test_info_works_with_optimized_bytecode():
    result = python("-OO", str(ROOT / "cli.py"), "info", "vae")
    assert (result.returncode, result.stderr) == (0, "")
    assert "latent dimensions" in result.stdout
