"""Reads what a model class declares from its source text.

Importing a model takes seconds, because it imports TensorFlow. If the text alone does not determine
the class, for example because of a decorator, `read_class` raises `UnreadableError`.
"""

import ast
import inspect
import operator
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zoo.registry.entry_points import is_path, module_file
from zoo.registry.options import Option, Pretrained, read_meanings
from zoo.spec import Spec

__all__ = ["Description", "UnreadableError", "is_recipe", "read_class"]

_CONTRACT = "zoo.model", "GenerativeModel"
_BUILTINS = {kind.__name__: kind for kind in (bool, dict, float, int, list, str, tuple)}
_TYPES = {"Pretrained": Pretrained, "Spec": Spec}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Div: operator.truediv,
    ast.Mult: operator.mul,
    ast.Sub: operator.sub,
}


class UnreadableError(Exception):
    """Raised if the source text does not determine what a class declares."""


@dataclass(frozen=True)
class Description:
    """What a model class declares.

    Args:
      methods: names of the endpoints that the class implements, in the order of the contract.
      recipe: dict; the default arguments of `zoo train`.
      options: list of `Option`; the arguments of the constructor.
    """

    methods: list[str]
    recipe: dict
    options: list[Option]


def read_class(value):
    """Reads a subclass of `zoo.GenerativeModel` from its source text.

    Base classes are followed within zoo and within the top-level package of the class.

    Args:
      value: "package.module:Class" or "/path/to/file.py:Class".

    Returns:
      `Description`.

    Raises:
      UnreadableError: if the text does not determine it.
    """
    module_name, _, name = value.rpartition(":")
    try:
        cls = _find_class(module_name, name, {"zoo", module_name.partition(".")[0]})
        doc = ast.get_docstring(cls.node, clean=False) or ""
        attributes, ancestors = _attributes(cls), {cls.key}
        while cls.key != _CONTRACT:
            cls = _base(cls)
            if cls.key in ancestors:
                raise UnreadableError(value)
            ancestors.add(cls.key)
            attributes = {**_attributes(cls), **attributes}
        contract = cls.module
        recipe = _evaluate(*attributes["recipe"])
        if not is_recipe(recipe, _evaluate(contract, contract.names["RECIPE"])):
            raise UnreadableError("recipe")
        names = _evaluate(contract, contract.names["CAPABILITIES"])
        methods = [name for name in names if _is_method(attributes.get(name))]
        return Description(methods, recipe, _options(*attributes["__init__"], read_meanings(doc)))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise UnreadableError(value) from error
    except (RecursionError, MemoryError) as error:  # raised for text that is nested too deeply
        raise UnreadableError(value) from error


def is_recipe(recipe, kinds):
    """Returns whether a recipe has only the keys of `kinds`, with values of those types."""
    return isinstance(recipe, dict) and all(
        isinstance(value, kinds.get(key, ())) for key, value in recipe.items()
    )


class _Import(NamedTuple):
    """The target of an imported name: a module, or an attribute of a module."""

    module: str
    attribute: str | None = None


class _Class(NamedTuple):
    """A class statement and its module."""

    module: "_Module"
    node: ast.ClassDef

    @property
    def key(self):
        return self.module.name, self.node.name


class _Module:
    """The names that a module binds at its top level, read without running it.

    `names` maps each name to its `_Import`, its class or function statement, or the expression that
    is assigned to it. A name that is bound twice, or by other code, maps to None.
    """

    def __init__(self, name, packages):
        path = Path(name) if is_path(name) else module_file(name)
        self.name, self.packages, self.names = name, packages, {}
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for statement in ast.parse(path.read_bytes()).body:
            for bound, binding in self._bindings(statement):
                is_new = self.names.setdefault(bound, binding) == binding
                self.names[bound] = binding if is_new else None

    def _bindings(self, statement):
        match statement:
            case ast.Import():
                for alias in statement.names:
                    top = alias.name.partition(".")[0]
                    yield alias.asname or top, _Import(alias.name if alias.asname else top)
            case ast.ImportFrom():
                module = statement.module or ""
                if statement.level:
                    parents = self.package.split(".")
                    kept = parents[: len(parents) + 1 - statement.level]
                    module = ".".join([*kept, *filter(None, [module])])
                for alias in statement.names:
                    yield alias.asname or alias.name, _Import(module, alias.name)
            case ast.ClassDef() | ast.FunctionDef():
                yield statement.name, statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, statement.value
            case ast.Expr(value=ast.Constant()):
                pass
            case _:  # may rebind or change every name that it contains
                for node in ast.walk(statement):
                    for name in (getattr(node, key, None) for key in ("id", "name", "asname")):
                        if isinstance(name, str):
                            yield name, None


def _find_class(module_name, name, packages):
    """Returns the `_Class` of a name in a module, following imports."""
    if (module_name, name) == ("zoo", "GenerativeModel"):  # imported on first use
        module_name = "zoo.model"
    if module_name.partition(".")[0] not in packages:
        raise UnreadableError(module_name)
    module = _Module(module_name, packages)
    match module.names.get(name):
        case ast.ClassDef() as node:
            return _Class(module, node)
        case _Import(module=source, attribute=str(attribute)):
            return _find_class(source, attribute, packages)
    raise UnreadableError(name)


def _base(cls):
    """Returns the only base class of a class."""
    module, node = cls
    if len(node.bases) != 1 or node.keywords or node.decorator_list:
        raise UnreadableError(node.name)
    top, *attributes = ast.unparse(node.bases[0]).split(".")
    match module.names.get(top):
        case ast.ClassDef() as base if not attributes:
            return _Class(module, base)
        case _Import() as source:
            parts = [*filter(None, source), *attributes]
            return _find_class(".".join(parts[:-1]), parts[-1], module.packages)
    raise UnreadableError(node.name)


def _attributes(cls):
    """Returns a dict from each name in a class body to its (module, statement or expression)."""
    attributes = {}
    for statement in cls.node.body:
        match statement:
            case ast.FunctionDef():
                attributes[statement.name] = cls.module, statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if statement.value:
                    attributes[name] = cls.module, statement.value
            case ast.Expr() | ast.Pass():
                pass
            case _:
                raise UnreadableError(cls.node.name)
    return attributes


def _is_method(attribute):
    match attribute:
        case None | (_, ast.Constant(value=None)):
            return False
        case (_, ast.FunctionDef(decorator_list=[])):
            return True
    raise UnreadableError


def _options(module, node, meanings):
    """Returns the list of `Option` of a constructor."""
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        raise UnreadableError("__init__")
    positional = [*node.args.posonlyargs, *node.args.args]
    required = [None] * (len(positional) - len(node.args.defaults))
    defaults = [*required, *node.args.defaults, *node.args.kw_defaults]
    _, *pairs = zip([*positional, *node.args.kwonlyargs], defaults, strict=True)
    return [
        Option(
            argument.arg,
            _annotation(module, argument.annotation),
            inspect.Parameter.empty if default is None else _evaluate(module, default),
            meanings.get(argument.arg, ""),
        )
        for argument, default in pairs
    ]


def _annotation(module, node):
    if node is None:
        return inspect.Parameter.empty
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    return _evaluate(module, node)


def _evaluate(module, node):
    """Returns the value of an expression of literals, constants of the module and types."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in module.names:
            match module.names[name]:
                case _Import(module="typing", attribute=str(attribute)):
                    return getattr(typing, attribute)
                case _Import(module="zoo" | "zoo.spec", attribute="Spec"):
                    return Spec
                case _Import(module="zoo", attribute="Pretrained"):
                    return Pretrained
                case ast.expr() as value:
                    return _evaluate(module, value)
        case ast.Name(id=name):
            return _BUILTINS[name]
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            if module.names.get(name) == _Import("typing"):
                return getattr(typing, attribute)
            if module.names.get(name) == _Import("zoo") and attribute in _TYPES:
                return _TYPES[attribute]
        case ast.Tuple() | ast.List():
            items = [_evaluate(module, item) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        case ast.Dict():
            keys, values = ([_evaluate(module, n) for n in ns] for ns in (node.keys, node.values))
            return dict(zip(keys, values, strict=True))
        case ast.Call(func=ast.Name(id="dict"), args=[]) if "dict" not in module.names:
            if all(word.arg for word in node.keywords):  # no **mapping
                return {word.arg: _evaluate(module, word.value) for word in node.keywords}
        case ast.Call(func=ast.Name(id="tuple"), args=[ast.Name(id=name)], keywords=[]):
            match module.names.get(name):
                case ast.Dict(keys=keys) if "tuple" not in module.names:
                    return tuple(_evaluate(module, key) for key in keys)
        case ast.Subscript():
            return _evaluate(module, node.value)[_evaluate(module, node.slice)]
        case ast.UnaryOp(op=ast.USub()):
            return -_evaluate(module, node.operand)
        case ast.BinOp():
            left, right = _evaluate(module, node.left), _evaluate(module, node.right)
            if isinstance(node.op, ast.BitOr):
                return left | right
            if isinstance(left, int | float) and isinstance(right, int | float):
                return _ARITHMETIC[type(node.op)](left, right)
    raise UnreadableError
