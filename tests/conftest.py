import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Progress(list):
    """What a computation told of its progress: the number of things to come, then the parts done.

    Its `begin` is what the computation is given.
    """

    def begin(self, total):
        self.append(total)
        return self.append


@pytest.fixture
def progress():
    return Progress()


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A function that exports a model and loads it, without the check in another process."""
    import zoo
    from zoo import saving

    monkeypatch.setattr(saving, "_run_as_stranger", lambda folder: {"ms_per_image": 0.0})
    return lambda model: saving.load(zoo.export(model, tmp_path / type(model).__name__))
