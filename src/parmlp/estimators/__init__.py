"""Estimators with scikit-learn's interface."""

from parmlp.estimators.classifier import MLPClassifier
from parmlp.estimators.regressor import MLPRegressor
from parmlp.estimators.report import EpochReport

__all__ = ["EpochReport", "MLPClassifier", "MLPRegressor"]
