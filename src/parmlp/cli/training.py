"""One training run: from a split and settings to a fitted estimator and its model file."""

import math
import warnings
from pathlib import Path
from typing import Any

import typer
from sklearn.exceptions import ConvergenceWarning

from parmlp import MLPClassifier, MLPRegressor
from parmlp.cli.choices import Loss
from parmlp.cli.progress import TrainingProgress
from parmlp.datasets import Split
from parmlp.estimators._parameters import choose_out_activation
from parmlp.model_files import save_model

LOSSES_OF_TASK = {
    "classification": (Loss.LOG_LOSS, Loss.MSE),
    "regression": (Loss.SQUARED_ERROR, Loss.POISSON),
}


def make_estimator(
    split: Split, loss: Loss | None, **settings: Any
) -> MLPClassifier | MLPRegressor:
    """Return an estimator for the split's task that runs exactly `max_iter` epochs.

    Raises
    ------
    typer.BadParameter
        If `loss` is not one for the task, or not one for the output activation.
    """
    losses = LOSSES_OF_TASK[split.task]
    if loss is None:
        loss = losses[0]
    elif loss not in losses:
        raise typer.BadParameter(
            f"{loss} is not for {split.task}; use {' or '.join(losses)}", param_hint="--loss"
        )
    try:
        choose_out_activation(loss.value, settings["out_activation"], "auto")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--out-activation") from error
    estimator = MLPClassifier if split.task == "classification" else MLPRegressor
    # No improvement is ever asked for, so no epoch is left out.
    return estimator(loss=loss.value, n_iter_no_change=math.inf, **settings)


def fit(estimator: MLPClassifier | MLPRegressor, split: Split, *, shown: bool) -> None:
    """Fit to the split's training rows, with progress on the terminal if `shown`.

    Ctrl-C ends the fit early: `estimator.stop_reason_` is then "interrupted".

    Raises
    ------
    ValueError
        If the loss becomes NaN or infinite; the message names the epoch.
    """
    with TrainingProgress(estimator.max_iter, shown=shown) as progress:
        estimator.set_params(callback=progress if shown else None)
        with warnings.catch_warnings():
            # The number of epochs was asked for, and an interrupt is reported by the caller.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Training interrupted by user")
            estimator.fit(split.X_train, split.y_train)
    estimator.set_params(callback=None)


def save(
    path: Path,
    estimator: MLPClassifier | MLPRegressor,
    split: Split,
    options: dict[str, str | float | int | None],
) -> None:
    """Write the model file, with the options by which the held-out rows are found again."""
    save_model(path, estimator, split.preprocessing, training=options)
