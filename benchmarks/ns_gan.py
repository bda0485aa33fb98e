"""Compares DCGAN with the same networks trained by the NS-GAN recipe of compare_gan.

    python benchmarks/ns_gan.py [--run ns_gan] [--against dcgan-mnist] [--epochs 20]

Trains the same networks, also conditional, for 20 epochs of MNIST with Adam, a learning rate of
5e-5 and beta_1 = 0, without spectral normalization and without averaged weights (Kurach, Lučić,
Zhai, Michalski and Gelly, A large-scale study on regularization and normalization in GANs, ICML
2019). The best of ten checkpoints is used. Both are compared with the test images, as in
`zoo evaluate`. Takes 17 minutes on two cores. An interrupted run is resumed.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import zoo
from zoo.evaluation import features
from zoo.evaluation.samples import score_samples
from zoo.models import dcgan

RECIPE = dict(learning_rate=5e-5, beta_1=0.0)


class NSGAN(dcgan.DCGAN):
    """The networks of DCGAN, trained with the other recipe."""

    def compile(self, optimizer=None, total_steps=None, **kwargs):
        zoo.GenerativeModel.compile(self, **kwargs)
        for network in ("generator", "discriminator"):
            optimizer = keras.optimizers.Adam(**RECIPE)
            optimizer.build(getattr(self, network).trainable_variables)
            setattr(self, f"{network}_optimizer", optimizer)


def without_normalization(kernel, training):
    """Returns the kernel and the bias in the compute dtype, without normalization."""
    return [tf.cast(w.value, kernel.compute_dtype) for w in (kernel.kernel, kernel.bias)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="ns_gan")
    parser.add_argument("--against", default="dcgan-mnist")
    parser.add_argument("--epochs", type=int, default=20)
    settings = parser.parse_args()
    data = zoo.load_dataset("mnist")
    dcgan.Kernel.normalized = without_normalization
    if Path(settings.run).is_dir():
        run = zoo.resume(settings.run, data, cls=NSGAN)
    else:
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = NSGAN(data.train.spec, data.train.condition)
        run = zoo.train(model, data, run=settings.run, epochs=settings.epochs, batch_size=64)
    extractor = features.load(data.test)
    results = [
        {s["metric"]: s for s in score_samples(zoo.load(name), data.train, data.test, extractor)}
        for name in (run, settings.against)
    ]
    print(f"{'':18} {'NS-GAN':>15} {settings.against:>15} {'images':>10}")
    for metric in results[0]:
        theirs, ours = (scores[metric] for scores in results)
        print(f"{metric:18} {theirs['value']:15.3f} {ours['value']:15.3f} {ours['real'][0]:10.3f}")
    ratio = results[1]["frechet_distance"]["value"] / results[0]["frechet_distance"]["value"]
    print(f"The Fréchet distance of {settings.against} is {ratio:.1%} of that of NS-GAN.")


if __name__ == "__main__":
    main()
