"""scikit-learn's public test suite for estimators; its own MLPs pass all of it, and so do ours."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from parmlp import MLPClassifier, MLPRegressor


@parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        MLPRegressor(max_iter=100),
        MLPClassifier(loss="mse", activation="silu", solver="adamw", max_iter=100),
        MLPRegressor(loss="mse", activation="gelu", max_iter=100),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimator(estimator: Any, check: Any) -> None:
    check(estimator)
