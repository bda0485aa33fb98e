"""Samples from a SavedModel in batches, and files of pictures."""

import contextlib
import itertools
from pathlib import Path

from zoo.commands._console import echo
from zoo.errors import InputError

BATCH_SIZE = 256
PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of the pictures that can be written."""
FILMS = (".gif", ".webp")
"""Suffixes of animations."""


@contextlib.contextmanager
def writing_to(output):
    """Creates the folder of an output file, and yields the path of a file that becomes it.

    A file that could not be written completely is removed, and the one that it was to replace
    stays. An OSError becomes an InputError.
    """
    from zoo import storage

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with storage.replacing(output.resolve()) as path:
            yield path
    except OSError as error:
        is_output = error.filename is None or Path(error.filename).name == output.name
        where = "" if is_output else f" ({error.filename})"
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


def picture_path(output, stem, *more):
    """Returns the path for a picture or its arrays: output, or else the first unused name.

    Raises:
      InputError: if output is neither a picture, nor a .npz, nor of the suffixes `more`.
    """
    output = output or unused_name(stem)
    check_suffix(output, *PICTURES, *more, ".npz")
    return output


def load_saved_model(name, trust=None):
    """Finds and loads a SavedModel; a wrong name is refused before TensorFlow is imported.

    Args:
      name: name of a pretrained model, or path of a SavedModel or run.
      trust: as of `zoo.load`.

    Returns:
      zoo.exports.saved_model.SavedModel.

    Raises:
      InputError: if there is none of that name.
      ArtefactError: if it is damaged or refused.
    """
    from zoo.exports import pretrained

    folder = pretrained.find(name)
    from zoo.exports import saved_model

    return saved_model.load(folder, trust)


def load_capable(name, trust, verb, needs, reason, kinds=("image",)):
    """Loads a SavedModel that has certain methods.

    Args:
      name: as of `load_saved_model`.
      trust: as of `zoo.load`.
      verb: str; the command.
      needs: list of str; the methods.
      reason: str; completes "zoo VERB is not defined for NAME, because ...".
      kinds: the kinds of data, as of zoo.Spec, that the command is for.

    Raises:
      InputError: if it lacks one of the methods, is for other data, or there is none of that name.
      ArtefactError: if it is damaged or refused.
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
            f" It supports: {', '.join(methods)}. Pretrained models that can: {_capable(needs)}"
        )
    kind = card.get("spec", {}).get("kind", kinds[0])
    if kind not in kinds:
        raise InputError(
            f"zoo {verb} is not defined for {card['model']}, because it is a model of"
            f" {KINDS[kind].noun}s, not of {' or '.join(f'{KINDS[kind].noun}s' for kind in kinds)}"
        )
    return load_saved_model(folder, trust)


def _capable(needs):
    """Returns the names of the pretrained models that have certain methods, as text."""
    from zoo.exports import pretrained
    from zoo.exports.cards import read_card

    folders = [item for tags in pretrained.pretrained().values() for item in tags.items()]
    names = [tag for tag, folder in folders if {*needs} <= {*read_card(folder).get("can", ())}]
    return ", ".join(sorted(names)) or "none"


def print_texts(texts, spec, first=0):
    """Prints texts, int32 [n, length], each below its number."""
    from zoo import render

    for k, tokens in enumerate(texts, first):
        echo(f"--- {k} ---\n{render.to_text(tokens, spec)}")


def title(model):
    """Returns the name of a SavedModel and its training step: "vae, step 1,000"."""
    from zoo.render import short_name

    name = short_name(model.name)
    return f"{name}, step {model.card['step']:,}" if "step" in model.card else name


def draw_samples(model, num_samples, seed, condition=None, first=0, means=False):
    """Returns samples, or means given latents of the prior, [num_samples, *shape], in batches."""
    import numpy as np

    from zoo.random import as_seed
    from zoo.sampling import latents

    def sample(start, k, condition):
        if means:
            return model.decode(latents(model, len(k), as_seed(seed), first + start), condition)
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


def write_picture(output, model, what, legend, layout, arrays, **info):
    """Writes a picture or its arrays, and prints a line about it.

    Args:
      output: Path, as of `picture_path`.
      model: SavedModel.
      what: str; names the contents, before the name of the model: "20 reconstructions".
      legend: str; says what the images are, after "of": "test images of mnist".
      layout: dict, arguments of `render.grid`.
      arrays: dict of name to array; None is left out.
      **info: texts that a PNG stores besides the model and its sha256.
    """
    from zoo import render

    contents = ""
    with writing_to(output) as path:
        if output.suffix.lower() in PICTURES:
            layout["title"] = f"{title(model)}: {what} {legend}"
            render.save_grid(path, info=model_info(model) | info, **layout)
        else:
            arrays = {name: array for name, array in arrays.items() if array is not None}
            save_arrays(path, **arrays)
            contents = f": {', '.join(arrays)}"
    echo(f"Wrote {what} by {title(model)}, {legend}, to {output}{contents}")


def model_info(model):
    """Returns what a PNG stores about a SavedModel."""
    from zoo.render import short_name

    info = {"model": short_name(model.name), "sha256": model.sha256}
    return info | {key: model.card[key] for key in ("step",) if key in model.card}


def first_indices(number):
    """Returns the indices of the first examples, as a PNG stores them: "0-15"."""
    return f"0-{number - 1}" if number > 1 else "0"


def condition_key(model):
    """Returns the name of the conditions among arrays: "labels", as `zoo.load_dataset` reads."""
    is_label = model.condition is None or model.condition.kind == "label"
    return "labels" if is_label else "condition"


def save_arrays(output, **arrays):
    """Writes arrays to a .npz of exactly this name; NumPy appends .npz to any other, as .NPZ."""
    import numpy as np

    with output.open("wb") as file:
        np.savez_compressed(file, **arrays)
