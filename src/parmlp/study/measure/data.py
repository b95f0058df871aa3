"""The real data sets as class numbers, with their held-out rows, cut or repeated to a size."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from parmlp.study.measure.problem import SEED, Rows
from parmlp.study.measure.rivals.base import Array

#: Rows of each training set, known before it is loaded. That of kddcup99_distinct is four fifths of
#: the distinct rows of the 10 % set as they are encoded.
TRAINING_ROWS = {
    "digits": 1437,
    "mnist5k": 4000,
    "mnist": 60_000,
    "kddcup99": 494_021,
    "kddcup99_distinct": 116_467,
}

_DESCRIPTIONS = {
    "digits": "real: scikit-learn's digits, four fifths of them, pixels / 16",
    "mnist5k": "real: 5,000 MNIST images, four fifths of them, pixels / 255",
    "mnist": "real: MNIST training set, pixels / 255",
    "kddcup99": "real: KDD Cup 1999, 10 percent, one-hot, 23 labels",
    "kddcup99_distinct": "real: KDD Cup 1999, distinct rows of the 10 percent set, four fifths of "
    "them, one-hot, 23 labels",
}


@dataclass(frozen=True)
class Data:
    """Training rows, test rows, and the training rows left out for validation."""

    train: Rows
    test: Rows
    description: str
    validation: Rows | None = None


@functools.lru_cache(maxsize=1)
def load_data(name: str) -> Data:
    """Load a real data set.

    Raises
    ------
    ValueError
        For an unknown name.
    DataError
        If it cannot be had; the text says what to do.
    """
    from parmlp.datasets import load_split

    if name not in TRAINING_ROWS:
        raise ValueError(f"unknown data {name!r}; known are random, {', '.join(TRAINING_ROWS)}")
    if name == "kddcup99_distinct":
        X_train, y_train, X_test, y_test = _distinct_kddcup99()
    else:
        # The paper's labels: 23 kinds of connections.
        split = load_split(name, target="label" if name == "kddcup99" else None)
        X_train, y_train = split.X_train, split.y_train
        X_test, y_test = split.X_test, split.y_test
    classes, labels = np.unique(y_train, return_inverse=True)
    test_labels = np.searchsorted(classes, y_test).clip(max=len(classes) - 1)
    unseen = classes[test_labels] != y_test
    return Data(
        Rows(X_train, labels),
        Rows(X_test, np.where(unseen, -1, test_labels).astype(np.int64)),
        _DESCRIPTIONS[name],
    )


def _distinct_kddcup99() -> tuple[Array, Array, Array, Array]:
    """Distinct rows alone, split at random: no row is in both parts.

    Only 30 % of the 10 % set's rows are distinct, so a random split of all of them tests on rows
    it has trained on. Of rows that differ in their labels alone (two pairs) the first is kept.
    """
    from parmlp.datasets import load_kddcup99
    from parmlp.datasets.splits import split_rows

    found = load_kddcup99("10_percent", target="label")
    first: dict[bytes, int] = {}
    for i, row in enumerate(np.ascontiguousarray(found.X, np.float32)):
        first.setdefault(row.tobytes(), i)
    distinct = np.fromiter(first.values(), np.int64, len(first))
    X, y = found.X[distinct], found.y[distinct]
    train, test, _ = split_rows(y, "classification", 0.2, 0)
    return X[train], y[train], X[test], y[test]


def take_rows(data: Data, rows: int | None) -> Data:
    """`data` with that many training rows, shuffled; the first ones are one of each class.

    With fewer than there are, rows left out become the validation rows, at most a fifth of those
    taken; with more, they are repeated.
    """
    n = len(data.train.labels)
    if rows is None:
        return data
    shuffled = np.random.default_rng(SEED + 3).permutation(n)
    first = np.unique(data.train.labels[shuffled], return_index=True)[1]
    order = np.concatenate([shuffled[first], np.delete(shuffled, first)])
    left = order[rows : rows + rows // 5]
    return Data(
        _pick(data.train, np.resize(order, rows)),
        data.test,
        data.description,
        _pick(data.train, left) if len(left) else None,
    )


def _pick(rows: Rows, order: Array) -> Rows:
    return Rows(rows.X[order], rows.labels[order])
