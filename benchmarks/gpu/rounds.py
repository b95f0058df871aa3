"""One cell: competitors are set up, checked against float64, and timed in alternating rounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.gpu.cells import GpuCell
from benchmarks.gpu.checks import make_check, verdict
from benchmarks.gpu.records import Record
from parmlp.study.measure.problem import make_problem
from parmlp.study.measure.rivals.base import Work

ROUNDS = 7

#: The first epoch launches kernels one by one, the second captures graphs.
WARM_UP = 2


def run_cell(
    gpu_cell: GpuCell,
    competitors: Mapping[str, Any],
    until: float,
    rounds: int = ROUNDS,
    part: str = "goal",
) -> Record:
    """Return the record of a cell: for each competitor its check and the seconds of each epoch.

    Parameters
    ----------
    gpu_cell : GpuCell
    competitors : dict of name to a function that makes one
    until : float
        As ``time.time()``: who would start later is left out, and said to be.
    rounds : int, default=7
    part : str
        Which competitors these are, where a cell has several such records.
    """
    cell = gpu_cell.cell
    problem = make_problem(cell.workload)
    check = make_check(gpu_cell, problem)
    work = Work(cell.workload, 1, problem.X, problem.labels, problem.coefs, problem.intercepts)
    found: dict[str, Record] = {}
    ready: dict[str, Any] = {}
    for name, make in competitors.items():
        record: Record = found.setdefault(name, {"seconds": []})
        if time.time() > until:
            record["left_out"] = "no time left"
            continue
        rival = make()
        record["left_out"] = rival.available(cell.workload)
        if record["left_out"]:
            continue
        start = time.monotonic()
        try:
            rival.setup(work)
            judged = verdict(gpu_cell, problem, check, rival)
            record |= {"check": judged.to_dict(), "product_error": rival.product_error()}
            if hasattr(rival, "account"):
                record["account"] = rival.account()
        except Exception as error:
            # one competitor's breakage is its own row's; Ctrl-C and the like pass
            record["left_out"] = f"{type(error).__name__}: {error}"
            continue
        record |= {"setup_seconds": time.monotonic() - start, "versions": rival.versions()}
        if judged.passed:
            ready[name] = rival
        else:
            record["left_out"] = (
                f"wrong: {judged.reason} (loss off by {judged.loss_error:.2g}, "
                f"change by {judged.change_error:.2g})"
            )
    rng = np.random.default_rng(7)
    orders = [rng.permutation(len(problem.X)) for _ in range(WARM_UP + rounds)]
    for number, order in enumerate(orders):
        for name, rival in list(ready.items()):
            start = time.perf_counter()
            try:
                rival.run_epoch(order)
            except Exception as error:
                found[name] |= {"left_out": f"{type(error).__name__}: {error}", "seconds": []}
                del ready[name]
                continue
            if number >= WARM_UP:
                found[name]["seconds"].append(time.perf_counter() - start)
    return {
        "task": "cell",
        "cell": gpu_cell.name,
        "part": part,
        "layers": list(cell.layers),
        "batch": cell.batch,
        "precision": cell.configuration.precision,
        "rows": len(problem.X),
        "steps": len(problem.X) // cell.batch,
        "flops_per_step": cell.flops_per_sample * cell.batch,
        "goal_microseconds": gpu_cell.microseconds,
        "goal_ratio": gpu_cell.ratio,
        "competitors": found,
    }
