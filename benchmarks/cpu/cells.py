"""The cells of the CPU benchmark: which nets, batches, data and configurations are measured.

A *cell* is one net, one batch size, one kind of data and one configuration. All thread counts and
all competitors of a cell are measured in the same alternating rounds.
"""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from typing import Any

from parmlp.study.measure.workload import BF16, DEFAULT, FAITHFUL, Workload
from parmlp.study.records import Configuration, flops_per_sample


@dataclass(frozen=True)
class Goal:
    """What the project set out to reach; None where no figure was set.

    ``fraction`` maps threads to the fraction of the FMA peak of as many cores (faithful only),
    ``ratio`` maps threads to our rate divided by the best rival's.
    """

    fraction: tuple[tuple[int, float], ...] = ()
    ratio: tuple[tuple[int, float], ...] = ()

    def fraction_for(self, threads: int) -> float | None:
        return dict(self.fraction).get(threads)

    def ratio_for(self, threads: int) -> float | None:
        return dict(self.ratio).get(threads)


@dataclass(frozen=True)
class Cell:
    """One row of the table."""

    layers: tuple[int, ...]
    batch: int
    data: str  # "dense": random, no zeros; "mnist", "kddcup99": real, mostly zeros
    configuration: Configuration
    n_rows: int | None  # rows of random data; None: the real data's own number
    goal: Goal = Goal()

    @property
    def net(self) -> str:
        return "-".join(str(n) for n in self.layers)

    @property
    def name(self) -> str:
        return f"{self.net}/b{self.batch}/{self.data}/{self.configuration.name}"

    @property
    def flops_per_sample(self) -> int:
        return flops_per_sample(self.layers)

    @property
    def workload(self) -> Workload:
        """What the competitors train."""
        data = "random" if self.data == "dense" else self.data
        return Workload(self.layers, self.batch, data, self.configuration, self.n_rows)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"name": self.name, "flops_per_sample": self.flops_per_sample}

    @staticmethod
    def from_dict(record: dict[str, Any]) -> Cell:
        """The cell of a JSON record made with `to_dict`."""
        goal = record["goal"]
        return Cell(
            layers=tuple(record["layers"]),
            batch=record["batch"],
            data=record["data"],
            configuration=Configuration(**record["configuration"]),
            n_rows=record["n_rows"],
            goal=Goal(
                tuple((int(t), float(x)) for t, x in goal["fraction"]),
                tuple((int(t), float(x)) for t, x in goal["ratio"]),
            ),
        )


# Rows of random data: more bytes than a 32 MiB L3 holds, as the real data sets have, so that
# gathering shuffled rows costs what it costs in a fit.
_ROWS = {784: 32768, 41: 262144}


def _goal(one: float | None, two: float | None, ratio_1: float, ratio_2: float) -> Goal:
    fractions = tuple((t, f) for t, f in ((1, one), (2, two)) if f is not None)
    return Goal(fractions, ((1, ratio_1), (2, ratio_2)))


def _table() -> tuple[Cell, ...]:
    cells: list[Cell] = []

    def add(layers: tuple[int, ...], batch: int, data: str, goal: Goal) -> None:
        for configuration in (FAITHFUL, DEFAULT):
            # Fractions of peak are goals for the faithful configuration, ratios for both.
            own = goal if configuration is FAITHFUL else Goal((), goal.ratio)
            rows = _ROWS[layers[0]] if data == "dense" else None
            cells.append(Cell(layers, batch, data, configuration, rows, own))

    # Batch 64 is not a goal; it is the batch the prototype's rates were taken at.
    small, mnist = (41, 64, 23), (784, 100, 10)
    add(small, 32, "dense", _goal(0.55, None, 1.5, 2.2))
    add(small, 64, "dense", Goal())
    add(small, 128, "dense", _goal(0.65, 0.50, 1.5, 2.2))
    add(small, 1024, "dense", _goal(0.65, 0.55, 1.5, 2.2))
    add(mnist, 32, "dense", _goal(0.75, 0.55, 1.15, 1.5))
    add(mnist, 64, "dense", Goal())
    add(mnist, 128, "dense", _goal(0.80, 0.65, 1.15, 1.5))
    add(mnist, 1024, "dense", _goal(0.80, 0.72, 1.15, 1.5))
    for net in ((784, 1024, 10), (784, 1024, 1024, 10)):
        for batch in (128, 1024, 4096):
            add(net, batch, "dense", _goal(0.85, 0.78, 1.05, 1.05))
    # Fractions on real data are of the *dense* bound, which skipping zeros may pass. Goals for two
    # threads are set against one core's bound (2x and 2.5x), so 1x and 1.25x of two cores'.
    add(mnist, 32, "mnist", _goal(1.5, 1.0, 2.3, 2.3))
    add(mnist, 128, "mnist", _goal(1.5, 1.25, 2.3, 3.0))
    add((122, 64, 23), 128, "kddcup99", _goal(None, None, 4.0, 4.0))
    add((784, 30, 10), 10, "mnist", _goal(None, None, 2.0, 2.0))
    # Besides being ahead: 1.5x our own float32, which the table shows as parmlp_float32.
    bf16_goal = _goal(None, None, 1.0, 1.0)
    cells.append(Cell((784, 1024, 1024, 10), 1024, "dense", BF16, _ROWS[784], bf16_goal))
    return tuple(cells)


CELLS: tuple[Cell, ...] = _table()

#: What ``--quick`` runs.
QUICK = ("784-100-10/b64/dense/faithful", "41-64-23/b64/dense/faithful")


def select(patterns: list[str]) -> list[Cell]:
    """Cells whose name matches one of the shell patterns.

    Raises
    ------
    ValueError
        If a pattern matches no cell; the message lists the names.
    """
    chosen: list[Cell] = []
    for pattern in patterns:
        found = [c for c in CELLS if fnmatch.fnmatchcase(c.name, pattern)]
        if not found:
            names = "\n  ".join(c.name for c in CELLS)
            raise ValueError(f"no cell matches {pattern!r}; the cells are\n  {names}")
        chosen += [c for c in found if c not in chosen]
    return chosen
