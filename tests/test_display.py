"""What a notebook shows of objects: tables and pictures."""

import json

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.display import Table, html_picture, html_table
from zoo.errors import InputError


def test_a_table_is_a_list_that_a_notebook_shows():
    table = Table([1, 2], lambda items: [("NAME",), *((f"<{item}>",) for item in items)])
    assert table == [1, 2]
    assert json.dumps(table) == "[1, 2]"
    assert repr(table) == "[1, 2]"
    assert table._repr_html_().count("<tr>") == 3
    assert "&lt;2&gt;" in table._repr_html_()


def test_lines_are_below_a_table_and_no_text_is_html():
    shown = html_table([("a", "b"), ("<i>", "&")], ["a < b"])
    assert shown.count("<th ") == shown.count("<td ") == 2
    assert "<i>" not in shown
    assert shown.endswith("</table><div>a &lt; b</div>")
    assert "<tr>" not in html_table([], ["nothing"])


def test_a_picture_is_in_the_html(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    assert 'alt="a"' in html_picture(tmp_path / "a.png")
    assert "base64,iVBOR" in html_picture(tmp_path / "a.png")


def test_images_are_shown_as_a_picture():
    images = np.zeros((6, 4, 4, 3), np.float32)
    images[1, :, :, 0] = 1.0
    picture = zoo.show(images, columns=3)
    assert picture.mode == "RGB"
    assert picture.width / picture.height == pytest.approx(1.5, abs=0.1)
    colours = {picture.getpixel((int(x * picture.width), picture.height // 4)) for x in (0.2, 0.5)}
    assert colours == {(0, 0, 0), (255, 0, 0)}
    assert zoo.show(images[..., :1]).mode == "L"


@pytest.mark.parametrize("shape", [(4, 4, 1), (0, 4, 4, 1), (1, 4, 4, 2), (8,)])
def test_only_images_are_shown(shape):
    with pytest.raises(InputError, match=r"Expected images .* Received: images of shape"):
        zoo.show(np.zeros(shape))


@pytest.mark.parametrize("name", ["mnist", "mnist_binary"])
def test_splits_are_shown_with_what_zoo_data_prints(name):
    splits = zoo.load_dataset(name)
    assert repr(splits) == splits.describe()
    shown = splits._repr_html_()
    for text in ("55,000", "10,000", "28x28x1", "classes: 0, 1, 2", *splits.train.notes):
        assert text in shown
    assert repr(splits.test).startswith(f"<test split of {name}: 10,000 images of shape")


def test_the_card_of_a_pretrained_model_and_a_comparison_are_shown():
    from zoo.exports import cards, pretrained

    card = cards.read_card(pretrained.find("pixelcnn"))
    assert json.loads(json.dumps(card)) == card
    shown = card._repr_html_()
    for text in ("binarized_mnist", "732,175", "sample, log_prob", "-80.29 +- 0.20 nats", "REAL"):
        assert text in shown
    comparison = zoo.compare("pixelcnn", "pixelrnn")
    assert repr(comparison) == str(comparison)
    shown = comparison._repr_html_()
    for row in comparison.table():
        assert all(text in shown for text in row)
