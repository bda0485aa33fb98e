"""A model zoo of generative models for TensorFlow and Keras 3.

    import zoo

    zoo.list_models()
    train, validation, test = zoo.load_dataset("mnist_binary")
    model = zoo.create("vae", shape=(28, 28, 1), levels=2)

Everything is imported when it is first used: `import zoo` costs nothing.
"""

import importlib

API_VERSION = 1

_HOME = {
    "GenerativeModel": "zoo.model",
    "create": "zoo.registry",
    "export": "zoo.saving",
    "list_models": "zoo.registry",
    "load": "zoo.saving",
    "load_dataset": "zoo.datasets",
    "train": "zoo.training",
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
