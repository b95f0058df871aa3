"""EpochReport: what a training callback is told."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, as handed to ``callback(report)``; a true answer stops the training.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    max_epochs : int
        Epochs this call trains at most (1 for ``partial_fit``).
    loss : float
        Training loss of the epoch, with the L2 term; the mean over its minibatches.
    validation_score : float or None
        Score of the held-out rows (accuracy or R2) with early stopping, else None.
    samples : int
        Rows trained in this epoch.
    seconds : float
        Time the epoch's training took, without shuffling, scoring and callbacks.
    estimator : MLPClassifier or MLPRegressor
        The estimator in training. Its ``coefs_`` and ``intercepts_`` are up to date, it can predict
        and be saved, and edits to its weights count.
    """

    epoch: int
    max_epochs: int
    loss: float
    validation_score: float | None
    samples: int
    seconds: float
    estimator: Any
