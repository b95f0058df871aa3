"""Splits into training and held-out rows: of the known data sets, and of users' tables."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parmlp.datasets import kddcup99
from parmlp.datasets.dataset import Dataset, HeldOut, Split, class_names
from parmlp.datasets.digits import load_digits
from parmlp.datasets.mnist import load_mnist
from parmlp.datasets.mnist5k import load_mnist5k
from parmlp.datasets.npz import read_npz
from parmlp.datasets.tables import ARRAY_TARGET, is_npz, naming, read_table
from parmlp.datasets.targets import array_kind, infer_task, read_target, to_task
from parmlp.errors import DataError
from parmlp.preprocessing import (
    StandardPreprocessing,
    TablePreprocessing,
    Target,
    Task,
    require_complete,
)

NAMES = ("digits", "mnist5k", "mnist", "kddcup99")

Indices = npt.NDArray[np.intp]


def load_split(
    name: str,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    target: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Split:
    """Load a known data set, split into training and held-out rows.

    Parameters
    ----------
    name : {"digits", "mnist5k", "mnist", "kddcup99"}
        mnist and kddcup99 (trained on its 10 % set) have test sets of their own.
    seed : int, default=0
        Of the stratified split of digits and mnist5k.
    test_fraction : float, default=0.2
        Share of rows that split holds out.
    target : {"label", "category", "attack"}, optional
        For kddcup99 alone; default "attack".
    data_dir, download
        As for ``load_mnist``.

    Raises
    ------
    DataError
        Unknown name, a target for another data set, data that is not there.
    """
    if name not in NAMES:
        raise DataError(f"unknown data set {name!r}; there are: {', '.join(NAMES)}")
    if target is not None and name != "kddcup99":
        raise DataError(
            f"data set {name!r} has one target, its digits; leave target={target!r} out"
        )
    if name == "kddcup99":
        chosen: Any = target or "attack"
        train, test = (
            kddcup99.load_kddcup99(subset, target=chosen, data_dir=data_dir, download=download)
            for subset in ("10_percent", "test")
        )
        return _own_test_set(train, test)
    if name == "mnist":
        return _own_test_set(
            load_mnist("train", data_dir=data_dir, download=download),
            load_mnist("test", data_dir=data_dir, download=download),
        )
    data = load_digits() if name == "digits" else load_mnist5k()
    train_rows, test_rows, held_out = split_rows(data.y, "classification", test_fraction, seed)
    return Split(
        name=name,
        X_train=data.X[train_rows],
        y_train=data.y[train_rows],
        X_test=data.X[test_rows],
        y_test=data.y[test_rows],
        target_names=data.target_names,
        feature_names=data.feature_names,
        preprocessing=data.preprocessing,
        task="classification",
        held_out=held_out,
    )


def load_table_split(
    path: str | os.PathLike[str],
    target: str | None = None,
    task: Task | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Read a user's file and split it into training and held-out rows.

    Numbers and booleans are standardized, strings one-hot encoded, both as learned from the
    training rows alone.

    Parameters
    ----------
    path : path
        CSV or Parquet with named columns, or npz with arrays X and y.
    target : str, optional
        The column to predict. Needed for CSV and Parquet; for npz it is y.
    task : {"classification", "regression"}, optional
        By default inferred: strings, booleans and integers of few distinct values are classes,
        other numbers quantities.
    test_fraction : float, default=0.2
        Share of rows held out, stratified by class where every class has rows for both parts.
    seed : int, default=0
        Which rows those are.

    Raises
    ------
    DataError
        Unreadable file, no such target, missing values (naming columns and counts), a column of no
        usable type, a target that does not suit the task, too few rows.
    """
    with naming(path):
        split = _split_arrays if is_npz(path) else _split_columns
        return split(path, target, task, test_fraction, seed)


def _split_columns(
    path: str | os.PathLike[str],
    target: str | None,
    task: Task | None,
    test_fraction: float,
    seed: int,
) -> Split:
    """Do ``load_table_split`` for a CSV or Parquet file."""
    table = read_table(path)
    others = ", ".join(table.column_names)
    if target is None:
        raise DataError(f"say which column of {path} is the target (--target); it has: {others}")
    if target not in table.column_names:
        raise DataError(f"{path} has no column {target!r} to take as the target; it has: {others}")
    values, kind = read_target(table.column(target), target)
    task = task or infer_task(values, kind)
    y = to_task(values, target, kind, task)
    features = table.drop_columns([target])
    # Before the split, so that the counts are those of the file.
    require_complete(features)
    train_rows, test_rows, held_out = split_rows(y, task, test_fraction, seed)
    train = features.take(train_rows)
    preprocessing = TablePreprocessing.fit(train, Target(target, kind, task))
    return Split(
        name=Path(path).name,
        X_train=preprocessing.transform(train),
        y_train=y[train_rows],
        X_test=preprocessing.transform(features.take(test_rows)),
        y_test=y[test_rows],
        target_names=class_names(y[train_rows]) if task == "classification" else (target,),
        feature_names=preprocessing.feature_names(),
        preprocessing=preprocessing,
        task=task,
        held_out=held_out,
    )


def _split_arrays(
    path: str | os.PathLike[str],
    target: str | None,
    task: Task | None,
    test_fraction: float,
    seed: int,
) -> Split:
    """Do ``load_table_split`` for an npz file."""
    if target not in (None, ARRAY_TARGET):
        raise DataError(f"{path}: the target of an npz file is its array y, not {target!r}")
    X, values = read_npz(path)
    if values is None:
        raise DataError(f"{path} has no array y; add the targets: numpy.savez(path, X=X, y=y)")
    kind = array_kind(values, ARRAY_TARGET)
    task = task or infer_task(values, kind)
    y = to_task(values, ARRAY_TARGET, kind, task)
    train_rows, test_rows, held_out = split_rows(y, task, test_fraction, seed)
    preprocessing = StandardPreprocessing.fit(X[train_rows], Target(ARRAY_TARGET, kind, task))
    one_column = y.ndim == 1
    if task == "classification" and one_column:
        target_names = class_names(y[train_rows])
    else:
        n_outputs = 1 if one_column else y.shape[1]
        target_names = tuple(f"{ARRAY_TARGET}{i}" for i in range(n_outputs))
    return Split(
        name=Path(path).name,
        X_train=preprocessing.transform(X[train_rows]),
        y_train=y[train_rows],
        X_test=preprocessing.transform(X[test_rows]),
        y_test=y[test_rows],
        target_names=target_names,
        feature_names=preprocessing.feature_names(),
        preprocessing=preprocessing,
        task=task,
        held_out=held_out,
    )


def split_rows(
    y: npt.NDArray[Any], task: Task, test_fraction: float, seed: int
) -> tuple[Indices, Indices, HeldOut]:
    """Choose training and held-out rows at random, the same for the same seed.

    Parameters
    ----------
    y : ndarray, shape (n,) or (n, n_outputs)
    test_fraction : float
        Between 0 and 1, both excluded; the number of held-out rows is rounded up.

    Returns
    -------
    train_rows, test_rows : ndarray of intp
    held_out : {"stratified", "shuffled"}
        Stratified for one column of classes if each has two rows and both parts have a row a class.

    Raises
    ------
    DataError
        A fraction outside (0, 1), fewer than two rows, an illegal seed.
    """
    if not 0.0 < test_fraction < 1.0:
        raise DataError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed}; it must lie between 0 and 2**32 - 1")
    n_rows = len(y)
    n_test = int(np.ceil(test_fraction * n_rows))
    if n_rows < 2 or n_test >= n_rows:
        raise DataError(
            f"{n_rows} rows cannot be split with test_fraction {test_fraction}; both parts need a "
            "row"
        )
    from sklearn.model_selection import train_test_split  # 0.7 s

    codes = None
    if task == "classification" and y.ndim == 1:
        classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
        if counts.min() >= 2 and min(n_test, n_rows - n_test) >= len(classes):
            codes = inverse
    train_rows, test_rows = train_test_split(
        np.arange(n_rows), test_size=n_test, random_state=seed, stratify=codes
    )
    return train_rows, test_rows, "shuffled" if codes is None else "stratified"


def _own_test_set(train: Dataset, test: Dataset) -> Split:
    return Split(
        name=train.name,
        X_train=train.X,
        y_train=train.y,
        X_test=test.X,
        y_test=test.y,
        target_names=train.target_names,
        feature_names=train.feature_names,
        preprocessing=train.preprocessing,
        task="classification",
        held_out="own test set",
    )
