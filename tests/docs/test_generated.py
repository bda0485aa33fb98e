"""The generated parts of the documentation are up to date."""

import runpy

import pytest
from support.pages import ROOT, name_of

MODELS = runpy.run_path(str(ROOT / "docs" / "models.py"))
PARTS = MODELS["parts"]()
REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))["pages"]()


@pytest.mark.parametrize("page", PARTS, ids=name_of)
def test_what_pages_say_of_models_is_up_to_date(page):
    text = page.read_text()
    assert MODELS["BEGIN"] + PARTS[page] + MODELS["END"] in text, "Run: python docs/models.py"


@pytest.mark.parametrize("page", REFERENCE, ids=name_of)
def test_the_reference_is_up_to_date(page):
    assert page.read_text() == REFERENCE[page], "Run: python docs/reference.py"


def test_every_model_and_pretrained_model_is_on_a_page():
    models = MODELS["list_models"]()
    assert {path.stem for path in ROOT.glob("docs/models/*.md")} == {
        "index",
        *(model.name for model in models),
    }
    listed = {folder for model in models for folder in model.pretrained}
    saved = {*ROOT.glob("saved_models/*-*"), *ROOT.glob("plugins/*/*/saved_models/*")}
    assert listed == {path for path in saved if not path.name.startswith("features-")}
    assert len(listed) >= 12


def test_a_model_of_text_shows_the_beginning_of_a_text(tmp_path):
    (tmp_path / "samples.txt").write_text("--- 0 ---\nTo <be> | or\n\nnot to be\n")
    beginning = "--- 0 ---<br>To &lt;be&gt; &#124; or<br>not to be"
    assert MODELS["picture"](tmp_path, tmp_path) == beginning


def test_the_reference_describes_what_is_public():
    text = REFERENCE[ROOT / "docs" / "reference" / "python.md"]
    for part in ("## zoo.train\n", "epochs: int | None = None", "* `seed`: int in [0, 2**31);"):
        assert part in text
