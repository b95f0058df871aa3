"""parmlp in a cell: a rung of the GPU's ladder, with its account; or the CPU, to try things out."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from benchmarks.gpu.records import Record
from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.rivals.cuda_rungs import Rung
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class Parmlp(Rung):
    """The network behind the estimators, on the rung they would take or on a given one."""

    engine = "cuda"

    def __init__(self, rung: str | None = None) -> None:
        self.rung = rung

    def product_error(self) -> None:
        """Products by themselves cannot be asked for; the check against float64 must do."""

    def account(self) -> Record:
        """What an epoch of the cell asks for, a step, and on which rung; after an epoch."""
        from parmlp.engines.cuda.accounting import count_epoch
        from parmlp.engines.cuda.programs import LADDER, Persistent

        program = self.network.trainer
        assert program is not None
        batch, c = self.work.batch, self.work.configuration
        rows = self.rows.shape[0] // batch * batch
        epoch = count_epoch(program, rows, batch, has_penalty=c.alpha != 0)
        record: Record = {
            "rung": next(name for name, rung in LADDER.items() if rung is type(program)),
            "launches_are_a_graph": program.many_launches,
            "arena_bytes": 3 * program.model.parameters * program.model.itemsize,
            "step": asdict(epoch * (batch / rows)),
        }
        if isinstance(program, Persistent):
            record["cluster_blocks"] = program.cluster_blocks
        return record


class Cpu:
    """The CPU engine, in float32: to try the benchmark out where there is no GPU."""

    def available(self, workload: Workload) -> str | None:
        """Other precisions are the GPU's."""
        if workload.configuration.precision != "float32":
            return "computes in float32"
        return None

    def versions(self) -> dict[str, str]:
        """Nothing but parmlp, which the platform record has."""
        return {}

    def product_error(self) -> None:
        """As of :class:`Parmlp`."""

    def setup(self, work: Work) -> None:
        """Take rows and weights."""
        from parmlp import _core

        c = work.configuration
        self._network = _core.Network(
            list(work.layers),
            c.hidden_activation,
            c.out_activation,
            c.loss,
            "float32",
            0.01,
            "full",
        )
        self._network.set_parameters(work.coefs, work.intercepts)
        self._network.set_solver(
            c.solver,
            alpha=c.alpha,
            momentum=0.0,
            nesterov=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            weight_decay=0.0,
        )
        self._team = _core.Team("serial", 1)
        self._work, self._labels, self._loss = work, work.labels.astype(np.int32), 0.0

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``."""
        work = self._work
        self._loss = self._network.train_epoch(
            self._team, work.X, self._labels, order, None, work.batch,
            work.configuration.learning_rate, "two-phase",
        ).loss  # fmt: skip

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""
        return Result(self._loss, *self._network.get_parameters())
