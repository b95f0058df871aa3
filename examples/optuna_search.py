"""Hyperparameter selection with Optuna, which stops trials that fall behind after an epoch.

    pip install optuna
    python examples/optuna_search.py

Learning rate, width and batch size on the embedded digits; the estimator's callback reports each
epoch's accuracy on validation rows and ends the training of a trial that Optuna prunes.
"""

import warnings
from typing import Any

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from parmlp import EpochReport, MLPClassifier


def main(trials: int = 20, epochs: int = 15) -> optuna.Study:
    """Search, print the choice, and return Optuna's study."""
    X, y = load_digits(return_X_y=True)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X.astype(np.float32) / 16, y, test_size=1 / 6, random_state=0, stratify=y
    )

    def objective(trial: optuna.Trial) -> float:
        def after(report: EpochReport) -> bool:
            trial.report(report.estimator.score(X_valid, y_valid), report.epoch)
            return trial.should_prune()

        model: Any = MLPClassifier(
            (trial.suggest_int("units", 16, 128, log=True),),
            "sigmoid",
            loss="mse",
            solver="sgd",
            momentum=0.0,
            alpha=0.0,
            learning_rate_init=trial.suggest_float("learning_rate_init", 1e-3, 5.0, log=True),
            batch_size=trial.suggest_int("batch_size", 8, 128, log=True),
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=np.inf,
            weight_init="glorot_uniform",
            random_state=0,
            callback=after,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # none converges in so few epochs
            model.fit(X_train, y_train)
        if trial.should_prune():
            raise optuna.TrialPruned
        return float(model.score(X_valid, y_valid))

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    study.optimize(objective, n_trials=trials)
    print(f"chosen: {study.best_params}, accuracy on validation rows: {study.best_value:.2%}")
    return study


if __name__ == "__main__":
    main()
