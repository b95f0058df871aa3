"""Timed cells as measurements: which rounds count, time per epoch, GFLOP/s."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from parmlp.study.analysis.estimates import Estimate, estimate, ratio
from parmlp.study.analysis.implementations import Implementation, implementation, order
from parmlp.study.records import Cell, CellRecord, Round

#: So many quiet rounds are enough to leave the others out.
QUIET_ROUNDS = 7

#: Up to this share of nonzero values the CPU engines compress rows and skip the zeros.
SPARSE = 0.3


@dataclass(frozen=True)
class Problem:
    """What is trained, whoever trains it on however many threads."""

    layers: tuple[int, ...]
    data: str
    rows: int
    batch: int
    configuration: str
    learning_rate: float

    @property
    def net(self) -> str:
        """The layers in the paper's way: ``784-100-10``."""
        return "-".join(map(str, self.layers))

    @property
    def text(self) -> str:
        """For sentences and tables."""
        return (
            f"{self.net}, batch {self.batch:,}, {self.rows:,} rows of {self.data}, "
            f"{self.configuration}"
        )


def problem_of(cell: Cell) -> Problem:
    """What `cell` trains."""
    configuration = cell.configuration
    return Problem(
        cell.layers,
        cell.data,
        cell.rows,
        cell.batch,
        configuration.name,
        configuration.learning_rate,
    )


@dataclass(frozen=True)
class Measurement:
    """A cell that was timed, with the rounds that count.

    Attributes
    ----------
    record : CellRecord
    seconds_per_row : dict of int to float
        By round number; rounds beside other people's work are left out where `QUIET_ROUNDS` quiet
        ones remain.
    quiet : bool
        Whether every round in it was quiet.
    """

    record: CellRecord
    seconds_per_row: dict[int, float]
    quiet: bool

    @property
    def cell(self) -> Cell:
        return self.record.cell

    @property
    def threads(self) -> int:
        return self.record.cell.threads

    @property
    def name(self) -> str:
        """The implementation's name."""
        return self.record.cell.implementation

    @property
    def implementation(self) -> Implementation:
        return implementation(self.name)

    @property
    def label(self) -> str:
        return self.implementation.label

    @cached_property
    def problem(self) -> Problem:
        return problem_of(self.cell)

    @cached_property
    def row_seconds(self) -> Estimate:
        """Seconds a training row takes."""
        return estimate(list(self.seconds_per_row.values()))

    @property
    def epoch_seconds(self) -> Estimate:
        """Seconds an epoch takes: rows divided by samples per second."""
        return self.row_seconds.map(lambda seconds: seconds * self.cell.rows)

    @property
    def step_seconds(self) -> float:
        """Seconds the step of a full minibatch takes, in the median."""
        return self.row_seconds.median * min(self.cell.batch, self.cell.rows)

    @property
    def gflops(self) -> Estimate:
        """10^9 floating-point operations a second, by `records.flops_per_sample`."""
        return self.row_seconds.map(lambda seconds: self.cell.flops_per_sample / seconds / 1e9)

    @property
    def skips_zeros(self) -> bool:
        """Whether the first layer's products with zeros of the rows are left out."""
        share = self.record.nonzero_share
        return self.implementation.skips_zeros and share is not None and share <= SPARSE

    @property
    def needed_flops_per_sample(self) -> float:
        """Floating-point operations a row, without those on zeros where they are skipped."""
        flops = float(self.cell.flops_per_sample)
        if not self.skips_zeros:
            return flops
        assert self.record.nonzero_share is not None
        inputs, units = self.cell.layers[:2]
        return flops - 4 * inputs * units * (1 - self.record.nonzero_share)

    def speed_over(self, other: "Measurement") -> Estimate:
        """How many times as many rows a second this one trains as `other`."""
        mine, theirs = self.seconds_per_row, other.seconds_per_row
        if self.record.group != other.record.group:
            # Their rounds have the same numbers and are no pairs.
            theirs = {-1 - number: seconds for number, seconds in theirs.items()}
        return ratio(theirs, mine)


def _usable(rounds: Iterable[Round]) -> list[Round]:
    """Rounds that say something: positive, finite time for at least one row."""
    return [r for r in rounds if r.rows > 0 and math.isfinite(r.seconds) and r.seconds > 0]


def measure(record: CellRecord) -> Measurement | None:
    """The measurement of a cell, or None where it has none: not timed, or no usable round."""
    if record.status != "timed":
        return None
    rounds = _usable(record.rounds)
    quiet = [r for r in rounds if r.quiet]
    counted = quiet if len(quiet) >= QUIET_ROUNDS else rounds
    if not counted:
        return None
    seconds = {r.round: r.seconds / r.rows for r in counted}
    return Measurement(record, seconds, all(r.quiet for r in counted))


class Measurements:
    """The timed cells of a run, or some of them.

    Parameters
    ----------
    items : iterable of Measurement
    """

    def __init__(self, items: Iterable[Measurement]) -> None:
        self._items = sorted(items, key=lambda m: (order(m.name), m.threads))

    @classmethod
    def of(cls, records: Iterable[CellRecord]) -> "Measurements":
        """The measurements among `records`."""
        return cls(m for m in map(measure, records) if m is not None)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def where(
        self,
        *,
        experiment: str | None = None,
        problem: Problem | None = None,
        names: Iterable[str] | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> "Measurements":
        """Those for which everything that is given holds."""
        wanted = None if names is None else set(names)
        return Measurements(
            m
            for m in self._items
            if (experiment is None or m.record.experiment == experiment)
            and (problem is None or m.problem == problem)
            and (wanted is None or m.name in wanted)
            and (threads is None or m.threads == threads)
            and (device is None or m.implementation.device == device)
        )

    @property
    def names(self) -> list[str]:
        """Implementations, in the tables' order."""
        return sorted({m.name for m in self._items}, key=order)

    @property
    def problems(self) -> list[Problem]:
        """Problems in the order of their networks' weights, then batch, then rows."""
        return sorted(
            {m.problem for m in self._items},
            key=lambda p: (
                p.data,
                len(p.layers),
                p.layers,
                p.configuration,
                p.batch,
                p.rows,
                p.learning_rate,
            ),
        )

    @property
    def most_threads(self) -> int:
        """The largest number of threads; 0 where nothing was measured."""
        return max((m.threads for m in self._items), default=0)

    def fastest(self) -> Measurement | None:
        """The one that trains most rows a second in the median."""
        return min(self._items, key=lambda m: m.row_seconds.median, default=None)

    def by_name(self) -> "dict[str, Measurement]":
        """The fastest of each implementation."""
        found: dict[str, Measurement] = {}
        for m in self._items:
            best = found.get(m.name)
            if best is None or m.row_seconds.median < best.row_seconds.median:
                found[m.name] = m
        return found
