"""`zoo inspect NAME|DIR|RUN|FILE`: what a SavedModel contains, and whether zoo loads it."""

import json
from pathlib import Path

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table
from zoo.errors import ArtefactError


@click.command()
@click.argument("name", metavar="NAME|DIR|RUN|FILE", type=_options.PathType())
@_options.as_json
def command(name, as_json):
    """Show what a SavedModel contains, without loading it.

    DIR may be any folder with a saved_model.pb, and FILE a saved_model.pb alone, whose checksum is
    then not compared. The exit code is 3 if zoo refuses to load it.

    \b
    zoo inspect vae
    zoo inspect ./downloaded --json
    """  # noqa: D301
    from dataclasses import asdict

    from zoo.exports import inspection

    path = Path(name)
    if not path.is_file() and not (path / inspection.GRAPH).is_file():
        from zoo.exports import pretrained

        path = pretrained.find(name)
    problems = []
    if not path.is_file():
        try:
            inspection.check_files(path)
        except ArtefactError as error:
            problems.append(str(error).rstrip("."))
        path /= inspection.GRAPH
    result = inspection.inspect(path)
    problems += result.findings
    if as_json:
        fields = {**asdict(result), "path": str(path), "findings": problems}
        echo(json.dumps({**fields, "accepted": not problems}, indent=2))
    else:
        _report(result)
    if problems:
        more = len(problems) - 1
        raise ArtefactError(
            f"{path} is refused: {problems[0]}{f' (and {more} more)' if more else ''}."
        )
    if not as_json:
        echo("\naccepted")


def _report(result):
    """Prints tables of what a graph file contains."""
    counts = ", ".join(f"{name} {count}" for name, count in result.operations.items())
    print_table(
        [
            ("file", str(result.path)),
            ("size", f"{result.bytes:,} bytes"),
            ("sha256", result.sha256),
            ("written by", f"TensorFlow {result.tensorflow or '?'}"),
            ("weights", f"{result.weights:,}"),
            ("functions", f"{result.functions:,}"),
            ("operations", counts),
        ]
    )
    rows = [
        (name, *(", ".join(f"{key}: {spec}" for key, spec in part.items()) for part in parts))
        for name, parts in ((name, s.values()) for name, s in result.signatures.items())
    ]
    echo("")
    print_table([("SIGNATURE", "INPUTS", "OUTPUTS"), *rows])
