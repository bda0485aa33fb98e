"""docs/guides/plugins.md: its commands run in a fresh environment, and its snippets are true."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from support.shell import here

import zoo
import zoo.datasets

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "plugins.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A new virtual environment that sees the packages of this one, as variables of a process."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    here = sysconfig.get_path("purelib")
    Path(site, "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    for name, start in (
        ("zoo", "from zoo.commands import main; main()"),
        ("pytest", "import pytest; raise SystemExit(pytest.console_main())"),
    ):
        script = folder / "bin" / name
        script.write_text(f"#!{folder}/bin/python\n{start}\n")
        script.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}


@pytest.fixture(scope="module")
def outputs(environment, tmp_path_factory):
    """Runs all commands of the page in one shell: a dict from each to what it printed."""
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    script = "".join(f"echo '>>> {line.replace(chr(39), '')}'\n{line}\n" for line in commands)
    folder = tmp_path_factory.mktemp("page")
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = re.split(r"^>>> (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    return folder / "zoo-mine", dict(zip(said[::2], said[1::2], strict=True))


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(outputs):
    folder, said = outputs
    assert re.search(r"^mine +autoregressive +zoo-mine", said["zoo list"], re.MULTILINE)
    assert (folder / "runs" / "first" / "saved_model" / "card.json").is_file()
    assert re.search(
        r"^\d+ tests ran on binary data: 0 failed\.$", said["zoo check mine"], re.MULTILINE
    )
    assert re.search(r"\b(\d\d) passed", said["pytest"])
    assert (folder / "samples.png").stat().st_size > 1000
    (wheel,) = (folder / "dist").glob("*.whl")
    assert wheel.name == "zoo_mine-0.1.0-py3-none-any.whl"
    assert re.search(r"^zoo-mine +0.1.0 +mine +ready$", said["zoo plugins"], re.MULTILINE)
    assert re.search(
        r"^zoo-mine +0.1.0 +mine +imported$", said["zoo plugins --import"], re.MULTILINE
    )
    assert "mine" not in said["ZOO_PLUGINS= zoo list"]


def test_the_data_set_of_the_page_loads(tmp_path, monkeypatch):
    package, entry_points = tmp_path / "zoo_birds", tmp_path / "zoo_birds-1.0.dist-info"
    package.mkdir()
    entry_points.mkdir()
    (code,), (lines,) = blocks("py"), blocks("toml")
    (package / "data.py").write_text(code)
    group, name = re.fullmatch(r'\[project\.entry-points\."(.*)"\]\n(.*)\n', lines).groups()
    (entry_points / "entry_points.txt").write_text(f"[{group}]\n{name.replace(chr(34), '')}\n")
    images = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), np.uint8)
    labels = np.arange(20) % 2
    both = dict(images=images, labels=labels, test_images=images[:5], test_labels=labels[:5])
    np.savez(package / "birds.npz", **both)
    monkeypatch.syspath_prepend(tmp_path)
    assert "birds" in zoo.datasets.list_datasets()
    splits = zoo.load_dataset("birds", size=16)
    assert [len(split) for split in splits] == [18, 2, 5]
    assert splits.train.shape == (16, 16, 3)


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(outputs, tmp_path):
    folder, _ = outputs
    (wheel,) = (folder / "dist").glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True)
    shutil.copytree(folder / "tests", tmp_path / "tests")
    told = dict(cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, check=True)
    sample = "from zoo.commands import main; main()"
    subprocess.run([sys.executable, "-P", "-c", sample, "sample", "mine", "-o", "a.png"], **told)
    assert (tmp_path / "a.png").stat().st_size > 1000
    subprocess.run([sys.executable, "-P", "-m", "pytest", "-q", "tests"], **told)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package that the first command of the page writes."""
    folder = tmp_path_factory.mktemp("package")
    assert here("new-plugin", "mine", cwd=folder).returncode == 0
    return folder / "zoo-mine"


def test_every_snippet_is_of_the_package_that_the_page_makes(package):
    files = [path.read_text() for path in package.rglob("*.py")]
    assert len(blocks("python")) >= 4
    for snippet in blocks("python"):
        assert any(snippet in text for text in files), snippet


def test_the_model_is_short(package):
    assert len((package / "zoo_mine" / "model.py").read_text().splitlines()) < 60
