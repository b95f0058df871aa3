"""Whether a competitor computes what the reference computes; only those that do are timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cpu import reference
from benchmarks.cpu.cells import Cell
from benchmarks.cpu.data import SEED, Problem
from benchmarks.cpu.rivals.base import Array, Result

#: Relative error of the epoch's loss, float32 against float64.
LOSS_TOLERANCE = 1e-5
#: Error of the parameters' change, relative to the change (Frobenius norm over all of them). Adam
#: divides by sqrt(v): where a gradient is nearly zero its rounding error becomes a step of size lr.
CHANGE_TOLERANCE = {"sgd": 1e-4, "adam": 5e-3}
#: The same with operands in bfloat16: each is off by up to 1 in 512.
BF16_LOSS_TOLERANCE = 1e-3
BF16_CHANGE_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Check:
    """The rows to visit and what must come out."""

    order: Array
    expected: Result


@dataclass(frozen=True)
class Verdict:
    passed: bool
    loss_error: float
    change_error: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "loss_error": self.loss_error,
            "change_error": self.change_error,
            "reason": self.reason,
        }


def check_order(cell: Cell, labels: Array) -> Array:
    """A few minibatches of shuffled rows and a short last one: 3 to 20 steps, about 8192 rows.

    Every class is among them (a whole fit would make no output for a class it does not see), so
    the last rows give way to one of each class that is missing.
    """
    n = len(labels)
    full = int(np.clip(8192 // cell.batch, 3, 20))
    rows = min(n, full * cell.batch + cell.batch // 2 + 1)
    order = np.random.default_rng(SEED + 1).permutation(n)[:rows]
    classes, first = np.unique(labels, return_index=True)
    missing = first[~np.isin(classes, labels[order])]
    if len(missing):
        order[-len(missing) :] = missing
    return order


def make_check(cell: Cell, problem: Problem) -> Check:
    """Run the reference."""
    order = check_order(cell, problem.labels)
    return Check(order, reference.train(cell, problem, order))


def judge(cell: Cell, problem: Problem, check: Check, got: Result) -> Verdict:
    """Compare loss and parameters with the reference's; NaN and wrong shapes fail."""
    expected = check.expected
    pairs = list(
        zip(
            got.coefs + got.intercepts,
            expected.coefs + expected.intercepts,
            problem.coefs + problem.intercepts,
            strict=False,
        )
    )
    shapes = [np.shape(p) for p in got.coefs + got.intercepts]
    wanted = [p.shape for p in expected.coefs + expected.intercepts]
    if shapes != wanted:
        return Verdict(False, np.inf, np.inf, f"parameters have shapes {shapes}, not {wanted}")
    error = sum(float(np.sum((np.asarray(g, np.float64) - e) ** 2)) for g, e, _ in pairs)
    change = sum(float(np.sum((e - i) ** 2)) for _, e, i in pairs)
    change_error = float(np.sqrt(error / change))
    loss_error = abs(got.loss - expected.loss) / abs(expected.loss)
    loss_limit, limit = LOSS_TOLERANCE, CHANGE_TOLERANCE[cell.configuration.solver]
    if cell.configuration.precision == "bf16":
        loss_limit, limit = BF16_LOSS_TOLERANCE, BF16_CHANGE_TOLERANCE
    reasons = []
    # Written so that NaN fails.
    if not loss_error <= loss_limit:
        reasons.append(f"loss {got.loss!r}, reference {expected.loss!r}")
    if not change_error <= limit:
        reasons.append(f"change of parameters off by {change_error:.2g} of itself, limit {limit:g}")
    return Verdict(not reasons, loss_error, change_error, "; ".join(reasons))
