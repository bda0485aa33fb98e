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


def unused_name(stem, suffix=".png"):
    """Returns the first Path of stem.png, stem-2.png, … that does not exist."""
    endings = itertools.chain([suffix], (f"-{k}{suffix}" for k in itertools.count(2)))
    names = (f"{stem}{ending}" for ending in endings)
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


def load_capable(name, verb, needs, reason, kinds=("image",)):
    """Loads a SavedModel that has certain methods.

    Args:
      name: as of `load_saved_model`.
      verb: str; the command.
      needs: list of str; the methods.
      reason: str; completes "zoo VERB is not defined for NAME, because ...".
      kinds: the kinds of data, as of zoo.Spec, that the command is for.

    Raises:
      InputError: if it lacks one of the methods, is for other data, or there is none of that name.
      ArtefactError: if it is damaged.
    """
    from zoo.exports import pretrained
    from zoo.exports.cards import read_card
    from zoo.spec import KINDS

    folder = pretrained.find(name)
    card = read_card(folder)
    methods = card.get("can", needs)  # the card of a classifier lists none; loading refuses it
    if not {*needs} <= {*methods}:
        raise InputError(
            f"zoo {verb} is not defined for {card.get('model', folder.name)}, because {reason}."
            f" It supports: {', '.join(methods)}"
        )
    kind = card.get("spec", {}).get("kind", kinds[0])
    if kind not in kinds:
        raise InputError(
            f"zoo {verb} is not defined for {card['model']}, because it is a model of"
            f" {KINDS[kind].noun}s, not of {' or '.join(f'{KINDS[kind].noun}s' for kind in kinds)}"
        )
    return load_saved_model(folder)


def print_texts(texts, spec, first=0):
    """Prints texts, int32 [n, length], each below its number."""
    from zoo import render

    for k, tokens in enumerate(texts, first):
        echo(f"--- {k} ---\n{render.to_text(tokens, spec)}")


def title(model):
    """Returns the name of a SavedModel and its training step: "vae, step 1,000"."""
    return f"{model.name}, step {model.card['step']:,}" if "step" in model.card else model.name


def draw_samples(model, num_samples, seed, condition=None, first=0):
    """Returns samples, [num_samples, *shape], computed in batches."""
    import numpy as np

    def sample(start, k, condition):
        return model.sample(len(k), seed, condition, first + start)

    return in_batches(sample, np.arange(num_samples), condition)


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


def sample_conditions(model, n, label=None, first=0, path=None):
    """Returns what samples are conditional on.

    Args:
      model: SavedModel.
      n: int; number of samples.
      label: str; number or name of the class. None is all classes in turn.
      first: int; index of the first sample.
      path: Path of an image, or of a folder of images, that are given to the model in turn. Default
        for a model that is conditional on images: those of the test split of its training data.

    Returns:
      [n, …] array, or None for an unconditional model.

    Raises:
      InputError: if the model has no such class, or takes no images.
    """
    import numpy as np

    from zoo.sampling import conditions_in_turn

    spec = model.condition
    takes_images = spec is not None and spec.kind in ("image", "domain")
    if path is not None and not takes_images:
        raise InputError(
            f"{model.name} is not conditional on images. Omit --condition. Received: {path}"
        )
    if takes_images and label is None:
        return conditions_in_turn(spec, n, first, _condition_images(model, path))
    if label is None:
        return conditions_in_turn(spec, n, first)
    if spec is None or spec.kind != "label":
        raise InputError(
            f"{model.name} is not conditional on labels. Omit --label. Received: {label!r}"
        )
    if label in spec.names:
        return np.full(n, spec.names.index(label), np.int32)
    if label.isdecimal() and int(label) < spec.levels:
        return np.full(n, int(label), np.int32)
    numbers = [str(k) for k in range(spec.levels)]
    names = f" or one of {', '.join(spec.names)}" if {*spec.names} - {*numbers} else ""
    raise InputError(f"--label must be 0 to {spec.levels - 1}{names}. Received: {label!r}")


def _condition_images(model, path):
    """Returns the images that a model is conditional on: of a path, or of its test images."""
    if path is not None:
        from zoo.datasets.folder import read_images

        return read_images(path, model.condition)
    from zoo.evaluation.inputs import load_matching_data

    return load_matching_data(model).test.take(BATCH_SIZE, condition=True)[1]


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


def condition_key(model):
    """Returns the name of the conditions among arrays: "labels", as `zoo.load_dataset` reads."""
    is_label = model.condition is None or model.condition.kind == "label"
    return "labels" if is_label else "condition"


def save_arrays(output, **arrays):
    """Writes arrays to a .npz of exactly this name; NumPy appends .npz to any other, as .NPZ."""
    import numpy as np

    with output.open("wb") as file:
        np.savez_compressed(file, **arrays)
