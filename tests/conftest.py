"""What all tests share. It also puts ``tests/`` on the path: ``from reference import Network``."""

import os

import numpy as np
import pytest

# The default number of threads is then what this machine has, whatever a shell has set.
os.environ.pop("OMP_NUM_THREADS", None)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator; every test gets the same stream."""
    return np.random.default_rng(20161130)
