"""Export to a SavedModel that needs TensorFlow alone, and loading of one.

saved_model.pb, variables/   one signature for each thing the model can do
golden.npz                   inputs and outputs of each, computed before it was saved
samples.png                  a grid of samples
card.json                    what it is, where it comes from, its scores, the sha256 of each file
"""

import contextlib
import inspect
import json
import os
import reprlib
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import checkpoints, golden, images, registry
from zoo.errors import ArtefactError, InputError

__all__ = ["CARD", "SavedModel", "add_score", "export", "find", "is_name", "load", "read_card"]

CARD = "card.json"
SCHEMA = 1
KEYS = ("shape", "num_classes", "parameters", "scores", "files")
SAMPLES = 64
SAMPLE_SEED = (0, 0)


def export(model, folder, card=None, half=False):
    """Writes a model as a SavedModel that samples without zoo and without Keras.

    A float32 clone of the model is saved aside, loaded in a process of its own that can import
    neither zoo nor Keras, and compared with the clone; only then it is put in place.

    Args:
      model: GenerativeModel.
      folder: path that must not exist.
      card: dict, where the model comes from: kept in card.json.
      half: whether to store the float32 weights as float16, in half the space. They are rounded;
        what is computed with them is float32 all the same.

    Returns:
      Path of the folder.

    Raises:
      InputError: if the folder exists or cannot be made, or a weight is too large for float16.
      ArtefactError: if what was saved does not give what the model gives; nothing is left.
    """
    folder = new_folder(folder)
    clone = _float32_clone(model)
    if half:
        _round_to_half(clone)
    endpoints = stored = _endpoints(clone)
    used = {v.ref() for f in endpoints.values() for v in f.variables}
    if half:
        halves = _Halves([w for w in _float32_weights(clone) if w.value.ref() in used])
        stored = _endpoints(clone, halves)  # named, for a function does not keep its variables
    # `write` fills in what is known only once the model is saved.
    record = {
        "schema": SCHEMA,
        **(card or {}),
        "shape": list(model.shape),
        "levels": model.levels,
        "num_classes": model.num_classes,
        "default_data": model.recipe.get("data"),
        "options": json.loads(json.dumps(model.get_config())),
        "can": list(model.capabilities()),
        "log_prob_kind": model.log_prob_kind,
        "parameters": sum(
            w.shape.num_elements() for w in clone.trainable_variables if w.value.ref() in used
        ),
        "weights": "float16" if half else "float32",
        "scores": (card or {}).get("scores", []),
    }

    def write(aside):
        store(stored, aside)
        np.savez_compressed(aside / "golden.npz", **_golden_values(clone, endpoints))
        draw = sampler(clone)
        images.save_grid(aside / "samples.png", draw(SAMPLES, SAMPLE_SEED), model.num_classes)
        record.update(_run_as_stranger(aside))

    commit(folder, write, record)
    return folder


def new_folder(folder):
    """Returns the absolute Path of a folder that is not there yet, else raises InputError."""
    folder = Path(folder).absolute()
    if folder.exists():
        raise InputError(f"Expected a folder that is not there yet. Received: {folder}")
    return folder


def store(functions, folder):
    """Writes concrete functions, {name: function}, as the signatures of a SavedModel."""
    module = tf.Module()
    for name, function in functions.items():
        setattr(module, name, function)
    # Only what is used is stored: a GAN's discriminator is not.
    module.used = [*{v.ref(): v for f in functions.values() for v in f.variables}.values()]
    tf.saved_model.save(module, str(folder), signatures=functions)


def commit(folder, write, record):
    """Puts a folder with a card in place, whole or not at all.

    Args:
      folder: Path, as of `new_folder`.
      write: function of a Path: fills that empty folder.
      record: dict, what the card says; the size of the files in `bytes` is added.

    Raises:
      InputError: if the folder cannot be made.
    """

    def write_and_weigh(aside):
        write(aside)
        record["bytes"] = sum(p.stat().st_size for p in aside.rglob("*") if p.is_file())

    try:
        checkpoints.commit(folder, write_and_weigh, record, seal=CARD)
    except OSError as error:
        if error.errno in checkpoints.FULL:
            raise
        raise InputError(f"Expected a folder that can be written. Received: {error}") from None


def load(name):
    """Loads a SavedModel and returns it as an object with the model's methods.

    Args:
      name: name of a pretrained model, or path of an exported model or of a run.

    Returns:
      SavedModel.

    Raises:
      InputError: if there is none of that name.
      ArtefactError: if it is damaged; the message names the file.
    """
    return SavedModel(find(name))


def find(name):
    """Returns the Path of the SavedModel that a name, a path or a run stands for.

    The name of a model alone, `name` or `package:name`, means the one trained on the data of its
    recipe.

    Raises:
      InputError: if there is none.
      ArtefactError: if the card of a pretrained model is damaged.
    """
    path = Path(name)
    if is_name(name):
        models, known, named = registry.models(), {}, {}
        for entry, tags in registry.pretrained(models).items():
            known |= tags
            named |= {f"{entry.package}:{folder.name}": folder for folder in tags.values()}
        named |= known
        if name in named:
            return named[name]
        tags = [tag for tag in named if tag.startswith(f"{name}-")]
        for tag in tags:
            if tag == f"{name}-{read_card(named[tag]).get('default_data')}":
                return named[tag]
        if name not in models and any(entry.name == name for entry in models.values()):
            registry.find(name)  # says that it is the name of several
        if name in models and not tags:
            raise InputError(
                f"{name} has no pretrained model here. Name the folder of a run of"
                f" `zoo train {name}`: `zoo runs` lists them."
            )
        there = ", ".join(sorted(tags or known))
        hint = f"one of {there}" if there else "there is none here"
        advice = f"A folder is written {shlex.quote(f'./{name}')}."
        if off := registry.switched_off():
            advice += f" {off}"
        raise InputError(f"Expected a pretrained model: {hint}. {advice} Received: {name!r}")
    for folder in (path, path / "saved_model"):
        if (folder / CARD).is_file():
            return folder
    if (path / "run.json").is_file():
        command = shlex.join(["zoo", "export", str(path)])
        raise InputError(f"{path} has no SavedModel yet: finish it, or run: {command}")
    there = "Received:" if path.exists() else "There is no"
    raise InputError(f"Expected a run, or a SavedModel with a {CARD}. {there} {name}")


def is_name(name):
    """Says whether this is the name of a pretrained model, not a path."""
    return isinstance(name, str) and not {os.sep, "/"} & set(name)


def read_card(folder):
    """Returns card.json of a SavedModel as a dict.

    Raises:
      ArtefactError: if it is damaged or of another schema.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        schema = card["schema"]
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged: {error!r}.") from None
    if schema != SCHEMA:
        raise ArtefactError(
            f"{path} has schema {schema}; this zoo reads {SCHEMA}: install the zoo it was made by."
        )
    if missing := [key for key in KEYS if key not in card]:
        raise ArtefactError(f"{path} is damaged: it does not say {', '.join(missing)}.")
    return card


def add_score(folder, score):
    """Puts a score, as of `zoo.evaluation`, into the card, in the place of one of its kind.

    Of one kind are scores of the same metric, data, classifier and numbers of images and draws.

    Raises:
      ArtefactError: if the card is damaged, or a number of the score is not finite.
      OSError: if the card cannot be written.
    """
    card = read_card(folder)
    others = [other for other in card["scores"] if _kind(other) != _kind(score)]
    try:
        checkpoints.write_json(Path(folder) / CARD, {**card, "scores": [*others, score]})
    except ValueError:
        raise ArtefactError(f"Expected a score of finite numbers. Received: {score}") from None


def _kind(score):
    protocol = score["protocol"]
    keys = ("k", "n", "samples", "extractor_sha256", "dataset", "split", "count")
    return score["metric"], *map(protocol.get, keys)


class SavedModel:
    """A loaded SavedModel: its signatures as methods, with the arguments of `GenerativeModel`'s.

        model = zoo.load("runs/mine")
        images = model.sample(16, seed=0)

    A method that the model does not have raises AttributeError. `seed` may be one int. Arguments
    may be NumPy arrays; what comes back is a float32 tensor.

    Args:
      folder: path of the folder.

    Raises:
      ArtefactError: if a file is missing or damaged.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if read_card(folder).get("kind") == "features":
            raise InputError(f"Expected the SavedModel of a generative model. Received: {folder}")
        self.card = checkpoints.verify(folder, seal=CARD)
        self._loaded = tf.saved_model.load(str(folder))

    @property
    def name(self):
        """The name of the model, as of the registry."""
        return self.card.get("model", self.folder.name)

    @property
    def trained_on(self):
        """What the card says of the data it was trained on; empty if it says nothing."""
        return self.card.get("recipe", {}).get("data", {})

    def __dir__(self):
        return [*super().__dir__(), *self.card["can"]]

    def __getattr__(self, name):
        if name.startswith("_") or name == "card":  # not there yet, as in a copy
            raise AttributeError(name)
        if name not in self.card["can"]:
            raise AttributeError(
                f"{self.name} has no {name!r}: it can {', '.join(self.card['can'])}"
            )
        arguments = _ARGUMENTS[name]

        def method(*values, **named):
            given = inspect.Signature(arguments).bind(*values, **named)
            given.apply_defaults()
            return self._call(name, given.arguments)

        method.__name__ = name
        method.__signature__ = inspect.Signature(arguments)
        return method

    def _call(self, name, values):
        function = self._loaded.signatures[name]
        specs = function.structured_input_signature[1]
        labels = values.pop("labels", None)
        if "seed" in values:
            values["seed"] = as_seed(values["seed"])
        tensors = {key: _tensor(specs[key], value) for key, value in values.items()}
        if "num_samples" in tensors:
            counts = {"num_samples": int(tensors["num_samples"])}
        else:
            counts = {key: len(t) for key, t in tensors.items() if key in ("x", "mask", "z")}
        n, *others = counts.values()
        if n < 0 or any(other != n for other in others):
            raise InputError(f"Expected equal counts, not negative. Received: {counts}")
        if "labels" in specs:
            tensors["labels"] = _tensor(specs["labels"], self._check_labels(labels, n))
        elif labels is not None:
            raise InputError(
                f"{self.name} was trained without labels, so takes none. Received: {labels=}"
            )
        if not n:  # TensorFlow's convolutions give an empty batch another shape
            (output,) = function.structured_outputs.values()
            return tf.zeros([0, *output.shape[1:]])
        try:
            return next(iter(function(**tensors).values()))
        except tf.errors.InvalidArgumentError as error:
            raise InputError(_assertion(error)) from None

    def _check_labels(self, labels, n):
        classes = self.card["num_classes"]
        if labels is None:
            raise InputError(
                f"{self.name} is conditional: labels, {n} of 0 to {classes - 1}, are needed."
            )
        labels = np.asarray(labels)
        if (
            labels.shape != (n,)
            or labels.dtype.kind not in "iu"
            or not np.isin(labels, range(classes)).all()
        ):
            raise InputError(f"Expected {n} labels of 0 to {classes - 1}. Received: {labels=}")
        return labels


def as_seed(seed):
    """Returns a seed, one int or two, as int32 [2].

    Raises:
      InputError: if it is not that.
    """
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        values = np.asarray([0, seed] if np.ndim(seed) == 0 else seed)
        if values.shape == (2,) and (values.astype(np.int32) == values).all():
            return values.astype(np.int32)
    raise InputError(f"Expected a seed: an int32, or two. Received: {seed!r}")


def sampler(model):
    """Returns a function (n, seed, first=0) -> n samples, of all labels in turn, traced once."""
    signature = [tf.TensorSpec(shape, tf.int32) for shape in ([], [2], [None], [])]

    @tf.function(input_signature=signature, autograph=False)
    def draw(n, seed, labels, first):
        return model.sample(n, seed, labels=labels if model.num_classes else None, first=first)

    # Called as it is, TensorFlow takes the samplers of many models for one that is traced again.
    draw = draw.get_concrete_function()

    def sample(n, seed, first=0):
        labels = np.arange(first, first + n, dtype=np.int32) % max(1, model.num_classes)
        return draw(*map(tf.constant, (n, as_seed(seed), labels, first))).numpy()

    return sample


def _parameter(name, default=inspect.Parameter.empty):
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


_SEED, _LABELS, _FIRST = _parameter("seed"), _parameter("labels", None), _parameter("first", 0)
_ARGUMENTS = {
    "sample": [_parameter("num_samples"), _SEED, _LABELS, _FIRST],
    "log_prob": [_parameter("x"), _SEED, _LABELS, _FIRST],
    "encode": [_parameter("x"), _LABELS],
    "decode": [_parameter("z"), _LABELS],
    "reconstruct": [_parameter("x"), _LABELS],
    "complete": [_parameter("x"), _parameter("mask"), _SEED, _LABELS, _FIRST],
    "translate": [_parameter("x")],
}


def _tensor(spec, value):
    """Makes a tensor of an argument; it must be of the dtype and shape of its spec."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        tensor = tf.convert_to_tensor(value, spec.dtype)
        if spec.shape.is_compatible_with(tensor.shape):
            return tensor
    came = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else reprlib.repr(value)
    raise InputError(
        f"Expected {spec.name} to be {spec.dtype.name} of shape {spec.shape}. Received: {came}"
    )


def _endpoints(model, halves=None):
    """Traces all that a model can do, once.

    Args:
      model: GenerativeModel.
      halves: None, or _Halves: what is read in the place of weights.

    Returns:
      {name: concrete function}.
    """

    def trace(name):
        if name not in endpoints:
            specs = [spec(p.name) for p in _ARGUMENTS[name] if p.name != "labels" or labelled]
            function = _positional(methods[name], specs, halves)
            endpoints[name] = tf.function(function, specs, autograph=False).get_concrete_function()
        return endpoints[name]

    def spec(name):
        if name in ("x", "mask"):
            return tf.TensorSpec((None, *model.shape), tf.float32, name)
        if name == "z":
            return tf.TensorSpec(trace("encode").structured_outputs.shape, tf.float32, name)
        return tf.TensorSpec({"seed": (2,), "labels": (None,)}.get(name, ()), tf.int32, name)

    def shared(name):
        def call(*values, **named):
            given = inspect.Signature(_ARGUMENTS[name]).bind(*values, **named)
            given.apply_defaults()
            function = trace(name)
            specs = function.structured_input_signature[0]
            tensors = [tf.convert_to_tensor(given.arguments[s.name], s.dtype) for s in specs]
            if all(map(tf.TensorSpec.is_compatible_with, specs, tensors)):
                return function(*tensors)
            return methods[name](*values, **named)

        return call

    endpoints, labelled = {}, model.num_classes > 0
    methods = {name: getattr(model, name) for name in model.capabilities()}
    # What one endpoint calls of another, as `reconstruct` does `encode`, is stored once.
    vars(model).update({name: shared(name) for name in methods})
    try:
        return {name: trace(name) for name in methods}
    finally:
        for name in methods:
            del vars(model)[name]


def _positional(method, specs, halves):
    """Wraps a method as a function of positional tensors, whose names a signature shows."""
    names = [spec.name for spec in specs]

    def endpoint(*tensors):
        with halves.read() if halves else contextlib.nullcontext():
            return method(**dict(zip(names, tensors, strict=True)))

    endpoint.__signature__ = inspect.Signature([_parameter(name) for name in names])
    return endpoint


def _golden_values(model, endpoints, n=4):
    """Returns {"endpoint/argument" or "endpoint/output": array}, the data drawn by the model."""
    values = {}
    known = {
        "num_samples": np.int32(n),
        "seed": as_seed(SAMPLE_SEED),
        "first": np.int32(3),
        "labels": np.arange(n, dtype=np.int32) % max(1, model.num_classes),
        "mask": np.zeros((n, *model.shape), np.float32),
    }
    known["mask"][:, : model.shape[0] // 2] = 1.0
    for name, function in endpoints.items():
        names = function.structured_input_signature[0]
        arguments = {spec.name: known[spec.name] for spec in names}
        output = function(*map(tf.constant, arguments.values())).numpy()
        known |= {"sample": {"x": output}, "encode": {"z": output}}.get(name, {})
        values |= {f"{name}/{key}": value for key, value in arguments.items()}
        values[f"{name}/output"] = output
    return values


def _float32_clone(model):
    """Builds the same model with float32 computation and copies the weights."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        clone = type(model).from_config(model.get_config())
    finally:
        keras.config.set_dtype_policy(policy)
    clone.set_weights(model.get_weights())
    return clone


def _round_to_half(model):
    """Rounds the float32 weights of a model to the nearest float16.

    Not to bfloat16, which rounds 8 times as coarsely, for a range that weights do not need.

    Raises:
      InputError: if one is too large.
    """
    most = np.finfo(np.float16).max
    for weight in _float32_weights(model):
        value = weight.numpy()
        if (largest := np.abs(value).max(initial=0)) > most:
            raise InputError(
                f"Expected weights of at most {most:g}, to store them in half precision: export"
                f" in full precision. Received: {largest:g} in {weight.path}"
            )
        weight.assign(value.astype(np.float16))


class _Halves:
    """Weights of a model as one float16 variable.

    One, for the functions that save, restore and read a variable take 3 kB in a SavedModel.

    Args:
      weights: list of float32 keras.Variable.
    """

    def __init__(self, weights):
        self.weights = weights
        values = [tf.reshape(weight, [-1]) for weight in weights]
        self.packed = tf.Variable(tf.cast(tf.concat(values, axis=0), tf.float16), name="halves")
        self._unpack = tf.function(self._unpacked, input_signature=[], autograph=False)

    def read(self):
        """Returns a scope of a graph in which Keras has these values, cast, for its weights.

        They are cast here, once a call of the graph: within a loop it would be once a step.
        """
        return keras.StatelessScope(zip(self.weights, self._unpack(), strict=True))

    def _unpacked(self):
        sizes = [weight.shape.num_elements() for weight in self.weights]
        parts = tf.split(tf.cast(self.packed, tf.float32), sizes)
        return [tf.reshape(x, w.shape) for x, w in zip(parts, self.weights, strict=True)]


def _float32_weights(model):
    return [weight for weight in model.weights if weight.dtype == "float32"]


def _run_as_stranger(folder):
    """Runs zoo/golden.py on a SavedModel in a process of its own; returns what it measured."""
    done = subprocess.run(
        [sys.executable, "-P", golden.__file__, str(folder)],
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which ends what it began
    )
    if done.returncode:
        raise ArtefactError(
            "The SavedModel does not give what the model gives, and was not kept:"
            f" {done.stderr.strip().splitlines()[-1]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _assertion(error):
    """Cuts the sentence of `GenerativeModel`'s checks out of TensorFlow's message."""
    text = error.message
    for start in ("Data must be", "Labels must be"):
        with contextlib.suppress(ValueError):
            return text[text.index(start) :].splitlines()[0].rstrip("'\"]").split("'")[0]
    return text.splitlines()[0]
