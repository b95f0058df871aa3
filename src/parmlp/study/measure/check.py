"""Whether a competitor computes what the reference computes; only those that do are timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from parmlp.study.measure import reference
from parmlp.study.measure.problem import SEED, Problem
from parmlp.study.measure.rivals.base import Array, Result
from parmlp.study.measure.workload import Workload

#: About how many rows are trained on to compare.
ROWS = 8192
#: Relative error of the epoch's loss, float32 against float64.
LOSS_TOLERANCE = 1e-5
#: Error of the parameters' change, relative to the change (Frobenius norm over all of them). Adam
#: divides by sqrt(v): where a gradient is nearly zero its rounding error becomes a step of size lr.
CHANGE_TOLERANCE = {"sgd": 1e-4, "adam": 5e-3}
#: Where rounding alone does more, this many times what it does to the reference run in float32.
#: With relu and adam a unit that rounding wakes up for one row moves all its weights: in 9 steps of
#: 784-1024-1024-10 at batch 1024 float32 trainers that are right were off by 0.003 to 0.026.
ROUNDING = 10
#: The same with operands in bfloat16: each is off by up to 1 in 512.
BF16_LOSS_TOLERANCE = 1e-3
BF16_CHANGE_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Errors:
    """Relative errors of the loss and of the parameters' change."""

    loss: float
    change: float


@dataclass(frozen=True)
class Check:
    """The rows to visit and what must come out."""

    order: Array
    expected: Result
    rounding: Errors  # of the reference in float32


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


def check_order(workload: Workload, labels: Array, rows: int = ROWS) -> Array:
    """A few minibatches of shuffled rows and a short last one: 3 to 20 steps, about `rows` rows.

    Every class is among them (a whole fit would make no output for a class it does not see), so
    the last rows give way to one of each class that is missing.
    """
    n = len(labels)
    full = int(np.clip(rows // workload.batch, 3, 20))
    n_order = min(n, full * workload.batch + workload.batch // 2 + 1)
    order = np.random.default_rng(SEED + 1).permutation(n)[:n_order]
    classes, first = np.unique(labels, return_index=True)
    missing = first[~np.isin(classes, labels[order])]
    if len(missing):
        order[-len(missing) :] = missing
    return order


def make_check(workload: Workload, problem: Problem, rows: int = ROWS) -> Check:
    """Run the reference over about `rows` rows."""
    order = check_order(workload, problem.labels, rows)
    return check_of(workload, problem, order)


def check_of(workload: Workload, problem: Problem, order: Array) -> Check:
    """The check of training on these rows."""
    expected = reference.train(workload, problem, order)
    rounded = reference.train(workload, problem, order, np.float32)
    return Check(order, expected, _errors(problem, expected, rounded))


def _errors(problem: Problem, expected: Result, got: Result) -> Errors:
    pairs = zip(
        got.coefs + got.intercepts,
        expected.coefs + expected.intercepts,
        problem.coefs + problem.intercepts,
        strict=True,
    )
    error = change = 0.0
    for g, e, start in pairs:
        error += float(np.sum((np.asarray(g, np.float64) - e) ** 2))
        change += float(np.sum((e - start) ** 2))
    loss_error = abs(float(got.loss) - float(expected.loss)) / abs(float(expected.loss))
    return Errors(loss_error, float(np.sqrt(error / change)))


def judge(workload: Workload, problem: Problem, check: Check, got: Result) -> Verdict:
    """Compare loss and parameters with the reference's; NaN and wrong shapes fail."""
    expected = check.expected
    shapes = [np.shape(p) for p in got.coefs + got.intercepts]
    wanted = [p.shape for p in expected.coefs + expected.intercepts]
    if shapes != wanted:
        return Verdict(False, np.inf, np.inf, f"parameters have shapes {shapes}, not {wanted}")
    errors = _errors(problem, expected, got)
    loss_limit = max(LOSS_TOLERANCE, ROUNDING * check.rounding.loss)
    limit = max(CHANGE_TOLERANCE[workload.configuration.solver], ROUNDING * check.rounding.change)
    if workload.configuration.precision == "bf16":
        loss_limit, limit = BF16_LOSS_TOLERANCE, BF16_CHANGE_TOLERANCE
    reasons = []
    # Written so that NaN fails.
    if not errors.loss <= loss_limit:
        reasons.append(f"loss {got.loss!r}, reference {expected.loss!r}, limit {loss_limit:.2g}")
    if not errors.change <= limit:
        reasons.append(
            f"change of parameters off by {errors.change:.2g} of itself, limit {limit:.2g}"
        )
    return Verdict(not reasons, errors.loss, errors.change, "; ".join(reasons))
