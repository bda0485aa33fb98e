"""`zoo list`: the models that are installed."""

import click

from zoo.commands import print_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json):
    """List the models that are installed."""
    from zoo import registry

    models = registry.models()
    shipped = registry.pretrained(models)
    rows = [(name, entry, [*shipped.get(entry, {})]) for name, entry in models.items()]
    if off := registry.switched_off():
        click.echo(off, err=True)
    if as_json:
        import json
        from dataclasses import asdict

        found = [{**asdict(entry), "name": name, "pretrained": tags} for name, entry, tags in rows]
        click.echo(json.dumps(found, indent=2))
        return
    if not rows:
        click.echo("No models. Install zoo's own with: pip install keras-genzoo", err=True)
        return
    table = [("NAME", "FAMILY", "PACKAGE", "PRETRAINED", "SUMMARY")]
    for name, entry, tags in rows:
        summary = f"Cannot be used: {entry.problem}" if entry.problem else entry.summary
        table.append((name, entry.family or "-", entry.package, ", ".join(tags) or "-", summary))
    print_table(table)
