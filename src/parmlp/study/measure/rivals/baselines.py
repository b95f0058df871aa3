"""The authors' own implementations, rebuilt: naive loops and BLAS, one example at a time."""

from __future__ import annotations

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.workload import Workload


class Baseline:
    """One of them; the subclasses say which."""

    implementation: str

    def available(self, workload: Workload) -> str | None:
        c = workload.configuration
        if (c.loss, c.solver, c.hidden_activation) != ("mse", "sgd", "sigmoid"):
            return "the authors' implementations train sigmoid units with mse by plain sgd alone"
        if c.precision != "float32":
            return "the authors' implementations compute in float32 alone"
        return missing("parmlp.study.baselines")

    def versions(self) -> dict[str, str]:
        import parmlp

        versions = {"parmlp": parmlp.__version__}
        if self.implementation.startswith("blas"):
            from parmlp.study.baselines import blas_info

            blas = blas_info()
            versions["blas"] = f"{blas.library} {blas.version} {blas.threading_layer}"
        return versions

    def setup(self, work: Work) -> None:
        self.work = work
        self.coefs = [w.copy() for w in work.coefs]
        self.intercepts = [b.copy() for b in work.intercepts]
        self.y = work.one_hot()
        self.loss = np.nan

    def run_epoch(self, order: Array) -> None:
        from parmlp.study.baselines import train_epoch

        self.loss = train_epoch(
            self.implementation,
            self.coefs,
            self.intercepts,
            self.work.X,
            self.y,
            order=order,
            batch_size=self.work.batch,
            learning_rate=self.work.configuration.learning_rate,
            n_threads=self.work.threads,
        )

    def result(self) -> Result:
        return Result(self.loss, self.coefs, self.intercepts)


class NaiveSerial(Baseline):
    """The paper's "Naive Serial": three nested loops."""

    implementation = "naive_serial"


class NaivePthreads(Baseline):
    """The paper's "Multicore Parallel": the examples split over threads made for a minibatch."""

    implementation = "naive_pthreads"


class BlasSerial(Baseline):
    """The paper's "Fast Serial": matrix-vector products by BLAS."""

    implementation = "blas_serial"


class BlasParallel(Baseline):
    """The paper's "Fast Parallel": the same, parallel inside each product."""

    implementation = "blas_parallel"
