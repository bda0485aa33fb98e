"""The site builds, without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest
from support.pages import ROOT


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None,
    reason="mkdocs-material is not installed: pip install -e '.[docs]'",
)
def test_the_site_builds(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'src="gallery.png"' in (tmp_path / "index.html").read_text()
    checked = set()
    for page in tmp_path.rglob("*.html"):
        for link in re.findall(r'(?:src|href)="([^"#?]+)', page.read_text()):
            if page.name != "404.html" and not re.match("https?:|data:", link):
                checked.add((page.parent / unquote(link)).resolve())
    assert [path for path in checked if not path.exists()] == []
    assert len(checked) > 100
