"""Conformance tests for generative models.

In the tests of a package with a model, one line runs them all, under pytest:

    test_conformance = zoo.testing.conformance(MyModel)

The data are 8 x 8 images of three patterns with noise: binary, 8-bit, in colour, and with labels. A
kind of data that the constructor refuses with ValueError is skipped. It must accept at least one.
"""

import contextlib
import functools
import inspect
import json
import signal
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from zoo import datasets
from zoo.errors import ArtefactError
from zoo.exports import export, saved_model
from zoo.model import CAPABILITIES, ENDPOINTS, LIKELIHOODS, RECIPE, GenerativeModel
from zoo.runs import training
from zoo.runs.folder import Run
from zoo.runs.interrupts import TrainingInterrupted
from zoo.sampling import labels_in_turn, sampler
from zoo.spec import TOLERANCE, off_grid

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

KINDS = {
    "binary": {"shape": (8, 8, 1), "levels": 2},
    "8-bit": {"shape": (8, 8, 1), "levels": 256},
    "colour": {"shape": (8, 8, 3), "levels": 256},
    "conditional": {"shape": (8, 8, 1), "levels": 2, "num_classes": 3},
}
BATCH_SIZE = 32
STEPS = 120  # in which a model has to learn something of the patterns
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
    taken = {*options} & {*KINDS["conditional"]}
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
        self.cls, self.kind, self.options = cls, kind, {**KINDS[kind], **(options or {})}
        self.num_classes = self.options.get("num_classes", 0)
        self.is_last = False  # of the kinds that the model takes: some checks need one alone

    @functools.cached_property
    def refusal(self):
        """Why the model does not take this kind of data, or ""."""
        if self.num_classes and "num_classes" not in inspect.signature(self.cls).parameters:
            return "the constructor has no num_classes"
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
        return self.cls(**self.options)

    def can(self, name):
        """Whether the model has the method."""
        return name in self.cls.capabilities()

    @functools.cached_property
    def data(self):
        """(train, validation, test) of the patterns."""
        shape, levels = self.options["shape"], self.options["levels"]
        rng = np.random.default_rng(1)
        labels = np.arange(480) % 3
        rows, columns = np.mgrid[:8, :8]
        patterns = np.stack([rows // 2 % 2, columns // 2 % 2, (rows - columns) // 3 % 2])
        grey = 0.1 + 0.8 * patterns[labels, :, :, None] + np.zeros(shape)
        if levels == 2:
            images = rng.random(grey.shape) < grey
        else:
            images = np.clip(grey + 0.1 * rng.standard_normal(grey.shape), 0, 1) * 255
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "patterns.npz"
            np.savez(path, images=images.astype(np.uint8), labels=labels)
            return datasets.load_dataset(path)

    @functools.cached_property
    def batch(self):
        """(x, labels or None): the first images of the test set."""
        x, labels = next(iter(self.data[2].batches(BATCH_SIZE, labels=True)))
        return x, (labels if self.num_classes else None)

    @functools.cached_property
    def trained(self):
        """(model, initial weights, loss of each epoch) after STEPS steps of `fit`."""
        model = self.create()
        initial = [w.numpy() for w in model.trainable_weights]
        model.compile(total_steps=STEPS)
        stream = self.data[0].stream(BATCH_SIZE, seed=1, labels=self.num_classes > 0)
        epochs = 6
        history = model.fit(
            stream, epochs=epochs, steps_per_epoch=STEPS // epochs, shuffle=False, verbose=0
        )
        return model, initial, history.history

    def sample(self, n, seed=SEED, first=0, model=None):
        """Draws from the trained model, labels in turn."""
        return (sampler(model) if model else self.sampler)(n, seed, first)

    @functools.cached_property
    def sampler(self):
        """`sample` of the trained model, traced once: loops over pixels are slow without."""
        return sampler(self.trained[0])

    def log_prob(self, x, seed=SEED, labels=None, first=0):
        """Scores under the trained model."""
        return self.trained[0].log_prob(x, seed, labels=labels, first=first).numpy()


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
    model, initial, _ = subject.trained
    stuck = [
        w.path
        for w, old in zip(model.trainable_weights, initial, strict=True)
        if np.array_equal(w.numpy(), old)
    ]
    _require(not stuck, f"training did not move {', '.join(stuck)}")


@_check()
def check_step_is_counted(subject):
    """The step is raised once for each step of `fit`, so that each draws noise of its own."""
    step = int(subject.trained[0].step)
    _require(
        step == STEPS, f"after {STEPS} steps of fit, model.step is {step}: call next_step once"
    )


@_check(lambda subject: subject.cls.has_one_objective())
def check_loss_falls(subject):
    """The loss of a model with one objective falls."""
    loss = subject.trained[2]["loss"]
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

    images = np.concatenate([x.numpy() for x in subject.data[0].batches(BATCH_SIZE)])

    def distance(model):
        samples = subject.sample(len(images), model=model)
        return np.linalg.norm(moments(samples) - moments(images))

    before, after = distance(subject.create()), distance(subject.trained[0])
    _require(
        after < before,
        f"the first two moments of samples went from {before:.3g} to {after:.3g} off the data's",
    )


@_check()
def check_finite(subject):
    """Weights, metrics and samples are finite."""
    model, _, history = subject.trained
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
    off = float(off_grid(samples, subject.options["levels"]))
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
def check_labels(subject):
    """Labels are needed where the model is conditional, and refused where it is not."""
    model, (x, own) = subject.trained[0], subject.batch
    labels = None if subject.num_classes else tf.zeros([len(x)], tf.int32)
    values = {"num_samples": len(x), "x": x, "mask": tf.ones_like(x), "seed": SEED, "first": 0}
    if subject.can("encode"):
        values["z"] = model.encode(x, labels=own)
    values["labels"] = labels
    for name in model.capabilities():
        arguments = {key: values[key] for key in ENDPOINTS[name].arguments}
        call = functools.partial(getattr(model, name), **arguments)
        said = f"{name}(labels={'None' if labels is None else '[0, 0, …]'})"
        _require_raises(ValueError, call, f"{said} must raise ValueError")


@_check(lambda subject: subject.num_classes > 0)
def check_labels_matter(subject):
    """The label changes the sample, and data is likelier under its own label than another's."""
    first, second = (
        subject.trained[0].sample(8, SEED, labels=tf.fill([8], label)).numpy() for label in (0, 1)
    )
    _require(not np.array_equal(first, second), "labels 0 and 1 gave the same samples")
    if subject.can("log_prob"):
        x, labels = subject.batch
        own = subject.log_prob(x, labels=labels).mean()
        other = subject.log_prob(x, labels=(labels + 1) % subject.num_classes).mean()
        _require(
            own > other,
            f"log_prob of data is {own:.4g} under its own labels, {other:.4g} under others",
        )


@_check()
def check_short_batch_and_traces(subject):
    """A short last batch trains, and `fit` traces the step at most twice."""
    model = subject.create()
    model.compile()
    traces = []
    step = model.train_step
    model.train_step = lambda data: traces.append(1) or step(data)
    labels = subject.num_classes > 0
    short = subject.data[2].batches(BATCH_SIZE - 1, labels=labels)
    history = model.fit(short, epochs=2, shuffle=False, verbose=0).history
    _require_finite(**{key: np.asarray(values) for key, values in history.items()})
    _require(len(traces) <= 2, f"two epochs traced train_step {len(traces)} times")


@_check(_needs("log_prob"))
def check_log_prob(subject):
    """log_prob is finite, a function of (x, seed) alone, and the same in any order and batch."""
    x, labels = subject.batch
    value = subject.log_prob(x, labels=labels)
    _require(value.shape == (len(x),), f"log_prob gave {value.shape} for {len(x)} images")
    _require(value.dtype == np.float32, f"log_prob gave {value.dtype}")
    _require_finite(log_prob=value)
    _require(
        np.array_equal(value, subject.log_prob(x, labels=labels)), "log_prob is not repeatable"
    )
    part = subject.log_prob(x[5:], labels=None if labels is None else labels[5:], first=5)
    _require_close(part, value[5:], "log_prob of image k is another in a batch of another size")
    if subject.cls.log_prob_kind == "exact":
        back = None if labels is None else labels[::-1]
        turned = subject.log_prob(x[::-1], labels=back)[::-1]
        _require_close(turned, value, "log_prob depends on the order of the batch")
        other = subject.log_prob(x, seed=tf.constant([5, 6]), labels=labels)
        _require_close(other, value, "an exact log_prob depends on the seed")
        _require(
            value.max() < 1e-2,
            f"log_prob of an image is {value.max():.4g} nats: a probability above 1",
        )


@_check(_needs("log_prob"))
def check_log_prob_prefers_data(subject):
    """After training, data is likelier than noise with the levels of the data."""
    x, labels = subject.batch
    top = subject.options["levels"] - 1
    noise = np.random.default_rng(1).integers(0, top + 1, x.shape) / np.float32(top)
    data = subject.log_prob(x, labels=labels).mean()
    noise = subject.log_prob(tf.constant(noise, tf.float32), labels=labels).mean()
    _require(data > noise, f"log_prob of data is {data:.4g}, of noise {noise:.4g}")


@_check(lambda subject: subject.can("log_prob") or subject.can("encode"))
def check_off_grid_data_is_refused(subject):
    """Data that is not on the grid of the levels is an error: call self.on_grid where it enters."""
    x, labels = subject.batch
    between = x * 0.5 + 0.25 / (subject.options["levels"] - 1)
    for name in ("log_prob", "encode"):
        if subject.can(name):
            method = getattr(subject.trained[0], name)
            arguments = {"seed": SEED} if name == "log_prob" else {}
            _require_raises(
                tf.errors.InvalidArgumentError,
                functools.partial(method, between, labels=labels, **arguments),
                f"{name} took data that is not on the grid of the levels",
            )


@_check(_needs("encode"))
def check_latents(subject):
    """encode is deterministic; decode and reconstruct give images in [0, 1]."""
    x, labels = subject.batch
    model = subject.trained[0]
    z = model.encode(x, labels=labels)
    _require(len(z) == len(x), f"encode gave {z.shape} for {len(x)} images")
    _require(np.array_equal(z, model.encode(x, labels=labels)), "encode is not repeatable")
    for name, argument in (("decode", z), ("reconstruct", x)):
        if subject.can(name):
            image = getattr(model, name)(argument, labels=labels).numpy()
            _require(image.shape == x.shape, f"{name} gave {image.shape}, not {x.shape}")
            _require(image.min() >= 0 and image.max() <= 1, f"{name} left [0, 1]")


def _is_last(subject):
    """For what takes long: on one kind of data alone, that with labels where the model takes it."""
    return subject.is_last


@_check(_is_last)
def check_plain_keras(subject):
    """`compile(optimizer=…)` and `fit` on NumPy arrays work, without a warning."""
    model = subject.create()
    x, labels = (part if part is None else part.numpy() for part in subject.batch)
    try:
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
    except TypeError as error:
        raise ConformanceError(f"compile(optimizer=…) raised TypeError: {error}") from error
    optimizers = _optimizers(model)
    _require(
        optimizers and all(isinstance(each, keras.optimizers.SGD) for each in optimizers),
        "compile(optimizer=…) did not use the optimizer",
    )
    held_out = x if labels is None else (x, labels)
    with _warnings_as_errors():
        model.fit(x, labels, batch_size=BATCH_SIZE, validation_data=held_out, verbose=0)
    integers = np.uint8(x * (subject.options["levels"] - 1))
    _require_raises(ValueError, lambda: model.fit(integers, labels, verbose=0), "fit took uint8")


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
    """A run stopped in the middle of an epoch and resumed ends as the unbroken one."""
    steps = len(subject.data[0]) // BATCH_SIZE
    with tempfile.TemporaryDirectory() as folder:
        straight, broken = Path(folder, "straight"), Path(folder, "broken")
        expected = _train(subject, straight, 2 * steps + 1)
        _train(subject, broken, steps + steps // 2)
        resumed = _train(subject, broken, 2 * steps + 1, resume=True)
    for (name, value), (_, again) in zip(expected, resumed, strict=True):
        _require(np.array_equal(value, again), f"{name} differs after a resume")


@_check(_is_last)
def check_export_runs_without_zoo(subject):
    """The SavedModel gives the model's own samples in a process without zoo and Keras."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = saved_model.load(
                export.export(subject.trained[0], Path(folder) / "exported")
            )
        except ArtefactError as error:
            raise ConformanceError(error) from error
        can = [name for name in CAPABILITIES if subject.can(name)]
        _require(
            exported.card["can"] == can, f"the SavedModel can {exported.card['can']}, not {can}"
        )
        labels = labels_in_turn(subject.num_classes, 5)
        drawn = exported.sample(5, [1, 2], labels=labels).numpy()
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


def _train(subject, run, steps, resume=False):
    """Trains and stops, so that nothing is exported.

    Returns:
      A list of (name, value): all weights after so many steps, and all that was logged.
    """
    run, stop = Run(run, subject.cls), _Stop(steps)
    try:
        if resume:
            training.resume(run, subject.data, callbacks=[stop])
        else:
            training.train(
                subject.create(),
                subject.data,
                run=run,
                epochs=3,
                batch_size=BATCH_SIZE,
                seed=3,
                callbacks=[stop],
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
