"""KDD'99's real files, loaded once, and a place where no data is."""

from pathlib import Path

import pytest

from parmlp.datasets import Dataset, load_kddcup99


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
