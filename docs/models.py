"""Writes the table of pretrained models in README.md, from their cards.

python docs/models.py
"""

import sys
from pathlib import Path

from zoo import registry, saving, training
from zoo.commands.evaluate import cells

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- of the cards, by docs/models.py -->\n", "<!-- end -->\n"
HEAD = "| | pretrained | command | parameters | score | training | an image |\n"
RULE = "|---|---|---|---|---|---|---|\n"
SHOWN = ("log_likelihood", "elbo", "iw_bound", "frechet_distance", "coverage")


def main():
    head, begin, rest = README.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        sys.exit(f"Expected {BEGIN.strip()} and {END.strip()} in {README}.")
    rows = table()
    if rows == HEAD + RULE:
        sys.exit(f"Expected pretrained models beside {README}.")
    README.write_text(head + BEGIN + rows + END + tail)


def table():
    rows = [HEAD, RULE]
    for tags in registry.pretrained().values():
        here = {t: folder for t, folder in tags.items() if folder.is_relative_to(README.parent)}
        rows += [row(tag, folder) for tag, folder in here.items()]
    return "".join(rows)


def row(tag, folder):
    card = saving.read_card(folder)
    picture = f'<img src="{folder.relative_to(README.parent)}/samples.png" width="96" alt="">'
    parts = [
        picture,
        f"[`{tag}`]({folder.relative_to(README.parent)}/card.json)",
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
