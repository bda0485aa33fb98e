"""Makes models of API 1 work, for this release only.

A model of API 1 has the constructor arguments shape, levels and num_classes for `spec` and
`condition`, and its methods have the argument labels for `condition`.
"""

import functools
import inspect

from zoo.model import ENDPOINTS, GenerativeModel
from zoo.registry.entry_points import API_1_ADVICE
from zoo.registry.options import API_1
from zoo.spec import Spec

__all__ = ["adapt", "is_of_api_1"]


def is_of_api_1(options) -> bool:
    """Returns whether these are the options of a model of API 1, a list of `Option`."""
    names = [option.name for option in options]
    return "shape" in names and "spec" not in names


@functools.cache
def adapt(cls):
    """Returns a class of API 2 that does what a class of API 1 does.

    Raises:
      TypeError: if the class is derived from a class of zoo other than GenerativeModel.
    """
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "zoo"]
    if bases != [GenerativeModel]:
        raise TypeError(f"{bases[0].__name__} has no form of API 1: {API_1_ADVICE}")
    _, *parameters = inspect.signature(cls.__init__, eval_str=True).parameters.values()
    names = [parameter.name for parameter in parameters]
    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = [
        inspect.Parameter("self", by_name),
        inspect.Parameter("spec", by_name, annotation=Spec),
    ]
    if "num_classes" in names:
        optional = {"default": None, "annotation": Spec | None}
        first.append(inspect.Parameter("condition", by_name, **optional))

    def create(self, spec, condition=None, **options):
        self.require(spec.kind == "image", "A model of API 1 is for images.", spec=spec)
        labelled = condition is None or condition.kind == "label"
        self.require(labelled, "A model of API 1 takes labels.", condition=condition)
        options |= {"shape": spec.shape, "levels": spec.levels}
        if "num_classes" in names:
            options["num_classes"] = condition.levels if condition else 0
        cls.__init__(self, **options)

    others = [parameter for parameter in parameters if parameter.name not in API_1]
    create.__signature__ = inspect.Signature([*first, *others])
    methods = {
        name: _renamed(method, "condition", "labels")
        for name in ENDPOINTS
        if callable(method := getattr(cls, name, None))
    }
    about = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    adapted = type(cls.__name__, (cls, _Model), {**about, **methods, "__init__": create})
    for name in methods:  # which call each other with labels
        setattr(adapted, name, _renamed(getattr(adapted, name), "labels", "condition"))
    return adapted


class _Model(GenerativeModel):
    """What a class of API 1 is derived from, once it is adapted."""

    def __init__(self, shape, levels, num_classes=0):
        super().__init__(
            Spec(shape, levels), Spec((), num_classes, "label") if num_classes else None
        )

    def require_images(self):
        """Does nothing: a model is for images unless it says otherwise."""


def _renamed(method, old, new):
    """Wraps a method to be called with an argument by another name."""

    def wrapper(self, *values, **named):
        if old in named:
            named[new] = named.pop(old)
        return method(self, *values, **named)

    return wrapper
