"""`zoo check NAME`: whether a model keeps what every model of the zoo keeps."""

import inspect

import click

from zoo.commands import complete_model, quiet_tensorflow
from zoo.errors import ArtefactError


@click.command()
@click.argument("name", shell_complete=complete_model)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyperparameter, to make a large model small enough. Repeatable.",
)
def command(name, settings):
    """Run the conformance checks of a model.

    NAME is one that `zoo list` shows, PACKAGE:NAME, or FILE.py:Class. The data are small images:
    binary, 8-bit, in colour, with labels. What the model does not take or cannot do is left out,
    and what ran is counted. The exit code is 0 if all of it passed, else 3. In a package's own
    tests the same checks are `test_conformance = zoo.testing.conformance(Model)`.
    """
    from zoo import registry

    registry.find(name)
    quiet_tensorflow()
    from zoo import testing

    cls = registry.load(name)
    try:
        subjects = testing.subjects(cls, **registry.parse_options(cls, settings))
    except testing.ConformanceError as error:
        raise ArtefactError(error) from None
    ran, failed, kinds = 0, 0, []
    for subject in subjects:
        if subject.refusal:
            click.echo(f"{subject.kind:12}left out: {subject.refusal}")
            continue
        kinds.append(subject.kind)
        for check in subject.checks():
            problem = failure(subject, check)
            said = f"FAILED: {problem}" if problem else "passed"
            click.echo(f"{subject.kind:12}{check:33}{said}")
            ran, failed = ran + 1, failed + bool(problem)
            if problem and check == "contract":
                click.echo(f"{subject.kind:12}left out: the others, which need a model")
                break
    click.echo(f"{ran} checks ran, on data that are {', '.join(kinds)}: {failed} failed.")
    if failed:
        raise ArtefactError(f"{name} does not keep what every model of the zoo keeps.")


def failure(subject, check):
    """Runs a check; returns in one line how it failed, or None."""
    from zoo import registry, testing

    try:
        testing.CHECKS[check](subject)
    except testing.ConformanceError as error:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the model raises, to exit too, is how it fails
        return registry.one_line(error, inspect.getsourcefile(subject.cls))
