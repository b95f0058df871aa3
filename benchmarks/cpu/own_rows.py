"""This package: the native trainer epoch by epoch, and the estimator's whole fit."""

from __future__ import annotations

import math
import time
from importlib import metadata
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing, only_in_bf16
from parmlp.study.measure.rivals.estimator import Estimator
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


def _versions() -> dict[str, str]:
    from parmlp import _core

    try:
        version = metadata.version("parmlp")
    except metadata.PackageNotFoundError:
        version = "source tree, not installed"
    return {
        "parmlp": version,
        "numpy": np.__version__,
        "simd": _core.simd_target(),
        "compiler": _core.compiler,
    }


def _precision(workload: Workload) -> str:
    return "bf16" if workload.configuration.precision == "bf16" else "full"


class Epochs:
    """``_core.Network.train_epoch`` with the rows' order from outside: what a fit calls."""

    openmp = False

    def available(self, workload: Workload) -> str | None:
        return missing("parmlp._core") or (missing("parmlp._openmp") if self.openmp else None)

    def precision(self, workload: Workload) -> str:
        return _precision(workload)

    def versions(self) -> dict[str, str]:
        return _versions() | {"engine": self.team.engine}

    def setup(self, work: Work) -> None:
        from parmlp import _core

        self.work = work
        c = work.configuration
        self.network = _core.Network(
            list(work.layers),
            c.hidden_activation,
            c.out_activation,
            c.loss,
            "float32",
            precision=self.precision(work.workload),
        )
        self.network.set_parameters(work.coefs, work.intercepts)
        self.network.set_solver(
            c.solver,
            alpha=c.alpha,
            momentum=0.0,
            nesterov=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            weight_decay=0.0,
        )
        if self.openmp:
            from parmlp import _openmp

            self.team = _core.Team("openmp", work.threads, openmp_team=_openmp.team_function())
        else:
            self.team = _core.Team("threads" if work.threads > 1 else "serial", work.threads)
        self.X = self.rows(work)
        self.labels = work.labels.astype(np.int32)
        self.loss = math.nan

    def rows(self, work: Work) -> Any:
        """As a fit of many epochs takes them: compressed once where X is mostly zeros."""
        from parmlp.estimators._samples import TrainingRows

        return TrainingRows(work.X).to_train_on(self.team, work.layers[1], work.batch, epochs=200)

    def run_epoch(self, order: Array) -> None:
        work = self.work
        result = self.network.train_epoch(
            self.team,
            self.X,
            self.labels,
            order,
            None,
            work.batch,
            work.configuration.learning_rate,
            "two-phase",
        )
        self.loss = result.loss

    def result(self) -> Result:
        return Result(self.loss, *self.network.get_parameters())


class Float32Epochs(Epochs):
    """In float32, beside us in bfloat16."""

    def available(self, workload: Workload) -> str | None:
        return only_in_bf16(workload) or super().available(workload)

    def precision(self, workload: Workload) -> str:
        return "full"


class DenseEpochs(Epochs):
    """With all the zeros of real data, beside us without them."""

    def available(self, workload: Workload) -> str | None:
        if workload.data == "random":
            return "random data have no zeros to leave out"
        return super().available(workload)

    def rows(self, work: Work) -> Any:
        return work.X


class OpenmpEpochs(Epochs):
    """The same by the openmp engine."""

    openmp = True


class Fit(Estimator):
    """``MLPClassifier.fit`` as a user calls it: validation, encoding and shuffling included."""

    engine = "auto"
    adaptive_threads = True

    def versions(self) -> dict[str, str]:
        return _versions()

    def run_fit(self, rows: int) -> tuple[int, dict[str, float]]:
        """A fresh fit: whole epochs over all rows, or one over the first `rows` of them."""
        n = len(self.X)
        epochs = max(1, round(rows / n))
        rows = min(n, max(rows, self.work.layers[-1]))
        X, labels = self.X[:rows], self.labels[:rows]
        estimator = self._estimator(max_iter=epochs, random_state=0)
        begin = time.perf_counter()
        self.estimator = self._fit(estimator, X, labels)
        fit_seconds = time.perf_counter() - begin
        seconds = {"fit": fit_seconds, "training": self.estimator.training_seconds_}
        return epochs * rows, seconds
