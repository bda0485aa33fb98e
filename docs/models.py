"""Writes the table of pretrained models in README.md, from their cards.

python docs/models.py           writes it
python docs/models.py --check   exits with 1 if it is not what the cards say
"""

import argparse
import sys
from pathlib import Path

from zoo import registry, saving, training
from zoo.commands.evaluate import cells

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- of the cards, by docs/models.py -->\n", "<!-- end -->\n"
HEAD = "| | pretrained | command | parameters | score | training | an image |\n"
SHOWN = ("log_likelihood", "elbo", "iw_bound", "frechet_distance", "coverage")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    before = README.read_text()
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    after = head + BEGIN + table() + END + tail
    if check and after != before:
        sys.exit("README.md is not what the cards say: python docs/models.py")
    README.write_text(after)


def table():
    rows = [HEAD, "|---|---|---|---|---|---|---|\n"]
    for tags in registry.pretrained().values():
        rows += [row(tag, folder) for tag, folder in tags.items()]
    return "".join(rows)


def row(tag, folder):
    card = saving.read_card(folder)
    picture = f'<img src="{folder.relative_to(README.parent)}/samples.png" width="96" alt="">'
    parts = [
        picture,
        f"[`{tag}`]({folder.relative_to(README.parent)}/card.json)",
        f"`{card['command']}`",
        f"{card['parameters']:,}",
        "<br>".join(scores(card)),
        f"{training.duration(card['training_seconds'])}, {card['environment']['device']}",
        f"{card['ms_per_image']:.1f} ms",
    ]
    return f"| {' | '.join(parts)} |\n"


def scores(card):
    """Writes the scores on all of the test set that the table shows."""
    for score in card["scores"]:
        protocol = score["protocol"]
        if score["metric"] in SHOWN and protocol["count"] == 10_000:
            metric, value, real, _ = cells(score)
            yield f"{metric} {value}" + (f", of real images {real}" if real else "")


if __name__ == "__main__":
    main()
