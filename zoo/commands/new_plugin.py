"""`zoo new-plugin NAME`: a package with a model of one's own, which works as it is."""

import keyword
import re
from pathlib import Path

import click

from zoo.errors import InputError

TEMPLATE = Path(__file__).parent.parent / "template"


@click.command()
@click.argument("name")
def command(name):
    """Write a package with one model: ./zoo-NAME.

    It has a model with an exact likelihood, its tests, a README and a workflow that runs the tests.
    NAME is what `zoo` will know the model by: small letters, digits and dashes.
    """
    from zoo import registry

    module, cls = name.replace("-", "_"), "".join(map(str.capitalize, name.split("-")))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(cls):
        raise InputError(
            "Expected a name of small letters, digits and dashes, as wgan-gp, that Python has not"
            f" taken. Received: {name}"
        )
    for entry in registry.entries():
        if name == entry.name or f"zoo-{name}" == entry.package:
            raise InputError(
                f"{entry.package} is installed and has the model {entry.name}. Choose another name"
                f" than {name}."
            )
    folder = Path(f"zoo-{name}")
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}.") from error

    words = {"zoo_example": f"zoo_{module}", "Example": cls, "example": name}

    def named(text):
        return re.sub("|".join(words), lambda match: words[match[0]], text)

    for source in sorted(TEMPLATE.rglob("*")):
        path = folder / named(str(source.relative_to(TEMPLATE)))
        if source.is_file() and "__pycache__" not in path.parts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(named(source.read_text("utf-8")), "utf-8")
    click.echo(
        f"{folder} has the model {name} in zoo_{module}/model.py, which works as it is:\n"
        f"  cd {folder} && pip install -e '.[test]' && zoo train {name} && pytest"
    )
