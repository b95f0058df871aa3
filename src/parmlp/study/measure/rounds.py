"""Prepare competitors and time them in turn: A B C ... A B C ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from parmlp.study.measure import check, load, problem
from parmlp.study.measure.check import Check
from parmlp.study.measure.competitor import Competitor, CompetitorError, CompetitorTimeout
from parmlp.study.measure.problem import Problem
from parmlp.study.measure.workload import Workload

# A round is quiet when nobody else used more than this much of the CPUs an entry ran on; besides,
# the clock's ticks make a reading uncertain by so many seconds.
_QUIET, _TICKS = 0.08, 0.02

Record = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A workload with its data on disk and what must come out of it."""

    workload: Workload
    problem: Problem
    checked: Check
    folder: Path

    @cached_property
    def nonzero_share(self) -> float:
        """Of the values of the training rows."""
        return float(np.count_nonzero(self.problem.X) / self.problem.X.size)


def lay_out(workload: Workload, folder: Path, check_rows: int = check.ROWS) -> Prepared:
    """Make the data, run the reference, and write into `folder` what competitors read.

    Raises
    ------
    ValueError, DataError
        If the data cannot be had or does not fit the net.
    """
    made = problem.make_problem(workload)
    checked = check.make_check(workload, made, check_rows)
    problem.save(made, folder)
    np.save(folder / "order.npy", checked.order)
    return Prepared(workload, made, checked, folder)


def prepare(
    competitor: Competitor, prepared: Prepared, target_seconds: float, minibatches: int = 1
) -> Record:
    """Set up, check against the reference, warm up; nothing here is a timing.

    Returns
    -------
    dict
        "status" ("timed", "unavailable", "rejected", "failed" or "timeout"), "reason" where it is
        not "timed", and what was learned on the way.
    """
    record: Record = {}
    workload, folder = prepared.workload, prepared.folder
    try:
        answer = competitor.setup(workload, folder)
        if "unavailable" in answer:
            return record | {"status": "unavailable", "reason": answer["unavailable"]}
        record |= {"versions": answer["versions"], "setup_seconds": answer["seconds"]}
        result, answer = competitor.check(
            folder / "order.npy", folder / "result.npz", len(workload.layers) - 1
        )
        verdict = check.judge(workload, prepared.problem, prepared.checked, result)
        record |= {"check": verdict.to_dict(), "first_epoch_seconds": answer["seconds"]}
        if not verdict.passed:
            return record | {"status": "rejected", "reason": verdict.reason}
        record["weights_sha256"] = answer["weights_sha256"]
        if target_seconds > 0:
            warm = competitor.warm_up(folder / "order.npy", target_seconds, minibatches)
            record |= {"rows_per_round": warm["rows"], "warm": warm}
    except CompetitorError as error:
        return record | failure(error)
    return record | {"status": "timed"}


def is_quiet(timing: Mapping[str, float]) -> bool:
    """Whether a timing's "others" are few enough for its "seconds"."""
    return timing["others"] <= _QUIET + _TICKS / timing["seconds"]


def failure(error: CompetitorError) -> Record:
    """What is recorded of a competitor that broke down."""
    status = "timeout" if isinstance(error, CompetitorTimeout) else "failed"
    return {"status": status, "reason": str(error)}


def time_round(competitors: Iterable[Competitor]) -> dict[str, Record | CompetitorError]:
    """Let each time one round, in turn; its answer or its error by label."""
    found: dict[str, Record | CompetitorError] = {}
    for competitor in competitors:
        before = load.read_usage()
        try:
            answer = competitor.round()
        except CompetitorError as error:
            found[competitor.label] = error
            continue
        after = load.read_usage()
        own = answer.pop("command_cpu_seconds")
        answer["others"] = load.others(before, after, competitor.cpus, own)
        found[competitor.label] = answer
    return found
