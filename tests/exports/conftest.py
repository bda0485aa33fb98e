"""SavedModels for tests of exports."""

import shutil

import pytest
from support.shell import finished


@pytest.fixture(scope="session")
def conditional(tmp_path_factory):
    """The SavedModel of a conditional VAE that computes in bfloat16, and the VAE."""
    import keras

    import zoo
    from zoo.models.vae import VAE

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    label = zoo.Spec((), 3, "label")
    model = VAE(zoo.Spec((8, 8, 1), 2), label, filters=4, latent_dim=4)
    keras.config.set_dtype_policy(policy)
    folder = tmp_path_factory.mktemp("vae") / "exported"
    return zoo.load(zoo.export(model, folder, {"model": "vae"})), model


@pytest.fixture(scope="session")
def plain():
    """The SavedModel of the finished run, which is unconditional."""
    import zoo

    return zoo.load(finished().run)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(finished().run / "saved_model", tmp_path / "copy")
