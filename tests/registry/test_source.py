"""Reading a model's declarations from source text gives the same result as importing it."""

from pathlib import Path

import pytest

from zoo import registry
from zoo.model import CAPABILITIES
from zoo.registry.options import options
from zoo.registry.source import UnreadableError, is_recipe, read_class

ROOT = Path(__file__).parents[2]
PLUGINS = [
    "zoo_diffusion.ddpm:DDPM",
    "zoo_flows.glow:Glow",
    "zoo_flows.realnvp:RealNVP",
    "zoo_gans.lsgan:LSGAN",
    "zoo_gans.wgan_gp:WGANGP",
    "zoo_text.char_gpt:CharGPT",
    "zoo_text.char_rnn:CharRNN",
]
MODEL = """
from __future__ import annotations
import typing
from typing import Literal
import zoo
from zoo import adversarial
from zoo.model import GenerativeModel as Base
from zoo.spec import Spec

DEPTH, WIDTH = 3, 4
RATE = 1 / 4
Shape = tuple[int, int, int]


class Middle(Base):
    recipe = {"data": "mnist", "epochs": 2 + 1}

    def sample(self, num_samples, seed, condition=None, first=0):
        pass

    def encode(self, x, condition=None):
        pass


class Model(Middle):
    '''A model.

    Args:
      depth: how deep.
    '''

    encode = None

    def __init__(self, spec: zoo.Spec, condition: Spec | None = None, *,
                 sides: Shape = (1, 2, 3), depth: "int | None" = -2, rate: float = RATE,
                 kind: typing.Literal["a", "b"] = "a", sizes: typing.Optional[tuple] = (1, 2)):
        pass


class Adversary(adversarial.AdversarialModel):
    recipe = dict(epochs=5)


class Plain(zoo.GenerativeModel):
    pass
"""


def describe(cls):
    methods = [name for name in CAPABILITIES if callable(getattr(cls, name, None))]
    return methods, cls.recipe, options(cls)


def assert_equal(description, cls):
    assert (description.methods, description.recipe, description.options) == describe(cls)


@pytest.mark.parametrize("name", [entry.name for entry in registry.models().values()])
def test_the_text_of_an_installed_model_is_equal_to_its_class(name):
    assert_equal(read_class(registry.find(name).value), registry.load(name))


@pytest.mark.parametrize("value", PLUGINS)
def test_the_text_of_a_first_party_plugin_is_equal_to_its_class(value):
    module, _, name = value.partition(":")
    cls = getattr(__import__(module, fromlist=[name]), name)
    assert_equal(read_class(value), cls)


def test_every_first_party_plugin_is_compared():
    lines = [
        line.split('"')[1]
        for path in ROOT.glob("plugins/*/pyproject.toml")
        for line in path.read_text().partition('"zoo.models"]\n')[2].split("\n\n")[0].splitlines()
    ]
    assert sorted(lines) == sorted(PLUGINS)


@pytest.mark.parametrize("name", ["Middle", "Model", "Adversary", "Plain"])
def test_base_classes_constants_and_types_are_resolved(tmp_path, name):
    path = tmp_path / "mine.py"
    path.write_text(MODEL.replace("from __future__ import annotations\n", ""))
    assert_equal(read_class(f"{path}:{name}"), registry.load(f"{path}:{name}"))


@pytest.mark.parametrize(
    "text",
    [
        "class Model: pass",
        "class Model(object): pass",
        "class Model(Unknown): pass",
        "from elsewhere import Model",
        "import keras\nclass Model(keras.Model): pass",
        "import zoo\n@decorate\nclass Model(zoo.GenerativeModel): pass",
        "import zoo\nclass Model(zoo.GenerativeModel, Mixin): pass",
        "import zoo\nclass Model(zoo.GenerativeModel, metaclass=type): pass",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    if True:\n        recipe = {}",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    recipe = make()",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    recipe = {'epoch': 1}",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    recipe = dict(**other)",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    sample = other",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    @property\n    def sample(self): pass",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    def __init__(self, x: Odd): pass",
        "import zoo\nclass Model(zoo.GenerativeModel):\n    def __init__(self, x=f()): pass",
        "import zoo\nclass Model(zoo.GenerativeModel): pass\nModel.recipe = {}",
        "import zoo\nclass Model(zoo.GenerativeModel): pass\nchange(Model)",
        "import zoo\nclass Model(zoo.GenerativeModel): pass\nclass Model(zoo.Other): pass",
        "import zoo\nif True:\n    class Model(zoo.GenerativeModel): pass",
        "class Model(Model): pass",
        "x = = 1",
        "(" * 5000,
        "\x00",
    ],
)
def test_text_that_does_not_determine_the_class_is_refused(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UnreadableError):
        read_class(f"{tmp_path}/mine.py:Model")


def test_a_class_that_the_text_does_not_determine_is_imported(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import zoo\nclass Model(zoo.GenerativeModel):\n"
        "    recipe = dict(epochs=int('7'))\n    def __init__(self, shape: tuple): pass\n"
    )
    assert registry.describe(f"{path}:Model").recipe == {"epochs": 7}


def test_a_recipe_has_known_keys_and_types():
    assert is_recipe({"epochs": 1}, {"epochs": int})
    assert not is_recipe({"epochs": "1"}, {"epochs": int})
    assert not is_recipe({"epoch": 1}, {"epochs": int})
    assert not is_recipe(None, {})
