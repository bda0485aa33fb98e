"""The contract of a generative model: a `keras.Model` that can also `sample`."""

import contextlib
import inspect
import json

import keras
import tensorflow as tf

import zoo.random

__all__ = ["CAPABILITIES", "LIKELIHOODS", "RECIPE", "GenerativeModel"]

CAPABILITIES = ("sample", "log_prob", "encode", "decode", "reconstruct", "complete", "translate")
"""What a model can do is what it has a method for. Each becomes a signature of the SavedModel."""

LIKELIHOODS = ("exact", "importance_weight", "lower_bound")
"""What `log_prob` may be: log p(x), one log p(x, z) / q(z | x), or a bound below log p(x)."""

RECIPE = {"data": str, "epochs": int, "batch_size": int}
"""What a recipe may say."""


class GenerativeModel(keras.Model):
    """A Keras model of data x, trained by `fit`, that draws new data by `sample`.

    A subclass has

    * a constructor of plain annotated values, all but `shape` with defaults: `shape`, `levels` and,
      if it can be conditional, `num_classes` come from the data, the rest are hyperparameters
      whose meaning stands in the class docstring under `Args:`. It calls `super().__init__` with
      the first three, makes its networks built (with `keras.Input`), and ends in `self.build()`;
    * `recipe`, the defaults of `zoo train`: dict(data=name, epochs=int, batch_size=int);
    * `compile(total_steps=None)`, which calls `super().compile(optimizer=...)`;
    * `compute_loss(x, y, seed, first, training=False)`, a mean over the batch, or its own
      `train_step` and `test_step`;
    * those of the methods named in `CAPABILITIES` that it can fulfil, and with `log_prob` the
      class attribute `log_prob_kind`, one of `LIKELIHOODS`.

    The methods are, with seed int32 [2]; first int32 [], the index of the first example; labels
    int32 [n], or None where unconditional; x and what comes back float32::

        sample(num_samples, seed, labels=None, first=0)      x, [num_samples, *shape]
        log_prob(x, seed, labels=None, first=0)              nats, [n]
        encode(x, labels=None)                               z, [n, …], without noise
        decode(z, labels=None)                               the mean of x, [n, *shape]
        reconstruct(x, labels=None)                          the mean of x, [n, *shape]
        complete(x, mask, seed, labels=None, first=0)        x, drawn anew where mask is 0
        translate(x)                                         x of another kind

    Example k depends on (seed, first + k) alone, never on the batch: noise is of `zoo.random`.

    Args:
      shape: the shape of one example, as (height, width, channels).
      levels: examples lie on the grid i / (levels - 1) in [0, 1]; 2 is binary, 256 is 8-bit, 0 any
        float.
      num_classes: number of labels the model is conditional on; 0 is unconditional.

    Raises:
      ValueError: if one of them cannot be.
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

    def __init__(self, shape, levels, num_classes=0):
        super().__init__()
        if not shape or any(side < 1 for side in shape):
            raise ValueError(f"Every side of shape must be at least 1. Received: shape={shape}")
        if levels < 0 or levels == 1 or levels > 2**16:
            raise ValueError(f"levels must be 0, or 2 to 65536. Received: levels={levels}")
        if num_classes < 0:
            raise ValueError(f"num_classes must not be negative. Received: {num_classes=}")
        for name, value in self._options.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name} must be of numbers and texts, as JSON has them. Received: {value!r}"
                ) from None
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
        return tuple(name for name in CAPABILITIES if hasattr(cls, name))

    @classmethod
    def has_one_objective(cls):
        """Whether the model is trained by `compute_loss`, not by a `train_step` of its own."""
        return cls.compute_loss is not keras.Model.compute_loss

    # What a subclass may change.

    @property
    def averaged_variables(self):
        """The weights that have a moving average, where `compile` asks for one."""
        return self.trainable_variables

    def trouble(self, log):
        """Says what is wrong with a run that is not worth going on with, or returns None.

        Args:
          log: list of dict; the metrics of each epoch so far, with "step".
        """
        return None

    # What a subclass uses.

    def compile(self, optimizer=None, average=None, **kwargs):
        """Compiles for `compute_loss` with a built optimizer, or (None) for an own `train_step`.

        Args:
          optimizer: keras.Optimizer, or None.
          average: None, or the decay of a moving average of the weights, in [0, 1). The weights of
            the model are then the average, whoever reads them; those that the gradient moves are
            state of training alone, and only `training_weights` knows of them.
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
        """Puts the weights that the gradient moves in the place of their average, for one step.

        An own `train_step` does its work within it. Where `compile` asked for no average, it does
        nothing. The average begins short, as the weights move far in the first steps: its decay is
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

    def require_images(self):
        """Refuses data of another kind, in a constructor.

        Raises:
          ValueError: if shape is not (height, width, channels), or levels are fewer than 2.
        """
        if len(self.shape) != 3 or self.levels < 2:
            raise ValueError(
                "Expected images, (height, width, channels), of 2 levels or more."
                f" Received: shape={self.shape}, levels={self.levels}"
            )

    def next_step(self, n):
        """Raises the step: an own `train_step` calls it once, first.

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
        return x, (y if self.num_classes else None)

    def on_grid(self, x):
        """Returns x, float32 [n, *shape], having checked its values: call it where data enters.

        Raises:
          tf.errors.InvalidArgumentError: if a value is none of i / (levels - 1).
        """
        if not self.levels:
            return x
        top = self.levels - 1
        steps = x * top
        off = tf.reduce_max(tf.abs(steps - tf.clip_by_value(tf.round(steps), 0, top)))
        advice = (
            "Binarise it, or train with levels=256." if self.levels == 2 else "Scale it to [0, 1]."
        )
        check = tf.debugging.Assert(
            off < 1e-2,
            [f"Data must be one of {self.levels} values from 0 to 1, evenly spaced. {advice}"],
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
        known = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < self.num_classes)),
            [f"Labels must be 0 to {self.num_classes - 1}, but these came:", labels],
        )
        with _after(known):
            return tf.one_hot(labels, self.num_classes)

    # What Keras calls.

    def get_config(self):
        """Returns the arguments of the constructor, defaults included."""
        return dict(self._options)

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
        """Measures `compute_loss`, with the same noise for every batch and at every time."""
        x, y = self.unpack(data)
        return self._results(x, self.compute_loss(x, y, self.step_seed(0), 0, training=False))

    def _results(self, x, loss):
        self.loss_tracker.update_state(loss, sample_weight=tf.cast(tf.shape(x)[0], tf.float32))
        return self.get_metrics_result()


def _after(check):
    """Orders what follows after an assertion, which is None where it ran at once (eagerly)."""
    return tf.control_dependencies([] if check is None else [check])
