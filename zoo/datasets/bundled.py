"""The data sets that are part of the package: MNIST and its binary forms.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; Salakhutdinov and
Murray, On the quantitative analysis of deep belief networks, ICML 2008, and Larochelle and Murray,
The neural autoregressive distribution estimator, AISTATS 2011 (the static binary set); Burda,
Grosse and Salakhutdinov, Importance weighted autoencoders, ICLR 2016 (random binarization).
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
            f"mnist_binary is tested on the static binary set, which cannot be resized: use "
            f"--data mnist --size {size} --binarize (data='mnist', size={size}, binarize=True). "
            f"Received: size={size}"
        )
    if binarize:
        raise InputError(f"{name} is binary already: leave out --binarize (binarize=True).")
    notes = ("test is the static binary set of 10,000 images",)
    contents = Contents.of_arrays(name, name, parts, 256, notes=notes, **digits)
    train, validation, test = assemble(contents, binarize=True)
    # The static test set is MNIST's in a stable order of the digits: so matched, none of its 10,000
    # images has a lit pixel where the grey one is black, or a dark one where that is white.
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
