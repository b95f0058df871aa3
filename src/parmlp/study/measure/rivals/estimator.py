"""This package as a user runs it: ``MLPClassifier.fit``, timed from epoch's end to epoch's end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload

# As a fit of a user's: whether rows are compressed depends on the number of epochs to come. The
# callback ends the fit earlier.
_MAX_ITER = 200

#: Rows that are enough to see the phases of a step, unless minibatches are large.
_PROFILED_ROWS = 8192


class Estimator:
    """One engine and one schedule; the subclasses say which."""

    engine = "threads"
    schedule = "two-phase"
    # The time of that number of threads is asked for.
    adaptive_threads = False

    def available(self, workload: Workload) -> str | None:
        reason = missing("parmlp.estimators")
        if reason:
            return reason
        from parmlp.engines import engine_statuses

        if self.engine == "auto":
            return None
        statuses = {status.name: status for status in engine_statuses()}
        if self.engine not in statuses:
            return f"this version of parmlp has no engine {self.engine!r}"
        status = statuses[self.engine]
        return None if status.available else f"{status.reason} {status.remedy}"

    def versions(self) -> dict[str, str]:
        import parmlp

        return {
            "parmlp": parmlp.__version__,
            "numpy": np.__version__,
            "engine": self.engine,
            "schedule": self.schedule,
        }

    def setup(self, work: Work) -> None:
        self.work = work
        # One row of each class first: a fit on part of the rows must not lose an output.
        self.first = np.unique(work.labels, return_index=True)[1]
        rest = np.delete(np.arange(len(work.labels)), self.first)
        order = np.concatenate([self.first, rest])
        self.X, self.labels = work.X[order], work.labels[order]

    def _estimator(self, **more: Any) -> Any:
        import parmlp

        c = self.work.configuration
        return parmlp.MLPClassifier(
            hidden_layer_sizes=self.work.layers[1:-1],
            activation=c.hidden_activation,
            solver=c.solver,
            alpha=c.alpha,
            batch_size=self.work.batch,
            learning_rate_init=c.learning_rate,
            momentum=0.0,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            loss=c.loss,
            weight_init="glorot_uniform",
            precision="bf16" if c.precision == "bf16" else "full",
            engine=self.engine,
            schedule=self.schedule,
            n_threads=None if self.engine == "cuda" else self.work.threads,
            adaptive_threads=self.adaptive_threads,
            tol=0.0,  # exactly as many epochs as are asked for
            n_iter_no_change=np.inf,
            **more,
        )

    def _from_given_weights(self, **more: Any) -> Any:
        """An estimator whose next fit starts from the given parameters."""
        estimator = self._estimator(max_iter=1, warm_start=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one epoch does not converge
            # A fit of one row a class makes the arrays.
            estimator.fit(self.work.X[self.first], self.work.labels[self.first])
        estimator.coefs_ = [w.copy() for w in self.work.coefs]
        estimator.intercepts_ = [b.copy() for b in self.work.intercepts]
        return estimator.set_params(**more)

    def _fit(self, estimator: Any, X: Array, labels: Array) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return estimator.fit(X, labels)

    def run_epoch(self, order: Array) -> None:
        """One unshuffled epoch over the given rows from the given parameters: for the check."""
        estimator = self._from_given_weights(shuffle=False)
        self.estimator = self._fit(estimator, self.work.X[order], self.work.labels[order])

    def run_fit(self, rows: int) -> tuple[int, dict[str, float]]:
        """A fresh fit of whole epochs over all rows, or over the first `rows` of them.

        Its first epoch, with what a fit does once, is left out of the seconds.
        """
        n = len(self.X)
        epochs = max(1, round(rows / n))
        rows = min(n, max(rows, self.work.layers[-1]))
        ends: list[float] = []

        def after(report: Any) -> bool:
            ends.append(time.perf_counter())
            return len(ends) > epochs

        estimator = self._estimator(max_iter=max(_MAX_ITER, epochs + 1), callback=after)
        self.estimator = self._fit(estimator, self.X[:rows], self.labels[:rows])
        return epochs * rows, {"seconds": ends[-1] - ends[0]}

    def fit_epochs(self, epochs: int, seed: int, after: Callable[[Result, float], None]) -> None:
        """One fit from the given parameters; what a fit does once is in the first epoch's."""
        begin = time.perf_counter()

        def tell(report: Any) -> None:
            nonlocal begin
            seconds = time.perf_counter() - begin
            e = report.estimator
            after(Result(float(report.loss), list(e.coefs_), list(e.intercepts_)), seconds)
            begin = time.perf_counter()

        estimator = self._from_given_weights(max_iter=epochs, random_state=seed, callback=tell)
        begin = time.perf_counter()
        self.estimator = self._fit(estimator, self.work.X, self.work.labels)

    def profile(self) -> dict[str, Any]:
        """Seconds of each phase of a step, and of the hand-over from one to the next."""
        import parmlp

        rows = max(_PROFILED_ROWS, 4 * self.work.batch)
        found = parmlp.profile_steps(self._estimator(), self.X[:rows], self.labels[:rows])
        phases = [
            {"phase": p.phase, "layer": p.layer, "seconds": p.seconds, "share": p.share}
            for p in found.phases
        ]
        between = found.between_seconds
        phases.append(
            {
                "phase": "between steps",
                "layer": 0,
                "seconds": between,
                "share": between / found.seconds,
            }
        )
        return {"phases": phases, "hand_over_seconds": found.hand_over_seconds}

    def result(self) -> Result:
        e = self.estimator
        return Result(float(e.loss_), list(e.coefs_), list(e.intercepts_))


class Serial(Estimator):
    """Engine serial."""

    engine = "serial"


class Threads(Estimator):
    """Engine threads, the schedule two-phase."""


class Openmp(Estimator):
    """Engine openmp, the schedule two-phase."""

    engine = "openmp"


class PartialGradients(Estimator):
    """Engine threads, the paper's schedule."""

    schedule = "partial-gradients"


class ForkJoin(Estimator):
    """Engine threads, the paper's schedule with threads made for each minibatch."""

    schedule = "fork-join"


class Cuda(Estimator):
    """Engine cuda."""

    engine = "cuda"
