"""scikit-learn's searches over joblib's threading backend: side by side, with the same results."""

import threading
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from parmlp import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]


def net(**parameters: Any) -> MLPClassifier:
    return MLPClassifier((20,), max_iter=5, random_state=0, **parameters)


def weights(model: Any) -> bytes:
    return b"".join(a.tobytes() for a in model.coefs_ + model.intercepts_)


@pytest.mark.parametrize(
    "search",
    [
        lambda model, grid: GridSearchCV(model, grid, cv=3),
        lambda model, grid: HalvingGridSearchCV(model, grid, cv=3, random_state=0),
    ],
    ids=["grid", "halving"],
)
@pytest.mark.parametrize("pipeline", [False, True])
def test_searches_find_the_same(search: Any, pipeline: bool) -> None:
    prefix = "mlpclassifier__" if pipeline else ""
    grid = {f"{prefix}alpha": [1e-4, 1.0], f"{prefix}learning_rate_init": [1e-3, 1e-2]}
    model = make_pipeline(StandardScaler(), net()) if pipeline else net()
    alone = search(model, grid).fit(X, Y)
    with joblib.parallel_config("threading", n_jobs=3):
        threaded = search(model, grid).fit(X, Y)
    assert threaded.best_params_ == alone.best_params_
    for key, values in alone.cv_results_.items():
        if "time" not in key:
            np.testing.assert_array_equal(threaded.cv_results_[key], values)
    best, other = threaded.best_estimator_, alone.best_estimator_
    assert weights(best[-1] if pipeline else best) == weights(other[-1] if pipeline else other)


def test_fits_run_at_the_same_time_each_on_one_thread() -> None:
    """Each waits in its callback until the others are there: they would time out one by one."""
    barrier = threading.Barrier(3)
    threads: list[int] = []

    def wait(report: Any) -> None:
        barrier.wait(60)
        threads.append(report.estimator.n_threads_)

    with joblib.parallel_config("threading", n_jobs=3):
        results = cross_validate(
            net(callback=wait, engine="threads"), X, Y, cv=3, error_score="raise"
        )
    assert np.isfinite(results["test_score"]).all()
    assert threads == [1] * 15


def test_an_ensemble_of_scikit_learns() -> None:
    bagging = BaggingClassifier(net(), n_estimators=4, random_state=0)
    alone = [weights(model) for model in bagging.fit(X, Y).estimators_]
    with joblib.parallel_config("threading", n_jobs=2):
        threaded = [weights(model) for model in bagging.fit(X, Y).estimators_]
    assert threaded == alone
    assert len(set(alone)) == 4
