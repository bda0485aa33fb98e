"""`zoo info NAME`: what a model is, where it comes from, what it takes and what it can do."""

import click

from zoo.commands import complete_model, print_table, quiet_tensorflow


@click.command()
@click.argument("name", shell_complete=complete_model)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name, as_json):
    """Describe a model: its paper, its options, what it can do.

    NAME is one that `zoo list` shows, PACKAGE:NAME, or FILE.py:Class.
    """
    from zoo import registry

    entry = registry.find(name)
    quiet_tensorflow()
    cls = registry.load(name)
    from zoo.model import CAPABILITIES

    can = [verb for verb in CAPABILITIES if callable(getattr(cls, verb, None))]
    recipe = getattr(cls, "recipe", {})
    settable = [o for o in registry.options(cls) if o.name not in registry.FROM_DATA]
    models = registry.models()
    tags = [*registry.pretrained(models).get(entry, {})]
    name = next((typed for typed, known in models.items() if known == entry), name)

    if as_json:
        import json
        from dataclasses import asdict

        found = {
            **asdict(entry),
            "name": name,
            "can": can,
            "recipe": recipe,
            "options": [
                {
                    "name": o.name,
                    "type": o.type,
                    "required": o.required,
                    "default": None if o.required else o.default,
                    "meaning": o.meaning,
                }
                for o in settable
            ],
            "pretrained": tags,
        }
        click.echo(json.dumps(found, indent=2, default=str))
        return

    where = f"{entry.package} {entry.version}" if entry.package else entry.value
    print_table(
        [
            ("name", name),
            ("summary", entry.summary or "-"),
            ("family", entry.family or "-"),
            ("source", entry.source or "-"),
            ("package", where),
            ("can", ", ".join(can) or "-"),
            ("recipe", ", ".join(f"{key}={value}" for key, value in recipe.items()) or "-"),
            ("pretrained", ", ".join(tags) or "-"),
        ]
    )
    if settable:
        click.echo(f"\nOptions, as in: zoo train {name} --set {settable[0].name}=VALUE")
        rows = [
            (o.name, o.type, "required" if o.required else str(o.default), o.meaning)
            for o in settable
        ]
        print_table([("NAME", "TYPE", "DEFAULT", "MEANING"), *rows])
