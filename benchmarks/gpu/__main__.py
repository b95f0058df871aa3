"""``python -m benchmarks.gpu DIR [--seconds S]``: the table of docs/gpu.md's goals, on a GPU.

Each competitor first trains a few steps that are compared with the float64 reference; who fails is
not timed. Then whole epochs are timed in alternating rounds. ``results.jsonl`` in DIR has every
time, ``table.txt`` the medians.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.statistics import paired_ratio, summarize
from benchmarks.gpu.cells import CELLS, GpuCell
from benchmarks.gpu.competitors import OURS, RIVALS
from parmlp.study.measure import machine
from parmlp.study.measure.check import (
    ROUNDING,
    Check,
    Verdict,
    check_of,
    check_order,
    judge,
)
from parmlp.study.measure.problem import Problem, make_problem
from parmlp.study.measure.rivals.base import Rival, Work

ROUNDS = 7

#: Errors allowed against float64, of the loss and of the parameters' change relative to itself.
LIMITS = {"float32": (1e-5, 5e-3), "tf32": (3e-4, 2e-2), "bf16": (1e-3, 5e-2)}


def make_check(gpu_cell: GpuCell, problem: Problem) -> Check:
    """Return some whole minibatches and what training on them gives in float64."""
    workload = gpu_cell.cell.workload
    order = check_order(workload, problem.labels)
    order = order[: max(1, len(order) // workload.batch) * workload.batch]
    return check_of(workload, problem, order)


def verdict(gpu_cell: GpuCell, problem: Problem, check: Check, rival: Rival) -> Verdict:
    """Train the check's rows and compare."""
    rival.run_epoch(check.order)
    found = judge(gpu_cell.cell.workload, problem, check, rival.result())
    loss_limit, change_limit = LIMITS[gpu_cell.cell.configuration.precision]
    loss_limit = max(loss_limit, ROUNDING * check.rounding.loss)
    change_limit = max(change_limit, ROUNDING * check.rounding.change)
    # written so that NaN fails
    passed = found.loss_error <= loss_limit and found.change_error <= change_limit
    return Verdict(passed, found.loss_error, found.change_error, "" if passed else "too far off")


def run_cell(
    gpu_cell: GpuCell, competitors: dict[str, Any], until: float, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Return the record of a cell: for each competitor its verdict and seconds of each epoch."""
    cell = gpu_cell.cell
    problem = make_problem(cell.workload)
    check = make_check(gpu_cell, problem)
    work = Work(cell.workload, 1, problem.X, problem.labels, problem.coefs, problem.intercepts)
    found: dict[str, dict[str, Any]] = {}
    ready: dict[str, Rival] = {}
    for name, make in competitors.items():
        record: dict[str, Any] = found.setdefault(name, {"seconds": []})
        if time.monotonic() > until:
            record["left_out"] = "no time left"
            continue
        rival: Rival = make()
        record["left_out"] = rival.available(cell.workload)
        if record["left_out"]:
            continue
        start = time.monotonic()
        try:
            rival.setup(work)
            judged = verdict(gpu_cell, problem, check, rival)
        except Exception as error:
            # one competitor's breakage is its own row's; Ctrl-C and the like pass
            record["left_out"] = f"{type(error).__name__}: {error}"
            continue
        record |= {"check": judged.to_dict(), "setup_seconds": time.monotonic() - start}
        if judged.passed:
            ready[name] = rival
        else:
            record["left_out"] = f"wrong: {judged}"
    rng = np.random.default_rng(7)
    orders = [rng.permutation(len(problem.X)) for _ in range(rounds + 2)]
    for number, order in enumerate(orders):
        for name, rival in ready.items():
            start = time.perf_counter()
            rival.run_epoch(order)
            if number >= 2:  # the first launch kernels one by one, the second capture graphs
                found[name]["seconds"].append(time.perf_counter() - start)
    return {
        "cell": gpu_cell.name,
        "steps": len(problem.X) // cell.batch,
        "flops_per_step": cell.flops_per_sample * cell.batch,
        "goal_microseconds": gpu_cell.microseconds,
        "goal_ratio": gpu_cell.ratio,
        "competitors": found,
    }


def table(record: dict[str, Any]) -> str:
    """Return a cell's record in words: microseconds a step, TFLOP/s, ratio to the best rival."""
    steps = record["steps"]
    lines = [f"{record['cell']}: goals {record['goal_microseconds']} us a step, "
             f"{record['goal_ratio']} x the best rival"]  # fmt: skip
    timed = {n: c["seconds"] for n, c in record["competitors"].items() if c["seconds"]}
    medians = {name: summarize(seconds).median for name, seconds in timed.items()}
    rivals = {name: medians[name] for name in medians if not name.startswith("parmlp")}
    best = min(rivals, key=lambda name: rivals[name]) if rivals else None
    for name, competitor in record["competitors"].items():
        if name not in medians:
            lines.append(f"  {name:32} {competitor['left_out']}")
            continue
        microseconds = 1e6 * medians[name] / steps
        rate = record["flops_per_step"] / microseconds * 1e-6
        against = ""
        if best:
            ratio = paired_ratio(timed[best], timed[name])
            against = f"  {ratio.median:6.2f} x {best}"
        lines.append(f"  {name:32} {microseconds:10.2f} us {rate:8.2f} TFLOP/s{against}")
    return "\n".join(lines)


def ceilings() -> dict[str, float]:
    """Return what the GPU reaches: TFLOP/s of a large product by precision, GB/s of a copy."""
    import torch

    found = {}
    n = 8192
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bf16", torch.bfloat16, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(n, n, device="cuda").to(dtype) for _ in range(2))
        seconds = _median_seconds(torch, lambda a=a, b=b: a @ b)
        found[f"{name}_tflops"] = 2.0 * n**3 / seconds * 1e-12
    source = torch.randn(1 << 29, device="cuda")
    target = torch.empty_like(source)
    seconds = _median_seconds(torch, lambda: target.copy_(source))
    found["copy_gb_per_s"] = 2.0 * source.nbytes / seconds * 1e-9
    return found


def _median_seconds(torch: Any, work: Any) -> float:
    times = []
    for number in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if number >= 3:
            times.append(time.perf_counter() - start)
    return summarize(times).median


def gpu_record() -> dict[str, Any]:
    """Return which GPU this is."""
    from parmlp.engines.cuda.compiler import Nvrtc
    from parmlp.engines.cuda.team import find_device

    device = find_device()
    return {
        "name": device.name,
        "capability": device.capability,
        "multiprocessors": device.multiprocessors,
        "shared_bytes": device.shared_bytes,
        "memory_bytes": device.total_bytes,
        "nvrtc": Nvrtc().version,
    }


def main() -> int:
    """Run the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for results.jsonl and table.txt")
    parser.add_argument(
        "--seconds", type=float, default=420, help="after so long, what is left is left out"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.seconds
    with (
        (arguments.out / "results.jsonl").open("w") as results,
        (arguments.out / "table.txt").open("w") as text,
    ):

        def keep(record: dict[str, Any], words: str) -> None:
            results.write(json.dumps(record) + "\n")
            results.flush()
            text.write(words + "\n")
            text.flush()
            print(words, flush=True)

        gpu = gpu_record()
        keep({"platform": machine.record(), "gpu": gpu}, str(gpu))
        try:
            measured = ceilings()
        except ImportError as error:
            measured = {}
            print(f"no ceilings: {error}", file=sys.stderr)
        keep({"ceilings": measured}, str(measured))
        for gpu_cell in CELLS:
            record = run_cell(gpu_cell, {**OURS, **RIVALS}, until)
            keep(record, table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
