"""The cells of the GPU benchmark, and what the project set out to reach in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.cpu.cells import Cell
from parmlp.study.measure.workload import DEFAULT


@dataclass(frozen=True)
class GpuCell:
    """A cell and its goals: microseconds a step, and times as fast as the best rival.

    A goal is None where no figure was set.
    """

    cell: Cell
    microseconds: float | None
    ratio: float | None

    @property
    def name(self) -> str:
        """Network, batch and precision."""
        return f"{self.cell.net}/b{self.cell.batch}/{self.cell.configuration.precision}"


# Whole minibatches, so that nobody has a short last one; about 60,000 rows as MNIST has.
_ROWS = 65536


def _cell(
    layers: tuple[int, ...],
    batch: int,
    precision: str,
    microseconds: float | None,
    ratio: float | None,
) -> GpuCell:
    configuration = replace(DEFAULT, name=f"default-{precision}", precision=precision)
    return GpuCell(Cell(layers, batch, "dense", configuration, _ROWS), microseconds, ratio)


CELLS = (
    _cell((41, 64, 23), 64, "float32", 8, 4.0),
    _cell((784, 100, 10), 64, "float32", 12, 3.0),
    _cell((784, 100, 10), 64, "tf32", 8, 3.0),
    _cell((784, 1024, 10), 128, "float32", 20, 2.0),
    _cell((784, 1024, 10), 128, "tf32", 12, 2.0),
    _cell((784, 1024, 1024, 10), 4096, "float32", None, None),
    _cell((784, 1024, 1024, 10), 4096, "bf16", None, 1.1),
    _cell((784, 2048, 2048, 10), 8192, "bf16", None, 1.1),
)
