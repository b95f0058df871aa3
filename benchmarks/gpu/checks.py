"""Whether a competitor computes what float64 computes, in the precision it says."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.cells import GpuCell
from parmlp.study.measure.check import (
    ROUNDING,
    Check,
    Verdict,
    check_of,
    check_order,
    judge,
)
from parmlp.study.measure.problem import Problem

#: Errors allowed against float64, of the loss and of the parameters' change relative to itself.
LIMITS = {"float32": (1e-5, 5e-3), "tf32": (3e-4, 2e-2), "bf16": (1e-3, 5e-2)}

#: Products of float32 are off by less, products of TF32 (about 3e-4) by more.
FLOAT32_PRODUCT = 1e-5


def make_check(gpu_cell: GpuCell, problem: Problem) -> Check:
    """Return some whole minibatches and what training on them gives in float64."""
    workload = gpu_cell.cell.workload
    order = check_order(workload, problem.labels)
    order = order[: max(1, len(order) // workload.batch) * workload.batch]
    return check_of(workload, problem, order)


def verdict(gpu_cell: GpuCell, problem: Problem, check: Check, rival: Any) -> Verdict:
    """Train the check's rows and compare."""
    precision = gpu_cell.cell.configuration.precision
    product_error = rival.product_error()
    rival.run_epoch(check.order)
    found = judge(gpu_cell.cell.workload, problem, check, rival.result())
    loss_limit, change_limit = LIMITS[precision]
    loss_limit = max(loss_limit, ROUNDING * check.rounding.loss)
    change_limit = max(change_limit, ROUNDING * check.rounding.change)
    # written so that NaN fails
    passed = found.loss_error <= loss_limit and found.change_error <= change_limit
    reason = "" if passed else "too far off"
    says_float32 = precision == "float32" and product_error is not None
    if says_float32 and not product_error <= FLOAT32_PRODUCT:
        passed, reason = False, f"its products are off by {product_error:.2g}: not float32"
    return Verdict(passed, found.loss_error, found.change_error, reason)
