"""parmlp in a cell: a rung of the GPU's ladder, with its account; or the CPU, to try things out."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.cpu.own_rows import Epochs
from benchmarks.gpu.records import Record
from parmlp.study.measure.rivals.base import Array, Work
from parmlp.study.measure.rivals.cuda_rungs import Rung
from parmlp.study.measure.workload import Workload


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


class Cpu(Epochs):
    """The CPU engine, in float32: to try the benchmark out where there is no GPU."""

    def available(self, workload: Workload) -> str | None:
        """Other precisions are the GPU's."""
        if workload.configuration.precision != "float32":
            return "computes in float32"
        return super().available(workload)

    def product_error(self) -> None:
        """As of :class:`Parmlp`."""

    def rows(self, work: Work) -> Array:
        """As they are, like everybody's here."""
        return work.X
