"""`zoo plugins`: what is installed, what is wrong with it, and how to mend or remove it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from zoo.commands import print_table, progress
from zoo.errors import ArtefactError, InputError, ZooError

IMPORT_SECONDS = 120  # in which a model has to be imported
IMPORT = """
import os
import sys
from pathlib import Path
from zoo import registry
from zoo.errors import ZooError

name, answer = sys.argv[1:]
try:
    registry.load(name)
    trouble = ""
except ZooError as error:
    trouble = str(error)
Path(answer).write_text(trouble, "utf-8")
os._exit(0)  # whatever a plugin has begun
"""


@click.command()
@click.option("--import", "tried", is_flag=True, help="Import each model, in a process of its own.")
def command(tried):
    """Say of each installed package with models whether they can be used.

    What is wrong stands below the table, with what mends it. Without --import no code of a plugin
    runs. The exit code is 3 if a model cannot be used. ZOO_PLUGINS= in front of any command
    switches all plugins off.
    """
    from zoo import registry

    found = registry.models()
    if tried:
        with progress() as begin:
            advance, troubles = begin("importing")(len(found)), []
            for name in found:
                troubles.append(import_trouble(name))
                advance(1)
    else:
        troubles = [stated_trouble(name) if entry.problem else "" for name, entry in found.items()]

    good = "imported" if tried else "ready"
    rows = sorted(
        (entry.package, entry.version or "-", name, "cannot be used" if trouble else good)
        for (name, entry), trouble in zip(found.items(), troubles, strict=True)
    )
    print_table([("PACKAGE", "VERSION", "MODEL", "STATE"), *rows])
    if os.environ.get("ZOO_PLUGINS") == "":
        click.echo("Plugins are switched off by ZOO_PLUGINS=.", err=True)
    for name in sorted({entry.name for typed, entry in found.items() if typed != entry.name}):
        click.echo(clash(name), err=True)
    for trouble in filter(None, troubles):
        click.echo(trouble, err=True)
    if count := sum(map(bool, troubles)):
        raise ArtefactError(f"{count} of {len(found)} models cannot be used.")


def stated_trouble(name):
    """Returns why a model cannot be used of which that is known without importing it."""
    from zoo import registry

    try:
        registry.load(name)
    except ZooError as error:
        return str(error)


def import_trouble(name):
    """Returns why a model cannot be imported, in a process of its own; "" if it can."""
    from zoo import registry

    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        child = subprocess.Popen(
            [sys.executable, "-c", IMPORT, name, str(answer)],
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
                os.killpg(child.pid, signal.SIGKILL)  # with all that it started
            child.wait()
        if answer.exists():
            return answer.read_text("utf-8")
    return str(registry.unusable(registry.find(name), problem))


def clash(name):
    """Says what to type for the models of one name."""
    from zoo import registry

    try:
        own = registry.find(name)
    except InputError as error:
        return str(error)
    others = [typed for typed, entry in registry.models().items() if typed != entry.name == name]
    return f"{name} is the model of {own.package}. Write {' or '.join(others)} for another."
