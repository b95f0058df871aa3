"""The roofline model: what the machine's ceilings allow a cell, and what it reached of that.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 52 (2009).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from parmlp.study.analysis.measurements import Measurement, Measurements
from parmlp.study.records import CeilingRecord, Cell

#: Everything is trained in float32.
BYTES_A_NUMBER = 4

#: A step reads every weight forward and backward, and writes it once.
WEIGHT_PASSES = 3


def last_level_cache(platform: Mapping[str, Any]) -> int | None:
    """Bytes of the largest cache of a `run` record's platform, or None where it names none."""
    sizes = [_bytes(str(c.get("size", ""))) for c in platform.get("caches") or ()]
    return max((s for s in sizes if s is not None), default=None)


def _bytes(size: str) -> int | None:
    """``32768K`` or ``32M`` in bytes."""
    unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(size[-1:].upper())
    return int(size[:-1]) * unit if unit and size[:-1].isdigit() else None


def bytes_per_sample(cell: Cell, cache: int | None) -> float:
    """Bytes that must come from memory to train a row: the least a step can do with.

    The row itself and its targets are read. Weights count, `WEIGHT_PASSES` times a minibatch, where
    they do not fit a cache of `cache` bytes; where the cache is not known they count as if there
    were none.
    """
    weights = BYTES_A_NUMBER * sum(a * b for a, b in pairwise(cell.layers))
    traffic = float(BYTES_A_NUMBER * (cell.layers[0] + cell.layers[-1]))
    if cache is None or weights > cache:
        traffic += WEIGHT_PASSES * weights / min(cell.batch, cell.rows)
    return traffic


@dataclass(frozen=True)
class Roof:
    """The ceilings for a number of threads: FLOP/s and bytes a second."""

    threads: int
    peak_flops: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """FLOPs a byte from which arithmetic, not memory, is the limit."""
        return self.peak_flops / self.bytes_per_second

    def allows(self, intensity: float) -> float:
        """FLOP/s attainable at `intensity` FLOPs a byte."""
        return min(self.peak_flops, intensity * self.bytes_per_second)


def roofs(ceiling: CeilingRecord | None) -> dict[int, Roof]:
    """Roofs by number of threads, for those whose ceilings were both measured."""
    if ceiling is None:
        return {}
    return {
        int(threads): Roof(int(threads), peak, ceiling.read_bytes_per_second[threads])
        for threads, peak in ceiling.peak_flops.items()
        if peak > 0 and ceiling.read_bytes_per_second.get(threads, 0) > 0
    }


@dataclass(frozen=True)
class RooflinePoint:
    """A measurement under its roof, by the operations of dense rows as every GFLOP/s here.

    ``share`` is of what the roof allows, and counts only the operations that are needed: skipping
    zeros leaves some out, so that ``flops`` may be above the roof.
    """

    measurement: Measurement
    roof: Roof
    intensity: float
    flops: float

    @property
    def share(self) -> float:
        m = self.measurement
        needed = m.needed_flops_per_sample / m.cell.flops_per_sample
        return needed * self.flops / self.roof.allows(needed * self.intensity)


def roofline(
    measured: Measurements, ceiling: CeilingRecord | None, cache: int | None
) -> list[RooflinePoint]:
    """The CPU measurements for whose number of threads there is a roof."""
    found = []
    by_threads = roofs(ceiling)
    for m in measured.where(device="cpu"):
        roof = by_threads.get(m.threads)
        if roof is not None:
            intensity = m.cell.flops_per_sample / bytes_per_sample(m.cell, cache)
            found.append(RooflinePoint(m, roof, intensity, 1e9 * m.gflops.median))
    return found
