"""What a run or a command saves, as small as possible: what it replaces, saves, and must leave."""

import json

from zoo import storage
from zoo.exports import cards
from zoo.runs.folder import Run

OLD, NEW = b"old" * 5000, b"new" * 5000


def fill(content):
    def write(folder):
        (folder / "deep").mkdir()
        (folder / "weights").write_bytes(content)
        (folder / "deep" / "slots").write_bytes(content[:10])

    return write


def content(folder, seal=storage.MANIFEST):
    """Returns what a valid folder holds, or None if there is none; a damaged one is an error."""
    if not folder.exists():
        return None
    storage.verify(folder, seal)
    assert (folder / "deep" / "slots").read_bytes() == (folder / "weights").read_bytes()[:10]
    return (folder / "weights").read_bytes()


class Checkpoint:
    """A run commits its third checkpoint and deletes its first."""

    def prepare(self, folder):
        for step in (1, 2):
            storage.commit(folder / f"step-{step}", fill(OLD), {"step": step})

    def save(self, folder):
        storage.commit(folder / "step-3", fill(NEW), {"step": 3})
        storage.prune(folder, {"step-2", "step-3"})

    def check(self, folder, saved):
        assert content(folder / "step-2") == OLD
        assert content(folder / "step-3") in ((NEW,) if saved else (NEW, None))
        assert content(folder / "step-1") in (OLD, None)
        newest, record = storage.first_good(folder, storage.sealed(folder)[::-1])
        assert record["step"] in (2, 3)
        assert not [*folder.glob(".damaged-*")]
        if newest.name == "step-2":
            self.save(folder)
        storage.prune(folder, {"step-2", "step-3"})
        assert {path.name for path in folder.iterdir()} == {"step-2", "step-3"}


class Record:
    """run.json is replaced."""

    def prepare(self, folder):
        storage.write_json(folder / "run.json", {"epochs": 1, "old": "x" * 9999})

    def save(self, folder):
        storage.write_json(folder / "run.json", {"epochs": 2, "new": "y" * 9999})

    def check(self, folder, saved):
        record = json.loads((folder / "run.json").read_text())
        assert len(record[{1: "old", 2: "new"}[record["epochs"]]]) == 9999
        assert record["epochs"] == 2 or not saved


class Log:
    """The line of the third epoch is appended to metrics.jsonl."""

    def prepare(self, folder):
        for epoch in (1, 2):
            Run(folder).append_metrics({"epoch": epoch})

    def save(self, folder):
        Run(folder).append_metrics({"epoch": 3, "loss": 0.5})

    def check(self, folder, saved):
        epochs = [line["epoch"] for line in Run(folder).metrics]
        assert epochs in (([1, 2, 3],) if saved else ([1, 2], [1, 2, 3]))


class Export:
    """The SavedModel of a run is replaced by a newer one."""

    def prepare(self, folder):
        storage.commit(folder / "saved_model", fill(OLD), {"step": 1}, cards.CARD)

    def save(self, folder):
        storage.settle(folder / "saved_model")
        storage.remove(folder / ".tmp-saved_model")
        storage.commit(folder / ".tmp-saved_model", fill(NEW), {"step": 2}, cards.CARD)
        storage.supersede(folder / "saved_model", folder / ".tmp-saved_model")

    def check(self, folder, saved):
        storage.remove_torn(folder)
        storage.settle(folder / "saved_model")
        assert content(folder / "saved_model", cards.CARD) in ((NEW,) if saved else (OLD, NEW))
        assert [path.name for path in folder.iterdir()] == ["saved_model"]


class Card:
    """A score is added to the card of a SavedModel."""

    score = {"metric": "fd", "value": 3.0, "protocol": {"dataset": "mnist"}}

    def prepare(self, folder):
        record = {"schema": cards.SCHEMA, "parameters": 3, "scores": []}
        storage.commit(folder / "model", fill(OLD), record, cards.CARD)

    def save(self, folder):
        cards.add_score(folder / "model", self.score)

    def check(self, folder, saved):
        assert content(folder / "model", cards.CARD) == OLD
        scores = cards.read_card(folder / "model")["scores"]
        assert scores in (([self.score],) if saved else ([], [self.score]))


class Samples:
    """Samples are written over a picture that the user has, and as arrays in a new folder."""

    def prepare(self, folder):
        (folder / "samples.png").write_bytes(OLD)

    def images(self):
        import numpy as np

        return np.linspace(0.0, 1.0, 4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8, 1)

    def save(self, folder):
        from zoo import render
        from zoo.commands._pictures import save_arrays, writing_to

        with writing_to(folder / "samples.png") as path:
            render.save_grid(path, self.images(), columns=2)
        with writing_to(folder / "new" / "x.npz") as path:
            save_arrays(path, images=self.images())

    def check(self, folder, saved):
        import numpy as np
        from PIL import Image

        if (folder / "samples.png").read_bytes() != OLD:
            with Image.open(folder / "samples.png") as image:
                image.load()
        else:
            assert not saved
        if saved or (folder / "new" / "x.npz").exists():
            with np.load(folder / "new" / "x.npz") as arrays:
                np.testing.assert_array_equal(arrays["images"], self.images())


ARTEFACTS = (Checkpoint, Record, Log, Export, Card, Samples)
