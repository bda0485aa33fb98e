"""Conformance tests for generative models.

In the tests of a package with a model, one line runs them all with pytest:

    test_conformance = zoo.testing.conformance(MyModel)

The data are three patterns with noise, for each of `KINDS`: images, tokens and sounds, with and
without a condition. A kind of data for which the constructor raises ValueError is skipped. The
constructor must accept at least one kind.
"""

import contextlib
import functools
import inspect
import json
import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zoo.datasets import Splits
from zoo.errors import ArtefactError, InputError
from zoo.exports import export, saved_model
from zoo.exports.cards import read_card
from zoo.exports.inspection import GRAPH
from zoo.model import CAPABILITIES, ENDPOINTS, LIKELIHOODS, RECIPE, GenerativeModel
from zoo.registry.options import options
from zoo.runs import checkpoints, training
from zoo.runs.folder import Run
from zoo.runs.interrupts import TrainingInterrupted
from zoo.sampling import conditions_in_turn, sampler
from zoo.spec import TOLERANCE, Spec

__all__ = [
    "CHECKS",
    "KINDS",
    "ConformanceError",
    "Subject",
    "compile_with_descent",
    "conformance",
    "moves_of_one_step",
    "subjects",
]


class Kind(NamedTuple):
    """A kind of data.

    Attributes:
      spec: Spec of the examples.
      condition: Spec of the conditions, or None.
    """

    spec: Spec
    condition: Spec | None = None


BINARY = Spec((8, 8, 1), levels=2)
KINDS = {
    "binary": Kind(BINARY),
    "8-bit": Kind(Spec((8, 8, 1))),
    "colour": Kind(Spec((8, 8, 3))),
    "tokens": Kind(Spec((24,), 5, "tokens", names=tuple("abcd "))),
    "audio": Kind(Spec((64, 1), 256, "audio", rate=8000)),
    "image-conditioned": Kind(BINARY, BINARY),
    "two domains": Kind(BINARY, Spec((8, 8, 1), 2, "domain")),
    "conditional": Kind(BINARY, Spec((), 3, "label")),
}
BATCH_SIZE = 32
STEPS = 124  # training steps, enough to learn some of the patterns
SEED = tf.constant([1, 2])


class ConformanceError(AssertionError):
    """Raised when a conformance test fails."""


def conformance(cls, known_failures=None, **options):
    """Creates a pytest test that runs every check on every kind of data that a model supports.

    An unsupported kind is a skipped test, whose reason is the message of the ValueError.

    Args:
      cls: subclass of GenerativeModel.
      known_failures: dict from "kind-check", as in the names of the tests, to the reason for the
        failure. Such a test fails if the check passes, so that outdated entries are detected.
      **options: hyperparameters, for example to make the model smaller.

    Returns:
      A test function.

    Raises:
      ConformanceError: if the model supports no kind of data, or a known failure names no test.
    """
    import pytest

    failures = dict(known_failures or {})
    by_kind = {subject.kind: subject for subject in subjects(cls, **options)}
    cases = []
    for kind, subject in by_kind.items():
        if subject.refusal:
            marks = pytest.mark.skip(reason=f"{cls.__name__}: {subject.refusal}")
            cases.append(pytest.param(kind, None, marks=marks, id=kind))
            continue
        for check in subject.checks():
            name, marks = f"{kind}-{check}", []
            if name in failures:
                marks = [pytest.mark.xfail(reason=failures.pop(name), strict=True)]
            cases.append(pytest.param(kind, check, marks=marks, id=name))
    _require(not failures, f"{cls.__name__} has no checks with the names {', '.join(failures)}")

    @pytest.mark.parametrize(("kind", "check"), cases)
    def test_conformance(kind, check):
        CHECKS[check](by_kind[kind])

    return test_conformance


def subjects(cls, **options):
    """Returns a list with a `Subject` for each of KINDS.

    Raises:
      ConformanceError: if cls is not a model class or supports no kind, its constructor raises
        another error than ValueError, or an option is set by the data.
    """
    _require(
        isinstance(cls, type) and issubclass(cls, GenerativeModel),
        f"Expected a subclass of zoo.GenerativeModel. Received: {cls}",
    )
    from_data = {*options} & {*Kind._fields}
    _require(not from_data, f"{', '.join(sorted(from_data))}: set by the data, not by options")
    by_kind = [Subject(cls, kind, options) for kind in KINDS]
    supported = [subject for subject in by_kind if not subject.refusal]
    reasons = "; ".join(f"{subject.kind}: {subject.refusal}" for subject in by_kind)
    _require(supported, f"{cls.__name__} supports none of the kinds of data. {reasons}")
    supported[-1].is_last = True
    return by_kind


class Subject:
    """A model class on one kind of data.

    Args:
      cls: subclass of GenerativeModel.
      kind: one of KINDS.
      options: dict of hyperparameters.
    """

    def __init__(self, cls, kind, options=None):
        self.cls, self.kind, self.options = cls, kind, dict(options or {})
        self.spec, self.condition = KINDS[kind]
        self.is_last = False  # among the supported kinds; slow checks run only on this one

    @functools.cached_property
    def refusal(self):
        """The reason why the model does not support this kind of data, or ""."""
        parameter = inspect.signature(self.cls).parameters.get("condition")
        if self.condition and parameter is None:
            return "the constructor has no condition"
        if not self.condition and parameter and parameter.default is parameter.empty:
            return "the constructor requires a condition"
        try:
            self.create()
        except ValueError as error:
            return " ".join(str(error).split()) or "ValueError"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # includes SystemExit
            raise ConformanceError(
                f"{self.cls.__name__} cannot be created for {self.kind} data:"
                f" {type(error).__name__}: {error}"
            ) from error
        return ""

    def checks(self):
        """Returns the names of the checks that apply."""
        return [name for name, check in CHECKS.items() if check.applies(self)]

    def create(self, seed=1):
        """Creates the model. Equal seeds give equal initial weights."""
        keras.utils.set_random_seed(seed)
        condition = {"condition": self.condition} if self.condition else {}
        return self.cls(spec=self.spec, **condition, **self.options)

    def can(self, name):
        """Returns whether the model has a method."""
        return name in self.cls.capabilities()

    @functools.cached_property
    def data(self):
        """The patterns, as zoo.datasets.Splits."""
        rng, labels = np.random.default_rng(1), np.arange(480) % 3
        x = _patterns(self.spec, labels, rng)
        if self.condition:
            is_label = self.condition.kind == "label"
            condition = labels if is_label else _patterns(self.condition, labels, rng)
        examples = (x, condition) if self.condition else x
        return Splits.from_examples(self.spec, examples, condition=self.condition, name="patterns")

    @functools.cached_property
    def batch(self):
        """The first test examples, (x, condition or None)."""
        batch = next(iter(self.data.test.batches(BATCH_SIZE, self.condition is not None)))
        return batch if self.condition else (batch, None)

    @functools.cached_property
    def trained(self):
        """The model after STEPS steps of `fit`. The last epochs have a short last batch.

        Returns:
          _Trained.
        """
        model, conditional, traces = self.create(), self.condition is not None, []
        initial = [w.numpy() for w in model.trainable_weights]
        model.compile(total_steps=STEPS)
        step = model.train_step
        model.train_step = lambda data: traces.append(1) or step(data)
        stream = self.data.train.stream(BATCH_SIZE, 1, condition=conditional)
        stream = stream.unbatch().batch(BATCH_SIZE)  # removes the static size, as short batches do
        short = self.data.test.batches(BATCH_SIZE - 1, conditional)
        steps, epochs = 2 * len(short), 6
        fit = functools.partial(model.fit, shuffle=False, verbose=0)
        history = fit(stream, epochs=epochs, steps_per_epoch=(STEPS - steps) // epochs).history
        short_history = fit(short, epochs=2).history
        del model.train_step
        return _Trained(model, initial, history, short_history, len(traces))

    def sample(self, n, seed=SEED, first=0, model=None):
        """Samples from a model (default: the trained model), with conditions in turn."""
        return (sampler(model, self.conditions) if model else self.sampler)(n, seed, first)

    @functools.cached_property
    def sampler(self):
        """`sample` of the trained model, traced once, because eager loops are slow."""
        return sampler(self.trained.model, self.conditions)

    def log_prob(self, x, seed=SEED, condition=None, first=0):
        """Returns log_prob of the trained model, an array."""
        return self.trained.model.log_prob(x, seed, condition, first).numpy()

    @functools.cached_property
    def conditions(self):
        """The conditions of samples, or None for labels, which are used in turn."""
        if self.condition is None or self.condition.kind == "label":
            return None
        return self.batch[1].numpy()


class _Trained(NamedTuple):
    """A trained model.

    Attributes:
      model: GenerativeModel.
      initial: list of arrays; the initial weights.
      history: {metric: value per epoch} of the epochs with full batches.
      short: {metric: value per epoch} of the epochs with a short last batch.
      traces: int; number of times that `train_step` was traced.
    """

    model: GenerativeModel
    initial: list
    history: dict
    short: dict
    traces: int


def _patterns(spec, labels, rng):
    """Returns one example per label: its pattern with noise."""
    shape = (len(labels), *spec.shape)
    if spec.kind == "tokens":
        steps = (labels[:, None] + 1) * np.arange(spec.shape[0])
        noise = rng.integers(0, spec.levels, shape)
        return np.where(rng.random(shape) < 0.1, noise, steps % spec.levels).astype(np.int32)
    if spec.kind == "audio":
        time = np.arange(spec.shape[0])[None, :, None]
        sound = 0.8 * np.sin(2.0 * np.pi * time * (labels[:, None, None] + 1) / 16.0)
        return spec.nearest(np.clip(sound + 0.1 * rng.standard_normal(shape), -1, 1)).numpy()
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    patterns = np.stack([rows // 2 % 2, columns // 2 % 2, (rows - columns) // 3 % 2])
    grey = 0.1 + 0.8 * patterns[labels, :, :, None] + np.zeros(shape)
    if spec.levels == 2:
        return (rng.random(shape) < grey).astype(np.float32)
    return spec.nearest(np.clip(grey + 0.1 * rng.standard_normal(shape), 0, 1)).numpy()


def compile_with_descent(model, generator_rate, discriminator_rate):
    """Compiles an adversarial model with plain gradient descent for each network.

    Args:
      model: zoo.adversarial.AdversarialModel.
      generator_rate: float; learning rate.
      discriminator_rate: float; learning rate.
    """
    model.compile()
    for name, rate in (("generator", generator_rate), ("discriminator", discriminator_rate)):
        optimizer = keras.optimizers.SGD(rate)
        optimizer.build(getattr(model, name).trainable_variables)
        setattr(model, f"{name}_optimizer", optimizer)


def moves_of_one_step(model, data, generator_rate, discriminator_rate):
    """Returns the changes of the weights of an adversarial model in one step of gradient descent.

    Args:
      model: zoo.adversarial.AdversarialModel.
      data: a batch, as the argument of `train_step`.
      generator_rate: float; learning rate.
      discriminator_rate: float; learning rate.

    Returns:
      [changes of the generator, changes of the discriminator], lists of float32 arrays.
    """
    compile_with_descent(model, generator_rate, discriminator_rate)
    networks = (model.moved_weights, model.discriminator.trainable_variables)
    before = [[w.numpy() for w in network] for network in networks]
    model.train_step(data)
    return [
        [w.numpy() - old for w, old in zip(network, olds, strict=True)]
        for network, olds in zip(networks, before, strict=True)
    ]


CHECKS = {}
"""Maps the name of a check to a function of a Subject that raises ConformanceError.

Its attribute `applies` is a function of a Subject that returns whether the check applies.
"""


def _check(applies=lambda subject: True):
    def register(function):
        function.applies = applies
        CHECKS[function.__name__.removeprefix("check_")] = function
        return function

    return register


def _needs(name):
    return lambda subject: subject.can(name)


@_check()
def check_contract(subject):
    """The model is built, can sample, and has a recipe."""
    cls, model = subject.cls, subject.create()
    _require(model.built, "the constructor must end in self.build()")
    _require(model.trainable_weights, "the model must have trainable weights")
    _require(subject.can("sample"), "the model must have a method `sample`")
    _require(
        cls.has_one_objective() or cls.train_step is not GenerativeModel.train_step,
        "the model must have a method `compute_loss`, or its own `train_step` and `test_step`",
    )
    _require(
        cls.compile is not GenerativeModel.compile,
        "the model must have a method `compile(optimizer=None, total_steps=None, **kwargs)`",
    )
    arguments = inspect.signature(training.train).parameters.keys() - {"options"}
    clashes = sorted(arguments & {option.name for option in options(cls)})
    _require(
        not clashes, f"rename the options {', '.join(clashes)}, which are arguments of zoo.train"
    )
    for key, kind in RECIPE.items():
        _require(
            isinstance(cls.recipe.get(key), kind), f"recipe[{key!r}] must be a {kind.__name__}"
        )
    if subject.can("log_prob"):
        _require(cls.log_prob_kind in LIKELIHOODS, f"log_prob_kind must be one of {LIKELIHOODS}")
    if subject.can("decode"):
        _require(
            subject.can("encode") or cls.latent_shape is not GenerativeModel.latent_shape,
            "decode requires encode, or a property latent_shape: the shape of z",
        )


@_check()
def check_config_round_trip(subject):
    """A model created from its config, serialized as JSON, is the same model."""
    model = subject.create()
    config = json.loads(json.dumps(model.get_config()))
    copy = type(model).from_config(config)
    _require(
        json.loads(json.dumps(copy.get_config())) == config, "get_config differs after from_config"
    )
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, copy)]
    _require(shapes[0] == shapes[1], "the shapes of the weights differ after from_config")


@_check()
def check_initial_weights_follow_the_seed(subject):
    """Equal Keras seeds give equal initial weights, and different seeds give different ones.

    An initializer that layers or models share chooses its seed only once.
    """
    first, again, other = (
        [w.numpy() for w in subject.create(seed).trainable_weights] for seed in (1, 1, 2)
    )
    is_equal = all(map(np.array_equal, first, again))
    _require(is_equal, "initial weights differ after equal keras.utils.set_random_seed")
    random = [k for k, w in enumerate(first) if w.size > 1 and w.min() < w.max()]
    _require(
        not random or any(not np.array_equal(first[k], other[k]) for k in random),
        "initial weights are equal after different keras.utils.set_random_seed: use one"
        " initializer per layer",
    )


@_check()
def check_every_weight_moves(subject):
    """Training changes every trainable weight."""
    model, initial, *_ = subject.trained
    unchanged = [
        w.path
        for w, old in zip(model.trainable_weights, initial, strict=True)
        if np.array_equal(w.numpy(), old)
    ]
    _require(not unchanged, f"training did not change {', '.join(unchanged)}")


@_check()
def check_step_is_counted(subject):
    """The step increases by one per step of `fit`, so that each step has its own noise."""
    step = int(subject.trained.model.step)
    _require(
        step == STEPS,
        f"model.step is {step} after {STEPS} steps of fit: call next_step once per step",
    )


@_check(lambda subject: subject.cls.has_one_objective())
def check_loss_falls(subject):
    """The loss of a model with one objective decreases."""
    loss = subject.trained.history["loss"]
    _require(loss[-1] < loss[0], f"the loss increased from {loss[0]:.4g} to {loss[-1]:.4g}")


@_check(lambda subject: not subject.cls.has_one_objective())
def check_samples_approach_data(subject):
    """The samples of a model with several objectives approach the data.

    They are compared by first and second moments, including all products of two values. Noise can
    have the same mean and variance as the data in every pixel.
    """

    def moments(x):
        x = np.insert(x.reshape(len(x), -1), 0, 1.0, axis=1)
        return x.T @ x / len(x)

    images = np.concatenate([x.numpy() for x in subject.data.train.batches(BATCH_SIZE)])

    def distance(model):
        samples = subject.sample(len(images), model=model)
        return np.linalg.norm(moments(samples) - moments(images))

    before, after = distance(subject.create()), distance(subject.trained.model)
    _require(
        after < before,
        "the distance between the moments of samples and data increased from"
        f" {before:.3g} to {after:.3g}",
    )


@_check()
def check_finite(subject):
    """Weights, metrics and samples are finite."""
    model = subject.trained.model
    for history in (subject.trained.history, subject.trained.short):
        _require_finite(**{key: np.asarray(values) for key, values in history.items()})
    _require_finite(**{w.path: w.numpy() for w in model.weights})
    _require_finite(samples=subject.sample(BATCH_SIZE))


@_check()
def check_samples_are_like_data(subject):
    """Samples have the shape, dtype, range and levels of the data."""
    x, _ = subject.batch
    samples = subject.sample(BATCH_SIZE)
    _require(samples.shape == x.shape, f"samples have shape {samples.shape}, expected {x.shape}")
    _require(
        samples.dtype == x.dtype.as_numpy_dtype,
        f"samples have dtype {samples.dtype}, expected {x.dtype.name}",
    )
    off = float(subject.spec.off_grid(samples))
    _require(off < TOLERANCE, f"samples are up to {off:.3g} levels from the values of the spec")
    _require(samples.std(0).max() > 0, "all samples are equal")


@_check()
def check_same_seed_same_sample(subject):
    """Equal seeds give equal samples, and different seeds give different samples."""
    samples = subject.sample(8)
    _require(np.array_equal(samples, subject.sample(8)), "equal seeds gave different samples")
    other = subject.sample(8, seed=tf.constant([1, 3]))
    _require(not np.array_equal(samples, other), "different seeds gave equal samples")


@_check()
def check_sample_is_independent_of_batch(subject):
    """Sample k does not depend on the batch."""
    full, part = subject.sample(9), subject.sample(4, first=5)
    _require_close(part, full[5:], "sample k depends on the batch size")


@_check()
def check_condition(subject):
    """A conditional model requires a condition, and an unconditional one refuses it."""
    model, (x, _) = subject.trained.model, subject.batch
    wrong = None if subject.condition else tf.zeros([len(x)], tf.int32)
    mask = tf.ones([len(x), *subject.spec.shape])
    values = {"num_samples": len(x), "x": x, "mask": mask, "seed": SEED, "first": 0}
    if subject.can("decode"):
        values["z"] = tf.zeros([len(x), *model.latent_shape])
    values["condition"] = wrong
    for name in model.capabilities():
        arguments = {key: values[key] for key in ENDPOINTS[name].arguments}
        call = functools.partial(getattr(model, name), **arguments)
        text = f"{name}(condition={'None' if wrong is None else '[0, 0, …]'})"
        _require_raises(ValueError, call, f"{text} must raise ValueError")
        # In graphs, arguments are not checked, so the model itself must raise.
        traced = tf.function(call, autograph=False)
        _require_raises(ValueError, traced, f"{text} must raise ValueError in a graph")


@_check(lambda subject: subject.condition is not None)
def check_condition_matters(subject):
    """The condition changes samples, and data are most likely under their own condition."""
    model, (x, conditions) = subject.trained.model, subject.batch
    if subject.condition.kind == "label":
        first, second = tf.fill([8], 0), tf.fill([8], 1)
    else:
        first, second = conditions[:8], tf.roll(conditions, 1, axis=0)[:8]
    samples = [model.sample(8, SEED, condition).numpy() for condition in (first, second)]
    _require(not np.array_equal(*samples), "different conditions gave equal samples")
    if subject.can("log_prob") and subject.condition.kind != "domain":  # domains are unpaired
        likelihoods = [
            subject.log_prob(x, condition=c).mean()
            for c in (conditions, tf.roll(conditions, 1, axis=0))
        ]
        _require(
            likelihoods[0] > likelihoods[1],
            "mean log_prob is {:.4g} with the true conditions and {:.4g} with others".format(
                *likelihoods
            ),
        )


@_check()
def check_short_batch_and_traces(subject):
    """`fit` accepts a short last batch, and traces the step once."""
    traces = subject.trained.traces
    _require(traces == 1, f"two calls of fit traced train_step {traces} times")


@_check(_needs("log_prob"))
def check_log_prob(subject):
    """log_prob is finite, repeatable, and independent of the order and size of the batch."""
    x, condition = subject.batch
    value = subject.log_prob(x, condition=condition)
    _require(value.shape == (len(x),), f"log_prob has shape {value.shape} for {len(x)} examples")
    _require(value.dtype == np.float32, f"log_prob has dtype {value.dtype}, expected float32")
    _require_finite(log_prob=value)
    _require(
        np.array_equal(value, subject.log_prob(x, condition=condition)),
        "log_prob is not repeatable",
    )
    part = subject.log_prob(x[5:], condition=None if condition is None else condition[5:], first=5)
    _require_close(part, value[5:], "log_prob of example k depends on the batch size")
    if subject.cls.log_prob_kind == "exact":
        reverse = None if condition is None else condition[::-1]
        reordered = subject.log_prob(x[::-1], condition=reverse)[::-1]
        _require_close(reordered, value, "log_prob depends on the order of the batch")
        other = subject.log_prob(x, seed=tf.constant([5, 6]), condition=condition)
        _require_close(other, value, "an exact log_prob depends on the seed")
        _require(
            value.max() < 1e-2,
            f"log_prob of an example is {value.max():.4g} nats, a probability above 1",
        )


@_check(_needs("log_prob"))
def check_log_prob_prefers_data(subject):
    """After training, data are more likely than uniform noise."""
    x, condition = subject.batch
    spec = subject.spec
    u = np.random.default_rng(1).random(x.shape, np.float32)
    noise = spec.nearest(spec.low + u * (spec.high - spec.low))
    data = subject.log_prob(x, condition=condition).mean()
    noise = subject.log_prob(noise, condition=condition).mean()
    _require(data > noise, f"mean log_prob is {data:.4g} for data and {noise:.4g} for noise")


@_check(lambda subject: subject.can("log_prob") or subject.can("encode"))
def check_off_grid_data_is_refused(subject):
    """Values that the spec does not allow raise InputError. `self.on_grid` checks them."""
    x, condition = subject.batch
    spec = subject.spec
    between = x + spec.levels if spec.dtype == "int32" else x * 0.5 + 0.25 / (spec.levels - 1)
    for name in ("log_prob", "encode"):
        if subject.can(name):
            method = getattr(subject.trained.model, name)
            arguments = {"seed": SEED} if name == "log_prob" else {}
            _require_raises(
                InputError,
                functools.partial(method, between, condition=condition, **arguments),
                f"{name} accepted values that the spec does not allow: call self.on_grid",
            )


@_check(lambda subject: subject.can("encode") or subject.can("decode"))
def check_latents(subject):
    """encode is deterministic. decode and reconstruct return values in the range of the data."""
    x, condition = subject.batch
    model = subject.trained.model
    if not subject.can("encode"):
        z = tf.ones([len(x), *model.latent_shape])
    else:
        z = model.encode(x, condition=condition)
        _require(len(z) == len(x), f"encode has shape {z.shape} for {len(x)} examples")
        again = model.encode(x, condition=condition)
        _require(np.array_equal(z, again), "encode is not repeatable")
    for name, argument in (("decode", z), ("reconstruct", x)):
        if subject.can(name):
            image = getattr(model, name)(argument, condition=condition).numpy()
            _require(image.shape == x.shape, f"{name} has shape {image.shape}, expected {x.shape}")
            low, high = subject.spec.low, subject.spec.high
            within = low <= image.min() and image.max() <= high
            _require(within, f"{name} has values outside of [{low:g}, {high:g}]")


def _is_last(subject):
    """Slow checks run on only one kind of data: with labels if the model supports them."""
    return subject.is_last


@_check(_is_last)
def check_plain_keras(subject):
    """`compile(optimizer=…)` and `fit` on NumPy arrays work without a warning."""
    model = subject.create()
    x, y = (part if part is None else part.numpy() for part in subject.batch)
    try:
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
    except TypeError as error:
        raise ConformanceError(f"compile(optimizer=…) raised TypeError: {error}") from error
    optimizers = _optimizers(model)
    _require(
        optimizers and all(isinstance(each, keras.optimizers.SGD) for each in optimizers),
        "compile(optimizer=…) did not use the optimizer",
    )
    held_out = x if y is None else (x, y)
    with _warnings_as_errors():
        model.fit(x, y, batch_size=BATCH_SIZE, validation_data=held_out, verbose=0)
    other, dtype = (np.float32, "floats") if x.dtype.kind == "i" else (np.uint8, "uint8")
    wrong = np.asarray(subject.spec.store(x), other)
    _require_raises(ValueError, lambda: model.fit(wrong, y, verbose=0), f"fit accepted {dtype}")


@_check(_is_last)
def check_keras_file(subject):
    """`save` and `keras.models.load_model` preserve the model and its optimizers."""
    model, *_ = subject.trained
    with tempfile.TemporaryDirectory() as folder, _warnings_as_errors():
        path = Path(folder, "model.keras")
        model.save(path)
        copy = keras.models.load_model(path)
    _require(type(copy) is type(model), f"load_model returned a {type(copy).__name__}")
    for name, value, loaded in _state(model, copy):
        _require(np.array_equal(value, loaded), f"{name} differs after load_model")


@_check(_is_last)
def check_resume_is_bit_equal(subject):
    """A run resumed in the middle of an epoch equals an uninterrupted run."""
    steps = len(subject.data.train) // BATCH_SIZE
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted, interrupted = Path(folder, "uninterrupted"), Path(folder, "interrupted")
        copy = _Copy(uninterrupted, steps + steps // 2, interrupted)
        expected = _train(subject, uninterrupted, 2 * steps + 1, copy)
        resumed = _train(subject, interrupted, 2 * steps + 1)
    for (name, value), (_, actual) in zip(expected, resumed, strict=True):
        _require(np.array_equal(value, actual), f"{name} differs after a resume")


@_check(_is_last)
def check_export_runs_without_zoo(subject):
    """The SavedModel gives the samples of the model, in a process without zoo and Keras."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = export.export(subject.trained.model, Path(folder) / "exported")
            # `export` warns of operations that are refused elsewhere.
            exported = saved_model.load(path, trust=read_card(path)["files"][GRAPH])
        except ArtefactError as error:
            raise ConformanceError(error) from error
        can = [name for name in CAPABILITIES if subject.can(name)]
        _require(
            exported.card["can"] == can,
            f"the SavedModel supports {exported.card['can']}, expected {can}",
        )
        condition = conditions_in_turn(subject.condition, 5, examples=subject.conditions)
        samples = exported.sample(5, [1, 2], condition).numpy()
    _require_close(samples, subject.sample(5), "samples of the SavedModel and the model differ")


@contextlib.contextmanager
def _warnings_as_errors():
    """Converts warnings to ConformanceError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Raised by Keras 3.15 with NumPy 2.4 whenever it saves a model.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        try:
            yield
        except Warning as warning:
            raise ConformanceError(f"{type(warning).__name__}: {warning}") from warning


def _state(*models):
    """Yields (name, *values), with one value per model, of all training state."""
    owners = [[model, *_optimizers(model)] for model in models]
    variables = [[v for owner in group for v in owner.variables] for group in owners]
    _require(len({*map(len, variables)}) == 1, "the numbers of variables differ")
    for group in zip(*variables, strict=True):
        yield group[0].path, *(v.numpy() for v in group)
    for k, group in enumerate(zip(*(model.moved_weights for model in models), strict=True)):
        yield f"raw weight {k}", *(v.numpy() for v in group)


def _optimizers(model):
    return [value for value in vars(model).values() if isinstance(value, keras.Optimizer)]


class _Stop(keras.callbacks.Callback):
    """Interrupts training with SIGTERM at a step."""

    def __init__(self, step):
        super().__init__()
        self.at = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step) + 1 == self.at:
            signal.raise_signal(signal.SIGTERM)


class _Copy(keras.callbacks.Callback):
    """Commits a checkpoint at a step and copies the run, as if the process was killed there.

    Args:
      run: Path of the run.
      step: int.
      to: Path for the copy.
    """

    def __init__(self, run, step, to):
        super().__init__()
        self.run, self.at, self.to = Run(run), step, to

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == self.at:
            length = self.run.metrics_path.stat().st_size
            record = {"step": self.at, "logs": {}, "log_length": length, "seconds": 0.0}
            checkpoints.commit(self.run, self.model, record)
            shutil.copytree(self.run.folder, self.to)


def _train(subject, run, steps, *callbacks):
    """Trains a new run, or resumes an existing one, and interrupts it before the export.

    Returns:
      A list of (name, value): all weights after the steps, and all logged metrics.
    """
    run, stop = Run(run, subject.cls), _Stop(steps)
    try:
        if run.folder.exists():
            training.resume(run, subject.data, callbacks=[stop])
        else:
            training.train(
                subject.create(),
                subject.data,
                run=run,
                epochs=3,
                batch_size=BATCH_SIZE,
                seed=3,
                callbacks=[*callbacks, stop],
            )
    except TrainingInterrupted:
        pass
    else:
        raise ConformanceError("the run could not be interrupted")
    logged = [
        (f"{key} of epoch {line['epoch']}", value)
        for line in run.metrics
        for key, value in line.items()
        if key != "seconds"
    ]
    return [(v.path, v.numpy()) for v in stop.model.variables] + logged


def _require(condition, message):
    if not condition:
        raise ConformanceError(message)


def _require_finite(**arrays):
    for name, array in arrays.items():
        _require(np.isfinite(array).all(), f"{name} is not finite")


def _require_close(value, expected, message):
    """Compares values with a tolerance for rounding, which can change a few random values."""
    off = ~np.isclose(value, expected, rtol=1e-4, atol=1e-5)
    _require(off.mean() <= 2e-3, f"{message}: {off.sum()} of {off.size} values")


def _require_raises(error, call, message):
    try:
        call()
    except error:
        return
    raise ConformanceError(message)
