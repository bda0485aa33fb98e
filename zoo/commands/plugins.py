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
from zoo.errors import ArtefactError, InputError

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
except Exception as error:
    entry = registry.find(name)
    trouble = str(registry.unusable(entry, f"its import failed: {registry.one_line(error, '')}."))
Path(answer).write_text(trouble, "utf-8")
os._exit(0)  # whatever a plugin has begun
"""


@click.command()
@click.option(
    "--import",
    "tried",
    is_flag=True,
    help=f"Import each model, in a process of its own, for up to {IMPORT_SECONDS} s.",
)
def command(tried):
    """Say of each installed package with models whether they can be used.

    What is wrong stands below the table, with what mends it. Without --import no code of a plugin
    runs. The exit code is 3 if a model cannot be used. ZOO_PLUGINS= in front of any command
    switches all plugins off.
    """
    from zoo import registry

    found, troubles = registry.models(), []
    with progress() as begin:
        advance = begin("importing")(len(found))
        for name, entry in found.items():
            if entry.problem:
                troubles.append(str(registry.unusable(entry, entry.problem)))
            else:
                troubles.append(import_trouble(name) if tried else "")
            advance(1)
    good = "imported" if tried else "ready"
    rows = sorted(
        (entry.package, entry.version or "-", name, "cannot be used" if trouble else good)
        for (name, entry), trouble in zip(found.items(), troubles, strict=True)
    )
    print_table([("PACKAGE", "VERSION", "MODEL", "STATE"), *rows])
    if off := registry.switched_off():
        click.echo(off, err=True)
    for name in sorted({entry.name for typed, entry in found.items() if typed != entry.name}):
        click.echo(clash(name, found), err=True)
    for trouble in filter(None, troubles):
        click.echo(trouble, err=True)
    if count := sum(map(bool, troubles)):
        raise ArtefactError(f"{count} of {len(found)} models cannot be used.")


def import_trouble(name):
    """Returns why a model cannot be imported, in a process of its own; "" if it can."""
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
                os.killpg(child.pid, signal.SIGKILL)  # with all that it started
            child.wait()
        if answer.exists():
            return answer.read_text("utf-8")
    return str(registry.unusable(registry.find(name), problem))


def clash(name, found):
    """Says what to type for the models of one name, of all that `registry.models` found."""
    from zoo import registry

    try:
        own = registry.find(name)
    except InputError as error:
        return str(error)
    others = [typed for typed, entry in found.items() if typed != entry.name == name]
    return f"{name} is the model of {own.package}. Write {' or '.join(others)} for another."
