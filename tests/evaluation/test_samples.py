"""Scores of samples, reconstructions and speed equal independently computed numbers."""

import numpy as np
import pytest
import tensorflow as tf
from support.examples import Arrays, stripes
from support.shell import here
from support.toys import Duel, make

import zoo
from zoo.errors import ArtefactError, InputError, UndefinedError
from zoo.evaluation import distances
from zoo.evaluation.evaluate import compute
from zoo.evaluation.metrics import find_group
from zoo.evaluation.reconstruction import score_reconstructions
from zoo.evaluation.samples import score_samples
from zoo.evaluation.speed import score_speed
from zoo.exports import cards, saved_model
from zoo.model import GenerativeModel
from zoo.spec import Spec

SHAPE = (4, 4, 1)
SAMPLE_METRICS = (
    "frechet_distance",
    "classifier_score",
    "precision",
    "recall",
    "density",
    "coverage",
    "diversity",
    "authenticity",
)


class Memory(GenerativeModel):
    """Returns given images in order, or images with the given labels.

    Args:
      spec: Spec of an 8-bit image.
      condition: Spec of the label that the model is conditional on.
      count: number of images it is given.
    """

    def __init__(self, spec: Spec, condition: Spec | None = None, count: int = 1):
        super().__init__(spec, condition)
        self.images = self.add_weight(shape=(count, *self.shape), name="images")
        self.build()

    def sample(self, num_samples, seed, condition=None, first=0):
        index = first + tf.range(num_samples) if condition is None else condition
        return tf.gather(self.images.value, index % self.images.shape[0])


class Autoencoder(GenerativeModel):
    """Reconstructs images without half of their first row.

    Args:
      spec: Spec of an 8-bit image.
    """

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.build()

    def sample(self, num_samples, seed, condition=None, first=0):
        return tf.zeros((num_samples, *self.shape))

    def reconstruct(self, x, condition=None):
        keep = np.ones((1, *self.shape), np.float32)
        keep[:, 0] = 0.5
        return x * keep


class Projection:
    """An extractor with features and logits that are linear in the pixels."""

    name, sha256 = "projection", "0" * 64

    def __init__(self):
        rng = np.random.default_rng(0)
        self.weights = rng.normal(size=(2, 16, 5)).astype(np.float32)

    def __call__(self, x):
        return tuple(np.reshape(x, (len(x), 16)) @ w for w in self.weights)


def images(n, seed=0, shape=SHAPE):
    levels = np.random.default_rng((seed, n)).integers(0, 256, (n, *shape))
    return levels.astype(np.float32) / 255.0


def memory(x, num_classes=0):
    model = make(Memory, x.shape[1:], 256, num_classes=num_classes, count=len(x))
    model.images.assign(x)
    return model


def test_samples_are_compared_with_images_by_their_features(exported, progress):
    train, test, samples = images(1300), images(1200, 1), images(1250, 2)
    extractor = Projection()
    model = exported(memory(samples))
    model.card["recipe"] = {"data": {"name": "arrays", "fingerprint": Arrays.fingerprint}}
    scores = score_samples(
        model,
        Arrays(train, levels=256, split="train"),
        Arrays(test, levels=256),
        extractor,
        samples=1250,
        seed=3,
        batch_size=99,
        progress=progress,
    )
    assert progress.totals == progress.done == {"samples": len(train) + len(test) + len(samples)}
    actual = {score["metric"]: (score["value"], score["standard_error"]) for score in scores}
    real = {score["metric"]: score["real"] for score in scores}
    chosen = train[np.arange(1250) * 1300 // 1250]
    (of_train, _), (of_test, _) = extractor(train), extractor(test)
    for x, of in ((samples, actual), (chosen, real)):
        features, logits = extractor(x)
        sums = [distances.moments([f], 3) for f in (features, of_test)]
        expected = {
            "frechet_distance": distances.frechet_distance(*sums),
            "kernel_distance": distances.kernel_distance(features, of_test, 3),
            "classifier_score": distances.classifier_score(logits, 3),
            **distances.precision_recall_density_coverage(features, of_test, 3),
            "diversity": distances.diversity(features, of_test),
        }
        for metric, pair in expected.items():
            assert of[metric] == pytest.approx(pair, rel=1e-4, abs=1e-6), metric
    for features, of in ((extractor(samples)[0], actual), (of_test, real)):
        copies = distances.authenticity(*distances.nearest(features, of_train), of_train)
        assert of["authenticity"] == pytest.approx(copies, abs=2e-3)
    assert {*actual} == {*expected, "authenticity"}
    protocol = scores[0]["protocol"]
    assert (scores[0]["extractor"], protocol["extractor_sha256"]) == ("projection", "0" * 64)
    assert (protocol["samples"], protocol["count"], protocol["seed"]) == (1250, 1200, 3)


def test_memorized_training_images_are_detected(exported):
    train, test = images(400), images(300, 1)
    splits = Arrays(train, levels=256, split="train"), Arrays(test, levels=256)
    model = exported(memory(train))
    others = score_samples(model, *splits, Projection())
    assert "authenticity" not in [score["metric"] for score in others]  # unknown training data
    model.card["recipe"] = {"data": {"name": "arrays", "fingerprint": Arrays.fingerprint}}
    scores = score_samples(model, *splits, Projection())
    actual = {score["metric"]: score for score in scores}
    assert "kernel_distance" not in actual  # requires more than 1000
    assert actual["frechet_distance"]["value"] == actual["frechet_distance"]["real"][0]
    assert actual["authenticity"]["value"] == 0.0
    assert actual["authenticity"]["real"][0] > 0.3


def test_a_conditional_model_receives_labels_of_training_images(exported):
    train, test = images(200), images(200, 1)
    labels = np.sort(np.random.default_rng(0).integers(0, 7, 200)).astype(np.int32)
    model = exported(memory(images(7, 2), num_classes=7))
    requested = []

    class Seen(Projection):
        def __call__(self, x):
            requested.append(np.array(x))
            return super().__call__(x)

    split = Arrays(train, labels, levels=256, split="train")
    score_samples(model, split, Arrays(test, levels=256), Seen(), samples=100, batch_size=64)
    samples = np.concatenate(requested)[400:]
    assert np.array_equal(samples, images(7, 2)[labels[::2]])


def test_invalid_samples_are_refused(exported, tmp_path):
    splits = Arrays(images(200), levels=256, split="train"), Arrays(images(200, 1), levels=256)
    samples = images(200, 2)
    samples[199] = np.nan
    model = exported(memory(samples))
    with pytest.raises(
        ArtefactError, match=r"sample of Memory must return .* from 0 to 1\. .* nan"
    ):
        score_samples(model, *splits, Projection())
    samples[199] = 0.5 / 255.0
    model = saved_model.load(zoo.export(memory(samples), tmp_path / "off"))
    with pytest.raises(ArtefactError, match=r"Received: values from 0.* off by 0\.5 levels"):
        score_samples(model, *splits, Projection())
    for count in (99, 201):
        with pytest.raises(
            InputError, match=f"samples must be from 100 to 200.* Received: {count}"
        ):
            score_samples(model, *splits, Projection(), samples=count)
    with pytest.raises(UndefinedError, match="not defined on the training split"):
        score_samples(model, splits[0], splits[0], Projection())
    with pytest.raises(UndefinedError, match="200 training and 99 test images"):
        score_samples(model, splits[0], Arrays(images(99), levels=256), Projection())


def test_psnr_and_ssim_of_known_reconstructions(exported, progress):
    x = np.ones((3, 12, 12, 1), np.float32)
    x[1] = np.linspace(0, 1, 144, dtype=np.float32).reshape(12, 12, 1)
    x[2] = 0.0  # reconstructed exactly
    psnr, ssim = score_reconstructions(
        exported(make(Autoencoder, (12, 12, 1), 256)), Arrays(x, levels=256), 2, progress
    )
    y = x.astype(np.float64)
    y[:, 0] /= 2
    decibels = -10 * np.log10(np.mean((x - y) ** 2, axis=(1, 2, 3))[:2])
    assert psnr["metric"] == "psnr"
    assert psnr["value"] == pytest.approx(decibels.mean(), rel=1e-5)
    assert psnr["standard_error"] == pytest.approx(decibels.std(ddof=1) / 2**0.5, rel=1e-4)
    assert psnr["exact"] == 1
    assert ssim["metric"] == "ssim"
    assert ssim["value"] == pytest.approx(np.mean([*map(structural_similarity, x, y)]), abs=1e-4)
    assert progress.totals == progress.done == {"reconstructions": 3}


def structural_similarity(x, y):
    """Computes equation 13 of Wang et al., 2004, averaged over all windows inside the image."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(2):
        for j in range(2):
            a, b = (z[i : i + 11, j : j + 11, 0].astype(np.float64) for z in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * a**2).sum() - mean_a**2, (window * b**2).sum() - mean_b**2
            covariance = (window * a * b).sum() - mean_a * mean_b
            values.append(
                (2 * mean_a * mean_b + 0.01**2)
                * (2 * covariance + 0.03**2)
                / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
            )
    return np.mean(values)


def test_ssim_and_reconstructions_may_be_undefined(exported):
    [psnr] = score_reconstructions(
        exported(make(Autoencoder, SHAPE, 256)), Arrays(images(5), levels=256)
    )
    assert psnr["exact"] == 0
    message = "not defined for Duel, because the model has no method reconstruct. Supported"
    with pytest.raises(UndefinedError, match=message):
        compute(find_group("psnr"), exported(make(Duel, SHAPE)))


def test_speed_is_measured_of_one_image_and_of_many(exported):
    one, many = score_speed(exported(memory(images(7), num_classes=7)))
    assert [score["protocol"]["n"] for score in (one, many)] == [1, 64]
    assert one["value"] > many["value"] > 0
    assert one["standard_error"] > 0
    assert one["protocol"]["device"].startswith(("CPU, ", "NVIDIA", "GPU"))


def test_the_commands_compute_and_verify_every_score(tmp_path, monkeypatch, no_clean_process):
    monkeypatch.setattr("zoo.exports.pretrained.bundled_folder", lambda: tmp_path)
    samples, labels = stripes(1500)
    np.savez(tmp_path / "stripes.npz", images=samples, labels=labels)
    data = tmp_path / "stripes.npz"
    arguments = ["--epochs", "2", "-o", tmp_path / "features-stripes"]
    assert here("features", "train", data, *arguments).returncode == 0
    train = zoo.load_dataset(str(data))[0]
    model = make(Autoencoder, (9, 8, 1), 256)
    card = {
        "model": "copier",
        "recipe": {"data": {**train.source, "fingerprint": train.fingerprint}},
    }
    folder = zoo.export(model, tmp_path / "copier", card)

    result = here("evaluate", folder, "--samples", "500", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    kept = {score["metric"] for score in cards.read_card(folder)["scores"]}
    assert kept == {*SAMPLE_METRICS, "psnr", "ms_per_image"}
    head = next(line for line in result.stdout.splitlines() if line.startswith("METRIC"))
    assert head.split() == ["METRIC", "VALUE", "REAL", "ON"]
    assert "500 samples, 150 test images of stripes" in result.stdout

    result = here("verify", folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count(" yes ") == len(SAMPLE_METRICS) + 1
    assert here("verify", folder, "--quick").stdout.count(" yes ") == len(SAMPLE_METRICS)
