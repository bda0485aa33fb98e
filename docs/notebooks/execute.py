"""Executes the notebooks in this folder and stores their outputs in them.

python docs/notebooks/execute.py [NAME.ipynb …]

Requires the extra `notebooks`. Each notebook runs in an empty folder.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.glob("*.ipynb"))
SECONDS = 600  # of a cell


def main(names):
    for path in map(Path, names) if names else NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, folder), path)


def execute(path, folder):
    """Executes a notebook in a folder, and returns it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for output in outputs(notebook):
        output.get("data", {}).pop("image/jpeg", None)  # a copy that Pillow adds to the PNG
    text = nbformat.writes(notebook).replace(f"{folder}/", "")  # as the paths in the cells
    return nbformat.reads(text, as_version=4)


def outputs(notebook):
    """Yields the outputs of all cells."""
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


if __name__ == "__main__":
    main(sys.argv[1:])
