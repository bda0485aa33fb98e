"""Writes the tables of pretrained models in README.md and those of the plugins, from their cards.

python docs/models.py
"""

import sys
from pathlib import Path

from zoo import saving, training
from zoo.commands.evaluate import cells

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- of the cards, by docs/models.py -->\n", "<!-- end -->\n"
HEAD = "| | pretrained | command | parameters | score | training | an image |\n"
RULE = "|---|---|---|---|---|---|---|\n"
SHOWN = ("log_likelihood", "elbo", "iw_bound", "lower_bound", "frechet_distance", "coverage")


def main():
    for readme in readmes():
        head, begin, rest = readme.read_text().partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not (begin and end):
            sys.exit(f"Expected {BEGIN.strip()} and {END.strip()} in {readme}.")
        readme.write_text(head + BEGIN + table(readme) + END + tail)


def readmes():
    """Lists the README.md of each distribution that has pretrained models."""
    found = [ROOT / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))]
    return [readme for readme in found if models(readme)]


def models(readme):
    """Lists the folders of the pretrained models of a README's distribution."""
    places = ("saved_models", "zoo_*/saved_models")
    pictures = [p for at in places for p in readme.parent.glob(f"{at}/*/samples.png")]
    return sorted(picture.parent for picture in pictures)


def table(readme):
    return "".join([HEAD, RULE, *(row(folder, readme.parent) for folder in models(readme))])


def row(folder, root):
    where = folder.relative_to(root)
    card = saving.read_card(folder)
    parts = [
        f'<img src="{where}/samples.png" width="96" alt="">',
        f"[`{folder.name}`]({where}/card.json)",
        "<br>".join(f"`{line}`" for line in [card["command"], *card.get("extended_by", [])]),
        f"{card['parameters']:,}",
        "<br>".join(scores(card)),
        f"{training.duration(card['training_seconds'])}, {card['environment']['device']}",
        "".join(cells(s)[1] for s in card["scores"] if s["protocol"].get("n") == 64),
    ]
    return f"| {' | '.join(parts)} |\n"


def scores(card):
    """Writes the scores on all of the test set that the table shows."""
    tested = {"dataset": card["recipe"]["data"]["name"], "split": "test"}
    found = [s for s in card["scores"] if tested.items() <= s["protocol"].items()]
    most = max((s["protocol"]["count"] for s in found), default=0)
    for score in found:
        protocol = score["protocol"]
        if score["metric"] in SHOWN and protocol["count"] == most:
            metric, value, real, _ = cells(score)
            yield f"{metric} {value}" + (f", of real images {real}" if real else "")


if __name__ == "__main__":
    main()
