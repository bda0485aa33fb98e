"""Adapted models of API 1, which take shape, levels, num_classes and labels."""

import textwrap

import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.errors import InputError

MODEL = """
import keras
import tensorflow as tf
import zoo

class Old(zoo.GenerativeModel):
    recipe = dict(data="mnist_binary", epochs=1, batch_size=8)
    log_prob_kind = "exact"

    def __init__(self, shape: tuple[int, int, int], levels: int = 2, num_classes: int = 0,
                 speed: float = 0.1):
        super().__init__(shape, levels, num_classes)
        self.require_images()
        self.speed = speed
        self.table = self.add_weight(shape=(max(1, num_classes), *shape), name="table")
        self.build()

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        super().compile(optimizer or keras.optimizers.Adam(self.speed), **kwargs)

    def logits(self, labels, n):
        label = self.one_hot(labels, n)
        if labels is None:
            return tf.repeat(self.table.value, n, axis=0)
        return tf.tensordot(label, self.table.value, 1)

    def compute_loss(self, x, y, seed, first, training=False):
        return -tf.reduce_mean(self.log_prob(x, seed, labels=y, first=first))

    def log_prob(self, x, seed, labels=None, first=0):
        logits = self.logits(labels, tf.shape(x)[0])
        value = tf.nn.sigmoid_cross_entropy_with_logits(self.on_grid(x), logits)
        return -tf.reduce_sum(value, axis=(1, 2, 3))

    def encode(self, x, labels=None):
        return self.log_prob(x, (0, 0), labels)[:, None]

    def sample(self, num_samples, seed, labels=None, first=0):
        return zoo.random.bernoulli(seed, first, tf.sigmoid(self.logits(labels, num_samples)))
"""


@pytest.fixture
def old(tmp_path):
    (tmp_path / "old.py").write_text(textwrap.dedent(MODEL))
    return f"{tmp_path / 'old.py'}:Old"


def test_a_model_of_api_1_passes_the_conformance_tests(old):
    subjects = zoo.testing.subjects(registry.load(old))
    assert [s.kind for s in subjects if not s.refusal] == [
        "binary",
        "8-bit",
        "colour",
        "conditional",
    ]
    subject = subjects[-1]
    for name in subject.checks():
        zoo.testing.CHECKS[name](subject)


def test_a_model_of_api_1_can_be_trained_exported_and_restored(old, tmp_path):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 2, (60, 4, 4, 1)).astype(np.uint8), np.arange(60) % 3
    run = zoo.train(old, data, conditional=True, run=tmp_path / "run", speed=0.2)
    assert run.recipe["options"]["condition"] == {"kind": "label", "shape": [], "levels": 3}
    assert run.recipe["options"]["speed"] == 0.2
    assert zoo.load(run).sample(3, 0, [0, 1, 2]).shape == (3, 4, 4, 1)
    restored = zoo.restore(run)
    np.testing.assert_array_equal(restored.sample(9, 1, [0] * 9), run.model.sample(9, 1, [0] * 9))


def test_a_shared_base_class_with_api_1_is_refused(tmp_path):
    (tmp_path / "old.py").write_text(
        "from zoo.adversarial import AdversarialModel\n"
        "class Old(AdversarialModel):\n"
        "    recipe = dict(data='mnist', epochs=1, batch_size=8)\n"
        "    def __init__(self, shape: tuple[int, int, int], levels: int = 2): pass\n"
    )
    message = "AdversarialModel does not support API 1: .* with spec and condition"
    with pytest.raises(InputError, match=message):
        registry.load(f"{tmp_path / 'old.py'}:Old")
