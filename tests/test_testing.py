"""Valid models pass all conformance checks, and each broken model fails its check."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.toys import Duel, Pixels, Shadow, Sound, Swap

import zoo
from zoo.model import GenerativeModel
from zoo.spec import Spec
from zoo.testing import CHECKS, KINDS, ConformanceError, Subject, subjects

test_pixels = zoo.testing.conformance(Pixels)
test_duel = zoo.testing.conformance(Duel)
test_sound = zoo.testing.conformance(Sound)
test_shadow = zoo.testing.conformance(Shadow)
test_swap = zoo.testing.conformance(Swap)


class NoRecipe(Pixels):
    recipe = {}


class Weightless(Pixels):
    def build(self, input_shape=None):
        self.table.trainable = False


class CannotSample(GenerativeModel):
    recipe = Pixels.recipe

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.add_weight(shape=spec.shape)
        self.build()


class Unbuilt(CannotSample):
    def __init__(self, spec: Spec):
        GenerativeModel.__init__(self, spec)


class Aimless(CannotSample):
    def sample(self, num_samples, seed, condition=None, first=0):
        return tf.zeros([num_samples, *self.shape])


class WithoutOptimizer(Aimless):
    compute_loss = Pixels.compute_loss


class TakesTheNameOfAnArgument(Pixels):
    def __init__(self, spec: Spec, epochs: int = 3):
        super().__init__(spec)


class ScoresInWords(Pixels):
    log_prob_kind = "roughly"


class DecodesAlone(Pixels):
    def decode(self, z, condition=None):
        return z


class LosesItsConfig(Pixels):
    def get_config(self):
        return {**super().get_config(), "spec": Spec((4, 4, 1), levels=2).to_json()}


class SharesAnInitializer(Pixels):
    normal = keras.initializers.RandomNormal()

    def build(self, input_shape=None):
        for weight in self.trainable_weights:
            weight.assign(self.normal(weight.shape))


class DeadWeight(Pixels):
    def build(self, input_shape=None):
        self.dead = self.add_weight(shape=(2,), name="dead")

    def compute_loss(self, x, condition, seed, first, training=False):
        return super().compute_loss(x, condition, seed, first, training) + 0.0 * tf.reduce_sum(
            self.dead
        )


class ForgetsTheStep(Duel):
    def next_step(self, n):
        return zoo.random.fold_in(tf.zeros([2], tf.int32), 1), 0


class ClimbsTheLoss(Pixels):
    def compute_loss(self, x, condition, seed, first, training=False):
        loss = super().compute_loss(x, condition, seed, first, training)
        return 2.0 * tf.stop_gradient(loss) - loss


class PrefersNoise(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        return -super().log_prob(x, seed, condition, first)

    def compute_loss(self, x, condition, seed, first, training=False):
        return tf.reduce_mean(self.log_prob(x, seed, condition, first))


class SamplesFleeTheData(Duel):
    def probs(self, seed, first, n):
        drift = tf.minimum(tf.cast(self.step, tf.float32), 1.0)
        return (1.0 - drift) * super().probs(seed, first, n) + drift * 1e-6


class NotFinite(Pixels):
    def compute_loss(self, x, condition, seed, first, training=False):
        late = tf.where(self.step > 100, np.nan, 1.0)
        return super().compute_loss(x, condition, seed, first, training) * late


class GreySamples(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        return super().sample(num_samples, seed, condition, first) * 0.9


class IgnoresTheSeed(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        return super().sample(num_samples, tf.constant([0, 0]), condition, first)


class StatefulSamples(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        return super().sample(
            num_samples, tf.random.uniform([2], 0, 99, tf.int32), condition, first
        )


class SamplesByBatch(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        return super().sample(num_samples, seed, condition, 0)


class IgnoresLabels(Pixels):
    def one_hot(self, labels, n):
        return tf.ones([n, max(1, self.num_classes)])


class ScoresAnyLabel(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        return super().log_prob(x, seed, None, first)


class DropsLabels(Pixels):
    def one_hot(self, labels, n):
        return tf.ones_like(super().one_hot(labels, n))


class SamplesOneLabel(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        if condition is not None:
            condition = tf.zeros_like(condition)
        return super().sample(num_samples, seed, condition, first)


class ScoresOneLabel(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        return super().log_prob(x, seed, tf.zeros_like(condition), first)


class TracesEveryStep(Pixels):
    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer, total_steps, **kwargs)
        self.run_eagerly = True


class ChoosesTheOptimizer(Pixels):
    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(None, total_steps, **kwargs)


class CompilesByStepsAlone(Pixels):
    def compile(self, total_steps=None):
        super().compile(total_steps=total_steps)


class TakesBytes(Pixels):
    def _check_data(self, data):
        pass


class WarnsInFit(Pixels):
    def train_step(self, data):
        warnings.warn("a habit", stacklevel=1)
        return super().train_step(data)


class SavesNoStep(Pixels):
    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.step.assign(0)


class OrderInTheBatch(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        value = super().log_prob(x, seed, condition, first)
        return value - tf.cast(first + tf.range(tf.shape(x)[0]), tf.float32)


class NoisyExactLogProb(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        value = super().log_prob(x, seed, condition, first)
        return value + zoo.random.normal(seed, 0, 1, ())


class SurerThanSure(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        return super().log_prob(x, seed, condition, first) + 64.0


class StatefulLogProb(Pixels):
    def log_prob(self, x, seed, condition=None, first=0):
        return super().log_prob(x, seed, condition, first) + tf.random.normal([tf.shape(x)[0]])


class TakesGrey(Pixels):
    def on_grid(self, x):
        return x


class BlursOutside(Pixels):
    def encode(self, x, condition=None):
        return self.on_grid(x)

    def decode(self, z, condition=None):
        return 2.0 * z


class ForgetsOnResume(Pixels):
    """Has a state that is not a weight and is therefore lost on resume."""

    def build(self, input_shape=None):
        self.hidden = [tf.Variable(0.0)]

    def compute_loss(self, x, condition, seed, first, training=False):
        self.hidden[0].assign_add(0.1)
        return super().compute_loss(x, condition, seed, first, training) * self.hidden[0]


class StatefulTraining(Pixels):
    def build(self, input_shape=None):
        self.dropout = keras.layers.Dropout(0.5, seed=1)

    def compute_loss(self, x, condition, seed, first, training=False):
        kept = self.dropout(tf.ones_like(x), training=True)
        logits = self.logits(condition, tf.shape(x)[0])
        return tf.reduce_mean(kept * tf.nn.sigmoid_cross_entropy_with_logits(x, logits))


class NeedsPython(Pixels):
    def sample(self, num_samples, seed, condition=None, first=0):
        samples = super().sample(num_samples, seed, condition, first)
        shape = samples.shape
        samples = tf.numpy_function(lambda x: x, [samples], tf.float32)
        return tf.ensure_shape(samples, shape)


BROKEN = {
    NoRecipe: ("contract", "recipe['data'] must be a str"),
    Unbuilt: ("contract", "must end in self.build()"),
    Weightless: ("contract", "must have trainable weights"),
    CannotSample: ("contract", "must have a method `sample`"),
    Aimless: ("contract", "must have a method `compute_loss`, or"),
    WithoutOptimizer: (
        "contract",
        "must have a method `compile(optimizer=None, total_steps=None, **kwargs)`",
    ),
    TakesTheNameOfAnArgument: ("contract", "rename the options epochs"),
    ScoresInWords: ("contract", "log_prob_kind must be one of"),
    DecodesAlone: ("contract", "decode requires encode"),
    LosesItsConfig: ("config_round_trip", "the shapes of the weights differ"),
    SharesAnInitializer: ("initial_weights_follow_the_seed", "are equal after different"),
    DeadWeight: ("every_weight_moves", "did not change"),
    ForgetsTheStep: ("step_is_counted", "model.step is 0"),
    ClimbsTheLoss: ("loss_falls", "the loss increased"),
    PrefersNoise: ("log_prob_prefers_data", "for noise"),
    SamplesFleeTheData: ("samples_approach_data", "distance between the moments"),
    NotFinite: ("finite", "loss is not finite"),
    GreySamples: ("samples_are_like_data", "levels from the values of the spec"),
    IgnoresTheSeed: ("same_seed_same_sample", "different seeds gave equal samples"),
    StatefulSamples: ("same_seed_same_sample", "equal seeds gave different samples"),
    SamplesByBatch: ("sample_is_independent_of_batch", "depends on the batch size"),
    IgnoresLabels: ("condition", "sample(condition=[0, 0, …]) must raise"),
    ScoresAnyLabel: ("condition", "log_prob(condition=[0, 0, …]) must raise"),
    DropsLabels: ("condition_matters", "different conditions gave equal samples"),
    SamplesOneLabel: ("condition_matters", "different conditions gave equal samples"),
    ScoresOneLabel: ("condition_matters", "with the true conditions"),
    TracesEveryStep: ("short_batch_and_traces", "traced train_step"),
    ChoosesTheOptimizer: ("plain_keras", "compile(optimizer=…) did not use the optimizer"),
    CompilesByStepsAlone: ("plain_keras", "compile(optimizer=…) raised TypeError"),
    TakesBytes: ("plain_keras", "fit accepted uint8"),
    WarnsInFit: ("plain_keras", "UserWarning: a habit"),
    SavesNoStep: ("keras_file", "step differs after load_model"),
    OrderInTheBatch: ("log_prob", "depends on the order"),
    NoisyExactLogProb: ("log_prob", "depends on the seed"),
    SurerThanSure: ("log_prob", "a probability above 1"),
    StatefulLogProb: ("log_prob", "not repeatable"),
    TakesGrey: ("off_grid_data_is_refused", "log_prob accepted values"),
    BlursOutside: ("latents", "outside of [0, 1]"),
    ForgetsOnResume: ("resume_is_bit_equal", "differs after a resume"),
    StatefulTraining: ("resume_is_bit_equal", "differs after a resume"),
    NeedsPython: ("export_runs_without_zoo", "The export failed verification and was discarded"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_broken_model_fails_the_check_meant_for_it(broken):
    check, message = BROKEN[broken]
    subject = Subject(broken, "conditional" if check == "condition_matters" else "binary")
    subject.is_last = True
    assert check in subject.checks()
    with pytest.raises(ConformanceError, match=re.escape(message)):
        CHECKS[check](subject)


def test_every_check_catches_a_broken_model():
    assert {check for check, _ in BROKEN.values()} == {*CHECKS}


def test_other_classes_are_refused():
    with pytest.raises(ConformanceError, match="Expected a subclass of zoo"):
        zoo.testing.conformance(keras.Model)


def test_a_model_that_supports_no_data_fails():
    class Empty(GenerativeModel):
        def __init__(self, spec: Spec):
            raise ValueError("nothing is good enough")

    with pytest.raises(ConformanceError, match="supports none of the kinds"):
        subjects(Empty)


def test_kinds_and_checks_depend_on_the_model():
    actual = {subject.kind: subject for subject in subjects(Pixels) if not subject.refusal}
    assert [*actual] == ["binary", "conditional"]
    assert "log_prob" in actual["binary"].checks()
    assert "latents" not in actual["binary"].checks()
    assert "samples_approach_data" not in actual["binary"].checks()
    assert "condition_matters" not in actual["binary"].checks()
    assert "resume_is_bit_equal" not in actual["binary"].checks()
    assert "resume_is_bit_equal" in actual["conditional"].checks()
    assert [subject.kind for subject in subjects(Duel) if not subject.refusal] == ["binary"]
    assert "loss_falls" not in subjects(Duel)[0].checks()


def test_known_failures_are_strict():
    failures = {"binary-loss_falls": "it climbs"}
    failing = {
        test: m.kwargs for test, (m,) in marks(ClimbsTheLoss, failures).items() if m.name == "xfail"
    }
    assert failing == {"binary-loss_falls": {"reason": "it climbs", "strict": True}}
    with pytest.raises(ConformanceError, match="no checks with the names binary-los_falls"):
        zoo.testing.conformance(Duel, known_failures={"binary-los_falls": "a slip"})
    assert "binary-finite" in marks(Duel, {"binary-finite": ""})


def test_unsupported_kinds_are_skipped_with_the_reason():
    skipped = marks(Duel)
    others = {*KINDS} - {"binary"}
    assert {*skipped} == others
    assert {mark.name for (mark,) in skipped.values()} == {"skip"}
    assert "Duel is for binary images" in skipped["8-bit"][0].kwargs["reason"]


def marks(cls, known_failures=None):
    """Returns {test id: marks} of the tests of a model that have marks."""
    (parametrized,) = zoo.testing.conformance(cls, known_failures).pytestmark
    return {case.id: case.marks for case in parametrized.args[1] if case.marks}


def test_options_from_the_data_are_refused():
    with pytest.raises(ConformanceError, match="spec: set by the data"):
        zoo.testing.conformance(Pixels, spec=Spec((8, 8, 1)))
