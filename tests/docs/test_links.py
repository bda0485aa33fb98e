"""Relative links and anchors in the documentation lead somewhere."""

import re
from pathlib import Path

import pytest
from support.pages import PAGES, ROOT, name_of

LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')


def links(text):
    """Returns the links of a page, without those in blocks of code and to other sites."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = [first or second for first, second in LINK.findall(text)]
    return [target for target in targets if not re.match("https?:", target)]


def anchors(text):
    """Returns the anchors of the headings of a page, as GitHub and mkdocs make them."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


def dead(page):
    """Returns the links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text()):
        name, _, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        is_page = path.suffix == ".md" and path.is_file()
        if not path.exists() or (anchor and not (is_page and anchor in anchors(path.read_text()))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_link_is_dead(page):
    assert dead(page) == []


def test_the_pages_have_many_links():
    assert sum(len(links(page.read_text())) for page in PAGES) > 250


def test_dead_links_are_detected(tmp_path):
    page = tmp_path / "page.md"
    good = "# A heading\n\n[a](#a-heading) [b](page.md#a-heading) [c](https://example.com/x)\n"
    page.write_text(f'{good}\n[d](no.md) [e](#no) [f](page.md#no) <img src="no.png">\n')
    assert dead(page) == ["no.md", "#no", "page.md#no", "no.png"]


def test_every_module_in_the_source_layout_exists():
    text = (ROOT / "docs" / "contributing.md").read_text()
    (layout,) = re.findall(r"## Source layout\n\n```text\n(.*?)```", text, re.DOTALL)
    names = re.findall(r"^(?:zoo|plugins|tests|saved_models)/\S*|(?<=, )\w+\.py", layout, re.M)
    assert len(names) > 18
    for name in names:
        path = Path(name.rstrip(","))
        assert (ROOT / path).exists() or (ROOT / "zoo" / path).exists(), name
