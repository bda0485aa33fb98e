"""A model zoo of generative models for TensorFlow and Keras 3.

    import zoo

    zoo.list_models()
    run = zoo.train("vae", epochs=5)
    zoo.load(run).sample(16, seed=0)

`import zoo` is fast: submodules load on first use.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` does the same
    from zoo import (
        adversarial,
        distributions,
        layers,
        random,
        raster,
        schedules,
        testing,
    )
    from zoo.datasets import Splits, load_dataset
    from zoo.display import show
    from zoo.evaluation.comparison import compare
    from zoo.evaluation.evaluate import evaluate
    from zoo.evaluation.verification import verify
    from zoo.exports.export import export
    from zoo.exports.saved_model import load
    from zoo.model import GenerativeModel
    from zoo.registry import create, list_models
    from zoo.registry.options import Pretrained
    from zoo.runs.folder import Run
    from zoo.runs.listing import list_runs
    from zoo.runs.restore import restore
    from zoo.runs.training import resume, train
    from zoo.spec import Spec

    __version__: str

API_VERSION = 2

_HOME = {
    "GenerativeModel": "zoo.model",
    "Pretrained": "zoo.registry.options",
    "Run": "zoo.runs.folder",
    "Spec": "zoo.spec",
    "Splits": "zoo.datasets",
    "compare": "zoo.evaluation.comparison",
    "create": "zoo.registry",
    "evaluate": "zoo.evaluation.evaluate",
    "export": "zoo.exports.export",
    "list_models": "zoo.registry",
    "list_runs": "zoo.runs.listing",
    "load": "zoo.exports.saved_model",
    "load_dataset": "zoo.datasets",
    "restore": "zoo.runs.restore",
    "resume": "zoo.runs.training",
    "show": "zoo.display",
    "train": "zoo.runs.training",
    "verify": "zoo.evaluation.verification",
}
_MODULES = (
    "adversarial",
    "distributions",
    "layers",
    "random",
    "raster",
    "schedules",
    "testing",
)

__all__ = ["API_VERSION", *_HOME, *_MODULES]

if "ipykernel" in sys.modules:  # a notebook shows what TensorFlow writes to stderr
    from zoo.quiet import quiet_tensorflow

    quiet_tensorflow()


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"zoo.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*__all__, "__version__"])


def _version():
    from importlib import metadata

    return metadata.version("keras-genzoo")
