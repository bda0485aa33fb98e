"""Defines the contract of a generative model, a `keras.Model` that can also `sample`."""

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
    """A method that a model may have. Each method becomes a signature of the SavedModel.

    Args:
      arguments: names of the arguments, in order.
      output: kind of the output: "x" (random examples), "mean" (the mean of x), "z" (latents) or
        "log_prob".
    """

    arguments: tuple[str, ...]
    output: str

    @property
    def draws(self):
        """Whether the output is rounded random data, which rounding errors can change."""
        return self.output == "x"

    def bind(self, *args, **kwargs):
        """Returns {argument: value} of a call, in order, including defaults.

        Raises:
          TypeError: if an argument is missing, unknown or given twice.
        """
        parameters = [
            inspect.Parameter(name, _BY_NAME_OR_POSITION, default=_DEFAULTS.get(name, _REQUIRED))
            for name in self.arguments
        ]
        bound = inspect.Signature(parameters).bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def specs(self, spec, condition=None, latents=None):
        """Returns {argument: tf.TensorSpec} of a call, in order.

        Args:
          spec: Spec of the examples.
          condition: Spec of the condition, or None for an unconditional model.
          latents: tf.TensorSpec of z, required if z is an argument.
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
        """Checks the arguments of a call outside of graphs. Returns {argument: tensor}.

        Args:
          values: dict, as returned by `bind`, of numbers, arrays or tensors. A seed may be an int.
          owner: name of the model, for messages.
          spec: as `specs`.
          condition: as `specs`.
          latents: as `specs`. None accepts z of any shape.

        Raises:
          InputError: if a value has a wrong type or shape, a number is negative, or the arguments
            have different numbers of examples.
        """
        values, given_condition = dict(values), values.get("condition")
        if condition is None and given_condition is not None:
            raise InputError(
                f"{owner} is not conditional. Omit the condition. Received:"
                f" condition={reprlib.repr(given_condition)}"
            )
        if "seed" in values:
            values["seed"] = as_seed(values["seed"])
        specs = self.specs(spec, condition, latents or tf.TensorSpec(None, tf.float32, "z"))
        counts, tensors = {}, {}
        for name, tensor_spec in specs.items():
            if name == "condition":
                tensors[name] = _as_condition(given_condition, condition, owner)
            else:
                tensors[name] = _as_tensor(values[name], tensor_spec)
            if name in ("num_samples", "x", "mask", "z", "condition"):
                counts[name] = int(tensors[name]) if name == "num_samples" else len(tensors[name])
        for name in ("num_samples", "first"):
            if name in tensors and tensors[name] < 0:
                raise InputError(f"{name} must not be negative. Received: {name}={values[name]}")
        if len({*counts.values()}) > 1:
            raise InputError(
                f"All arguments must have the same number of examples. Received: {counts}"
            )
        return tensors


def _as_tensor(value, spec):
    """Converts an argument to a tensor with the dtype and shape of its tf.TensorSpec."""
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
        f"{spec.name} must be {spec.dtype.name} of shape {spec.shape}. Received: {received}"
    )


def _as_condition(value, spec, owner):
    """Converts a condition to a tensor, and checks its values."""
    if not hasattr(value, "shape") and isinstance(value, list | tuple):
        value = np.asarray(value)
    if hasattr(value, "shape") and value.shape == (0,):
        return tf.zeros([0, *spec.shape], spec.dtype)
    spec.check(value, owner)
    return spec.cast(value)


_BY_NAME_OR_POSITION = inspect.Parameter.POSITIONAL_OR_KEYWORD
_REQUIRED = inspect.Parameter.empty
_DEFAULTS = {"condition": None, "first": 0}

ENDPOINTS = {
    "sample": Endpoint(("num_samples", "seed", "condition", "first"), "x"),
    "log_prob": Endpoint(("x", "seed", "condition", "first"), "log_prob"),
    "encode": Endpoint(("x", "condition"), "z"),
    "decode": Endpoint(("z", "condition"), "mean"),
    "reconstruct": Endpoint(("x", "condition"), "mean"),
    "complete": Endpoint(("x", "mask", "seed", "condition", "first"), "x"),
}
"""All endpoints. A model supports an endpoint if it has a method of this name."""

CAPABILITIES = tuple(ENDPOINTS)

LIKELIHOODS = ("exact", "importance_weight", "lower_bound")
"""Kinds of `log_prob`: log p(x), a sample of log p(x, z) / q(z | x), or a bound below log p(x)."""

_DATA, _LABELS = "Data must be", "Labels must be"  # first words of assertion messages in graphs

RECIPE = {"data": str, "epochs": int, "batch_size": int}
"""Keys and types of a recipe."""


class GenerativeModel(keras.Model):
    """A Keras model of data x that is trained by `fit` and generates data by `sample`.

    A subclass has

    * a constructor with annotated, JSON-serializable arguments. `spec` and, for a model that can be
      conditional, `condition` come from the data. The others are hyperparameters with defaults,
      documented under `Args:` in the class docstring. The constructor calls `super().__init__` with
      the first two, builds the networks (with `keras.Input`), and ends with `self.build()`;
    * `kinds` and `condition_kinds`, the supported kinds of data. Default: images and labels;
    * `recipe`, the defaults of `zoo train`: dict(data=name, epochs=int, batch_size=int);
    * `compile(optimizer=None, total_steps=None, **kwargs)`, which calls `super().compile` with the
      optimizer or a default, and with kwargs;
    * `compute_loss(x, condition, seed, first, training=False)`, a mean over the batch; or its own
      `train_step` and `test_step`;
    * the methods of `ENDPOINTS` that it supports. `log_prob` also requires the class attribute
      `log_prob_kind`, one of `LIKELIHOODS`.

    The methods are listed below. seed is int32 [2], and first, int32 [], is the index of the first
    example. x and outputs match `spec`. condition matches its Spec, or is None if unconditional::

        sample(num_samples, seed, condition=None, first=0)   x, [num_samples, *shape]
        log_prob(x, seed, condition=None, first=0)           nats, [n]
        encode(x, condition=None)                            z, [n, …], without noise
        decode(z, condition=None)                            the mean of x, [n, *shape]
        reconstruct(x, condition=None)                       the mean of x, [n, *shape]
        complete(x, mask, seed, condition=None, first=0)     x, sampled where mask is 0

    Example k depends only on (seed, first + k) and never on the batch, because noise comes from
    `zoo.random`. Outside graphs, the methods also accept Python numbers, NumPy arrays, and an int
    as seed.

    All features of `keras.Model` work, such as `fit` on NumPy arrays, callbacks, `summary`, `save`
    and `export`. `keras.models.load_model` requires that the module of the class is imported.

    Args:
      spec: Spec of one example.
      condition: Spec of the condition, such as a label, or None for an unconditional model.

    Attributes:
      shape: tuple of int; `spec.shape`.
      levels: int; `spec.levels`.
      num_classes: int; number of classes if the condition is a label, else 0.

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
        # Recorded here for `get_config`, because keras.Model drops the arguments.
        model = super().__new__(cls)
        bound = inspect.signature(cls).bind(*args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(model, "_options", dict(bound.arguments))
        return model

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(cls.__module__)(cls)
        for name in {*ENDPOINTS} & {*vars(cls)}:
            method = getattr(cls, name)  # None removes the method of a base class
            if callable(method) and "labels" not in inspect.signature(method).parameters:  # API 1
                setattr(cls, name, _checked(name, method))
        if "compile" in vars(cls):
            cls.compile = _recorded(cls.compile)

    def __repr__(self):
        if not self.built:
            return super().__repr__()
        given = f", given {self.condition}" if self.condition else ""
        count = sum(weight.shape.num_elements() for weight in self.trainable_weights)
        return f"<{type(self).__name__} of {self.spec}{given}: {count:,} trainable parameters>"

    def __init__(self, spec, condition=None):
        super().__init__()
        for name, value in self._options.items():
            try:
                json.dumps(value.to_json() if isinstance(value, Spec) else value)
            except (TypeError, ValueError):
                self.require(False, f"{name} must be JSON-serializable.", **{name: value})
        example = "zoo.Spec((28, 28, 1), levels=2)"
        self.require(
            isinstance(spec, Spec), f"spec must be a Spec, for example {example}.", spec=spec
        )
        self.require(
            spec.kind in self.kinds,
            f"{type(self).__name__} requires data of kind {' or '.join(self.kinds)}.",
            spec=spec,
        )
        self.require(
            condition is None or condition.kind in self.condition_kinds,
            f"The condition of {type(self).__name__} must be of kind"
            f" {' or '.join(self.condition_kinds)}.",
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
        """Marks the model as built. The last line of a constructor calls it."""

    @classmethod
    def capabilities(cls):
        """Returns the names in `CAPABILITIES` for which the model has a method, a tuple of str."""
        return tuple(name for name in CAPABILITIES if callable(getattr(cls, name, None)))

    @classmethod
    def has_one_objective(cls):
        """Returns whether the model is trained by `compute_loss` and not its own `train_step`."""
        return cls.compute_loss is not keras.Model.compute_loss

    # A subclass may override these.

    @property
    def averaged_variables(self):
        """The weights of the moving average that `compile` can enable."""
        return self.trainable_variables

    @property
    def latent_shape(self):
        """The shape of the latents of one example, which `encode` returns and `decode` takes.

        A model that has `decode` but no `encode` overrides it.
        """

        def lowest(spec):
            return spec and spec.cast(tf.fill([1, *spec.shape], spec.low))

        return tuple(self.encode(lowest(self.spec), lowest(self.condition)).shape[1:])

    def diagnose(self, log):
        """Returns a reason to stop training, or None.

        Args:
          log: list of dict; the metrics of each epoch so far, with "step".
        """
        return None

    # A subclass calls these.

    def compile(self, optimizer=None, average=None, **kwargs):
        """Compiles the model.

        Args:
          optimizer: keras.Optimizer or its name for `compute_loss`. None for an own `train_step`.
          average: decay of an exponential moving average (EMA) of the weights, in [0, 1), or None.
            With an EMA, the weights of the model are the average. The raw weights, which the
            optimizer updates, are training state; `training_weights` swaps them in.
          **kwargs: as `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, **kwargs)
        if optimizer is not None:
            # Keras loads the state of an optimizer only if it is built. Otherwise, it only warns.
            self.optimizer.build(self.trainable_variables)
        self.average, averaged = average, [] if average is None else self.averaged_variables
        # Plain variables, so that they are neither weights of the model nor exported.
        self.moved_weights = [tf.Variable(weight.value) for weight in averaged]

    @contextlib.contextmanager
    def training_weights(self):
        """Returns a scope that swaps in the raw weights for one training step.

        An own `train_step` updates the weights inside this scope. Without a moving average, it does
        nothing. The decay is min(average, (1 + step) / (10 + step)): smaller in the first steps, in
        which the weights change most.
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
        """Loads the model that an option of type `zoo.Pretrained` names. For constructors.

        Its weights are frozen and are stored with those of the model.

        Args:
          source: as `zoo.restore`.

        Returns:
          GenerativeModel.

        Raises:
          InputError or ArtefactError: as `zoo.restore`.
        """
        from zoo.runs.restore import restore

        stage = restore(source)
        stage.trainable = False
        return stage

    @staticmethod
    def require(holds, message, /, **received):
        """Raises ValueError unless a condition on constructor arguments holds.

        Args:
          holds: bool; the condition that must be true.
          message: str; a sentence that states the condition.
          **received: the arguments in the condition.

        Raises:
          ValueError: if the condition is false. The message ends in "Received: name=value".
        """
        if not holds:
            values = ", ".join(f"{name}={value!r}" for name, value in received.items())
            raise ValueError(f"{message} Received: {values}")

    def require_learning_rate(self, learning_rate):
        """Raises ValueError unless a learning rate is positive and finite. For constructors."""
        self.require(
            0 < learning_rate < float("inf"),
            "learning_rate must be positive and finite.",
            learning_rate=learning_rate,
        )

    def next_step(self, n):
        """Increments the step. An own `train_step` calls it once, at its start.

        Args:
          n: int32 []; number of examples in the batch of this replica.

        Returns:
          (seed, first). seed, int32 [2], is unique for the run seed and step. first, int32 [], is
          the index of the first example of this replica in the global batch.
        """
        self.step.assign_add(1)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return self.step_seed(self.step), tf.cast(replica, tf.int32) * n

    def step_seed(self, step):
        """Returns the seed of a step, int32 [2]. An own `test_step` uses that of step 0."""
        return zoo.random.fold_in(tf.zeros([2], tf.int32), self.run_seed, step)

    def unpack(self, data):
        """Returns (x, condition) from the argument of `train_step`, cast to the specs."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        condition = None if self.condition is None or y is None else self.condition.cast(y)
        return self.spec.cast(x), condition

    def on_grid(self, x):
        """Checks the values of x and returns it. Methods that receive data call it first.

        Raises:
        Args:
          x: tensor [n, *shape].

        Raises:
          tf.errors.InvalidArgumentError: if a value is not allowed by the spec.
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
        """Returns one-hot labels, float32 [n, num_classes], or [n, 0] for an unconditional model.

        Raises:
        Args:
          labels: int32 [n], or None.
          n: int or int32 []; number of examples.

        Raises:
          ValueError: if labels are None for a conditional model, or given for an unconditional one.
          tf.errors.InvalidArgumentError: if a label is not in 0 … num_classes - 1.
        """
        if (labels is None) == (self.num_classes > 0):
            raise ValueError(
                "A conditional model requires a condition, and other models must have none."
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
        """Returns the arguments of the constructor, including defaults, as JSON values."""
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
        """Saves the weights of the model and the raw weights of its moving average."""
        super().save_own_variables(store)
        for k, moved in enumerate(self.moved_weights):
            store[f"moved_{k}"] = moved.numpy()

    def load_own_variables(self, store):
        """Loads what `save_own_variables` saved."""
        names = [*store.keys()]
        if self.moved_weights and "moved_0" not in names:
            raise ValueError(
                "The file has no raw weights of a moving average. Load it before compile()."
            )
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
        """Trains the model. As `keras.Model.fit`, but also accepts data sets of the zoo.

        Args:
          x: one of
            - array [n, *shape] of examples that match the spec;
            - tf.data.Dataset of batches of examples, or of (examples, conditions);
            - a split, or the splits, of `zoo.load_dataset`. The order of a split continues where
              the last `fit` ended.
          y: array [n, …] of conditions, if the model is conditional and x is an array.
          batch_size: int. Default: that of the recipe for a split, 32 for arrays.
          epochs: int.
          verbose: as `keras.Model.fit`.
          callbacks: list of Keras callbacks.
          validation_split: float; share of arrays to hold out.
          validation_data: x or (x, y), as above.
          **kwargs: as `keras.Model.fit`.

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
            kwargs.setdefault("shuffle", False)  # Keras warns that it cannot shuffle a Dataset
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
        """Returns the loss and metrics. As `keras.Model.evaluate`, with x and y as in `fit`."""
        if hasattr(x, "batches"):  # zoo.datasets.Split
            x = x.batches(batch_size or 32, self.condition is not None)
        if "_use_cached_eval_dataset" not in kwargs:  # set by `fit`, which checked the data
            self._check_data((x, y))
        with assertions_as_input_errors():
            return super().evaluate(x, y, batch_size, **kwargs)

    def _check_data(self, data):
        """Checks the values of arrays, and the element_spec of a tf.data.Dataset."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, tf.data.Dataset):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
        if isinstance(x, str):
            raise InputError(
                "x must be data, not a name. Load a data set with zoo.load_dataset(name)."
                f" Received: x={x!r}"
            )
        if hasattr(x, "shape") or x is None or isinstance(x, list | tuple | dict):
            self.spec.check(x, type(self).__name__)
            if self.condition is not None:
                self.condition.check(y, type(self).__name__)

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """Exports the model as a SavedModel, as `zoo.export`, or in another format of Keras.

        Args:
          filepath: path of a folder that does not exist.
          format: "tf_saved_model", or another format of `keras.Model.export`.
          **kwargs: as `keras.Model.export`, for other formats.
        """
        if format != "tf_saved_model":
            return super().export(filepath, format=format, **kwargs)
        from zoo.exports.export import export

        export(self, filepath)

    @property
    def metrics(self):
        """The metrics of the model, without the loss metric that Keras adds but never updates."""
        metrics = [metric for metric in super().metrics if metric.name != "loss"]
        return [self.loss_tracker, *metrics] if self.has_one_objective() else metrics

    def train_step(self, data):
        """Does one gradient step on `compute_loss`."""
        x, condition = self.unpack(data)
        seed, first = self.next_step(tf.shape(x)[0])
        with self.training_weights():
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, condition, seed, first, training=True)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
        return self._results(x, loss)

    def test_step(self, data):
        """Computes `compute_loss` with the same noise for every batch and call."""
        x, condition = self.unpack(data)
        loss = self.compute_loss(x, condition, self.step_seed(0), 0, training=False)
        return self._results(x, loss)

    def _results(self, x, loss):
        self.loss_tracker.update_state(loss, sample_weight=tf.cast(tf.shape(x)[0], tf.float32))
        return self.get_metrics_result()


@contextlib.contextmanager
def assertions_as_input_errors():
    """Converts errors of assertions in the graph of a model to InputError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        for start in (_DATA, _LABELS):
            _, match, rest = error.message.partition(start)
            if match:
                raise InputError(start + rest.splitlines()[0].split("'")[0].rstrip('"]')) from None
        raise


def _after(check):
    """Returns a scope of operations that depend on an assertion, or None if it ran eagerly."""
    return tf.control_dependencies([] if check is None else [check])


def _checked(name, method):
    """Wraps a method of `ENDPOINTS` to check its arguments outside of graphs."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        if not tf.executing_eagerly():
            return method(self, *args, **kwargs)
        endpoint = ENDPOINTS[name]
        values = endpoint.bind(*args, **kwargs)
        tensors = endpoint.check(values, type(self).__name__, self.spec, self.condition)
        with assertions_as_input_errors():
            return method(self, **tensors)

    return wrapper


def _recorded(compile):
    """Wraps `compile` to record its arguments. For nested calls, those of the outermost."""
    signature = inspect.signature(compile)

    @functools.wraps(compile)
    def wrapper(self, *args, **kwargs):
        compile(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()  # for Keras, an empty config means that the model is not compiled
        _, *arguments = bound.arguments.items()
        recorded = {}
        for name, value in arguments:
            is_kwargs = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            recorded |= value if is_kwargs else {name: value}
        vars(self)["_compile_arguments"] = recorded  # not an attribute, which Keras would track

    return wrapper
