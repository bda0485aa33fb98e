"""Who may import whom, and what the distribution contains."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOR_MODELS = {
    "adversarial",
    "distributions",
    "layers",
    "losses",
    "model",
    "random",
    "raster",
    "schedules",
    "spec",
}
PUBLIC = {
    "API_VERSION",
    "GenerativeModel",
    "Pretrained",
    "Spec",
    "adversarial",
    "distributions",
    "layers",
    "random",
    "raster",
    "schedules",
    "testing",
}
MAY_IMPORT = {
    "adversarial": {"model", "random", "schedules"},
    "datasets": {"datasets", "display", "errors", "random", "registry", "spec"},
    "display": {"errors", "render"},
    "distributions": set(),
    "environment": set(),
    "errors": set(),
    "evaluation": {
        "datasets",
        "display",
        "environment",
        "errors",
        "evaluation",
        "exports",
        "progress",
        "random",
        "sampling",
        "spec",
        "storage",
    },
    "exports": {
        "display",
        "errors",
        "evaluation",
        "exports",
        "model",
        "progress",
        "random",
        "registry",
        "render",
        "sampling",
        "spec",
        "storage",
    },
    "layers": {"random"},
    "model": {"errors", "exports", "random", "runs", "spec"},
    "models": FOR_MODELS,
    "progress": set(),
    "random": {"errors"},
    "raster": {"distributions", "model", "random", "schedules"},
    "registry": {"errors", "model", "registry", "spec"},
    "render": {"errors"},
    "quiet": set(),
    "runs": {
        "datasets",
        "display",
        "environment",
        "errors",
        "evaluation",
        "exports",
        "model",
        "progress",
        "registry",
        "render",
        "runs",
        "sampling",
        "spec",
        "storage",
    },
    "sampling": {"model", "random"},
    "schedules": set(),
    "spec": {"errors"},
    "storage": {"errors"},
    "testing": {"datasets", "errors", "exports", "model", "registry", "runs", "sampling", "spec"},
}


def imported(tree):
    """Yields the parts of zoo that a module imports: "storage" of `from zoo import storage`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [alias.name for alias in node.names]
            names = [f"zoo.{n}" for n in inside] if node.module == "zoo" else [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("zoo."))


def modules(*skip):
    for path in sorted((ROOT / "zoo").rglob("*.py")):
        part = path.relative_to(ROOT / "zoo").with_suffix("").parts[0]
        if part not in skip:
            yield pytest.param(part, path, id=path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize(
    ("part", "path"), [*modules("__init__", "__main__", "commands", "template")]
)
def test_who_imports_whom(part, path):
    imports = {*imported(ast.parse(path.read_text()))} - {"API_VERSION"}
    assert imports <= MAY_IMPORT[part]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "zoo" / "commands").glob("*.py")), ids=lambda path: path.name
)
def test_commands_import_the_rest_inside_functions(path):
    body = ast.parse(path.read_text()).body
    top = ast.Module([node for node in body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert {*imported(top)} <= {"commands", "errors", "quiet", "spec"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "zoo" / "commands").glob("*.py")), ids=lambda path: path.name
)
def test_no_verb_imports_a_verb(path):
    modules = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo.commands")
        for alias in node.names
    ]
    assert all(module.startswith("zoo.commands._") for module in modules)


OUTSIDE_COMMANDS = [
    *(parameters.values[1] for parameters in modules("commands")),
    *sorted((ROOT / "plugins").glob("*/zoo_*/*.py")),
]


@pytest.mark.parametrize(
    "path", OUTSIDE_COMMANDS, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_messages_that_name_a_flag_name_the_python_argument_too(path):
    for node in ast.walk(ast.parse(path.read_text())):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or not isinstance(node, ast.Raise | ast.Assign | ast.AugAssign | ast.Expr):
            continue
        texts = [str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)]
        message = "".join(text for text in texts if not re.fullmatch(" *--[a-z]+ *", text))
        message = re.sub("`[^`]*`|pip .*", "", message)  # whole commands
        for flag in {*re.findall("--([a-z][a-z-]*)", message)} - {"set"}:
            name = {"resume": "zoo.resume"}.get(flag, f"{flag.replace('-', '_')}=")
            assert name in message, (node.lineno, message)


@pytest.mark.parametrize(
    "path",
    [ROOT / "zoo/template/zoo_example/model.py", *sorted((ROOT / "plugins").glob("*/zoo_*/*.py"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_plugins_import_what_is_public_alone(path):
    assert {*imported(ast.parse(path.read_text()))} <= PUBLIC


def test_readme_and_ci_run_the_same_command():
    command = next(
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("python3 -m venv") and "pytest" in line
    )
    assert "zoo train vae" in (ROOT / "README.md").read_text().split("```")[1]
    ci = (ROOT / ".ci" / "run").read_text()
    assert command.replace("pip install", "pip install -q") in ci


@pytest.mark.slow
def test_a_wheel_works_elsewhere_without_network(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    program = (
        "import zoo; print(zoo.__file__, zoo.list_models(),"
        " *[len(s) for n in ('mnist', 'mnist_binary', 'binarized_mnist')"
        " for s in zoo.load_dataset(n)])"
    )
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    settings = dict(
        cwd=tmp_path,
        env={**os.environ, **nowhere, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], **settings)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    models = sorted(project["entry-points"]["zoo.models"])
    counts = "55000 5000 10000 55000 5000 10000 50000 10000 10000"
    assert done.stdout.strip() == f"{site / 'zoo' / '__init__.py'} {models} {counts}"
    subprocess.run([site / "bin" / "zoo", "sample", "pixelcnn", "-o", "drawn.png"], **settings)
    assert (tmp_path / "drawn.png").stat().st_size > 1000
