"""`zoo new-plugin NAME`: writes a package with a working example model."""

import keyword
import re
from pathlib import Path

import click

from zoo.commands._console import echo
from zoo.errors import InputError

TEMPLATE = Path(__file__).parent.parent / "template"
IMPORTED = ("itertools", "keras", "numpy", "pytest", "tensorflow", "zoo")  # by the template


@click.command()
@click.argument("name")
def command(name):
    """Write a package with one model to ./zoo-NAME.

    The package contains a working model with an exact likelihood, tests, a README and a CI
    workflow. NAME is the model's name in `zoo`. It consists of lower-case letters, digits and
    dashes.
    """
    from zoo.registry.entry_points import entries

    module, cls = name.replace("-", "_"), "".join(map(str.capitalize, name.split("-")))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(
            "NAME must consist of lower-case letters, digits and dashes, for example wgan-gp."
            f" Received: {name}"
        )
    if keyword.iskeyword(module) or keyword.iskeyword(cls) or name in IMPORTED:
        raise InputError(
            "NAME must not be a Python keyword or a module that the package imports"
            f" ({', '.join(IMPORTED)}). Received: {name}"
        )
    if cls.startswith("Test"):
        raise InputError(
            f"NAME must not begin with test, because pytest would collect the class {cls}."
            f" Received: {name}"
        )
    for entry in entries():
        if name == entry.name or f"zoo-{name}" == entry.package:
            raise InputError(
                f"The installed package {entry.package} already has the model {entry.name}. Choose"
                f" another name. Received: {name}"
            )
    folder = Path(f"zoo-{name}")
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(f"Cannot create {folder}: {error.strerror}.") from error

    replacements = {"zoo_example": f"zoo_{module}", "Example": cls, "example": name}

    def rename(text):
        return re.sub("|".join(replacements), lambda match: replacements[match[0]], text)

    for source in sorted(TEMPLATE.rglob("*")):
        path = folder / rename(str(source.relative_to(TEMPLATE)))
        if source.is_file() and "__pycache__" not in path.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rename(source.read_text("utf-8")), "utf-8")
    echo(
        f"Wrote {folder} with a working model in zoo_{module}/model.py. Try it:\n"
        f"  cd {folder} && pip install -e '.[test]' && zoo train {name} && pytest"
    )
