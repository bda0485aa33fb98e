"""Loads the bundled data sets: MNIST and its binary versions.

Source:
* LeCun, Cortes and Burges, The MNIST database of handwritten digits.
* Static binary set: Salakhutdinov and Murray, On the quantitative analysis of deep belief networks,
  ICML 2008; Larochelle and Murray, The neural autoregressive distribution estimator, AISTATS 2011.
* Random binarization: Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016.
"""

from pathlib import Path

import numpy as np

from zoo.datasets.assembly import Contents, assemble
from zoo.datasets.split import ArraySplit, Splits
from zoo.errors import InputError
from zoo.spec import Spec

_FILES = Path(__file__).parent / "files"


def load(name, size, binarize):
    """Loads `mnist`, `binarized_mnist` or `mnist_binary`."""
    if name == "binarized_mnist":
        return assemble(Contents.of_arrays(name, name, _static_mnist(), 2), size, binarize)
    stored = _stored("mnist")
    images, labels = stored["train_images"][..., None], stored["train_labels"].astype(np.int32)
    parts = {
        "train": (images[:55000], labels[:55000]),
        "validation": (images[55000:], labels[55000:]),
        "test": (stored["test_images"][..., None], stored["test_labels"].astype(np.int32)),
    }
    digits = {"condition": Spec((), 10, "label", "0123456789")}
    if name == "mnist":
        return assemble(Contents.of_arrays(name, name, parts, 256, **digits), size, binarize)
    if size not in (None, 28):
        raise InputError(
            f"mnist_binary cannot be resized, because its test split is the static binary set. Use "
            f"--data mnist --size {size} --binarize (data='mnist', size={size}, binarize=True). "
            f"Received: size={size}"
        )
    if binarize:
        raise InputError(f"{name} is already binary. Omit --binarize (binarize=True).")
    notes = ("test is the static binary set of 10,000 images",)
    contents = Contents.of_arrays(name, name, parts, 256, notes=notes, **digits)
    train, validation, test = assemble(contents, binarize=True)
    # The static test set is MNIST's test set, stably sorted by digit. Matched in this order, none
    # of its 10,000 images has a white pixel where the grey image is black, or the reverse.
    images, labels = _static_mnist()["test"][0], np.sort(parts["test"][1])
    test = ArraySplit(name, "test", images, test.spec, labels, notes=test.notes, **digits)
    splits = Splits(train, validation, test)
    for split in splits:
        split.source = {"name": name, "size": size, "binarize": binarize}
    return splits


def _static_mnist():
    stored = _stored("binarized_mnist")
    return {
        key: (np.unpackbits(stored[f"{key}_images"], axis=1).reshape(-1, 28, 28, 1), None)
        for key in Splits._fields
    }


def _stored(name):
    with np.load(_FILES / f"{name}.npz", allow_pickle=False) as stored:
        return dict(stored)
