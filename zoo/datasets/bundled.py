"""The sets that travel with the package: MNIST and its binary forms.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; Salakhutdinov and
Murray, On the quantitative analysis of deep belief networks, ICML 2008, and Larochelle and Murray,
The neural autoregressive distribution estimator, AISTATS 2011 (the static binary set); Burda,
Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016 (drawing afresh).
"""

from pathlib import Path

import numpy as np

from zoo.datasets import order, splits
from zoo.errors import InputError

_DATA = Path(__file__).parents[1] / "data"


def load(name, size, binarize):
    """Loads `mnist`, `binarized_mnist` or `mnist_binary`."""
    if name == "binarized_mnist":
        return splits.finish(name, _static_mnist(), 2, size, binarize)
    stored = _stored("mnist")
    images, labels = stored["train_images"][..., None], stored["train_labels"].astype(np.int32)
    parts = {
        "train": (images[:55000], labels[:55000]),
        "validation": (images[55000:], labels[55000:]),
        "test": (stored["test_images"][..., None], stored["test_labels"].astype(np.int32)),
    }
    classes = dict(num_classes=10, class_names="0123456789")
    if name == "mnist":
        return splits.finish(name, parts, 256, size, binarize, **classes)
    if size not in (None, 28):
        raise InputError(
            f"mnist_binary is tested on the static binary set, which cannot be resized: use "
            f"--data mnist --size {size} --binarize. Received: size={size}"
        )
    if binarize:
        splits.check_binarize(name, 2, 1)
    parts["validation"] = (order.drawn_once(images[55000:], "validation"), labels[55000:])
    # The static test set is MNIST's in a stable order of the digits: so matched, none of its 10,000
    # images has a lit pixel where the grey one is black, or a dark one where that is white.
    parts["test"] = (_static_mnist()["test"][0], np.sort(parts["test"][1]))
    notes = [
        "train is drawn afresh from Bernoulli(grey) at every presentation",
        "validation is one draw of 5,000 held-out training images, test the static binary set",
    ]
    return splits.in_memory(name, parts, 2, afresh=True, notes=notes, **classes)


def _static_mnist():
    stored = _stored("binarized_mnist")
    return {
        key: (np.unpackbits(stored[f"{key}_images"], axis=1).reshape(-1, 28, 28, 1), None)
        for key in splits.SPLITS
    }


def _stored(name):
    with np.load(_DATA / f"{name}.npz", allow_pickle=False) as stored:
        return dict(stored)
