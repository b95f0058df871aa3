"""Whether implementations that should agree do: in accuracy, and in every bit of the weights."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from parmlp.study.analysis.implementations import order
from parmlp.study.analysis.measurements import Problem, problem_of
from parmlp.study.records import CellRecord


@dataclass(frozen=True)
class BitComparison:
    """The weights of one problem, from one seed, by who trained them.

    ``digests`` maps a hash of the weights to the (implementation, threads) that ended with it.
    """

    problem: Problem
    seed: int
    epochs: int | None
    digests: dict[str, list[tuple[str, int]]]

    @property
    def same(self) -> bool:
        return len(self.digests) == 1


def compare_bits(records: Iterable[CellRecord], names: Iterable[str]) -> list[BitComparison]:
    """Comparisons of the weights among the implementations `names`, where two or more left one.

    Only what was trained alike is compared: the same experiment, problem, seed and epochs.
    """
    wanted = set(names)
    found: dict[tuple[str, Problem, int, int | None], dict[str, list[tuple[str, int]]]] = (
        defaultdict(lambda: defaultdict(list))
    )
    for r in records:
        cell = r.cell
        if r.weights_sha256 is not None and cell.implementation in wanted:
            key = (r.experiment, problem_of(cell), cell.seed, cell.epochs)
            found[key][r.weights_sha256].append((cell.implementation, cell.threads))
    return [
        BitComparison(problem, seed, epochs, dict(digests))
        for (_, problem, seed, epochs), digests in found.items()
        if sum(map(len, digests.values())) > 1
    ]


@dataclass(frozen=True)
class AccuracyRow:
    """Held-out accuracy of an implementation on a problem, over its seeds."""

    problem: Problem
    epochs: int | None
    name: str
    seeds: int
    median: float
    low: float  # the least of the seeds
    high: float


def accuracies(records: Iterable[CellRecord]) -> list[AccuracyRow]:
    """Test accuracy, or validation accuracy where there is no test set, a row each."""
    found: dict[tuple[Problem, int | None, str], dict[int, float]] = defaultdict(dict)
    for r in records:
        if r.accuracy is None:
            continue
        value = r.accuracy.test if r.accuracy.test is not None else r.accuracy.validation
        if value is not None and np.isfinite(value):
            key = (problem_of(r.cell), r.cell.epochs, r.cell.implementation)
            found[key][r.cell.seed] = value
    rows = [
        AccuracyRow(
            problem,
            epochs,
            name,
            len(v),
            float(np.median(list(v.values()))),
            min(v.values()),
            max(v.values()),
        )
        for (problem, epochs, name), v in found.items()
    ]
    return sorted(rows, key=lambda r: (r.problem.text, r.epochs or 0, order(r.name)))
