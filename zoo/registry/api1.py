"""Adapts models of API 1 to API 2, in this release only.

The constructor of an API 1 model takes shape, levels and num_classes instead of `spec` and
`condition`. Its methods take labels instead of `condition`.
"""

import functools
import inspect

from zoo.model import ENDPOINTS, GenerativeModel
from zoo.registry.entry_points import API_1_ADVICE
from zoo.registry.options import API_1
from zoo.spec import Spec

__all__ = ["adapt", "is_of_api_1"]


def is_of_api_1(options) -> bool:
    """Returns whether a list of `Option` is that of an API 1 model."""
    names = [option.name for option in options]
    return "shape" in names and "spec" not in names


@functools.cache
def adapt(cls):
    """Returns a subclass of an API 1 class with the interface of API 2.

    Raises:
      TypeError: if the class is derived from a class of zoo other than GenerativeModel.
    """
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "zoo"]
    if bases != [GenerativeModel]:
        raise TypeError(f"{bases[0].__name__} does not support API 1: {API_1_ADVICE}")
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
        self.require(spec.kind == "image", "A model of API 1 requires images.", spec=spec)
        labelled = condition is None or condition.kind == "label"
        self.require(
            labelled, "The condition of a model of API 1 must be labels.", condition=condition
        )
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
    attributes = {key: getattr(cls, key) for key in ("__module__", "__qualname__", "__doc__")}
    attributes |= {**methods, "__init__": create}
    adapted = type(cls.__name__, (cls, _Model), attributes)
    for name in methods:  # the methods call each other with labels
        setattr(adapted, name, _renamed(getattr(adapted, name), "labels", "condition"))
    return adapted


class _Model(GenerativeModel):
    """The second base class of an adapted class."""

    def __init__(self, shape, levels, num_classes=0):
        super().__init__(
            Spec(shape, levels), Spec((), num_classes, "label") if num_classes else None
        )

    def require_images(self):
        """Does nothing, because models are for images by default."""


def _renamed(method, old, new):
    """Wraps a method so that its argument `new` can be passed as `old`."""

    def wrapper(self, *args, **kwargs):
        if old in kwargs:
            kwargs[new] = kwargs.pop(old)
        return method(self, *args, **kwargs)

    return wrapper
