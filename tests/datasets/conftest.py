"""The real data, loaded once, and a place where no data is."""

import os
from pathlib import Path

import pytest

from parmlp.datasets import Dataset, load_kddcup99, load_mnist


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


@pytest.fixture(scope="session")
def kdd_train(real_data: Path) -> Dataset:
    """The 10 % set with its 23 labels: 241 MB."""
    return load_kddcup99("10_percent", target="label", data_dir=real_data)


@pytest.fixture(scope="session")
def kdd_test(real_data: Path) -> Dataset:
    return load_kddcup99("test", target="label", data_dir=real_data)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data: PARMLP_DATA unset, an empty cache, which is returned."""
    monkeypatch.delenv("PARMLP_DATA", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setenv("PARMLP_CACHE", str(cache))
    return cache
