"""What the loaders return: a ``Dataset``, or a ``Split`` into training and held-out rows."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from parmlp.preprocessing import Preprocessing, Task

HeldOut = Literal["stratified", "shuffled", "own test set"]


@dataclass(frozen=True)
class Dataset:
    """Rows and their targets.

    Attributes
    ----------
    name : str
        As in ``parmlp data list``.
    X : ndarray of float32, shape (n_samples, n_features), C-contiguous
        Scaled features: ``preprocessing.transform`` of the raw rows.
    y : ndarray, shape (n_samples,)
        Class labels: integers for digits, strings for KDD'99.
    feature_names : tuple of str
        Names of X's columns.
    target_names : tuple of str
        The classes that occur in ``y``, sorted.
    preprocessing : Preprocessing
        Turns raw rows into X's columns.
    """

    name: str
    X: npt.NDArray[np.float32]
    y: npt.NDArray[Any]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Split:
    """Training rows and held-out rows.

    Attributes
    ----------
    name : str
        Name of the data set, or of the file it was read from.
    X_train, X_test : ndarray of float32, shape (n, n_features), C-contiguous
    y_train, y_test : ndarray, shape (n,) or (n, n_outputs)
        Class labels, or float64 values for regression. ``y_test`` keeps labels that ``y_train``
        has not: no model can predict them, so they count as errors.
    target_names : tuple of str
        The classes of ``y_train`` in the order of a classifier's ``classes_``; for regression the
        name of the target.
    feature_names : tuple of str
        Names of X's columns.
    preprocessing : Preprocessing
        Learned from the training rows alone.
    task : {"classification", "regression"}
    held_out : {"stratified", "shuffled", "own test set"}
        How the test rows were chosen; "shuffled" where a class has too few rows to be in both parts
        in proportion, and for regression.
    """

    name: str
    X_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[Any]
    X_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[Any]
    target_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    preprocessing: Preprocessing
    task: Task
    held_out: HeldOut

    @property
    def unseen_fraction(self) -> float:
        """Share of the test rows whose label never occurs in training; 0 for regression."""
        if self.task == "regression":
            return 0.0
        return unseen_fraction(self.y_test, np.unique(self.y_train))


def unseen_fraction(y: npt.ArrayLike, classes: npt.ArrayLike) -> float:
    """Return the share of labels ``y``, shape (n,), that are not among ``classes``, in 0..1."""
    seen = np.isin(np.asarray(y), np.asarray(classes))
    return float(1.0 - seen.mean()) if seen.size else 0.0


def class_names(y: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return the distinct labels of ``y``, sorted, as text."""
    return tuple(str(label) for label in np.unique(y))
