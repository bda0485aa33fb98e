"""Writes a model as a SavedModel that needs only TensorFlow.

saved_model.pb, variables/   one signature per method of the model
golden.npz                   inputs and outputs of each, computed before it is saved
samples.png                  a grid of samples; samples.txt or .wav where they are no images
card.json                    metadata, provenance, weights, scores, the sha256 of each file
"""

import atexit
import contextlib
import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import render, storage
from zoo.errors import ArtefactError, InputError
from zoo.exports import clean_process
from zoo.exports.cards import CARD, SCHEMA, weight_names
from zoo.model import ENDPOINTS, GenerativeModel
from zoo.random import as_seed
from zoo.sampling import SAMPLE_SEED, SAMPLES, conditions_in_turn

__all__ = [
    "check_in_clean_process",
    "commit_with_card",
    "end_clean_process",
    "export",
    "float32_policy",
    "new_folder",
    "save_functions",
]

GOLDEN_SAMPLES = 4
GOLDEN_FIRST = 3  # not 0, so that an endpoint that ignores `first` is found


def export(
    model: GenerativeModel,
    folder: str | os.PathLike,
    card: dict | None = None,
    half: bool = False,
) -> Path:
    """Writes a model as a SavedModel that samples without zoo and without Keras.

    The export is a float32 copy of the model. A clean process, which can import neither zoo nor
    Keras, loads it and compares its outputs with those of the copy before it is put in place.

    Args:
      model: GenerativeModel.
      folder: path that must not exist.
      card: dict, where the model comes from: added to card.json.
      half: whether to store the float32 weights as float16, in half the space. They are rounded;
        computation stays in float32.

    Returns:
      Path of the folder.

    Raises:
      InputError: if the folder exists or cannot be created, or a weight is too large for float16.
      ArtefactError: if the SavedModel does not reproduce the model; nothing is left.
    """
    folder = new_folder(folder)
    check = check_in_clean_process()
    clone = _float32_clone(model)
    if half:
        _round_to_half(clone)
    endpoints = saved = _endpoints(clone)
    used = {v.ref() for f in endpoints.values() for v in f.variables}
    packed = None
    if half:
        packed = _PackedWeights([w for w in _float32_weights(clone) if w.value.ref() in used])
        saved = _endpoints(clone, packed)  # kept: a function does not keep its variables
    variables = [*([packed.variable] if packed else []), *(w.value for w in clone.weights)]
    # `write` adds what is known only once the model is saved.
    record = {
        "schema": SCHEMA,
        **(card or {}),
        "spec": model.spec.to_json(),
        "condition": model.condition and model.condition.to_json(),
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
        record["tensors"] = _tensors(clone, save_functions(saved, aside, variables), packed)
        np.savez_compressed(aside / "golden.npz", **_golden_values(clone, endpoints))
        samples = _call(endpoints["sample"], _sample_arguments(clone, SAMPLES))
        path = aside / f"samples{render.SUFFIXES[model.spec.kind]}"
        render.save(path, samples, model.spec, model.condition)
        with storage.literal_path(aside) as path:
            record.update(check(path))

    commit_with_card(folder, write, record)
    return folder


def new_folder(folder: str | os.PathLike) -> Path:
    """Returns the absolute Path of a folder that does not exist yet.

    Raises:
      InputError: if it exists.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise InputError(f"The folder exists already: choose another one. Received: {folder}")
    return folder


def save_functions(
    functions: dict, folder: str | os.PathLike, variables: Sequence[tf.Variable]
) -> list[tf.Variable]:
    """Writes concrete functions as the signatures of a SavedModel.

    Args:
      functions: {name: concrete function}.
      folder: path of an empty folder.
      variables: those that are stored first, in this order, if the functions read them.

    Returns:
      The variables that it stores, as the attribute `used` of its root: those that the functions
      read. A GAN's discriminator is not among them.
    """
    module = tf.Module()
    for name, function in functions.items():
        setattr(module, name, function)
    used = {v.ref(): v for f in functions.values() for v in f.variables}
    # The order of `f.variables` differs between two traces of one function.
    first = [used.pop(v.ref()) for v in variables if v.ref() in used]
    module.used = [*first, *used.values()]
    tf.saved_model.save(module, str(folder), signatures=functions)
    return [*module.used]


def commit_with_card(folder: Path, write: Callable[[Path], None], record: dict) -> None:
    """Puts a complete folder with a card in place, or nothing.

    Args:
      folder: Path, as `new_folder` returns it.
      write: function of a Path, which fills that empty folder.
      record: dict, the content of the card; the size of the files is added as "bytes".

    Raises:
      InputError: if the folder cannot be created.
    """

    def write_and_weigh(aside):
        write(aside)
        record["bytes"] = sum(p.stat().st_size for p in aside.rglob("*") if p.is_file())

    try:
        storage.commit(folder, write_and_weigh, record, seal=CARD)
    except OSError as error:
        if error.errno in storage.FULL:
            raise
        raise InputError(f"The folder cannot be written: choose another one. {error}") from None


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Creates Keras layers in float32 within this scope, whatever the global dtype policy is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def check_in_clean_process() -> Callable[[Path], dict]:
    """Starts clean_process.py, unless it runs, and returns a function that checks a SavedModel.

    The process imports TensorFlow, which takes seconds, while this one prepares the SavedModel. It
    serves all exports of this one and ends with it, however that ends.

    Returns:
      function of the Path of a SavedModel -> dict, what the process measured. It raises
      ArtefactError if the outputs are not those of golden.npz.
    """
    if _clean_process().poll() is not None:
        end_clean_process()
    process = _clean_process()

    def check(folder):
        try:
            process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        except BaseException:  # it must not answer the next call
            end_clean_process()
            raise
        if line:
            return json.loads(line)
        code = process.wait()
        process.log.seek(0)
        reason = process.log.read().decode(errors="replace").strip().splitlines()
        raise ArtefactError(
            "The export failed verification and was discarded:"
            f" {reason[-1] if reason else f'exit code {code}'}"
        )

    return check


@functools.cache
def _clean_process():
    """Starts clean_process.py, which ends at the end of its stdin, so with this process."""
    draws = [name for name, endpoint in ENDPOINTS.items() if endpoint.draws]
    log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process; a pipe would fill)
    process = subprocess.Popen(
        [sys.executable, "-P", clean_process.__file__, *draws],
        bufsize=0,
        cwd=Path(clean_process.__file__).parent,  # so that it keeps no other folder in use
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C reaches this process alone
    )
    process.log = log
    return process


@atexit.register
def end_clean_process() -> None:
    """Ends the process of `check_in_clean_process`, if one runs. The next export starts another."""
    if _clean_process.cache_info().currsize:
        process = _clean_process()
        _clean_process.cache_clear()
        process.kill()
        with process, process.log:  # closes its files
            pass


def _endpoints(model, packed=None):
    """Traces every method of a model, once.

    Args:
      model: GenerativeModel.
      packed: None, or _PackedWeights: read instead of the weights.

    Returns:
      {name: concrete function}.
    """

    def trace(name):
        if name not in endpoints:
            endpoint = ENDPOINTS[name]
            latents = None
            if "z" in endpoint.arguments:
                latents = tf.TensorSpec(trace("encode").structured_outputs.shape, tf.float32, "z")
            specs = [*endpoint.specs(model.spec, model.condition, latents).values()]
            function = _positional(methods[name], specs, packed)
            endpoints[name] = tf.function(function, specs, autograph=False).get_concrete_function()
        return endpoints[name]

    def shared(name):
        def call(*values, **named):
            given = ENDPOINTS[name].bind(*values, **named)
            function = trace(name)
            specs = function.structured_input_signature[0]
            tensors = [tf.convert_to_tensor(given[s.name], s.dtype) for s in specs]
            if all(map(tf.TensorSpec.is_compatible_with, specs, tensors)):
                return function(*tensors)
            return methods[name](*values, **named)

        return call

    endpoints = {}
    methods = {name: getattr(model, name) for name in model.capabilities()}
    # What one endpoint calls of another, as `reconstruct` does `encode`, is stored once.
    vars(model).update({name: shared(name) for name in methods})
    try:
        return {name: trace(name) for name in methods}
    finally:
        for name in methods:
            del vars(model)[name]


def _positional(method, specs, packed):
    """Wraps a method as a function of positional tensors, whose names a signature shows."""
    names = [spec.name for spec in specs]

    def endpoint(*tensors):
        with packed.read() if packed else contextlib.nullcontext():
            return method(**dict(zip(names, tensors, strict=True)))

    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD
    endpoint.__signature__ = inspect.Signature([inspect.Parameter(n, by_name) for n in names])
    return endpoint


def _golden_values(model, endpoints, n=GOLDEN_SAMPLES):
    """Returns {"endpoint/argument" or "endpoint/output": array}, on data that the model samples."""
    values = {}
    known = _sample_arguments(model, n, first=GOLDEN_FIRST)
    known["mask"] = np.zeros((n, *model.spec.shape), np.float32)
    known["mask"][:, : model.spec.shape[0] // 2] = 1.0
    for name, function in endpoints.items():
        output = _call(function, known)
        known.setdefault(ENDPOINTS[name].output, output)
        values |= {f"{name}/{argument}": known[argument] for argument in _argument_names(function)}
        values[f"{name}/output"] = output
    return values


def _sample_arguments(model, n, first=0):
    """Returns {name: array}: the arguments that sample n examples, conditions in turn."""
    return {
        "num_samples": np.int32(n),
        "seed": as_seed(SAMPLE_SEED),
        "condition": conditions_in_turn(model.condition, n),
        "first": np.int32(first),
    }


def _call(function, values):
    """Calls an endpoint with its arguments out of values, {name: array}; returns an array."""
    return function(*(tf.constant(values[name]) for name in _argument_names(function))).numpy()


def _argument_names(function):
    return [spec.name for spec in function.structured_input_signature[0]]


def _tensors(model, variables, packed):
    """Returns the card's {weight name: where it is stored}, of every weight in order.

    Each has its "shape", and, if it is stored, "variable", the index in the attribute `used` of
    the SavedModel; and "offset", the index of its first value, if that variable is packed.
    """
    index = {variable.ref(): k for k, variable in enumerate(variables)}
    offset, tensors = 0, {}
    for name, weight in zip(weight_names(model), model.weights, strict=True):
        tensors[name] = {"shape": list(weight.shape)}
        if weight.value.ref() in index:
            tensors[name]["variable"] = index[weight.value.ref()]
        elif packed and any(weight is other for other in packed.weights):
            tensors[name] |= {"variable": index[packed.variable.ref()], "offset": offset}
            offset += weight.shape.num_elements()
    return tensors


def _float32_clone(model):
    """Returns a copy of a model that computes in float32."""
    with float32_policy():
        clone = type(model).from_config(model.get_config())
    clone.set_weights(model.get_weights())
    return clone


def _round_to_half(model):
    """Rounds the float32 weights of a model to the nearest float16.

    Not to bfloat16, which rounds 8 times as coarsely, for a range that weights do not need.

    Raises:
      InputError: if a weight is too large.
    """
    largest = np.finfo(np.float16).max
    for weight in _float32_weights(model):
        value = weight.numpy()
        if (size := np.abs(value).max(initial=0)) > largest:
            raise InputError(
                f"Half precision stores weights up to {largest:g}, not {size:g} as in"
                f" {weight.path}: export in full precision."
            )
        weight.assign(value.astype(np.float16))


class _PackedWeights:
    """Weights of a model as one float16 variable.

    One, because the functions that save, restore and read a variable take 3 kB in a SavedModel.

    Args:
      weights: list of float32 keras.Variable.
    """

    def __init__(self, weights):
        self.weights = weights
        values = [tf.reshape(weight, [-1]) for weight in weights]
        self.variable = tf.Variable(tf.cast(tf.concat(values, axis=0), tf.float16), name="halves")
        self._unpack = tf.function(self._unpacked, input_signature=[], autograph=False)

    def read(self):
        """Returns a scope of a graph in which Keras reads the weights from the variable.

        They are cast here, once per call of the graph: within a loop it would be once per step.
        """
        return keras.StatelessScope(zip(self.weights, self._unpack(), strict=True))

    def _unpacked(self):
        sizes = [weight.shape.num_elements() for weight in self.weights]
        parts = tf.split(tf.cast(self.variable, tf.float32), sizes)
        return [tf.reshape(x, w.shape) for x, w in zip(parts, self.weights, strict=True)]


def _float32_weights(model):
    return [weight for weight in model.weights if weight.dtype == "float32"]
