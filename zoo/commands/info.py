"""`zoo info NAME`: the paper, options, methods and pretrained weights of a model."""

import click

from zoo.commands import _options
from zoo.commands._console import echo, print_table


@click.command()
@_options.model
@_options.as_json
def command(name, as_json):
    """Describe a model: paper, methods, options, pretrained weights.

    NAME is a name in `zoo list`, PACKAGE:NAME, or FILE.py:Class.
    """
    from zoo import registry
    from zoo.exports import pretrained
    from zoo.registry.options import FROM_DATA

    entry = registry.find(name)
    description = registry.describe(name)
    options = [option for option in description.options if option.name not in FROM_DATA]
    models = registry.models()
    tags = [*pretrained.pretrained(models).get(entry, {})]
    name = next((shortest for shortest, other in models.items() if other == entry), name)

    if as_json:
        import json
        from dataclasses import asdict

        fields = {
            **asdict(entry),
            "name": name,
            "can": description.methods,
            "recipe": description.recipe,
            "options": [
                {
                    "name": option.name,
                    "type": option.type,
                    "required": option.required,
                    "default": None if option.required else option.default,
                    "meaning": option.meaning,
                }
                for option in options
            ],
            "pretrained": tags,
        }
        echo(json.dumps(fields, indent=2, default=str))
        return

    recipe = ", ".join(f"{key}={value}" for key, value in description.recipe.items())
    print_table(
        [
            ("name", name),
            ("summary", entry.summary or "-"),
            ("family", entry.family or "-"),
            ("source", entry.source or "-"),
            ("package", f"{entry.package} {entry.version}" if entry.package else entry.value),
            ("methods", ", ".join(description.methods) or "-"),
            ("recipe", recipe or "-"),
            ("pretrained", ", ".join(tags) or "-"),
        ]
    )
    if options:
        echo(f"\nOptions, set with: zoo train {name} --set {options[0].name}=VALUE")
        rows = [
            (
                option.name,
                option.type,
                "required" if option.required else str(option.default),
                option.meaning,
            )
            for option in options
        ]
        print_table([("NAME", "TYPE", "DEFAULT", "DESCRIPTION"), *rows])
