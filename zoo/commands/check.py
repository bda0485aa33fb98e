"""`zoo check NAME`: runs the conformance tests on a model."""

import inspect

import click

from zoo.commands import _options
from zoo.commands._console import echo
from zoo.errors import ArtefactError


@click.command()
@_options.model
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a model option (see zoo info), for example to test a smaller model. Repeatable.",
)
def command(name, settings):
    """Run the conformance tests on a model.

    NAME is a name in `zoo list`, PACKAGE:NAME, or FILE.py:Class. The test data are small examples
    of every kind that the model supports. Inapplicable tests are skipped. The exit code is 3 if one
    failed. To run the same tests with pytest in a package, write
    `test_conformance = zoo.testing.conformance(Model)`.
    """
    from zoo import registry

    registry.find(name)
    from zoo import testing
    from zoo.registry.options import parse_options

    cls = registry.load(name)
    try:
        subjects = testing.subjects(cls, **parse_options(cls, settings))
    except testing.ConformanceError as error:
        raise ArtefactError(str(error)) from None
    ran, failed, kinds = 0, 0, []
    for subject in subjects:
        if subject.refusal:
            echo(f"{subject.kind:12}skipped: {subject.refusal}")
            continue
        kinds.append(subject.kind)
        for check in subject.checks():
            problem = failure(subject, check)
            result = f"FAILED: {problem}" if problem else "passed"
            echo(f"{subject.kind:12}{check:33}{result}")
            ran, failed = ran + 1, failed + bool(problem)
            if problem and check == "contract":
                echo(f"{subject.kind:12}skipped: the other tests, which require a valid model")
                break
    echo(f"{ran} tests ran on {', '.join(kinds)} data: {failed} failed.")
    if failed:
        raise ArtefactError(f"{name} failed {failed} of {ran} conformance tests.")


def failure(subject, check):
    """Runs a test. Returns a line that describes the failure, or None."""
    from zoo import registry, testing

    try:
        testing.CHECKS[check](subject)
    except testing.ConformanceError as error:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # includes SystemExit
        return registry.describe_error(error, inspect.getsourcefile(subject.cls))
