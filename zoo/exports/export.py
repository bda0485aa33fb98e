"""Writes a model as a SavedModel that requires only TensorFlow.

saved_model.pb, variables/   one signature per method of the model
golden.npz                   inputs and outputs of each signature, computed before saving
samples.png                  a grid of samples (.txt for texts, .wav for sounds)
card.json                    metadata, provenance, weights, scores, sha256 of each file
"""

import atexit
import contextlib
import errno
import functools
import inspect
import json
import logging
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
from zoo.exports import clean_process, inspection
from zoo.exports.cards import CARD, SCHEMA, weight_names
from zoo.model import ENDPOINTS, GenerativeModel
from zoo.random import as_seed
from zoo.sampling import SAMPLE_SEED, conditions_in_turn, latents, shows_means

__all__ = [
    "check_in_clean_process",
    "commit_with_card",
    "end_clean_process",
    "export",
    "float32_policy",
    "new_folder",
    "save_functions",
]

log = logging.getLogger("zoo")

GOLDEN_SAMPLES = 4
GOLDEN_FIRST = 3  # not 0, so that an endpoint that ignores `first` is detected


def export(
    model: GenerativeModel,
    folder: str | os.PathLike,
    card: dict | None = None,
    half: bool = False,
) -> Path:
    """Writes a model as a SavedModel that works without zoo and Keras.

    The export is a float32 copy of the model. Before it is moved into place, a clean process, which
    can import neither zoo nor Keras, loads it and compares its outputs with those of the copy. Logs
    a warning if `zoo.load` refuses it without `trust`, for example because of an operation that no
    bundled model uses.

    Args:
      model: GenerativeModel.
      folder: path that must not exist.
      card: dict; provenance of the model, which is added to card.json.
      half: whether to store the float32 weights as float16, which halves the size. The weights are
        rounded. Computations are still in float32.

    Returns:
      Path of the folder.

    Raises:
      InputError: if the folder exists or cannot be created, or a weight is too large for float16.
      ArtefactError: if the SavedModel does not reproduce the model. It is discarded.
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
        saved = _endpoints(clone, packed)  # a reference, because functions do not keep variables
    variables = [*([packed.variable] if packed else []), *(w.value for w in clone.weights)]
    # `write` adds the values that are available only after saving.
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
        _save_samples(aside, clone, endpoints, record)
        with storage.literal_path(aside) as path:
            record.update(check(path))

    commit_with_card(folder, write, record)
    for finding in inspection.inspect(folder / inspection.GRAPH).findings:
        log.warning(
            "The SavedModel of %s loads only with --trust SHA256 (trust=…), because %s. Avoid this,"
            " or publish the SHA256 that `zoo inspect` prints.",
            type(model).__name__,
            finding,
        )
    return folder


def _save_samples(folder, model, endpoints, record):
    """Writes the picture, text or sound of samples."""
    spec, n, means = model.spec, render.num_in_picture(model.condition), shows_means(model)
    arguments = _sample_arguments(model, n)
    if means:
        arguments["z"] = latents(model, n, arguments["seed"])
    samples = _call(endpoints["decode" if means else "sample"], arguments)
    name = record.get("model", type(model).__name__)
    about = render.describe(name, record.get("step"), n, 0, means=means)
    path = folder / f"samples{render.SUFFIXES[spec.kind]}"
    render.save(path, samples, spec, model.condition, arguments["condition"], *about)


def new_folder(folder: str | os.PathLike) -> Path:
    """Returns the absolute Path of a folder after checking that it does not exist.

    Raises:
      InputError: if it exists.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        raise InputError(f"The folder already exists. Choose another folder. Received: {folder}")
    return folder


def save_functions(
    functions: dict, folder: str | os.PathLike, variables: Sequence[tf.Variable]
) -> list[tf.Variable]:
    """Writes concrete functions as the signatures of a SavedModel.

    Args:
      functions: {name: concrete function}.
      folder: path of an empty folder.
      variables: the variables to store first, in this order, if the functions read them.

    Returns:
      The stored variables, which are the attribute `used` of the root of the SavedModel. Only
      variables that the functions read are stored, so the discriminator of a GAN is not.
    """
    module = tf.Module()
    for name, function in functions.items():
        setattr(module, name, function)
    used = {v.ref(): v for f in functions.values() for v in f.variables}
    # The order of `f.variables` can differ between two traces of a function.
    first = [used.pop(v.ref()) for v in variables if v.ref() in used]
    module.used = [*first, *used.values()]
    tf.saved_model.save(module, str(folder), signatures=functions)
    return [*module.used]


def commit_with_card(folder: Path, write: Callable[[Path], None], record: dict) -> None:
    """Writes a folder with a card atomically.

    Args:
      folder: Path, as returned by `new_folder`.
      write: function of the Path of an empty folder that writes the files into it.
      record: dict; the content of the card. The size of the files is added as "bytes".

    Raises:
      InputError: if the folder cannot be created.
    """

    def write_and_weigh(aside):
        write(aside)
        record["bytes"] = sum(p.stat().st_size for p in aside.rglob("*") if p.is_file())

    try:
        storage.commit(folder, write_and_weigh, record, seal=CARD)
    except OSError as error:
        if error.errno in (*storage.FULL, errno.EIO):
            raise
        raise InputError(f"Cannot write the folder: {error}. Choose another folder.") from None


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Returns a scope in which Keras creates layers in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def check_in_clean_process() -> Callable[[Path], dict]:
    """Starts clean_process.py, unless it runs, and returns a function that verifies a SavedModel.

    The process imports TensorFlow, which takes seconds, while this process prepares the SavedModel.
    It verifies all exports of this process and ends when this process ends.

    Returns:
      function of the Path of a SavedModel that returns the measurements, a dict. It raises
      ArtefactError if the outputs differ from golden.npz.
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
        except BaseException:  # the pending answer must not be read by the next call
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
    """Starts clean_process.py, which ends when its stdin closes, and so with this process."""
    draws = [name for name, endpoint in ENDPOINTS.items() if endpoint.draws]
    log = tempfile.TemporaryFile()  # noqa: SIM115 (open while the process runs; a pipe could fill)
    process = subprocess.Popen(
        [sys.executable, "-P", clean_process.__file__, *draws],
        bufsize=0,
        cwd=Path(clean_process.__file__).parent,  # so that it does not block the current folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # so that Ctrl-C reaches only this process
    )
    process.log = log
    return process


@atexit.register
def end_clean_process() -> None:
    """Ends the process of `check_in_clean_process`, if it runs. The next export starts another."""
    if _clean_process.cache_info().currsize:
        process = _clean_process()
        _clean_process.cache_clear()
        process.kill()
        with process, process.log:  # closes their files
            pass


def _endpoints(model, packed=None):
    """Traces every method of a model once.

    Args:
      model: GenerativeModel.
      packed: _PackedWeights to read instead of the weights, or None.

    Returns:
      {name: concrete function}.
    """

    def trace(name):
        if name not in endpoints:
            endpoint = ENDPOINTS[name]
            z = None
            if "z" in endpoint.arguments:
                if "encode" in methods:
                    shape = trace("encode").structured_outputs.shape
                else:
                    shape = (None, *model.latent_shape)
                z = tf.TensorSpec(shape, tf.float32, "z")
            specs = [*endpoint.specs(model.spec, model.condition, z).values()]
            function = _positional(methods[name], specs, packed)
            endpoints[name] = tf.function(function, specs, autograph=False).get_concrete_function()
        return endpoints[name]

    def shared(name):
        def call(*args, **kwargs):
            arguments = ENDPOINTS[name].bind(*args, **kwargs)
            function = trace(name)
            specs = function.structured_input_signature[0]
            tensors = [tf.convert_to_tensor(arguments[s.name], s.dtype) for s in specs]
            if all(map(tf.TensorSpec.is_compatible_with, specs, tensors)):
                return function(*tensors)
            return methods[name](*args, **kwargs)

        return call

    endpoints = {}
    methods = {name: getattr(model, name) for name in model.capabilities()}
    # An endpoint that others call, such as `encode` in `reconstruct`, is stored only once.
    vars(model).update({name: shared(name) for name in methods})
    try:
        return {name: trace(name) for name in methods}
    finally:
        for name in methods:
            del vars(model)[name]


def _positional(method, specs, packed):
    """Wraps a method as a function of positional tensors with the names of its signature."""
    names = [spec.name for spec in specs]

    def endpoint(*tensors):
        with packed.read() if packed else contextlib.nullcontext():
            return method(**dict(zip(names, tensors, strict=True)))

    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD
    endpoint.__signature__ = inspect.Signature([inspect.Parameter(n, by_name) for n in names])
    return endpoint


def _golden_values(model, endpoints, n=GOLDEN_SAMPLES):
    """Returns {"endpoint/argument" or "endpoint/output": array}, with samples as the data."""
    values = {}
    inputs = _sample_arguments(model, n, first=GOLDEN_FIRST)
    inputs["mask"] = np.zeros((n, *model.spec.shape), np.float32)
    inputs["mask"][:, : model.spec.shape[0] // 2] = 1.0
    if "encode" not in endpoints and "decode" in endpoints:
        inputs["z"] = latents(model, n, inputs["seed"], GOLDEN_FIRST)
    for name, function in endpoints.items():
        output = _call(function, inputs)
        inputs.setdefault(ENDPOINTS[name].output, output)
        values |= {f"{name}/{argument}": inputs[argument] for argument in _argument_names(function)}
        values[f"{name}/output"] = output
    return values


def _sample_arguments(model, n, first=0):
    """Returns {name: array}, the arguments of `sample` for n examples with conditions in turn."""
    return {
        "num_samples": np.int32(n),
        "seed": as_seed(SAMPLE_SEED),
        "condition": conditions_in_turn(model.condition, n),
        "first": np.int32(first),
    }


def _call(function, values):
    """Calls an endpoint with arguments from values, {name: array}, and returns an array."""
    return function(*(tf.constant(values[name]) for name in _argument_names(function))).numpy()


def _argument_names(function):
    return [spec.name for spec in function.structured_input_signature[0]]


def _tensors(model, variables, packed):
    """Returns {weight name: location} of every weight, in order, for the card.

    A location has the keys

    * "shape";
    * "variable", the index in the attribute `used` of the SavedModel, if the weight is stored;
    * "offset", the index of its first value, if the variable is packed.
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
    """Rounds the float32 weights of a model to float16.

    bfloat16 would round 8 times as coarsely, and weights do not need its range.

    Raises:
      InputError: if a weight is too large.
    """
    largest = np.finfo(np.float16).max
    for weight in _float32_weights(model):
        value = weight.numpy()
        if (size := np.abs(value).max(initial=0)) > largest:
            raise InputError(
                f"float16 stores weights up to {largest:g}. Export without --half (half=True)."
                f" Received: {size:g} in {weight.path}"
            )
        weight.assign(value.astype(np.float16))


class _PackedWeights:
    """Weights of a model as one float16 variable.

    One variable, because each takes 3 kB in a SavedModel for functions that save and restore it.

    Args:
      weights: list of float32 keras.Variable.
    """

    def __init__(self, weights):
        self.weights = weights
        values = [tf.reshape(weight, [-1]) for weight in weights]
        self.variable = tf.Variable(tf.cast(tf.concat(values, axis=0), tf.float16), name="halves")
        self._unpack = tf.function(self._unpacked, input_signature=[], autograph=False)

    def read(self):
        """Returns a scope in which Keras reads the weights from the variable.

        The weights are cast here, once per call. Inside a loop, they would be cast in every step.
        """
        return keras.StatelessScope(zip(self.weights, self._unpack(), strict=True))

    def _unpacked(self):
        sizes = [weight.shape.num_elements() for weight in self.weights]
        parts = tf.split(tf.cast(self.variable, tf.float32), sizes)
        return [tf.reshape(x, w.shape) for x, w in zip(parts, self.weights, strict=True)]


def _float32_weights(model):
    return [weight for weight in model.weights if weight.dtype == "float32"]
