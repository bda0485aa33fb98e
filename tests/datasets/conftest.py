import pytest

from zoo.datasets import load_dataset


@pytest.fixture(scope="session")
def mnist():
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def mnist_binary():
    return load_dataset("mnist_binary")
