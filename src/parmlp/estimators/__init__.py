"""Estimators with scikit-learn's interface."""

from parmlp.estimators.classifier import MLPClassifier
from parmlp.estimators.many import FitManyError, fit_many
from parmlp.estimators.regressor import MLPRegressor
from parmlp.estimators.report import EpochReport

__all__ = ["EpochReport", "FitManyError", "MLPClassifier", "MLPRegressor", "fit_many"]
