"""Hook of mkdocs: lists folders in the navigation, and makes links to files outside docs/ work.

The site contains a copy of each file outside docs/ that a page links to.
"""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

LINK = re.compile(r'(?<=\]\()[^)#\s]+|(?<=src=")[^"]+')
UNCHANGED = (".md", ".png", ".gif", ".webp")  # a browser shows other files as text


def on_config(config):
    """Replaces a folder in the navigation by its pages."""
    for section in config.nav:
        for title, folder in section.items() if isinstance(section, dict) else ():
            if isinstance(folder, str) and folder.endswith("/"):
                pages = sorted(Path(config.docs_dir, folder).glob("*.md"))
                names = sorted((page.name for page in pages), key=lambda name: name != "index.md")
                section[title] = [f"{folder}{name}" for name in names]
    return config


def on_files(files, config):
    """Adds the files to the site; those that are Markdown become pages."""
    pages = [*files.documentation_pages()]
    for page in pages:  # it grows
        for target in LINK.findall(page.content_string):
            path = linked(page, target)
            if path.is_file() and not files.get_file_from_path(address(path, config)):
                files.append(File.generated(config, address(path, config), abs_src_path=str(path)))
                if path.suffix == ".md":
                    pages.append(files.get_file_from_path(address(path, config)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Replaces links to files by links to what the site has of them."""

    def replace(match):
        path = linked(page.file, match[0])
        if not path.is_file():
            return match[0]
        return os.path.relpath(address(path, config), Path(page.file.src_uri).parent)

    return LINK.sub(replace, markdown)


def linked(page, target):
    """Returns the path that a link of a page stands for."""
    return Path(os.path.normpath(Path(page.abs_src_path).parent / target))


def address(path, config):
    """Returns where a file is in the site."""
    docs = Path(config.docs_dir)
    if docs in path.parents:
        return path.relative_to(docs).as_posix()
    name = path.relative_to(docs.parent).as_posix()
    return f"files/{name}" + ("" if path.suffix in UNCHANGED else ".txt")
