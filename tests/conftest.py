"""What all tests share. It also puts ``tests/`` on the path: ``from reference import Network``."""

import os
from pathlib import Path

import numpy as np
import pytest

from parmlp.datasets import Dataset, load_mnist

# The default number of threads is then what this machine has, whatever a shell has set.
os.environ.pop("OMP_NUM_THREADS", None)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator; every test gets the same stream."""
    return np.random.default_rng(20161130)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """``$PARMLP_DATA``; tests of the real files are skipped without it."""
    folder = os.environ.get("PARMLP_DATA")
    if not folder:
        pytest.skip("PARMLP_DATA is not set: the original MNIST and KDD'99 files are not at hand")
    return Path(folder)


@pytest.fixture(scope="session")
def mnist_train(real_data: Path) -> Dataset:
    return load_mnist("train", data_dir=real_data)
