import inspect
import json
import os
import sys
from pathlib import Path
from typing import Literal

import pytest

import zoo
from zoo import registry
from zoo.errors import ArtefactError, InputError
from zoo.exports import pretrained
from zoo.registry import entry_points, options

MODEL = '''"""{summary}

Family: {family}
"""

from zoo.model import GenerativeModel

ZOO_API = 2


class Model(GenerativeModel):
    """A model."""

    def __init__(self, spec):
        super().__init__(spec)
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that installs a distribution into a folder on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(package, entry_points, modules=None, version="1.0"):
        folder = tmp_path / f"{package.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        if isinstance(entry_points, str):
            entry_points = entry_points.encode()
        (folder / "entry_points.txt").write_bytes(entry_points)
        for name, text in (modules or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def by_name():
    return {entry.name: entry for entry in entry_points.entries()}


def test_built_in_models_are_entry_points():
    entry = registry.find("vae")
    assert entry.package == "keras-genzoo"
    assert entry.value == "zoo.models.vae:VAE"
    assert entry.api == zoo.API_VERSION
    assert entry.summary
    assert entry.family
    assert "arxiv.org" in entry.source
    assert entry.problem is None
    assert "vae" in zoo.list_models()


def test_a_plugin_is_listed_without_running_its_code(install):
    module = (
        '# A comment.\n\nr"""Flow of \\pi.\n\nFamily: flow\n"""\nZOO_API = 2\nraise SystemExit\n'
    )
    install(
        "zoo-flows",
        "[console_scripts]\nx = y:z\n[zoo.models]\nnice = deep_plugin.sub.nice:Nice [extra]\n",
        {"deep_plugin/__init__.py": "raise SystemExit", "deep_plugin/sub/nice.py": module},
    )
    assert registry.find("nice") == entry_points.Entry(
        "nice", "zoo-flows", "1.0", "deep_plugin.sub.nice:Nice", "Flow of \\pi.", "flow", "", 2
    )
    assert "deep_plugin" not in sys.modules


def test_the_source_block_ends_at_the_next_title():
    doc = "A.\n\nFamily: b\nSource: One, https://x.org,\n  page: 2\nDiffers from the source: no."
    assert entry_points._block(doc, "Source") == "One, https://x.org, page: 2"
    assert entry_points._block(doc, "Family") == "b"
    assert entry_points._block(doc, "Nothing") == ""


def test_a_plugin_cannot_replace_a_built_in_model(install):
    install("zoo-thief", "[zoo.models]\nvae = thief:VAE\n", {"thief.py": "ZOO_API = 2"})
    assert registry.find("vae").package == "keras-genzoo"
    assert registry.find("zoo_thief:vae").package == "zoo-thief"
    assert registry.find("keras-genzoo:vae").package == "keras-genzoo"
    assert {"vae", "zoo-thief:vae"} <= set(registry.list_models())


def test_a_package_that_takes_the_name_of_zoo_is_refused(install):
    install("keras-genzoo", "[zoo.models]\nvae = thief:VAE\n", {"thief.py": "raise SystemExit"})
    with pytest.raises(ArtefactError, match=r"entry_points\.txt claims to be of keras-genzoo, but"):
        registry.load("vae")
    assert "thief" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        *("../vae", "vae/x", "./vae", "a\\b", "a b", "a:b", "-vae", "~", "="),
        *("va\x1b[31me", "\x00"),
    ],
)
def test_names_with_separators_and_control_characters_are_inert(install, name):
    install("zoo-evil", f"[zoo.models]\n{name} = evil:VAE\n", {"evil.py": "ZOO_API = 2"})
    [entry] = (entry for entry in entry_points.entries() if entry.package == "zoo-evil")
    assert entry.name.isprintable()
    assert "is damaged: expected NAME = MODULE:CLASS" in entry.problem
    with pytest.raises((ArtefactError, InputError)):
        registry.load(entry.address)


def test_marks_that_cannot_be_printed_make_no_second_vae(install):
    install("zoo-evil", "[zoo.models]\nva\u202ee = evil:VAE\n", {"evil.py": "ZOO_API = 2"})
    assert registry.find("vae").package == "keras-genzoo"
    assert registry.find("zoo-evil:vae").problem is None


def test_a_pretrained_model_of_a_plugin_does_not_stand_for_one_of_zoo(install, tmp_path):
    install(
        "zoo-evil",
        "[zoo.models]\nvae-a = twin_vae:Model\n",
        {"twin_vae/__init__.py": "ZOO_API = 2"},
    )
    folder = tmp_path / "twin_vae" / "saved_models" / "vae-a-b"
    folder.mkdir(parents=True)
    card = {"schema": 2, "parameters": 1, "scores": [], "files": {}, "default_data": "a-b"}
    (folder / "card.json").write_text(json.dumps(card))
    assert pretrained.find("vae-a-b") == folder
    assert pretrained.find("vae").parent == pretrained.bundled_folder()


def test_a_name_in_two_plugins_is_ambiguous(install):
    install("zoo-a", "[zoo.models]\ntwin = twin:A\n", {"twin.py": "ZOO_API = 2"})
    install("Zoo.B", "[zoo.models]\ntwin = twin:B\n")
    with pytest.raises(
        InputError,
        match=r"'twin' is in several packages: zoo-a and zoo-b.*Write zoo-a:twin or zoo-b:twin",
    ):
        registry.find("twin")
    with pytest.raises(InputError, match="Write zoo-a:twin or zoo-b:twin"):
        pretrained.find("twin")
    with pytest.raises(InputError, match="No pretrained weights for zoo-a:twin"):
        pretrained.find("zoo-a:twin")
    assert registry.find("zoo-b:twin").value == "twin:B"
    assert registry.find(registry.find("zoo-b:twin").address).value == "twin:B"
    assert registry.find("keras-genzoo:vae").address == "vae"
    assert {"zoo-a:twin", "zoo-b:twin"} <= set(registry.list_models())
    assert "twin" not in registry.list_models()


def test_the_first_of_two_copies_of_a_distribution_wins(install, tmp_path, monkeypatch):
    install("zoo-copy", "[zoo.models]\ncopied = copied:Old\n", {"copied.py": "ZOO_API = 2"})
    first = tmp_path / "first" / "zoo_copy-2.0.dist-info"
    first.mkdir(parents=True)
    (first / "entry_points.txt").write_text("[zoo.models]\ncopied = copied:New\n")
    monkeypatch.syspath_prepend(first.parent)
    assert registry.find("copied").version == "2.0"


def test_leftovers_of_an_uninstalled_package_hide_no_installed_one(install, tmp_path, monkeypatch):
    install("zoo-new", "[zoo.models]\nnew = new:New\n", {"new.py": "ZOO_API = 2"})
    for name in ("zoo_new-0.9.dist-info", "keras_genzoo-0.0.1.dist-info"):
        (tmp_path / "first" / name).mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert registry.find("new").version == "1.0"
    assert registry.find("vae").package == "keras-genzoo"


def test_a_package_without_read_permission_is_skipped(install, monkeypatch):
    install("zoo-public", "[zoo.models]\npublic = public:Public\n", {"public.py": "ZOO_API = 2"})
    install("secret", "[zoo.models]\nsecret = public:Public\n")
    is_file = Path.is_file

    def refuse(path):
        if "secret" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert "public" in by_name()
    assert "secret" not in by_name()


def test_hostile_names_and_named_pipes_are_harmless(install, tmp_path):
    (tmp_path / "zoo_pipe-1.0.dist-info").mkdir()
    os.mkfifo(tmp_path / "zoo_pipe-1.0.dist-info" / "entry_points.txt")
    install("zoo_\x1b[31mred", "[zoo.models]\nred = red:Red\nx.py = red:Red\n")
    entries = [entry for entry in entry_points.entries() if "red" in entry.package]
    assert len(entries) == 2
    assert all((entry.package + (entry.problem or "")).isprintable() for entry in entries)
    assert "Received: 'x.py = red:Red'" in next(e.problem for e in entries if e.name == "x.py")


@pytest.mark.parametrize(
    ("text", "api"),
    [
        ("ZOO_API = 2.5", None),
        ("ZOO_API: Final[int] = 1  # of zoo", 1),
        ('"""A.\nZOO_API = 2\n"""', None),
        ('\ufeff"""A."""\nZOO_API = 2', 2),
    ],
)
def test_the_api_version_is_read_from_the_module(tmp_path, text, api):
    (tmp_path / "mine.py").write_text(text, "utf-8")
    metadata = entry_points._read_module(tmp_path / "mine.py")
    assert metadata["api"] == api
    assert metadata["summary"] == ("A." if "A." in text else "")


def test_a_file_of_another_api_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("ZOO_API = 99")
    with pytest.raises(InputError, match=r"mine.py:Mine is unusable.*API 99.*keras-genzoo"):
        registry.load(f"{tmp_path}/mine.py:Mine")
    (tmp_path / "mine.py").write_text("ZOO_API = 0")
    with pytest.raises(InputError, match="update the model, then declare ZOO_API = 2"):
        registry.load(f"{tmp_path}/mine.py:Mine")


def test_metadata_of_plugins_is_stripped_of_control_characters(install):
    install(
        "zoo-red",
        "[zoo.models]\nred = red_plugin:Red\nb\x1b[31mlack = x:Y\n",
        {"red_plugin.py": '"""R\x1b[31med\\x1b[0m.\n\nFamily: \x07bell\n"""\nZOO_API = 2'},
    )
    entry = registry.find("red")
    assert (entry.summary, entry.family) == ("R[31med[0m.", "bell")
    assert all("".join([entry.name, entry.value]).isprintable() for entry in entry_points.entries())


def test_damaged_metadata_does_not_affect_other_packages(install, tmp_path):
    install("garbage", b"\xff\xfe[\x00zoo.models\n]=\n\n[zoo.models\n\x00\xff")
    long = 300 * "x"
    half = f"[zoo.models]\ngood = good:Good\nbad\nworse = not a value\n= x:Y\nlong = a.{long}:Y\n"
    install("half", half, {"a/__init__.py": ""})
    (tmp_path / "good.py").write_text("ZOO_API = 2")
    (tmp_path / "empty-1.0.dist-info").mkdir()
    (tmp_path / "folder-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    (tmp_path / "~ip-1.0.dist-info").mkdir()
    models = by_name()
    assert models["good"].problem is None
    assert f"{tmp_path / 'half-1.0.dist-info'}/entry_points.txt is damaged" in models["bad"].problem
    assert "entry_points.txt is damaged" in models["worse"].problem
    assert "cannot be read" in models["long"].problem
    assert "vae" in models


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ('"""Newer."""\nZOO_API = 3\n', "API 3, but this version of zoo has API 2.*keras-genzoo"),
        ('"""Older."""\nZOO_API = 0\n', "API 0, but this version of zoo has API 2.*zoo-odd"),
        ('"""Without."""\n', "declares no API version. Add ZOO_API = 2"),
        (None, "no module"),
        ("ZOO_API = " + 5000 * "1", "cannot be read"),
    ],
)
def test_an_unusable_model_is_listed_with_the_reason(install, module, problem):
    install("zoo-odd", "[zoo.models]\nodd = odd_module:Odd\n", module and {"odd_module.py": module})
    entry = registry.find("odd")
    with pytest.raises(
        ArtefactError, match=f"odd in zoo-odd 1.0.*{problem}.*pip uninstall zoo-odd"
    ):
        registry.load("odd")
    assert entry.problem


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("raise RuntimeError('two\\nlines')", r"RuntimeError: two lines \(.*broken_0.py:2\)"),
        ("import sys; sys.exit(7)", "SystemExit: 7"),
        ("class Odd(BaseException): pass\nraise Odd", "Odd"),
        ("x = = 1", r"SyntaxError: invalid syntax \(.*broken_3.py:2\)"),
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("Model = 3", "must be a subclass of zoo.GenerativeModel. Received: 3"),
        ("class Model: pass", "must be a subclass"),
        ("", "broken_7 has no attribute Model"),
        (f"{MODEL}    recipe = None", "Model.recipe must be a dict.*Received: None"),
        (
            f"{MODEL}    recipe = dict(data='mnist', epoch=1)",
            r"must be a dict\(data=str, epochs=int, batch_size=int\).*'epoch': 1",
        ),
        ("def __getattr__(name): import no_such_module_at_all", "ModuleNotFoundError"),
        (
            "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
            r"Mute: \(no message\)",
        ),
        (f"{MODEL}    recipe = dict(epochs='1')", "Received: {'epochs': '1'}"),
        (
            f"{MODEL}    def __init__(self, shape: 'Where'): pass",
            r"the annotations of Model.__init__ are invalid: NameError: name 'Where'",
        ),
    ],
)
def test_the_error_of_a_broken_plugin_names_its_package(install, request, module, problem):
    name = f"broken_{request.node.callspec.indices['module']}"
    install(
        "zoo-bad", f"[zoo.models]\nbad = {name}:Model\n", {f"{name}.py": f"ZOO_API = 2\n{module}"}
    )
    assert registry.find("bad").problem is None
    with pytest.raises(
        ArtefactError, match=f"bad in zoo-bad 1.0.*{problem}.*pip uninstall zoo-bad"
    ):
        registry.load("bad")


def test_an_interrupted_import_names_the_package(install, capsys):
    install(
        "zoo-slow",
        "[zoo.models]\nslow = slow_import:Model\n",
        {"slow_import.py": "ZOO_API = 2\nraise KeyboardInterrupt"},
    )
    with pytest.raises(KeyboardInterrupt):
        registry.load("slow")
    assert "pip uninstall zoo-slow" in capsys.readouterr().err


def test_output_during_the_import_of_a_plugin_goes_to_stderr(install, capsys):
    module = MODEL.format(summary="Loud.", family="f") + "\nprint('hello')\n"
    install("zoo-loud", "[zoo.models]\nloud = loud_plugin:Model\n", {"loud_plugin.py": module})
    cls = registry.load("zoo-loud:loud")
    assert issubclass(cls, zoo.GenerativeModel)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def test_a_model_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODEL.format(summary="Mine.", family="own"))
    monkeypatch.chdir(tmp_path)
    entry = registry.find("./mine.py:Model")
    assert (entry.name, entry.package, entry.summary) == ("Model", None, "Mine.")
    assert entry.value == f"{tmp_path / 'mine.py'}:Model"
    assert registry.load("mine.py:Model").__name__ == "Model"
    assert registry.load(entry.value).__name__ == "Model"
    with pytest.raises(InputError, match=r"No such file.*other.py"):
        registry.load("./other.py:Model")
    with pytest.raises(InputError, match=r"FILE.py:Class"):
        registry.load("./mine.py")
    with pytest.raises(InputError, match=r"mine.py has no attribute Missing"):
        registry.load("mine.py:Missing")
    (tmp_path / "large.py").write_text(f"ZOO_API = {'9' * 5000}")
    with pytest.raises(InputError, match=r"Cannot read .*large.py: Exceeds the limit"):
        registry.load("large.py:Model")


def test_a_model_in_a_file_imports_files_in_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [*sys.path]
    for name in ("zoo_test_early", "zoo_test_late"):
        (tmp_path / f"{name}.py").write_text(f"WHERE = {name!r}")
    late = "    def late(self):\n        import zoo_test_late\n        return zoo_test_late.WHERE\n"
    model = MODEL.format(summary="Mine.", family="own") + "\n" + late
    (tmp_path / "mine.py").write_text(f"{model}\nfrom zoo_test_early import WHERE\n")
    cls = registry.load(f"{tmp_path}/mine.py:Model")
    assert sys.modules[cls.__module__].WHERE == "zoo_test_early"
    assert cls.late(None) == "zoo_test_late"
    registry.load(f"{tmp_path}/mine.py:Model")
    assert sys.path == [*before, str(tmp_path)]

    (tmp_path / "broken.py").write_text("import no_such_module_at_all")
    sys.path[:] = before
    with pytest.raises(InputError, match=r"broken.py:1"):
        registry.load(f"{tmp_path}/broken.py:Model")
    assert sys.path == before


def test_plugins_can_be_disabled(install, monkeypatch):
    install("zoo-off", "[zoo.models]\noff = off:Off\n", {"off.py": "ZOO_API = 2"})
    assert "off" in registry.list_models()
    monkeypatch.setenv("ZOO_PLUGINS", "")
    assert {entry.package for entry in entry_points.entries()} == {"keras-genzoo"}
    for name in ("off", "zoo-off:off"):
        with pytest.raises(InputError, match="ZOO_PLUGINS") as raised:
            registry.find(name)
        assert "pip install" not in str(raised.value)
    with pytest.raises(InputError, match=r"pretrained model.*ZOO_PLUGINS"):
        pretrained.find("off")


def test_the_error_for_an_unknown_name_suggests_the_closest():
    with pytest.raises(InputError, match=r"'vea'. Did you mean 'vae'\?.*zoo\.list_models"):
        registry.find("vea")
    with pytest.raises(InputError, match=r"Did you mean 'keras-genzoo:vae'"):
        registry.find("keras-genzo:vae")
    with pytest.raises(
        InputError,
        match=r"No installed package zoo-absent has models. Try: pip install zoo-absent\.",
    ):
        registry.find("zoo-absent:model")


IMAGE = zoo.Spec((8, 8, 1))


class Example:
    """An example.

    Args:
      spec: Spec
        of an image.
      latent_dim: dimensions of z.
      rates (of Adam): first: warm-up;
        then the rest.
      depth: how deep.

    Raises:
      ValueError: if latent_dim is not positive.
    """

    def __init__(
        self,
        spec: zoo.Spec,
        latent_dim: int = 32,
        beta: float = 1.0,
        tied: bool = False,
        activation: Literal["relu", "elu"] = "relu",
        rates: tuple[float, ...] = (),
        depth: int | None = None,
        note: str | None = None,
        **ignored,
    ):
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be positive. Received: latent_dim={latent_dim}")
        self.values = spec, latent_dim, rates


def test_options_are_the_arguments_of_the_constructor():
    by_name = {option.name: option for option in options.options(Example)}
    assert "ignored" not in by_name
    assert by_name["spec"].required
    assert by_name["spec"].meaning == "Spec of an image."
    assert by_name["latent_dim"].default == 32
    assert by_name["rates"].meaning == "first: warm-up; then the rest."
    assert by_name["tied"].meaning == ""
    assert [option.type for option in by_name.values()] == [
        "Spec", "int", "float", "bool", "'relu' | 'elu'",
        "tuple[float, ...]", "int | None", "str | None",
    ]  # fmt: skip
    assert by_name["beta"].default is not inspect.Parameter.empty


def test_settings_are_converted_to_values():
    settings = "latent_dim=8 beta=1e-3 tied=true activation=elu rates=1,2.5 depth=none note=x=y"
    assert options.parse_options(Example, settings.split()) == {
        "latent_dim": 8,
        "beta": 1e-3,
        "tied": True,
        "activation": "elu",
        "rates": (1.0, 2.5),
        "depth": None,
        "note": "x=y",
    }
    assert options.parse_options(Example, ["rates=(1,)", "depth=3"]) == {
        "rates": (1.0,),
        "depth": 3,
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("latent_dim=abc", "latent_dim must be an int. Received: latent_dim='abc'"),
        ("latent_dim=1.5", "latent_dim must be an int. Received"),
        ("latent_dim=none", "latent_dim must be an int. Received"),
        ("beta=", "beta must be a float. Received: beta=''"),
        ("tied=maybe", "tied must be a bool"),
        ("activation=tanh", "activation must be 'relu' | 'elu'. Received: activation='tanh'"),
        ("rates=1,x", "rates must be a tuple[float, ...]"),
        ("latent_dims=3", "Example has no option 'latent_dims'. Did you mean 'latent_dim'?"),
        ("spec=2", "spec is set by the data"),
        ("condition=2", "condition is set by the data"),
        ("latent_dim", "expected NAME=VALUE"),
    ],
)
def test_an_invalid_setting_is_refused(setting, message):
    with pytest.raises(InputError) as raised:
        options.parse_options(Example, [setting])
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"--set {setting}: ")


def test_create_checks_its_arguments(monkeypatch):
    monkeypatch.setattr(registry, "load", lambda name: Example)
    model = registry.create("example", spec=IMAGE.to_json(), latent_dim=4, rates=[1])
    assert model.values == (IMAGE, 4, (1.0,))
    with pytest.raises(InputError, match=r"Example: latent_dim must be positive"):
        registry.create("example", spec=IMAGE, latent_dim=0)
    with pytest.raises(InputError, match=r"latent_dim must be an int. Received: latent_dim=True"):
        registry.create("example", spec=IMAGE, latent_dim=True)
    with pytest.raises(InputError, match=r"spec must be a Spec"):
        registry.create("example", spec=(8, 8))
    with pytest.raises(InputError, match=r"Example requires spec"):
        registry.create("example")
    with pytest.raises(InputError, match=r"Did you mean 'beta'"):
        registry.create("example", spec=IMAGE, betta=1)


def test_pretrained_models_are_folders_with_a_card(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "")
    monkeypatch.setattr(pretrained, "__file__", str(tmp_path / "zoo" / "exports" / "pretrained.py"))
    for tag in ("vae-mnist_binary", "vae-my-photos", "vae-\x1b[31m", "vae2-mnist", "vae-half"):
        (tmp_path / "saved_models" / tag).mkdir(parents=True)
        if tag != "vae-half":
            (tmp_path / "saved_models" / tag / "card.json").write_text("{}")
    assert [*pretrained.pretrained()[registry.find("vae")]] == ["vae-mnist_binary", "vae-my-photos"]
    (tmp_path / "zoo" / "saved_models").mkdir(parents=True)
    assert pretrained.pretrained() == {}


def test_pretrained_models_of_a_plugin_are_in_its_package(tmp_path, install):
    text = MODEL.format(summary="s", family="f")
    modules = {f"nice/{name}": text for name in ("__init__.py", "wave_gan.py")}
    install(
        "zoo-gan",
        "[zoo.models]\nvae = nice:Model\nwave-gan = nice.wave_gan:Model\nwave = nice:Model\n",
        {**modules, "nice/__init__.py": text + "raise SystemExit"},
    )
    install("zoo-file", "[zoo.models]\nfile = zoo_file:Model\n", {"zoo_file.py": text})
    install("zoo-absent", "[zoo.models]\nabsent = zoo_absent:Model\n")
    for tag in ("nice/saved_models/vae-mnist", "nice/saved_models/wave-gan-mnist"):
        (tmp_path / tag).mkdir(parents=True)
        (tmp_path / tag / "card.json").write_text("{}")
    (tmp_path / "saved_models" / "file-mnist").mkdir(parents=True)  # belongs to no package
    (tmp_path / "saved_models" / "file-mnist" / "card.json").write_text("{}")
    by_entry = pretrained.pretrained()
    assert by_entry[registry.find("wave-gan")] == {
        "wave-gan-mnist": tmp_path / "nice" / "saved_models" / "wave-gan-mnist"
    }
    assert [*by_entry[registry.find("zoo-gan:vae")]] == ["zoo-gan:vae-mnist"]
    assert not {registry.find(name) for name in ("file", "absent", "wave")} & set(by_entry)
