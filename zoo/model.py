"""The contract of a generative model: a `keras.Model` that can also `sample`."""

import contextlib
import dataclasses
import functools
import inspect
import json
import operator
import reprlib

import keras
import numpy as np
import tensorflow as tf

import zoo.random
from zoo.errors import InputError
from zoo.random import as_seed
from zoo.spec import TOLERANCE, Spec, check_fit

__all__ = [
    "CAPABILITIES",
    "ENDPOINTS",
    "LIKELIHOODS",
    "RECIPE",
    "Endpoint",
    "GenerativeModel",
    "assertions_as_input_errors",
]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A method that a model may have. Each becomes a signature of the SavedModel.

    Args:
      arguments: names of the arguments, in order.
      output: what it returns: "x", examples drawn at random; "mean", the mean of x; "z", latents;
        or "log_prob".
    """

    arguments: tuple[str, ...]
    output: str

    @property
    def draws(self):
        """Whether the output is rounded random data, in which a last bit can flip a value."""
        return self.output == "x"

    def bind(self, *values, **named):
        """Returns {argument: value} of a call, in order, with the defaults of what is missing.

        Raises:
          TypeError: if an argument is missing, unknown or given twice.
        """
        parameters = [
            inspect.Parameter(name, _BY_NAME_OR_PLACE, default=_DEFAULTS.get(name, _REQUIRED))
            for name in self.arguments
        ]
        bound = inspect.Signature(parameters).bind(*values, **named)
        bound.apply_defaults()
        return dict(bound.arguments)

    def specs(self, spec, condition=None, latents=None):
        """Returns {argument: tf.TensorSpec} of a call, in order.

        Args:
          spec: Spec of the examples.
          condition: Spec of what the model is conditional on, or None: there is no such argument.
          latents: tf.TensorSpec of z, where z is an argument.
        """
        specs = {
            "num_samples": tf.TensorSpec([], tf.int32, "num_samples"),
            "x": spec.tensor_spec("x"),
            "mask": tf.TensorSpec([None, *spec.shape], tf.float32, "mask"),
            "z": latents,
            "seed": tf.TensorSpec([2], tf.int32, "seed"),
            "condition": condition and condition.tensor_spec("condition"),
            "first": tf.TensorSpec([], tf.int32, "first"),
        }
        return {name: specs[name] for name in self.arguments if specs[name] is not None}

    def check(self, values, owner, spec, condition=None, latents=None):
        """Returns {argument: tensor} of a call outside of graphs.

        Args:
          values: dict, as of `bind`; numbers, arrays or tensors. A seed may be one int.
          owner: name of the model, for messages.
          spec: as of `specs`.
          condition: as of `specs`.
          latents: as of `specs`; None takes z of any shape.

        Raises:
          InputError: if a value has another type or shape, a number is negative, or the arguments
            are of different numbers of examples.
        """
        values, given = dict(values), values.get("condition")
        if condition is None and given is not None:
            raise InputError(
                f"{owner} is not conditional, so takes no condition. Received:"
                f" condition={reprlib.repr(given)}"
            )
        if "seed" in values:
            values["seed"] = as_seed(values["seed"])
        specs = self.specs(spec, condition, latents or tf.TensorSpec(None, tf.float32, "z"))
        counts, tensors = {}, {}
        for name, tensor_spec in specs.items():
            if name == "condition":
                tensors[name] = _as_condition(given, condition, owner)
            else:
                tensors[name] = _as_tensor(values[name], tensor_spec)
            if name in ("num_samples", "x", "mask", "z", "condition"):
                counts[name] = int(tensors[name]) if name == "num_samples" else len(tensors[name])
        for name in ("num_samples", "first"):
            if name in tensors and tensors[name] < 0:
                raise InputError(f"{name} must not be negative. Received: {name}={values[name]}")
        if len({*counts.values()}) > 1:
            raise InputError(f"Expected equal numbers of examples. Received: {counts}")
        return tensors


def _as_tensor(value, spec):
    """Makes a tensor of an argument; it must be of the dtype and shape of its spec."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if spec.shape.rank == 0:
            return tf.constant(np.int32(operator.index(value)))  # raises OverflowError
        tensor = tf.convert_to_tensor(value)
        dtype = tensor.dtype
        if dtype.is_integer or (spec.dtype.is_floating and (dtype.is_floating or dtype.is_bool)):
            tensor = tf.cast(tensor, spec.dtype)
        if spec.is_compatible_with(tensor):
            return tensor
    is_array = getattr(value, "shape", ()) != ()
    received = f"shape {tuple(value.shape)}" if is_array else reprlib.repr(value)
    raise InputError(
        f"Expected {spec.name} to be {spec.dtype.name} of shape {spec.shape}. Received: {received}"
    )


def _as_condition(value, spec, owner):
    """Makes a tensor of a condition, whose values must be those of its spec."""
    if not hasattr(value, "shape") and isinstance(value, list | tuple):
        value = np.asarray(value)
    if hasattr(value, "shape") and value.shape == (0,):
        return tf.zeros([0, *spec.shape], spec.dtype)
    spec.check(value, owner)
    return spec.cast(value)


_BY_NAME_OR_PLACE, _REQUIRED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
_DEFAULTS = {"condition": None, "first": 0}

ENDPOINTS = {
    "sample": Endpoint(("num_samples", "seed", "condition", "first"), "x"),
    "log_prob": Endpoint(("x", "seed", "condition", "first"), "log_prob"),
    "encode": Endpoint(("x", "condition"), "z"),
    "decode": Endpoint(("z", "condition"), "mean"),
    "reconstruct": Endpoint(("x", "condition"), "mean"),
    "complete": Endpoint(("x", "mask", "seed", "condition", "first"), "x"),
}
"""The one table of what a model can do: a model can do what it has a method for."""

CAPABILITIES = tuple(ENDPOINTS)

LIKELIHOODS = ("exact", "importance_weight", "lower_bound")
"""What `log_prob` may be: log p(x), one log p(x, z) / q(z | x), or a bound below log p(x)."""

_DATA, _LABELS = "Data must be", "Labels must be"  # start the messages of checks in graphs

RECIPE = {"data": str, "epochs": int, "batch_size": int}
"""What a recipe may say."""


class GenerativeModel(keras.Model):
    """A Keras model of data x, trained by `fit`, that draws new data by `sample`.

    A subclass has

    * a constructor of annotated, JSON-serializable values, all but `spec` with defaults: `spec`
      and, if it can be conditional, `condition` come from the data, the rest are hyperparameters
      that the class docstring documents under `Args:`. It calls `super().__init__` with the first
      two, builds its networks (with `keras.Input`), and ends in `self.build()`;
    * `kinds` and `condition_kinds`, the kinds of data that it is for, if not images and labels;
    * `recipe`, the defaults of `zoo train`: dict(data=name, epochs=int, batch_size=int);
    * `compile(optimizer=None, total_steps=None, **kwargs)`, which calls
      `super().compile(optimizer or its own, **kwargs)`;
    * `compute_loss(x, condition, seed, first, training=False)`, a mean over the batch, or its own
      `train_step` and `test_step`;
    * those methods of `ENDPOINTS` that it supports, and with `log_prob` the class attribute
      `log_prob_kind`, one of `LIKELIHOODS`.

    The methods are, with seed int32 [2]; first int32 [], the index of the first example; x and
    the output as `spec`, and condition as its Spec, or None where unconditional::

        sample(num_samples, seed, condition=None, first=0)   x, [num_samples, *shape]
        log_prob(x, seed, condition=None, first=0)           nats, [n]
        encode(x, condition=None)                            z, [n, …], without noise
        decode(z, condition=None)                            the mean of x, [n, *shape]
        reconstruct(x, condition=None)                       the mean of x, [n, *shape]
        complete(x, mask, seed, condition=None, first=0)     x, drawn where mask is 0

    Example k depends on (seed, first + k) alone, never on the batch: noise comes from `zoo.random`.
    Outside graphs the methods also take Python numbers and NumPy arrays, and one int as seed.

    Everything of `keras.Model` works: `fit` on NumPy arrays, callbacks, `summary`, `save`,
    `export`. `keras.models.load_model` finds a class whose module has been imported.

    Args:
      spec: Spec of one example.
      condition: Spec of what the model is conditional on, such as a label; None is unconditional.

    Attributes:
      shape: tuple of int, as of the spec.
      levels: int, as of the spec.
      num_classes: int; number of labels that the model is conditional on, or 0.

    Raises:
      ValueError: if an argument is invalid.
    """

    kinds = ("image",)
    condition_kinds = ("label",)
    recipe = {}
    log_prob_kind = None
    average = None
    moved_weights = ()

    def __new__(cls, *args, **kwargs):
        # keras.Model drops the arguments before Keras can record them for `get_config`.
        model = super().__new__(cls)
        bound = inspect.signature(cls).bind(*args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(model, "_options", dict(bound.arguments))
        return model

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(cls.__module__)(cls)
        for name in {*ENDPOINTS} & {*vars(cls)}:
            method = getattr(cls, name)  # None takes the method of a base away
            if callable(method) and "labels" not in inspect.signature(method).parameters:  # API 1
                setattr(cls, name, _checked(name, method))
        if "compile" in vars(cls):
            cls.compile = _recorded(cls.compile)

    def __init__(self, spec, condition=None):
        super().__init__()
        for name, value in self._options.items():
            try:
                json.dumps(value.to_json() if isinstance(value, Spec) else value)
            except (TypeError, ValueError):
                self.require(False, f"{name} must be JSON-serializable.", **{name: value})
        example = "zoo.Spec((28, 28, 1), levels=2)"
        self.require(isinstance(spec, Spec), f"spec must be a Spec, as {example}.", spec=spec)
        self.require(
            spec.kind in self.kinds,
            f"{type(self).__name__} is for data of kind {' or '.join(self.kinds)}.",
            spec=spec,
        )
        self.require(
            condition is None or condition.kind in self.condition_kinds,
            f"{type(self).__name__} takes a condition of kind {' or '.join(self.condition_kinds)}.",
            condition=condition,
        )
        self.spec, self.condition = spec, condition
        self.shape, self.levels = spec.shape, spec.levels
        is_labelled = condition is not None and condition.kind == "label"
        self.num_classes = condition.levels if is_labelled else 0
        self.run_seed = self._counter("run_seed")
        self.step = self._counter("step")
        if self.has_one_objective():
            self.loss_tracker = keras.metrics.Mean(name="loss")

    def _counter(self, name):
        return self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name=name
        )

    def build(self, input_shape=None):
        """Marks the model built, which its constructor made it: the last line of a constructor."""

    @classmethod
    def capabilities(cls):
        """Returns the names out of `CAPABILITIES` that the model has a method for."""
        return tuple(name for name in CAPABILITIES if callable(getattr(cls, name, None)))

    @classmethod
    def has_one_objective(cls):
        """Whether the model is trained by `compute_loss`, not by a `train_step` of its own."""
        return cls.compute_loss is not keras.Model.compute_loss

    # A subclass may override these.

    @property
    def averaged_variables(self):
        """The weights that have a moving average, where `compile` asks for one."""
        return self.trainable_variables

    def diagnose(self, log):
        """Returns a reason to stop training, or None.

        Args:
          log: list of dict; the metrics of each epoch so far, with "step".
        """
        return None

    # A subclass calls these.

    def compile(self, optimizer=None, average=None, **kwargs):
        """Compiles for `compute_loss` with an optimizer, or without for an own `train_step`.

        Args:
          optimizer: keras.Optimizer, its name, or None.
          average: None, or the decay of a moving average of the weights, in [0, 1). The weights of
            the model are then the average; those that the gradient moves are training state, which
            `training_weights` puts in place.
          **kwargs: as of keras.Model.
        """
        super().compile(optimizer=optimizer, **kwargs)
        if optimizer is not None:
            # Keras loads the state of an optimizer only if it is built, and else merely warns.
            self.optimizer.build(self.trainable_variables)
        self.average, averaged = average, [] if average is None else self.averaged_variables
        # Not Keras's: these are neither weights of the model nor exported.
        self.moved_weights = [tf.Variable(weight.value) for weight in averaged]

    @contextlib.contextmanager
    def training_weights(self):
        """Replaces the averaged weights by those that the gradient moves, for one step.

        An own `train_step` does its work within it. Without an average it does nothing. The average
        is short at first, because the weights move far in the first steps: its decay is
        min(average, (1 + step) / (10 + step)).
        """
        if self.average is None:
            yield
            return
        averages = [tf.identity(w.value) for w in self.averaged_variables]
        for weight, moved in zip(self.averaged_variables, self.moved_weights, strict=True):
            weight.assign(moved)
        yield
        step = tf.cast(self.step, tf.float32)
        share = 1.0 - tf.minimum(self.average, (1.0 + step) / (10.0 + step))
        weights = zip(self.averaged_variables, self.moved_weights, averages, strict=True)
        for weight, moved, average in weights:
            moved.assign(weight)
            weight.assign(average + share * (moved - average))

    @staticmethod
    def restore_stage(source):
        """Returns the model that an option of type `zoo.Pretrained` names, for a constructor.

        Its weights do not move in training, and are stored with those of the model.

        Args:
          source: as of `zoo.restore`, which says what is raised.

        Returns:
          GenerativeModel.
        """
        from zoo.runs.restore import restore

        stage = restore(source)
        stage.trainable = False
        return stage

    @staticmethod
    def require(holds, message, /, **received):
        """Checks an argument of the constructor.

        Args:
          holds: bool; the condition that must be true.
          message: str; one sentence, what is expected.
          **received: the arguments it is about.

        Raises:
          ValueError: if the condition is false; the message ends in "Received: name=value".
        """
        if not holds:
            values = ", ".join(f"{name}={value!r}" for name, value in received.items())
            raise ValueError(f"{message} Received: {values}")

    def require_learning_rate(self, learning_rate):
        """Checks, in a constructor, that a learning rate is positive and finite.

        Raises:
          ValueError: if it is not.
        """
        self.require(
            0 < learning_rate < float("inf"),
            "learning_rate must be positive and finite.",
            learning_rate=learning_rate,
        )

    def next_step(self, n):
        """Increments the step: an own `train_step` calls it once, first.

        Args:
          n: int32 []; number of examples of this replica's batch.

        Returns:
          seed, int32 [2], new at every step of every run seed; and first, int32 [], the index of
          this replica's first example in the batch of all replicas.
        """
        self.step.assign_add(1)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return self.step_seed(self.step), tf.cast(replica, tf.int32) * n

    def step_seed(self, step):
        """Returns the seed of a step of this run, int32 [2]; an own `test_step` takes that of 0."""
        return zoo.random.fold_in(tf.zeros([2], tf.int32), self.run_seed, step)

    def unpack(self, data):
        """Returns (x, condition), as of the specs, of what `train_step` is given."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        condition = None if self.condition is None or y is None else self.condition.cast(y)
        return self.spec.cast(x), condition

    def on_grid(self, x):
        """Checks the values of x, [n, *shape], and returns it: call it where data enters.

        Raises:
          tf.errors.InvalidArgumentError: if a value is none of the spec's.
        """
        spec = self.spec
        if spec.dtype == "int32":
            expected = f"0 to {self.levels - 1}."
        elif not self.levels:
            expected = f"from {spec.low:g} to {spec.high:g}."
        else:
            advice = "Binarize it, or train with 256 levels." if self.levels == 2 else "Scale it."
            expected = (
                f"one of {self.levels} values from {spec.low:g} to {spec.high:g}, evenly spaced."
                f" {advice}"
            )
        check = tf.debugging.Assert(spec.off_grid(x) < TOLERANCE, [f"{_DATA} {expected}"])
        with _after(check):
            return tf.identity(x)

    def one_hot(self, labels, n):
        """Returns labels, int32 [n], as float32 [n, num_classes]; [n, 0] where unconditional.

        Raises:
          ValueError: if labels are given to an unconditional model, or none to a conditional one.
          tf.errors.InvalidArgumentError: if a label is not in 0 … num_classes - 1.
        """
        if (labels is None) == (self.num_classes > 0):
            raise ValueError(
                "Expected a condition for a conditional model and none for an unconditional one."
                f" Received: condition={labels}, num_classes={self.num_classes}"
            )
        if labels is None:
            return tf.zeros([n, 0])
        check = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < self.num_classes)),
            [f"{_LABELS} 0 to {self.num_classes - 1}."],
        )
        with _after(check):
            return tf.one_hot(labels, self.num_classes)

    # Keras calls these.

    def get_config(self):
        """Returns the arguments of the constructor, defaults included, as JSON values."""
        options = self._options.items()
        return {k: v.to_json() if isinstance(v, Spec) else v for k, v in options}

    @classmethod
    def from_config(cls, config):
        """Creates a model with the arguments that `get_config` returned."""
        specs = {k: Spec.from_json(config[k]) for k in ("spec", "condition") if k in config}
        return cls(**{**config, **specs})

    def get_compile_config(self):
        """Returns the arguments of `compile`, serialized."""
        arguments = vars(self).get("_compile_arguments", {})
        return {k: keras.saving.serialize_keras_object(v) for k, v in arguments.items()}

    def compile_from_config(self, config):
        """Compiles with the arguments that `get_compile_config` returned."""
        self.compile(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})

    def save_own_variables(self, store):
        """Saves, with the model's own weights, those that the gradient moves."""
        super().save_own_variables(store)
        for k, moved in enumerate(self.moved_weights):
            store[f"moved_{k}"] = moved.numpy()

    def load_own_variables(self, store):
        """Loads what `save_own_variables` saved."""
        names = [*store.keys()]
        if self.moved_weights and "moved_0" not in names:
            raise ValueError("The file has no moved weights. Load it first, then call compile().")
        super().load_own_variables({k: store[k] for k in names if not k.startswith("moved_")})
        for k, moved in enumerate(self.moved_weights):
            moved.assign(store[f"moved_{k}"])

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        **kwargs,
    ):
        """Trains the model. As `keras.Model.fit`, with what follows.

        Args:
          x: array [n, *shape] of examples as of the model's spec; or tf.data.Dataset of batches of
            that, or of (that, condition); or a split of `zoo.load_dataset`, or all splits. The
            order of a split continues where the last `fit` stopped.
          y: array, the condition of each example, where the model is conditional and x an array.
          batch_size: int. Default of a split: that of the recipe; of arrays: 32.
          epochs: int.
          verbose: as of `keras.Model.fit`.
          callbacks: list of any Keras callbacks.
          validation_split: float; share of arrays to hold out.
          validation_data: x or (x, y), as above.
          **kwargs: as of `keras.Model.fit`.

        Returns:
          keras.callbacks.History.

        Raises:
          InputError: if the data do not fit the model.
        """
        conditional = self.condition is not None
        if hasattr(x, "train"):  # zoo.datasets.Splits
            validation_data = x.validation if validation_data is None else validation_data
            x = x.train
        if hasattr(x, "stream"):  # zoo.datasets.Split
            check_fit(x, type(self).__name__, self.spec, self.condition)
            batch_size = min(batch_size or self.recipe.get("batch_size", 32), len(x))
            kwargs.setdefault("steps_per_epoch", len(x) // batch_size)
            x = x.stream(batch_size, int(self.run_seed), int(self.step), conditional)
        if hasattr(validation_data, "batches"):
            validation_data = validation_data.batches(batch_size or 32, conditional)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # Keras cannot shuffle it, and warns if asked to
        self._check_data((x, y))
        if validation_data is not None:
            self._check_data(validation_data)
        with assertions_as_input_errors():
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                **kwargs,
            )

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the loss and metrics of data: `keras.Model.evaluate`, with x and y of `fit`."""
        if hasattr(x, "batches"):  # zoo.datasets.Split
            x = x.batches(batch_size or 32, self.condition is not None)
        if "_use_cached_eval_dataset" not in kwargs:  # `fit` calls this, and has checked them
            self._check_data((x, y))
        with assertions_as_input_errors():
            return super().evaluate(x, y, batch_size, **kwargs)

    def _check_data(self, data):
        """Checks arrays by their values, and a tf.data.Dataset by its element_spec."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, tf.data.Dataset):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
        if isinstance(x, str):
            raise InputError(
                f"Expected data, not a name: zoo.load_dataset({x!r}) loads a data set."
                f" Received: {x!r}"
            )
        if hasattr(x, "shape") or x is None or isinstance(x, list | tuple | dict):
            self.spec.check(x, type(self).__name__)
            if self.condition is not None:
                self.condition.check(y, type(self).__name__)

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """Exports the model, as a SavedModel as of `zoo.export`, or in another format of Keras.

        Args:
          filepath: path of a folder that does not exist.
          format: "tf_saved_model", or another of `keras.Model.export`.
          **kwargs: as of `keras.Model.export`, of other formats.
        """
        if format != "tf_saved_model":
            return super().export(filepath, format=format, **kwargs)
        from zoo.exports.export import export

        export(self, filepath)

    @property
    def metrics(self):
        """The metrics of the model, without the loss that Keras adds and only Keras updates."""
        own = [metric for metric in super().metrics if metric.name != "loss"]
        return [self.loss_tracker, *own] if self.has_one_objective() else own

    def train_step(self, data):
        """Does one step of `compute_loss`'s gradient."""
        x, condition = self.unpack(data)
        seed, first = self.next_step(tf.shape(x)[0])
        with self.training_weights():
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, condition, seed, first, training=True)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
        return self._results(x, loss)

    def test_step(self, data):
        """Measures `compute_loss`, with the same noise for every batch and every call."""
        x, condition = self.unpack(data)
        loss = self.compute_loss(x, condition, self.step_seed(0), 0, training=False)
        return self._results(x, loss)

    def _results(self, x, loss):
        self.loss_tracker.update_state(loss, sample_weight=tf.cast(tf.shape(x)[0], tf.float32))
        return self.get_metrics_result()


@contextlib.contextmanager
def assertions_as_input_errors():
    """Turns the errors of the checks in the graph of a model into InputError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        for start in (_DATA, _LABELS):
            _, match, rest = error.message.partition(start)
            if match:
                raise InputError(start + rest.splitlines()[0].split("'")[0].rstrip('"]')) from None
        raise


def _after(check):
    """Makes what follows depend on an assertion; it is None where it ran eagerly."""
    return tf.control_dependencies([] if check is None else [check])


def _checked(name, method):
    """Wraps a method of `ENDPOINTS` to check its arguments outside of graphs."""

    @functools.wraps(method)
    def wrapper(self, *values, **named):
        if not tf.executing_eagerly():
            return method(self, *values, **named)
        endpoint = ENDPOINTS[name]
        given = endpoint.bind(*values, **named)
        tensors = endpoint.check(given, type(self).__name__, self.spec, self.condition)
        with assertions_as_input_errors():
            return method(self, **tensors)

    return wrapper


def _recorded(compile):
    """Wraps `compile` to record its arguments; of calls within calls the outermost."""
    signature = inspect.signature(compile)

    @functools.wraps(compile)
    def wrapper(self, *values, **named):
        compile(self, *values, **named)
        bound = signature.bind(self, *values, **named)
        bound.apply_defaults()  # Keras takes an empty config for that of a model not compiled
        _, *arguments = bound.arguments.items()
        recorded = {}
        for name, value in arguments:
            more = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            recorded |= value if more else {name: value}
        vars(self)["_compile_arguments"] = recorded  # not an attribute, which Keras would track

    return wrapper
