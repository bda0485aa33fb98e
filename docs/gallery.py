"""Draws docs/gallery.png: eight samples of each of six pretrained models.

python docs/gallery.py
"""

import itertools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import zoo
from zoo.render import to_bytes
from zoo.sampling import conditions_in_turn

ROOT = Path(__file__).parents[1]
MODELS = {
    "dcgan-mnist": "DCGAN, given the digit",
    "dcgan-fashion_mnist": "DCGAN, given the class",
    "ddpm-mnist": "DDPM, given the digit",
    "wgan-gp-mnist": "WGAN-GP, given the digit",
    "pixelcnn-mnist": "PixelCNN, given the digit",
    "pixelrnn-binarized_mnist": "PixelRNN, binary images",
}
COUNT, COLUMNS = 8, 2
ZOOM = 3
GAP, TEXT = 6, 40  # pixels between images, and of a caption
PAPER, INK = 255, 60


def main():
    """Samples every model and writes the picture."""
    side = 28 * ZOOM + GAP
    width, height = COUNT * side + 3 * GAP, side + TEXT
    rows = -(-len(MODELS) // COLUMNS)
    picture = Image.new("L", (COLUMNS * width - 2 * GAP, rows * height), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=28)
    corners = itertools.product(range(rows), range(COLUMNS))
    for (row, column), (tag, caption) in zip(corners, MODELS.items(), strict=True):
        left, top = column * width + GAP, row * height
        draw.text((left, top + 4), caption, INK, font)
        for k, image in enumerate(to_bytes(samples(tag))[..., 0]):
            enlarged = Image.fromarray(image).resize(
                (28 * ZOOM, 28 * ZOOM), Image.Resampling.NEAREST
            )
            picture.paste(enlarged, (left + k * side, top + TEXT))
    picture.save(ROOT / "docs" / "gallery.png", optimize=True)


def samples(tag):
    """Returns the first samples of a pretrained model of zoo or of a plugin here."""
    (folder,) = [*ROOT.glob(f"saved_models/{tag}"), *ROOT.glob(f"plugins/*/*/saved_models/{tag}")]
    model = zoo.load(folder)
    return model.sample(COUNT, 0, conditions_in_turn(model.condition, COUNT)).numpy()


if __name__ == "__main__":
    main()
