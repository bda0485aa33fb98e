"""zoo.restore: a live Keras model with the weights of a SavedModel or of a run."""

import json
import logging
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support.noisy import Noisy
from support.shell import copy_of_finished, finished, flip
from support.toys import Duel, make

import zoo
from zoo import datasets, registry, storage
from zoo.errors import ArtefactError, InputError
from zoo.exports.weights import restore_checkpoint

SMALL = {
    "dcgan": dict(levels=256, num_classes=3),
    "gan": dict(levels=256, latent_dim=4, hidden_dim=16),
    "pixelcnn": dict(num_classes=3, filters=8, num_layers=2),
    "pixelrnn": dict(units=8),
    "vae": dict(filters=4, latent_dim=4, hidden_dim=16),
}


def created(name):
    return make(registry.load(name), (8, 8, 1), **SMALL[name])


def test_float32_weights_are_restored_bit_for_bit(exported):
    saved = exported(randomized(make(Noisy, (8, 8, 1))))
    restored = zoo.restore(saved, cls=Noisy)
    assert not restored.compiled
    assert np.array_equal(restored.sample(64, tf.constant([0, 1])), saved.sample(64, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_each_model_of_zoo_is_restored(name, half, tmp_path, no_clean_process):
    model = randomized(created(name))
    saved = zoo.load(zoo.export(model, tmp_path / "exported", {"model": name}, half=half))
    created(name)  # Keras numbers the layers of the next model differently
    restored = zoo.restore(tmp_path / "exported")
    assert restored.get_config() == model.get_config()
    labels = np.arange(16, dtype=np.int32) % 3 if model.num_classes else None
    samples = restored.sample(16, tf.constant([0, 1]), condition=labels)
    np.testing.assert_allclose(samples, saved.sample(16, seed=1, condition=labels), atol=1e-6)


def test_half_precision_gives_the_rounded_weights(tmp_path, no_clean_process):
    model = randomized(make(Noisy, (8, 8, 1)))
    zoo.export(model, tmp_path / "half", half=True)
    table = zoo.restore(tmp_path / "half", cls=Noisy).table.numpy()
    assert np.array_equal(table, model.table.numpy().astype(np.float16))
    assert not np.array_equal(table, model.table.numpy())


def test_a_restored_model_is_fine_tuned_by_fit(exported):
    restored = zoo.restore(exported(randomized(make(Noisy, (8, 8, 1)))), cls=Noisy)
    data = datasets.load_dataset(str(finished().cwd / "binary.npz"))[0]
    restored.compile()
    before = restored.table.numpy()
    restored.fit(data.stream(32, seed=0), steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(restored.step) == 2
    assert not np.array_equal(restored.table, before)


def test_what_an_export_does_not_store_is_new_and_logged_by_name(exported, caplog):
    model = randomized(make(Duel, (8, 8, 1)))
    saved = exported(model)
    with caplog.at_level(logging.WARNING, "zoo"):
        restored = zoo.restore(saved, cls=Duel)
    [message] = caplog.messages
    assert "does not store 2 weights of Duel" in message
    assert message.endswith("initial values: 4/sequential/dense/kernel, 5/sequential/dense/bias")
    pairs = zip(restored.weights[2:], model.weights[2:], strict=True)
    assert [np.array_equal(a, b) for a, b in pairs] == [True, True, False, False]
    assert np.array_equal(restored.sample(8, tf.constant([0, 1])), saved.sample(8, seed=1))


def test_names_of_weights_do_not_depend_on_what_a_process_has_built(tmp_path, no_clean_process):
    model = randomized(created("vae"))
    saved = zoo.load(zoo.export(model, tmp_path / "exported", {"model": "vae"}))
    program = (
        "import sys, numpy, tensorflow as tf, zoo\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    zoo.create('gan', spec=zoo.Spec((8, 8, 1)))\n"
        "    zoo.create('vae', spec=zoo.Spec((12, 12, 1)))\n"
        "model = zoo.restore('./exported')\n"
        "numpy.save(f'{sys.argv[1]}.npy', model.sample(8, tf.constant([0, 3])))\n"
    )
    for models in ("0", "2"):
        subprocess.run([sys.executable, "-c", program, models], cwd=tmp_path, check=True)
        samples = np.load(tmp_path / f"{models}.npy")
        np.testing.assert_allclose(samples, saved.sample(8, seed=3), atol=1e-6)


@pytest.fixture
def run(tmp_path):
    return copy_of_finished(tmp_path)


def test_a_run_gives_its_best_checkpoint(run):
    shutil.rmtree(run / "saved_model", ignore_errors=True)
    for source in (run, str(run), SimpleNamespace(folder=run)):
        restored = zoo.restore(source)
        saved = zoo.load(finished().run)
        assert int(restored.step) == saved.card["step"]
        assert np.array_equal(restored.sample(16, tf.constant([0, 1])), saved.sample(16, seed=1))


def test_a_run_of_a_class_that_was_typed_in_takes_the_class(run):
    description = json.loads((run / "run.json").read_text())
    description["recipe"]["model"] = "Noisy"
    (run / "run.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"To pass a class: zoo\.restore\(…, cls=CLASS\)"):
        zoo.restore(run)
    assert zoo.restore(run, cls=Noisy).step > 0


def test_a_run_without_a_valid_checkpoint_is_refused(run):
    for path in run.glob("checkpoints/*/variables.index"):
        flip(path)
    with pytest.raises(ArtefactError, match="checkpoints contains no valid checkpoint"):
        zoo.restore(run)


def test_a_checkpoint_of_another_model_is_refused(run):
    [newest, *_] = sorted(run.glob("checkpoints/step-*"), reverse=True)
    with pytest.raises(ArtefactError, match="fit Duel: it stores 3 weights, and the model has 6"):
        restore_checkpoint(make(Duel, (8, 8, 1)), newest)
    model = make(Noisy, (8, 8, 1), num_classes=2)
    before = model.get_weights()
    with pytest.raises(ArtefactError, match=r"0/noisy/table has the shape \[1, 8, 8, 1\], not \[2"):
        restore_checkpoint(model, newest)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_card_runs_no_python_file(run):
    card = json.loads((run / "saved_model" / "card.json").read_text())
    assert card["model"].endswith("noisy.py:Noisy")
    with pytest.raises(InputError, match=r"names no installed model: pass its class"):
        zoo.restore(run / "saved_model")
    assert zoo.restore(run / "saved_model", cls=Noisy).shape == (8, 8, 1)


def test_what_cannot_be_restored_is_refused(exported):
    with pytest.raises(InputError, match=r"does not exist\. List runs with: zoo\.list_runs"):
        zoo.restore("./none")
    with pytest.raises(InputError, match=r"Unknown pretrained model .none."):
        zoo.restore("none")
    with pytest.raises(InputError, match=r"A classifier cannot be restored"):
        zoo.restore(zoo.exports.pretrained.bundled_folder() / "features-mnist")
    with pytest.raises(InputError, match=r"Duel does not take the stored options: .*condition"):
        zoo.restore(exported(make(Noisy, (8, 8, 1))), cls=Duel)


def change(key, value):
    def damage(tensors):
        tensors["0/noisy/table"][key] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop("0/noisy/table"), "fit Noisy: 0/noisy/table is missing"),
        (
            lambda tensors: tensors.update({"3/dense/kernel": {"shape": [1]}}),
            "fit Noisy: 3/dense/kernel is not a weight of the model",
        ),
        (change("shape", [8, 8]), r"has the shape \[8, 8\], not \[1, 8, 8, 1\]"),
        (change("offset", 1), r"is stored in the shape \[1, 8, 8, 1\], not \[1, 8, 8, 1\]"),
        (change("variable", 7), "card.json is damaged: tensors: IndexError"),
        (change("variable", "x"), "card.json is damaged: tensors: TypeError"),
        (
            lambda tensors: tensors["1/noisy/run_seed"].update(
                tensors["0/noisy/table"], shape=[], offset=0
            ),
            "1/noisy/run_seed is stored ",
        ),
    ],
    ids=["missing", "extra", "shape", "offset", "variable", "no index", "dtype"],
)
def test_a_card_whose_weights_do_not_fit_is_refused(exported, damage, message):
    saved = exported(make(Noisy, (8, 8, 1)))
    card = json.loads((saved.folder / "card.json").read_text())
    damage(card["tensors"])
    storage.write_seal(saved.folder, card, "card.json")
    with pytest.raises(ArtefactError, match=message):
        zoo.restore(saved, cls=Noisy)


def test_a_damaged_export_and_an_old_card_are_refused(exported):
    saved = exported(make(Noisy, (8, 8, 1)))
    card = json.loads((saved.folder / "card.json").read_text())
    del card["tensors"]
    storage.write_seal(saved.folder, card, "card.json")
    with pytest.raises(ArtefactError, match="does not list the weights: export the model again"):
        zoo.restore(saved, cls=Noisy)
    flip(saved.folder / "variables" / "variables.data-00000-of-00001")
    with pytest.raises(ArtefactError, match=r"variables\.data.* is damaged"):
        zoo.restore(saved, cls=Noisy)


def randomized(model):
    """Moves every weight away from its initial value, so that each one matters."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(weight.numpy() + rng.uniform(0.01, 0.1, weight.shape))
    return model
