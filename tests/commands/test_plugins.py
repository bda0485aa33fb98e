"""`zoo plugins`, `check` and `new-plugin`, with broken and hostile plugins too."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.shell import TESTS, assert_refused, here

import zoo
from zoo import registry, testing
from zoo.commands import plugins
from zoo.registry.entry_points import entries

TOYS = f"{TESTS / 'support' / 'toys.py'}"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that installs a distribution for this process and its children."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(package, model, code):
        module = f"{package.replace('-', '_')}_module"
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(f"[zoo.models]\n{model} = {module}:Model\n")
        (tmp_path / f"{module}.py").write_text(code)

    return write


def test_a_hundred_plugins_are_listed_without_running_their_code(install, tmp_path):
    marker = tmp_path / "marker"
    for i in range(100):
        code = f'"""Model {i}.\n\nFamily: many\n"""\nZOO_API = 2\nopen({str(marker)!r}, "a")\n'
        install(f"zoo-many{i}", f"many{i}", f"{code}import tensorflow\n")
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('heavy', 'tensorflow' in sys.modules))\n"
        "from zoo.commands import main; main(['list'])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (
        len(re.findall(r"^many\d+ +many +zoo-many\d+ .*Model \d+\.$", process.stdout, re.M)) == 100
    )
    assert process.stdout.endswith("heavy False\n")
    assert not marker.exists()


def test_plugins_warns_about_models_of_api_1(install):
    install("zoo-aged", "aged", "ZOO_API = 1\nraise SystemExit")
    result = here("plugins")
    assert result.returncode == 0
    assert "aged of zoo-aged: it uses API 1, which is deprecated" in result.stderr
    assert "set ZOO_API = 2" in result.stderr


def test_plugins_lists_problems_and_fixes(install):
    install("zoo-good", "good", "ZOO_API = 2\nraise SystemExit")
    install("zoo-old", "old", "ZOO_API = 0")
    install("zoo-thief", "vae", "ZOO_API = 2")
    install("zoo-a", "twin", "ZOO_API = 2")
    install("zoo-b", "twin", "ZOO_API = 2")
    result = here("plugins")
    rows = {tuple(line.split()[:4]) for line in result.stdout.splitlines()}
    assert {
        ("keras-genzoo", registry.find("vae").version, "vae", "ready"),
        ("zoo-good", "1.0", "good", "ready"),
        ("zoo-old", "1.0", "old", "unusable"),
        ("zoo-thief", "1.0", "zoo-thief:vae", "ready"),
        ("zoo-a", "1.0", "zoo-a:twin", "ready"),
    } <= rows
    assert result.returncode == 3
    *_, clash, twins, old, error = result.stderr.splitlines()
    for line, parts in (
        (twins, ("vae refers to the model in keras-genzoo", "zoo-thief:vae")),
        (clash, ("'twin' is in several packages: zoo-a and zoo-b", "Write zoo-a:twin or")),
        (old, ("old in zoo-old 1.0", "API 0", "pip install -U", "pip uninstall zoo-old")),
        (error, ("Error: 1 of", "are unusable")),
    ):
        assert all(part in line for part in parts)


def test_plugins_reports_that_plugins_are_disabled(install, monkeypatch):
    install("zoo-old", "old", "ZOO_API = 0")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    result = here("plugins")
    assert (result.returncode, "zoo-old" in result.stdout) == (0, False)
    assert "Plugins are disabled" in result.stderr


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "import zoo\nprint('noise')\nclass Model(zoo.GenerativeModel): pass\n"
            "import threading, time\nthreading.Thread(target=time.sleep, args=[900]).start()",
            "",
        ),
        ("raise SystemExit(0)", "its import failed: SystemExit: 0"),
        ("import os; os._exit(0)", "its import ended the process with exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", "its import ended the process with exit code -9"),
    ],
)
def test_diagnose_imports_a_model_in_a_separate_process(install, code, problem):
    install("zoo-odd", "odd", f"ZOO_API = 2\n{code}")
    diagnosis = plugins.diagnose("odd")
    assert problem in diagnosis
    assert bool(diagnosis) == bool(problem)
    assert "pip uninstall zoo-odd" in diagnosis or not problem


def test_diagnose_ignores_modules_in_the_current_folder(install, tmp_path, monkeypatch):
    install("zoo-good", "good", "import zoo\nZOO_API = 2\nclass Model(zoo.GenerativeModel): pass")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "random.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path / "work")
    assert plugins.diagnose("good") == ""


def test_diagnose_reports_a_broken_tensorflow(install, tmp_path):
    install("zoo-good", "good", "ZOO_API = 2")
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcudart.so.12')")
    assert "its import failed: ImportError: libcudart.so.12" in plugins.diagnose("good")


def test_diagnose_ends_an_import_that_hangs(install, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "IMPORT_SECONDS", 8)
    child = tmp_path / "child"
    install(
        "zoo-hang",
        "hang",
        "import subprocess, time\nZOO_API = 2\n"
        f"open({str(child)!r}, 'w').write(str(subprocess.Popen(['sleep', '900']).pid))\n"
        "time.sleep(900)",
    )
    assert "its import took more than 8 seconds" in plugins.diagnose("hang")
    if child.exists():  # only if the machine is fast enough to start it
        status = Path("/proc", child.read_text(), "stat")
        assert not status.exists() or status.read_text().rpartition(") ")[2][0] == "Z"


def test_check_counts_the_tests_that_ran():
    result = here("check", f"{TOYS}:Duel")
    assert (result.returncode, result.stderr) == (0, "")
    *rows, last = result.stdout.splitlines()
    ran = [row.split()[1] for row in rows if row.endswith("passed")]
    (subject,) = [s for s in testing.subjects(registry.load(f"{TOYS}:Duel")) if not s.refusal]
    assert ran == subject.checks()
    assert last == f"{len(ran)} tests ran on binary data: 0 failed."
    assert "colour      skipped: Duel is for binary images" in result.stdout
    assert "conditional skipped: the constructor has no condition" in result.stdout


def test_check_lists_failed_tests(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        f"import sys\nsys.path.insert(0, {str(TESTS)!r})\nfrom support.toys import Duel\n\n\n"
        "class Poor(Duel):\n    recipe = {}\n\n\n"
        "class Mine(Duel):\n"
        "    def test_step(self, data):\n        return 1 // 0\n\n"
        "    def get_config(self):\n        raise KeyError('two\\nlines')\n"
    )
    result = here("check", f"{mine}:Poor")
    assert_refused(result, 3, "Poor failed 1 of 1 conformance tests")
    assert re.search(r"binary +contract +FAILED: recipe\['data'\] must be a str", result.stdout)
    assert re.search(r"binary +skipped: the other tests", result.stdout)
    assert result.stdout.endswith("1 tests ran on binary data: 1 failed.\n")
    result = here("check", f"{mine}:Mine")
    assert_refused(result, 3, "Mine failed ", " conformance tests")
    failed = r"config_round_trip +FAILED: KeyError: 'two\\nlines' \(.*mine.py:15\)"
    assert re.search(failed, result.stdout)
    assert re.search(r": [2-9] failed\.$", result.stdout)


def test_check_fails_if_the_model_supports_no_data(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import zoo\nclass Mine(zoo.GenerativeModel):\n"
        "    def __init__(self, spec: zoo.Spec):\n"
        "        raise ValueError('unsupported')\n"
        "class Loose(zoo.GenerativeModel):\n    def __init__(self): pass\n"
        "class Silent(zoo.GenerativeModel):\n"
        "    def __init__(self, spec): raise ValueError\n"
        "class Exits(zoo.GenerativeModel):\n"
        "    def __init__(self, spec): raise SystemExit(0)\n"
    )
    loose = "Loose cannot be created for binary data: TypeError: got an unexpected keyword"
    assert_refused(here("check", f"{mine}:Loose"), 3, loose)
    assert_refused(here("check", f"{mine}:Silent"), 3, "supports none", "binary: ValueError")
    assert_refused(here("check", f"{mine}:Exits"), 3, "cannot be created", "SystemExit: 0")
    assert_refused(here("check", f"{mine}:Mine"), 3, "supports none of the kinds of data")
    assert_refused(here("check", f"{TOYS}:Duel", "--set", "width=3"), 2, "no option 'width'")
    assert_refused(here("check", "vea"), 2, "Did you mean 'vae'?")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("vae", ("package keras-genzoo already has the model vae", "Choose another name")),
        ("Mine", ("lower-case letters, digits and dashes", "Received: Mine")),
        ("../mine", ("lower-case letters",)),
        ("none", ("not be a Python keyword", "Received: none")),
        ("class", ("not be a Python keyword", "Received: class")),
        ("keras", ("a module that the package imports", "Received: keras")),
        ("tensorflow", ("a module that the package imports",)),
        ("zoo", ("a module that the package imports",)),
        ("test", ("not begin with test", "collect the class Test")),
        ("test-flow", ("collect the class TestFlow",)),
        ("taken", ("Cannot create zoo-taken: File exists",)),
    ],
)
def test_new_plugin_refuses_an_invalid_name(tmp_path, name, parts):
    (tmp_path / "zoo-taken").mkdir()
    (tmp_path / "zoo-taken" / "precious").touch()
    assert_refused(here("new-plugin", name, cwd=tmp_path), 2, *parts)
    assert [path.name for path in tmp_path.rglob("*")] == ["zoo-taken", "precious"]


def test_new_plugin_refuses_the_name_of_an_installed_package(install, tmp_path):
    install("zoo-taken", "model", "ZOO_API = 2")
    assert_refused(here("new-plugin", "taken", cwd=tmp_path), 2, "package zoo-taken already has")


def test_new_plugin_replaces_the_example_name_once(tmp_path):
    here("new-plugin", "counter-example", cwd=tmp_path)
    model = tmp_path / "zoo-counter-example" / "zoo_counter_example" / "model.py"
    assert model.read_text().startswith('"""CounterExample: ')


def test_new_plugin_replaces_the_example_name_everywhere(tmp_path):
    result = here("new-plugin", "wave-net", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    folder = tmp_path / "zoo-wave-net"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    for name in ("zoo_wave_net/model.py", "tests/test_model.py", ".github/workflows/test.yml"):
        assert files[name].is_file()
    pyproject = (folder / "pyproject.toml").read_text()
    assert 'wave-net = "zoo_wave_net.model:WaveNet"' in pyproject
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not any("example" in text.lower() for text in texts)
    cls = registry.load(f"{files['zoo_wave_net/model.py']}:WaveNet")
    assert cls(zoo.Spec((2, 2, 1), levels=2)).built


@pytest.mark.parametrize(
    "folder", sorted((TESTS.parent / "plugins").glob("zoo-*")), ids=lambda path: path.name
)
def test_a_first_party_plugin_installs_and_describes_its_models(folder, tmp_path, monkeypatch):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    options = ["--no-deps", "--no-build-isolation", "--target", tmp_path]
    subprocess.run([*pip, *options, folder], check=True)
    monkeypatch.syspath_prepend(tmp_path)
    models = [entry for entry in entries() if entry.package == folder.name]
    assert models
    for entry in models:
        assert entry.problem is None
        assert all((entry.version, entry.summary, entry.family, entry.source))
