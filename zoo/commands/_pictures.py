"""Samples from a SavedModel in batches, and files of pictures."""

import contextlib
import itertools
from pathlib import Path

from zoo.commands._console import echo
from zoo.errors import InputError

BATCH_SIZE = 256
PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of the pictures that can be written."""


@contextlib.contextmanager
def writing_to(output):
    """Creates the folder of an output file; an OSError becomes an InputError.

    A file that could not be written completely is removed.
    """
    existed = output.exists()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if not existed and output.is_file():
            output.unlink()
        where = f" ({error.filename})" if error.filename not in (None, str(output)) else ""
        raise InputError(
            f"Cannot write {output}: {error.strerror or error}{where}."
            " Choose another place with -o."
        ) from None


def unused_name(stem):
    """Returns the first Path of stem.png, stem-2.png, … that does not exist."""
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{k}.png" for k in itertools.count(2)))
    return next(path for path in map(Path, names) if not path.exists())


def check_suffix(output, *suffixes):
    """Checks the type of an output file; capitals do not matter.

    Raises:
      InputError: if the name does not end in one of suffixes.
    """
    if output.suffix.lower() not in suffixes:
        kinds = ", ".join(suffixes)
        raise InputError(f"The name for -o must end in one of {kinds}. Received: {output}")


def picture_path(output, stem):
    """Returns the path for a picture or its arrays: output, or else the first unused name.

    Raises:
      InputError: if output is neither a picture nor a .npz.
    """
    output = output or unused_name(stem)
    check_suffix(output, *PICTURES, ".npz")
    return output


def load_saved_model(name):
    """Finds and loads a SavedModel; a wrong name is refused before TensorFlow is imported.

    Args:
      name: name of a pretrained model, or path of a SavedModel or run.

    Returns:
      zoo.exports.saved_model.SavedModel.

    Raises:
      InputError: if there is none of that name.
      ArtefactError: if it is damaged.
    """
    from zoo.exports import pretrained

    folder = pretrained.find(name)
    from zoo.exports import saved_model

    return saved_model.load(folder)


def load_capable(name, verb, needs, reason):
    """Loads a SavedModel that has certain methods.

    Args:
      name: as of `load_saved_model`.
      verb: str; the command.
      needs: list of str; the methods.
      reason: str; completes "zoo VERB is not defined for NAME, because ...".

    Raises:
      InputError: if it lacks one of the methods, or there is none of that name.
      ArtefactError: if it is damaged.
    """
    from zoo.exports import pretrained
    from zoo.exports.cards import read_card

    folder = pretrained.find(name)
    card = read_card(folder)
    methods = card.get("can", needs)  # the card of a classifier lists none; loading refuses it
    if not {*needs} <= {*methods}:
        raise InputError(
            f"zoo {verb} is not defined for {card.get('model', folder.name)}, because {reason}."
            f" It supports: {', '.join(methods)}"
        )
    return load_saved_model(folder)


def title(model):
    """Returns the name of a SavedModel and its training step: "vae, step 1,000"."""
    return f"{model.name}, step {model.card['step']:,}" if "step" in model.card else model.name


def draw_samples(model, num_samples, seed, labels=None, first=0):
    """Returns samples, float32 [num_samples, *shape], computed in batches."""
    import numpy as np

    def sample(start, k, labels):
        return model.sample(len(k), seed, labels, first + start)

    return in_batches(sample, np.arange(num_samples), labels)


def in_batches(function, *arrays):
    """Applies a function to batches, so that the memory of its activations is bounded.

    Args:
      function: of (first, *batches), where first is the index of the first example of the batch.
      *arrays: [n, …] each; or None, which stays None.

    Returns:
      array, [n, …].
    """
    import numpy as np

    results = []
    for first in range(0, len(arrays[0]), BATCH_SIZE):
        batches = (a if a is None else a[first : first + BATCH_SIZE] for a in arrays)
        results.append(np.asarray(function(first, *batches)))
    return np.concatenate(results)


def sample_labels(model, n, label=None, first=0):
    """Returns the labels of samples.

    Args:
      model: SavedModel.
      n: int; number of samples.
      label: str; number or name of the class. None is all classes in turn.
      first: int; index of the first sample.

    Returns:
      int32 [n], or None for an unconditional model.

    Raises:
      InputError: if the model has no such class.
    """
    import numpy as np

    from zoo.sampling import labels_in_turn

    classes = model.card["num_classes"]
    names = model.trained_on.get("class_names", [])
    if not classes:
        if label is not None:
            raise InputError(
                f"{model.name} is not conditional on labels. Omit --label. Received: {label!r}"
            )
        return None
    if label is None:
        return labels_in_turn(classes, n, first)
    if label in names:
        return np.full(n, names.index(label), np.int32)
    if label.isdecimal() and int(label) < classes:
        return np.full(n, int(label), np.int32)
    choices = f" or one of {', '.join(names)}" if names else ""
    raise InputError(f"--label must be 0 to {classes - 1}{choices}. Received: {label!r}")


def write_picture(output, what, picture, columns, legend, arrays):
    """Writes a picture or its arrays, and prints a line about it.

    Args:
      output: Path, as of `picture_path`.
      what: str; names the contents.
      picture: float32 [n, *shape], row by row.
      columns: int; images per row.
      legend: str; explains a row.
      arrays: dict of name to array; None is left out.
    """
    from zoo import render

    with writing_to(output):
        if output.suffix.lower() in PICTURES:
            render.save_grid(output, picture, columns=columns)
        else:
            arrays = {name: array for name, array in arrays.items() if array is not None}
            save_arrays(output, **arrays)
            legend = ", ".join(arrays)
    echo(f"Wrote {what}, to {output}: {legend}")


def save_arrays(output, **arrays):
    """Writes arrays to a .npz of exactly this name; NumPy appends .npz to any other, as .NPZ."""
    import numpy as np

    with output.open("wb") as file:
        np.savez_compressed(file, **arrays)
