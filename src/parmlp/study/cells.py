"""From an experiment's grids to the cells that are measured, each with a key of its own."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from parmlp.study import implementations
from parmlp.study.errors import StudyError
from parmlp.study.experiments import Experiment, Grid
from parmlp.study.measure.data import TRAINING_ROWS
from parmlp.study.measure.workload import CONFIGURATIONS, Workload
from parmlp.study.records import Cell, cell_key


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what is to be measured of it.

    Cells of one ``group`` are timed alternately. ``time`` asks for rounds, ``cell.epochs`` for a
    training with accuracies, ``phases`` for the phases of a step.
    """

    experiment: str
    cell: Cell
    key: str
    group: str
    time: bool
    phases: bool
    thresholds: tuple[float, ...]

    @property
    def workload(self) -> Workload:
        """What it shares with the cells of other implementations and threads."""
        c = self.cell
        return Workload(c.layers, c.batch, c.data, c.configuration, c.rows, c.seed)


def expand(experiments: list[Experiment], preset: str, cores: int) -> list[PlannedCell]:
    """All cells of a preset, in the order in which they are measured: group by group.

    Parameters
    ----------
    cores : int
        Usable cores; cells with more threads are left out.

    Raises
    ------
    StudyError
        For names, numbers or words in a grid that mean nothing.
    """
    planned: dict[str, PlannedCell] = {}
    for experiment in experiments:
        for grid in experiment.presets[preset]:
            for cell in _cells(experiment.name, grid, cores):
                planned.setdefault(cell.key, cell)
    groups: dict[str, list[PlannedCell]] = {}
    for cell in planned.values():
        groups.setdefault(cell.group, []).append(cell)
    return [cell for group in groups.values() for cell in group]


def _cells(experiment: str, grid: Grid, cores: int) -> Iterator[PlannedCell]:
    configuration = CONFIGURATIONS[grid.configuration]
    rates = grid.learning_rate or [configuration.learning_rate]
    counts = thread_counts(grid.threads, cores)
    chosen = implementations.select(grid.implementations)
    for data, layers, size, batch, rate, seed in itertools.product(
        grid.data, grid.layers, grid.rows or grid.rows_per_thread, grid.batch, rates, grid.seeds
    ):
        for implementation, threads in (
            (i, t) for i in chosen for t in ([1] if i.serial else counts)
        ):
            weak = bool(grid.rows_per_thread)
            rows = int(size) * threads if weak else _rows(data, size)
            cell = Cell(
                implementation.name,
                tuple(layers),
                data,
                rows,
                rows if batch == "full" else min(int(batch), rows),
                threads,
                replace(configuration, learning_rate=float(rate)),
                seed,
                grid.epochs,
            )
            key = cell_key(experiment, cell)
            where = f"{size} rows a thread" if weak else f"{rows} rows"
            group = (
                f"{experiment}/{cell.net}/{data}/{where}/batch {batch}/{configuration.name}"
                f"/lr {rate:g}/seed {seed}"
            )
            yield PlannedCell(
                experiment, cell, key, group, grid.time, grid.phases, tuple(grid.thresholds)
            )


def thread_counts(wanted: list[int | str], cores: int) -> list[int]:
    """Numbers of threads: those given up to `cores`; "cores" is that, "all" a series up to it.

    The series has each power of two and one number half-way to the next: 1, 2, 3, 4, 6, 8, 12, ...
    """
    found: set[int] = set()
    for item in wanted:
        if item == "cores":
            found.add(cores)
        elif item == "all":
            powers = [2**i for i in range(cores.bit_length())]
            found |= {cores, *powers, *(3 * p // 2 for p in powers if p > 1)}
        elif isinstance(item, int) and item >= 1:
            found.add(item)
        else:
            raise StudyError(f"threads {item!r} is neither a number from 1 nor 'cores' or 'all'")
    return sorted(t for t in found if t <= cores)


def _rows(data: str, size: int | str) -> int:
    if isinstance(size, int):
        return size
    if data not in TRAINING_ROWS:
        raise StudyError(f"rows {size!r} of data {data!r}: it has no size of its own; give one")
    try:
        share = Fraction(1) if size == "all" else Fraction(size)
    except ValueError:
        raise StudyError(f"rows {size!r} is neither a number, 'all' nor a fraction") from None
    return int(TRAINING_ROWS[data] * share)
