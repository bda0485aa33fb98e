"""Conformance tests for generative models.

In the tests of a package with a model, one line runs them all, under pytest:

    test_conformance = zoo.testing.conformance(MyModel)

The data are three patterns with noise, of each of `KINDS`: images, tokens and sound, alone or with
a condition. A kind of data that the constructor refuses with ValueError is skipped. It must accept
at least one.
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
      condition: Spec of what accompanies each, or None.
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
STEPS = 124  # in which a model has to learn something of the patterns
SEED = tf.constant([1, 2])


class ConformanceError(AssertionError):
    """Raised when a conformance test fails."""


def conformance(cls, known_failures=None, **options):
    """Makes the pytest test that runs every check on every kind of data that a model takes.

    A kind that it refuses is a skipped test, whose reason is what the constructor said.

    Args:
      cls: subclass of GenerativeModel.
      known_failures: dict from "kind-check", as in the names of the tests, to the reason why the
        model fails it. Such a test fails where the check passes, so that no entry outlives its
        reason.
      **options: hyperparameters, to make a large model small enough to be tested.

    Returns:
      A test function.

    Raises:
      ConformanceError: if the model takes no kind of data, or a known failure names no test.
    """
    import pytest

    known = dict(known_failures or {})
    found = {subject.kind: subject for subject in subjects(cls, **options)}
    cases = []
    for kind, subject in found.items():
        if subject.refusal:
            marks = pytest.mark.skip(reason=f"{cls.__name__}: {subject.refusal}")
            cases.append(pytest.param(kind, None, marks=marks, id=kind))
            continue
        for check in subject.checks():
            name, marks = f"{kind}-{check}", []
            if name in known:
                marks = [pytest.mark.xfail(reason=known.pop(name), strict=True)]
            cases.append(pytest.param(kind, check, marks=marks, id=name))
    _require(not known, f"{cls.__name__} has no checks of the names {', '.join(known)}")

    @pytest.mark.parametrize(("kind", "check"), cases)
    def test_conformance(kind, check):
        CHECKS[check](found[kind])

    return test_conformance


def subjects(cls, **options):
    """Returns a `Subject` for each of KINDS.

    Raises:
      ConformanceError: if it is no model, refuses all, or fails otherwise than by ValueError; if
        the data decide an option.
    """
    _require(
        isinstance(cls, type) and issubclass(cls, GenerativeModel),
        f"Expected a subclass of zoo.GenerativeModel. Received: {cls}",
    )
    taken = {*options} & {*Kind._fields}
    _require(not taken, f"{', '.join(sorted(taken))} come from the data, not from the options")
    found = [Subject(cls, kind, options) for kind in KINDS]
    taken = [subject for subject in found if not subject.refusal]
    reasons = "; ".join(f"{subject.kind}: {subject.refusal}" for subject in found)
    _require(taken, f"{cls.__name__} takes none of the kinds of data. {reasons}")
    taken[-1].is_last = True
    return found


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
        self.is_last = False  # of the kinds that the model takes: some checks need one alone

    @functools.cached_property
    def refusal(self):
        """Why the model does not take this kind of data, or ""."""
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
        except BaseException as error:  # to exit, too
            what = f"{self.cls.__name__} cannot be made for {self.kind} data"
            raise ConformanceError(f"{what}: {type(error).__name__}: {error}") from error
        return ""

    def checks(self):
        """Returns the names of the checks that apply."""
        return [name for name, check in CHECKS.items() if check.applies(self)]

    def create(self, seed=1):
        """Builds the model; equal seeds give equal initial weights."""
        keras.utils.set_random_seed(seed)
        given = {"condition": self.condition} if self.condition else {}
        return self.cls(spec=self.spec, **given, **self.options)

    def can(self, name):
        """Whether the model has the method."""
        return name in self.cls.capabilities()

    @functools.cached_property
    def data(self):
        """(train, validation, test) of the patterns."""
        rng, labels = np.random.default_rng(1), np.arange(480) % 3
        x = _patterns(self.spec, labels, rng)
        if self.condition:
            is_label = self.condition.kind == "label"
            condition = labels if is_label else _patterns(self.condition, labels, rng)
        given = (x, condition) if self.condition else x
        return Splits.from_examples(self.spec, given, condition=self.condition, name="patterns")

    @functools.cached_property
    def batch(self):
        """(x, condition or None): the first examples of the test set."""
        batch = next(iter(self.data.test.batches(BATCH_SIZE, self.condition is not None)))
        return batch if self.condition else (batch, None)

    @functools.cached_property
    def trained(self):
        """The result of STEPS steps of `fit`, the last of them in epochs with a short last batch.

        Returns:
          _Trained.
        """
        model, conditional, traces = self.create(), self.condition is not None, []
        initial = [w.numpy() for w in model.trainable_weights]
        model.compile(total_steps=STEPS)
        step = model.train_step
        model.train_step = lambda data: traces.append(1) or step(data)
        stream = self.data.train.stream(BATCH_SIZE, 1, condition=conditional)
        stream = stream.unbatch().batch(BATCH_SIZE)  # of no static size, as the short batches
        short = self.data.test.batches(BATCH_SIZE - 1, conditional)
        steps, epochs = 2 * len(short), 6
        fit = functools.partial(model.fit, shuffle=False, verbose=0)
        history = fit(stream, epochs=epochs, steps_per_epoch=(STEPS - steps) // epochs).history
        at_last = fit(short, epochs=2).history
        del model.train_step
        return _Trained(model, initial, history, at_last, len(traces))

    def sample(self, n, seed=SEED, first=0, model=None):
        """Draws from the trained model, conditions in turn."""
        return (sampler(model, self.conditions) if model else self.sampler)(n, seed, first)

    @functools.cached_property
    def sampler(self):
        """`sample` of the trained model, traced once: loops over positions are slow without."""
        return sampler(self.trained.model, self.conditions)

    def log_prob(self, x, seed=SEED, condition=None, first=0):
        """Scores under the trained model."""
        return self.trained.model.log_prob(x, seed, condition, first).numpy()

    @functools.cached_property
    def conditions(self):
        """What samples are conditional on: None for labels, which come in turn."""
        if self.condition is None or self.condition.kind == "label":
            return None
        return self.batch[1].numpy()


class _Trained(NamedTuple):
    """A trained model.

    Attributes:
      model: GenerativeModel.
      initial: list of arrays; the weights before.
      history: {metric: value of each epoch}, while all batches were full.
      short: the same, of the epochs with a short last batch.
      traces: int; how often `train_step` was called by Python, once for each trace.
    """

    model: GenerativeModel
    initial: list
    history: dict
    short: dict
    traces: int


def _patterns(spec, labels, rng):
    """Returns examples, each the pattern of its label with noise."""
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
    """Returns how far one step of gradient descent moves the weights of an adversarial model.

    Args:
      model: zoo.adversarial.AdversarialModel.
      data: a batch, as of `train_step`.
      generator_rate: float; learning rate.
      discriminator_rate: float; learning rate.

    Returns:
      [moves of the generator, moves of the discriminator], lists of float32 arrays.
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
"""Name -> function of a Subject, which raises ConformanceError; `applies` says where."""


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
    """It is built, can sample, and says by what recipe."""
    cls, model = subject.cls, subject.create()
    _require(model.built, "the constructor must end in self.build()")
    _require(model.trainable_weights, "there are no weights to train")
    _require(subject.can("sample"), "a generative model has a method `sample`")
    _require(
        cls.has_one_objective() or cls.train_step is not GenerativeModel.train_step,
        "a model has a method `compute_loss`, or `train_step` and `test_step` of its own",
    )
    _require(
        cls.compile is not GenerativeModel.compile,
        "a model has a method `compile(optimizer=None, total_steps=None, **kwargs)`",
    )
    arguments = inspect.signature(training.train).parameters.keys() - {"options"}
    taken = sorted(arguments & {option.name for option in options(cls)})
    _require(not taken, f"{', '.join(taken)} are arguments of zoo.train: rename the options")
    for key, kind in RECIPE.items():
        _require(
            isinstance(cls.recipe.get(key), kind), f"recipe[{key!r}] must be a {kind.__name__}"
        )
    if subject.can("log_prob"):
        _require(cls.log_prob_kind in LIKELIHOODS, f"log_prob_kind must be one of {LIKELIHOODS}")
    if subject.can("decode"):
        _require(subject.can("encode"), "decode needs encode: it says what shape z has")


@_check()
def check_config_round_trip(subject):
    """A model made of its config, through JSON, is the same model."""
    model = subject.create()
    config = json.loads(json.dumps(model.get_config()))
    again = type(model).from_config(config)
    _require(
        json.loads(json.dumps(again.get_config())) == config, "get_config differs after from_config"
    )
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, again)]
    _require(
        shapes[0] == shapes[1], "the weights of the model made of its config have other shapes"
    )


@_check()
def check_initial_weights_follow_the_seed(subject):
    """Equal seeds of Keras give equal initial weights, others other ones.

    An initializer that two layers or two models share has drawn its seed once and for all.
    """
    first, again, other = (
        [w.numpy() for w in subject.create(seed).trainable_weights] for seed in (1, 1, 2)
    )
    same = all(map(np.array_equal, first, again))
    _require(same, "two models made after the same keras.utils.set_random_seed differ")
    drawn = [k for k, w in enumerate(first) if w.size > 1 and w.min() < w.max()]
    _require(
        not drawn or any(not np.array_equal(first[k], other[k]) for k in drawn),
        "another keras.utils.set_random_seed gave the same weights: give each its own initializer",
    )


@_check()
def check_every_weight_moves(subject):
    """Training moves every trainable weight."""
    model, initial, *_ = subject.trained
    stuck = [
        w.path
        for w, old in zip(model.trainable_weights, initial, strict=True)
        if np.array_equal(w.numpy(), old)
    ]
    _require(not stuck, f"training did not move {', '.join(stuck)}")


@_check()
def check_step_is_counted(subject):
    """The step is raised once for each step of `fit`, so that each draws noise of its own."""
    step = int(subject.trained.model.step)
    _require(
        step == STEPS, f"after {STEPS} steps of fit, model.step is {step}: call next_step once"
    )


@_check(lambda subject: subject.cls.has_one_objective())
def check_loss_falls(subject):
    """The loss of a model with one objective falls."""
    loss = subject.trained.history["loss"]
    _require(loss[-1] < loss[0], f"the loss rose from {loss[0]:.4g} to {loss[-1]:.4g}")


@_check(lambda subject: not subject.cls.has_one_objective())
def check_samples_approach_data(subject):
    """The samples of a model with several objectives come nearer to the data.

    They are compared by the means of all values and of all products of two: random noise can have
    the mean and the spread of the data in every pixel.
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
        f"the first two moments of samples went from {before:.3g} to {after:.3g} off the data's",
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
    _require(samples.shape == x.shape, f"samples are {samples.shape}, data is {x.shape}")
    _require(samples.dtype == x.dtype.as_numpy_dtype, f"samples are {samples.dtype}")
    off = float(subject.spec.off_grid(samples))
    _require(off < TOLERANCE, f"samples lie up to {off:.3g} levels off the grid of the data")
    _require(samples.std(0).max() > 0, "all samples are equal")


@_check()
def check_same_seed_same_sample(subject):
    """Equal seeds give equal samples, other seeds others."""
    samples = subject.sample(8)
    _require(np.array_equal(samples, subject.sample(8)), "the same seed gave another sample")
    other = subject.sample(8, seed=tf.constant([1, 3]))
    _require(not np.array_equal(samples, other), "another seed gave the same sample")


@_check()
def check_sample_is_independent_of_batch(subject):
    """Image k is the same whatever is drawn with it."""
    whole, part = subject.sample(9), subject.sample(4, first=5)
    _require_close(part, whole[5:], "image k is another one in a batch of another size")


@_check()
def check_condition(subject):
    """A condition is needed where the model is conditional, and refused where it is not."""
    model, (x, own) = subject.trained.model, subject.batch
    wrong = None if subject.condition else tf.zeros([len(x)], tf.int32)
    mask = tf.ones([len(x), *subject.spec.shape])
    values = {"num_samples": len(x), "x": x, "mask": mask, "seed": SEED, "first": 0}
    if subject.can("encode"):
        values["z"] = model.encode(x, own)
    values["condition"] = wrong
    for name in model.capabilities():
        arguments = {key: values[key] for key in ENDPOINTS[name].arguments}
        call = functools.partial(getattr(model, name), **arguments)
        said = f"{name}(condition={'None' if wrong is None else '[0, 0, …]'})"
        _require_raises(ValueError, call, f"{said} must raise ValueError")
        # Graphs do not pass the check of arguments: the model itself has to refuse it.
        traced = tf.function(call, autograph=False)
        _require_raises(ValueError, traced, f"{said} must raise ValueError in a graph")


@_check(lambda subject: subject.condition is not None)
def check_condition_matters(subject):
    """The condition changes the sample, and data is likelier under its own than another's."""
    model, (x, own) = subject.trained.model, subject.batch
    if subject.condition.kind == "label":
        first, second = tf.fill([8], 0), tf.fill([8], 1)
    else:
        first, second = own[:8], tf.roll(own, 1, axis=0)[:8]
    samples = [model.sample(8, SEED, condition).numpy() for condition in (first, second)]
    _require(not np.array_equal(*samples), "two conditions gave the same samples")
    if subject.can("log_prob") and subject.condition.kind != "domain":  # has no pairs
        likelihoods = [
            subject.log_prob(x, condition=c).mean() for c in (own, tf.roll(own, 1, axis=0))
        ]
        _require(
            likelihoods[0] > likelihoods[1],
            "log_prob of data is {:.4g} under its own conditions, {:.4g} under others".format(
                *likelihoods
            ),
        )


@_check()
def check_short_batch_and_traces(subject):
    """A short last batch trains, and `fit` traces the step once."""
    traces = subject.trained.traces
    _require(traces == 1, f"two calls of fit traced train_step {traces} times")


@_check(_needs("log_prob"))
def check_log_prob(subject):
    """log_prob is finite, a function of (x, seed) alone, and the same in any order and batch."""
    x, condition = subject.batch
    value = subject.log_prob(x, condition=condition)
    _require(value.shape == (len(x),), f"log_prob gave {value.shape} for {len(x)} images")
    _require(value.dtype == np.float32, f"log_prob gave {value.dtype}")
    _require_finite(log_prob=value)
    _require(
        np.array_equal(value, subject.log_prob(x, condition=condition)),
        "log_prob is not repeatable",
    )
    part = subject.log_prob(x[5:], condition=None if condition is None else condition[5:], first=5)
    _require_close(part, value[5:], "log_prob of image k is another in a batch of another size")
    if subject.cls.log_prob_kind == "exact":
        back = None if condition is None else condition[::-1]
        turned = subject.log_prob(x[::-1], condition=back)[::-1]
        _require_close(turned, value, "log_prob depends on the order of the batch")
        other = subject.log_prob(x, seed=tf.constant([5, 6]), condition=condition)
        _require_close(other, value, "an exact log_prob depends on the seed")
        _require(
            value.max() < 1e-2,
            f"log_prob of an image is {value.max():.4g} nats: a probability above 1",
        )


@_check(_needs("log_prob"))
def check_log_prob_prefers_data(subject):
    """After training, data is likelier than noise with the levels of the data."""
    x, condition = subject.batch
    spec = subject.spec
    u = np.random.default_rng(1).random(x.shape, np.float32)
    noise = spec.nearest(spec.low + u * (spec.high - spec.low))
    data = subject.log_prob(x, condition=condition).mean()
    noise = subject.log_prob(noise, condition=condition).mean()
    _require(data > noise, f"log_prob of data is {data:.4g}, of noise {noise:.4g}")


@_check(lambda subject: subject.can("log_prob") or subject.can("encode"))
def check_off_grid_data_is_refused(subject):
    """Data that is none of the spec's is an error: call self.on_grid where it enters."""
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
                f"{name} took data that is not on the grid of the levels",
            )


@_check(_needs("encode"))
def check_latents(subject):
    """encode is deterministic; decode and reconstruct give values in the range of the data."""
    x, condition = subject.batch
    model = subject.trained.model
    z = model.encode(x, condition=condition)
    _require(len(z) == len(x), f"encode gave {z.shape} for {len(x)} images")
    _require(np.array_equal(z, model.encode(x, condition=condition)), "encode is not repeatable")
    for name, argument in (("decode", z), ("reconstruct", x)):
        if subject.can(name):
            image = getattr(model, name)(argument, condition=condition).numpy()
            _require(image.shape == x.shape, f"{name} gave {image.shape}, not {x.shape}")
            low, high = subject.spec.low, subject.spec.high
            within = low <= image.min() and image.max() <= high
            _require(within, f"{name} left [{low:g}, {high:g}]")


def _is_last(subject):
    """For what takes long: on one kind of data alone, that with labels where the model takes it."""
    return subject.is_last


@_check(_is_last)
def check_plain_keras(subject):
    """`compile(optimizer=…)` and `fit` on NumPy arrays work, without a warning."""
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
    _require_raises(ValueError, lambda: model.fit(wrong, y, verbose=0), f"fit took {dtype}")


@_check(_is_last)
def check_keras_file(subject):
    """`keras.models.load_model` of what `save` wrote is the model, with its optimizers."""
    model, *_ = subject.trained
    with tempfile.TemporaryDirectory() as folder, _warnings_as_errors():
        path = Path(folder, "model.keras")
        model.save(path)
        again = keras.models.load_model(path)
    _require(type(again) is type(model), f"load_model returned a {type(again).__name__}")
    for name, value, loaded in _state(model, again):
        _require(np.array_equal(value, loaded), f"{name} differs after load_model")


@_check(_is_last)
def check_resume_is_bit_equal(subject):
    """A run resumed from a checkpoint in the middle of an epoch ends as the unbroken one."""
    steps = len(subject.data.train) // BATCH_SIZE
    with tempfile.TemporaryDirectory() as folder:
        straight, broken = Path(folder, "straight"), Path(folder, "broken")
        copy = _Copy(straight, steps + steps // 2, broken)
        expected = _train(subject, straight, 2 * steps + 1, copy)
        resumed = _train(subject, broken, 2 * steps + 1)
    for (name, value), (_, again) in zip(expected, resumed, strict=True):
        _require(np.array_equal(value, again), f"{name} differs after a resume")


@_check(_is_last)
def check_export_runs_without_zoo(subject):
    """The SavedModel gives the model's own samples in a process without zoo and Keras."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = saved_model.load(
                export.export(subject.trained.model, Path(folder) / "exported")
            )
        except ArtefactError as error:
            raise ConformanceError(error) from error
        can = [name for name in CAPABILITIES if subject.can(name)]
        _require(
            exported.card["can"] == can, f"the SavedModel can {exported.card['can']}, not {can}"
        )
        condition = conditions_in_turn(subject.condition, 5, examples=subject.conditions)
        drawn = exported.sample(5, [1, 2], condition).numpy()
    _require_close(drawn, subject.sample(5), "the SavedModel draws other samples than the model")


@contextlib.contextmanager
def _warnings_as_errors():
    """Turns warnings into ConformanceError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of Keras 3.15 with NumPy 2.4, when it saves any model.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        try:
            yield
        except Warning as warning:
            name = type(warning).__name__
            raise ConformanceError(f"there was a {name}: {warning}") from warning


def _state(*models):
    """Yields (name, value in each model) of all that training changes."""
    parts = [[model, *_optimizers(model)] for model in models]
    variables = [[v for part in own for v in part.variables] for own in parts]
    _require(len({*map(len, variables)}) == 1, "the models have other variables")
    for same in zip(*variables, strict=True):
        yield same[0].path, *(v.numpy() for v in same)
    for k, same in enumerate(zip(*(model.moved_weights for model in models), strict=True)):
        yield f"moved weight {k}", *(v.numpy() for v in same)


def _optimizers(model):
    return [value for value in vars(model).values() if isinstance(value, keras.Optimizer)]


class _Stop(keras.callbacks.Callback):
    """Asks the run to stop, as Ctrl-C does, at a step."""

    def __init__(self, step):
        super().__init__()
        self.at = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step) + 1 == self.at:
            signal.raise_signal(signal.SIGTERM)


class _Copy(keras.callbacks.Callback):
    """Commits a checkpoint at a step and copies the run, as it is if the process is killed there.

    Args:
      run: Path of the run.
      step: int.
      to: Path of the copy.
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
    """Trains a new run, or resumes one that exists, and stops, so that nothing is exported.

    Returns:
      A list of (name, value): all weights after so many steps, and all that was logged.
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
    """Allows for the last bits, which a batch of another size changes and which can flip a draw."""
    off = ~np.isclose(value, expected, rtol=1e-4, atol=1e-5)
    _require(off.mean() <= 2e-3, f"{message}: {off.sum()} of {off.size} values")


def _require_raises(error, call, message):
    try:
        call()
    except error:
        return
    raise ConformanceError(message)
