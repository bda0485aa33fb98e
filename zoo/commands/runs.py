"""`zoo runs`: lists the runs in a folder."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table


@click.command()
@click.argument("folder", default="runs", type=_options.PathType(file_okay=False))
@_options.as_json
def command(folder, as_json):
    """List the runs in FOLDER (default: runs), newest last."""
    import json

    from zoo.runs.listing import describe, list_runs, table

    runs = list_runs(folder)
    if as_json:
        echo(json.dumps([describe(run) for run in runs], indent=2))
    elif not runs:
        echo(f"No runs in {folder}. Start one with: zoo train NAME", err=True)
    else:
        print_table(table(runs))
