"""The contract of a generative model: a `keras.Model` that can also `sample`."""

import contextlib
import dataclasses
import functools
import inspect
import json
import operator

import keras
import numpy as np
import tensorflow as tf

import zoo.random
from zoo.errors import InputError
from zoo.sampling import as_seed
from zoo.spec import TOLERANCE, check_examples, check_fit, check_labels, off_grid

__all__ = [
    "CAPABILITIES",
    "ENDPOINTS",
    "LIKELIHOODS",
    "RECIPE",
    "Endpoint",
    "GenerativeModel",
    "assertion",
]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A method that a model may have. Each becomes a signature of the SavedModel.

    Args:
      arguments: names of the arguments, in order.
      output: what it returns: "x", data drawn at random on the grid of the levels; "mean", the
        mean of x; "z", latents; or "log_prob".
    """

    arguments: tuple[str, ...]
    output: str

    @property
    def draws(self):
        """Whether the output is rounded random data, in which a last bit can flip a value."""
        return self.output == "x"

    @property
    def batched(self):
        """The arguments with one entry per example, besides labels."""
        return tuple(name for name in self.arguments if name in ("x", "mask", "z"))

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


_BY_NAME_OR_PLACE, _REQUIRED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
_DEFAULTS = {"labels": None, "first": 0}

ENDPOINTS = {
    "sample": Endpoint(("num_samples", "seed", "labels", "first"), "x"),
    "log_prob": Endpoint(("x", "seed", "labels", "first"), "log_prob"),
    "encode": Endpoint(("x", "labels"), "z"),
    "decode": Endpoint(("z", "labels"), "mean"),
    "reconstruct": Endpoint(("x", "labels"), "mean"),
    "complete": Endpoint(("x", "mask", "seed", "labels", "first"), "x"),
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

    * a constructor of annotated, JSON-serializable values, all but `shape` with defaults: `shape`,
      `levels` and, if it can be conditional, `num_classes` come from the data, the rest are
      hyperparameters that the class docstring documents under `Args:`. It calls `super().__init__`
      with the first three, builds its networks (with `keras.Input`), and ends in `self.build()`;
    * `recipe`, the defaults of `zoo train`: dict(data=name, epochs=int, batch_size=int);
    * `compile(optimizer=None, total_steps=None, **kwargs)`, which calls
      `super().compile(optimizer or its own, **kwargs)`;
    * `compute_loss(x, y, seed, first, training=False)`, a mean over the batch, or its own
      `train_step` and `test_step`;
    * those methods of `ENDPOINTS` that it supports, and with `log_prob` the class attribute
      `log_prob_kind`, one of `LIKELIHOODS`.

    The methods are, with seed int32 [2]; first int32 [], the index of the first example; labels
    int32 [n], or None where unconditional; x and the output float32::

        sample(num_samples, seed, labels=None, first=0)      x, [num_samples, *shape]
        log_prob(x, seed, labels=None, first=0)              nats, [n]
        encode(x, labels=None)                               z, [n, …], without noise
        decode(z, labels=None)                               the mean of x, [n, *shape]
        reconstruct(x, labels=None)                          the mean of x, [n, *shape]
        complete(x, mask, seed, labels=None, first=0)        x, drawn where mask is 0

    Example k depends on (seed, first + k) alone, never on the batch: noise comes from `zoo.random`.
    Outside graphs the methods also take Python numbers and NumPy arrays, and one int as seed.

    Everything of `keras.Model` works: `fit` on NumPy arrays, callbacks, `summary`, `save`,
    `export`. `keras.models.load_model` finds a class whose module has been imported.

    Args:
      shape: the shape of one example, as (height, width, channels).
      levels: examples lie on the grid i / (levels - 1) in [0, 1]; 2 is binary, 256 is 8-bit, 0 any
        float.
      num_classes: number of labels the model is conditional on; 0 is unconditional.

    Raises:
      ValueError: if an argument is invalid.
    """

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
            if callable(method := getattr(cls, name)):  # None takes the method of a base away
                setattr(cls, name, _taking_arrays(method))
        if "compile" in vars(cls):
            cls.compile = _recorded(cls.compile)

    def __init__(self, shape, levels, num_classes=0):
        super().__init__()
        shaped = len(shape) > 0 and min(shape) > 0
        self.require(shaped, "Every side of shape must be at least 1.", shape=shape)
        self.require(
            levels == 0 or 2 <= levels <= 2**16, "levels must be 0, or 2 to 65536.", levels=levels
        )
        self.require(num_classes >= 0, "num_classes must not be negative.", num_classes=num_classes)
        for name, value in self._options.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                self.require(False, f"{name} must be JSON-serializable.", **{name: value})
        self.shape, self.levels, self.num_classes = tuple(shape), levels, num_classes
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
    def require(condition, message, **received):
        """Checks an argument of the constructor.

        Args:
          condition: bool.
          message: str; one sentence, what is expected.
          **received: the arguments it is about.

        Raises:
          ValueError: if the condition is false; the message ends in "Received: name=value".
        """
        if not condition:
            values = ", ".join(f"{name}={value!r}" for name, value in received.items())
            raise ValueError(f"{message} Received: {values}")

    def require_images(self):
        """Checks, in a constructor, that the data are images.

        Raises:
          ValueError: if shape is not (height, width, channels), or levels are fewer than 2.
        """
        self.require(
            len(self.shape) == 3 and self.levels >= 2,
            "Expected images, (height, width, channels), of 2 levels or more.",
            shape=self.shape,
            levels=self.levels,
        )

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
        """Returns (x, labels) of what `train_step` is given; labels are None if unconditional."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        labels = tf.cast(y, tf.int32) if self.num_classes and y is not None else None
        return tf.cast(x, tf.float32), labels

    def on_grid(self, x):
        """Checks the values of x, float32 [n, *shape], and returns it: call it where data enters.

        Raises:
          tf.errors.InvalidArgumentError: if a value is none of i / (levels - 1).
        """
        if not self.levels:
            return x
        binary = self.levels == 2
        advice = "Binarize it, or train with levels=256." if binary else "Scale it to [0, 1]."
        check = tf.debugging.Assert(
            off_grid(x, self.levels) < TOLERANCE,
            [f"{_DATA} one of {self.levels} values from 0 to 1, evenly spaced. {advice}"],
        )
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
                "Expected labels for a conditional model and none for an unconditional one."
                f" Received: labels={labels}, num_classes={self.num_classes}"
            )
        if labels is None:
            return tf.zeros([n, 0])
        check = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < self.num_classes)),
            [f"{_LABELS} 0 to {self.num_classes - 1}. Received:", labels],
        )
        with _after(check):
            return tf.one_hot(labels, self.num_classes)

    # Keras calls these.

    def get_config(self):
        """Returns the arguments of the constructor, defaults included."""
        return dict(self._options)

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
          x: float array [n, *shape] on the grid of the levels; or tf.data.Dataset of batches of
            that, float32, or of (that, labels); or a split of `zoo.load_dataset`, or all splits.
            The order of a split continues where the last `fit` stopped.
          y: int array [n], labels, where the model is conditional and x an array; else None.
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
        if hasattr(x, "train"):  # zoo.datasets.Splits
            validation_data = x.validation if validation_data is None else validation_data
            x = x.train
        if hasattr(x, "stream"):  # zoo.datasets.Split
            check_fit(x, type(self).__name__, self.shape, self.levels, self.num_classes)
            batch_size = min(batch_size or self.recipe.get("batch_size", 32), len(x))
            kwargs.setdefault("steps_per_epoch", len(x) // batch_size)
            x = x.stream(batch_size, int(self.run_seed), int(self.step), self.num_classes > 0)
        if hasattr(validation_data, "batches"):
            validation_data = validation_data.batches(batch_size or 32, self.num_classes > 0)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # Keras cannot shuffle it, and warns if asked to
        self._check_data((x, y))
        self._check_data(validation_data)
        try:
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
        except tf.errors.InvalidArgumentError as error:
            if sentence := assertion(error):
                raise InputError(sentence) from None
            raise

    def _check_data(self, data):
        """Checks arrays by their values, and a tf.data.Dataset by its element_spec."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, tf.data.Dataset):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
        if hasattr(x, "shape"):
            check_examples(x, type(self).__name__, self.shape, self.levels)
            if self.num_classes:
                check_labels(y, type(self).__name__, self.num_classes)

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
        x, y = self.unpack(data)
        seed, first = self.next_step(tf.shape(x)[0])
        with self.training_weights():
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, seed, first, training=True)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
        return self._results(x, loss)

    def test_step(self, data):
        """Measures `compute_loss`, with the same noise for every batch and every call."""
        x, y = self.unpack(data)
        return self._results(x, self.compute_loss(x, y, self.step_seed(0), 0, training=False))

    def _results(self, x, loss):
        self.loss_tracker.update_state(loss, sample_weight=tf.cast(tf.shape(x)[0], tf.float32))
        return self.get_metrics_result()


def assertion(error):
    """Returns the sentence of a check of this module in a tf.errors.InvalidArgumentError, or ""."""
    for start in (_DATA, _LABELS):
        _, found, rest = error.message.partition(start)
        if found:
            return start + rest.splitlines()[0].rstrip("'\"]").split("'")[0]
    return ""


def _after(check):
    """Makes what follows depend on an assertion; it is None where it ran eagerly."""
    return tf.control_dependencies([] if check is None else [check])


def _taking_arrays(method):
    """Wraps a method of `ENDPOINTS` to take NumPy arrays and Python numbers outside of graphs."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def wrapper(self, *values, **named):
        if not tf.executing_eagerly():
            return method(self, *values, **named)
        given = signature.bind(self, *values, **named)
        for name, value in given.arguments.items():
            if name in _CONVERTERS and value is not None:
                given.arguments[name] = _CONVERTERS[name](value)
        return method(*given.args, **given.kwargs)

    return wrapper


def _floats(value):
    return tf.cast(value, tf.float32)


def _labels(value):
    if np.asarray(value).dtype.kind not in "iu":
        raise InputError(f"Expected labels of integers. Received: labels={value!r}")
    return tf.cast(value, tf.int32)


_CONVERTERS = {
    "num_samples": operator.index,
    "seed": lambda value: tf.constant(as_seed(value)),
    "labels": _labels,
    "first": operator.index,
    "x": _floats,
    "mask": _floats,
    "z": _floats,
}


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
