"""A rung of the GPU's ladder by itself; two of them are the authors' CUDA programs, rebuilt."""

from __future__ import annotations

from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload

#: Rungs that compute in other precisions than float32; None is the one that the estimators take.
_ROUNDING = (None, "persistent", "tensor-cores")


class Rung:
    """The network behind the estimators, on the rung that they would take or on a given one."""

    rung: str | None = None

    def available(self, workload: Workload) -> str | None:
        """The reason why the rung does not take the workload, or where there is no GPU."""
        if workload.configuration.precision != "float32" and self.rung not in _ROUNDING:
            return "computes in float32"
        from parmlp.engines.cuda.team import status

        found = status()
        return None if found.available else f"{found.reason} {found.remedy}"

    def versions(self) -> dict[str, str]:
        """Of parmlp, whose kernels these are."""
        import parmlp

        return {"parmlp": parmlp.__version__}

    def setup(self, work: Work) -> None:
        """Copy weights to the GPU; rows follow with the first epoch, and kernels are compiled."""
        from parmlp.engines.cuda.network import Network, Rows
        from parmlp.engines.cuda.programs import Model
        from parmlp.engines.cuda.team import find_device

        c = work.configuration
        model = Model(
            work.layers,
            c.hidden_activation,
            c.out_activation,
            c.loss,
            "float32",
            0.01,
            "full" if c.precision == "float32" else c.precision,
        )
        self.network: Any = Network(find_device(), model, self.rung)
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
        self.rows, self.labels = Rows(work.X), work.labels.astype(np.int32)
        self.work, self.loss = work, np.nan

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``."""
        work = self.work
        self.loss = self.network.train_epoch(
            None,
            self.rows,
            self.labels,
            order,
            None,
            work.batch,
            work.configuration.learning_rate,
            "two-phase",
        ).loss

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""
        return Result(self.loss, *self.network.get_parameters())


class Cuda(Rung):
    """The paper's "CUDA": a kernel an operation and layer, tiles in shared memory."""

    rung = "tiled"


class CudaOptimized(Rung):
    """The paper's "CUDA Optimized": the same without bank conflicts."""

    rung = "tiled-without-conflicts"
