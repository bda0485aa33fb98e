import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TESTS = Path(__file__).parent
QUICK = {  # files and folders of the tier `quick`, without their slow tests
    TESTS / name
    for name in (
        "datasets",
        "docs/test_commands.py",
        "docs/test_generated.py",
        "docs/test_links.py",
        "evaluation/test_distances.py",
        "registry",
        "test_display.py",
        "test_distributions.py",
        "test_errors.py",
        "test_layers.py",
        "test_layout.py",
        "test_progress.py",
        "test_random.py",
        "test_raster.py",
        "test_render.py",
        "test_schedules.py",
        "test_spec.py",
        "test_storage.py",
    )
}


def pytest_collection_modifyitems(items):
    for item in items:
        if QUICK & {item.path, *item.path.parents} and not item.get_closest_marker("slow"):
            item.add_marker("quick")


@pytest.fixture
def progress():
    """A Progress that records the expected (`totals`) and completed (`done`) parts by name."""
    from zoo.progress import Progress

    class Recorder(Progress):
        def __init__(self):
            self.totals, self.done = {}, {}

        def start(self, total, what):
            self.totals[what], self.done[what], self.what = total, 0, what

        def advance(self, n=1):
            self.done[self.what] += n

    return Recorder()


@pytest.fixture
def no_clean_process(monkeypatch):
    """Disables the verification of exports in a clean process, which takes seconds."""
    from zoo.exports import export

    def check(folder):
        return {"ms_per_image": 0.0}

    monkeypatch.setattr(export, "check_in_clean_process", lambda: check)


@pytest.fixture
def exported(tmp_path, no_clean_process):
    """Returns a function that exports a model and loads the export, without verification."""
    import zoo
    from zoo.exports import saved_model

    return lambda model: saved_model.load(zoo.export(model, tmp_path / type(model).__name__))
