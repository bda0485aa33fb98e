"""`zoo plugins`: lists installed plugins and diagnoses problems."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from zoo.commands._console import echo, print_table
from zoo.errors import ArtefactError, InputError

IMPORT_SECONDS = 120  # time limit for the import of a model
IMPORT = """
import os
import sys
from pathlib import Path
from zoo import registry
from zoo.errors import ZooError

name, answer = sys.argv[1:]
try:
    registry.load(name)
    problem = ""
except ZooError as error:
    problem = str(error)
except Exception as error:
    problem = f"its import failed: {registry.describe_error(error, '')}."
    problem = str(registry.unusable(registry.find(name), problem))
Path(answer).write_text(problem, "utf-8", "replace")
os._exit(0)  # also ends threads that a plugin started
"""


@click.command()
@click.option(
    "--import",
    "do_import",
    is_flag=True,
    help=f"Import each model in a separate process, for at most {IMPORT_SECONDS} s each.",
)
def command(do_import):
    """Check installed plugins.

    Problems and suggested fixes are listed below the table. Without --import, no plugin code runs.
    The exit code is 3 if a model is unusable. To disable all plugins, set ZOO_PLUGINS to the empty
    string: ZOO_PLUGINS= zoo list
    """
    from zoo import registry
    from zoo.progress import Bars
    from zoo.registry.entry_points import API_1_ADVICE, plugins_disabled

    models, problems = registry.models(), []
    with Bars() as progress:
        progress.start(len(models), "importing")
        for name, entry in models.items():
            if entry.problem:
                problems.append(str(registry.unusable(entry, entry.problem)))
            else:
                problems.append(diagnose(name) if do_import else "")
            progress.advance()
    usable = "imported" if do_import else "ready"
    rows = sorted(
        (entry.package, entry.version or "-", name, "unusable" if problem else usable)
        for (name, entry), problem in zip(models.items(), problems, strict=True)
    )
    print_table([("PACKAGE", "VERSION", "MODEL", "STATE"), *rows])
    if message := plugins_disabled():
        echo(message, err=True)
    for name in sorted({entry.name for key, entry in models.items() if key != entry.name}):
        echo(explain_clash(name, models), err=True)
    for name, entry in models.items():
        if entry.api == 1 and not entry.problem:
            echo(f"{name} of {entry.package}: {API_1_ADVICE}", err=True)
    for problem in filter(None, problems):
        echo(problem, err=True)
    if count := sum(map(bool, problems)):
        raise ArtefactError(f"{count} of {len(models)} models are unusable.")


def diagnose(name):
    """Imports a model in a separate process. Returns the problem, or "" if there is none."""
    from zoo import registry

    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", IMPORT, name, str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            child.wait(IMPORT_SECONDS)
            problem = f"its import ended the process with exit code {child.returncode}."
        except subprocess.TimeoutExpired:
            problem = f"its import took more than {IMPORT_SECONDS} seconds."
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # and the processes it started
            child.wait()
        if answer.exists():
            return answer.read_text("utf-8")
    return str(registry.unusable(registry.find(name), problem))


def explain_clash(name, models):
    """Returns a message with the names to write for models that share a name.

    Args:
      name: str.
      models: dict; the result of `registry.models`.
    """
    from zoo import registry

    try:
        preferred = registry.find(name)
    except InputError as error:
        return str(error)
    others = [shortest for shortest, entry in models.items() if shortest != entry.name == name]
    return (
        f"{name} refers to the model in {preferred.package}. For another, write"
        f" {' or '.join(others)}."
    )
