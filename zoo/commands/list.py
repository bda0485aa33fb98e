"""`zoo list`: the installed models."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table


@click.command()
@_options.as_json
def command(as_json):
    """List the installed models."""
    from zoo import registry
    from zoo.exports import pretrained
    from zoo.registry.entry_points import plugins_disabled

    models = registry.models()
    tags_of = pretrained.pretrained(models)
    rows = [(name, entry, [*tags_of.get(entry, {})]) for name, entry in models.items()]
    if message := plugins_disabled():
        echo(message, err=True)
    if as_json:
        import json
        from dataclasses import asdict

        fields = [{**asdict(entry), "name": name, "pretrained": tags} for name, entry, tags in rows]
        echo(json.dumps(fields, indent=2))
        return
    if not rows:
        echo(
            "No models are installed. Install the built-in models with: pip install keras-genzoo",
            err=True,
        )
        return
    table = [("NAME", "FAMILY", "PACKAGE", "PRETRAINED", "SUMMARY")]
    for name, entry, tags in rows:
        summary = f"Unusable: {entry.problem}" if entry.problem else entry.summary
        table.append((name, entry.family or "-", entry.package, ", ".join(tags) or "-", summary))
    print_table(table)
