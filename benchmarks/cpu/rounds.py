"""Run one cell: start the competitors, check them, time them in alternating rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu import check, data, load
from benchmarks.cpu.ceiling import Ceiling
from benchmarks.cpu.cells import Cell
from benchmarks.cpu.competitor import Competitor, CompetitorError
from benchmarks.cpu.rivals import Entry

#: A round counts as quiet when nobody else used more than this much of the CPUs an entry ran on.
#: The clock's tick alone makes 0.02 s / 0.3 s = 0.07.
QUIET = 0.15


@dataclass(frozen=True)
class Plan:
    """How a run is done; the same for all its cells."""

    entries: tuple[Entry, ...]
    threads: tuple[int, ...]
    cpus: tuple[int, ...]
    rounds: int = 7
    target_seconds: float = 0.3
    repeats: int = 2  # how often `rounds` more are run when rounds were not quiet
    python: Mapping[str, str] = field(default_factory=dict)  # venv name -> interpreter
    default_python: str = ""

    def cpus_for(self, threads: int) -> tuple[int, ...]:
        """The last ones: interrupts and other people's processes prefer the first."""
        return self.cpus[-threads:]

    def python_for(self, entry: Entry) -> str:
        return self.python.get(entry.venv or "", self.default_python)


Record = dict[str, Any]


def run_cell(cell: Cell, plan: Plan, ceiling: Ceiling, say: Callable[[str], None]) -> list[Record]:
    """All records of one cell: the cell, each competitor's check, and every round.

    A competitor that is unavailable, fails the check or breaks down is recorded and not timed
    any further; its rounds are not used.
    """
    problem = data.make_problem(cell)
    checked = check.make_check(cell, problem)
    records: list[Record] = []
    running: list[Competitor] = []
    with tempfile.TemporaryDirectory(prefix="parmlp-benchmark-") as name:
        folder = Path(name)
        data.save(problem, folder)
        np.save(folder / "order.npy", checked.order)
        try:
            for threads in plan.threads:
                for entry in plan.entries:
                    competitor = Competitor(
                        entry,
                        threads,
                        plan.cpus_for(threads),
                        plan.python_for(entry),
                        folder / f"{entry.name}-{threads}.log",
                    )
                    record = _prepare(
                        competitor,
                        cell,
                        problem=problem,
                        checked=checked,
                        folder=folder,
                        plan=plan,
                    )
                    records.append(record)
                    if record["status"] == "timed":
                        running.append(competitor)
                    else:
                        competitor.close()
                        reason = record["reason"].strip().partition("\n")[0]
                        say(f"  {competitor.label}: {record['status']}: {reason}")
            before = load.snapshot()
            rounds = _alternate(running, plan, ceiling, records)
            after = load.snapshot()
        finally:
            for competitor in running:
                competitor.close()
    quiet = sum(r["quiet"] for r in rounds)
    say(f"  {len(rounds)} rounds, {quiet} quiet, load {before['loadavg']}")
    head = {
        "type": "cell",
        "cell": cell.to_dict(),
        "data": problem.description,
        "zero_fraction": problem.zero_fraction,
        "rows": len(problem.X),
        "check_rows": len(checked.order),
        "reference_loss": checked.expected.loss,
        "threads": list(plan.threads),
        "load_before": before,
        "load_after": after,
        "rounds": len(rounds),
        "quiet_rounds": quiet,
    }
    return [head, *records, *rounds]


def _prepare(
    competitor: Competitor,
    cell: Cell,
    *,
    problem: data.Problem,
    checked: check.Check,
    folder: Path,
    plan: Plan,
) -> Record:
    """Set up, check against the reference, warm up; nothing here is a timing."""
    record: Record = {
        "type": "competitor",
        "cell": cell.name,
        "entry": competitor.entry.name,
        "threads": competitor.threads,
        "cpus": list(competitor.cpus),
    }
    try:
        answer = competitor.setup(cell, folder)
        if "unavailable" in answer:
            return record | {"status": "unavailable", "reason": answer["unavailable"]}
        record |= {"versions": answer["versions"], "setup_seconds": answer["seconds"]}
        result, seconds = competitor.check(
            folder / "order.npy", folder / "result.npz", len(cell.layers) - 1
        )
        verdict = check.judge(cell, problem, checked, result)
        record |= {"check": verdict.to_dict(), "first_epoch_seconds": seconds}
        if not verdict.passed:
            return record | {"status": "rejected", "reason": verdict.reason}
        warm = competitor.warm_up(folder / "order.npy", plan.target_seconds)
        return record | {"status": "timed", "rows_per_round": warm["rows"]}
    except CompetitorError as error:
        return record | {"status": "failed", "reason": str(error)}


def _alternate(
    running: list[Competitor], plan: Plan, ceiling: Ceiling, records: list[Record]
) -> list[Record]:
    """Rounds A B C ... A B C ...; again while too few were quiet, up to `plan.repeats` times."""
    rounds: list[Record] = []
    for _ in range(1 + plan.repeats):
        for _ in range(plan.rounds):
            rounds.append(_one_round(len(rounds), running, plan, ceiling, records))
        if sum(r["quiet"] for r in rounds) >= plan.rounds:
            break
    return rounds


def _one_round(
    number: int,
    running: list[Competitor],
    plan: Plan,
    ceiling: Ceiling,
    records: list[Record],
) -> Record:
    peaks = {}
    for threads in plan.threads:
        peak = ceiling.peak(plan.cpus_for(threads))
        peaks[str(threads)] = {"flops": peak.flops, "by_kernel": peak.by_kernel}
    entries: dict[str, Record] = {}
    for competitor in list(running):
        before = load.read_usage()
        try:
            answer = competitor.round()
        except CompetitorError as error:
            running.remove(competitor)
            competitor.close()
            for record in records:
                if (record["entry"], record["threads"]) == (
                    competitor.entry.name,
                    competitor.threads,
                ):
                    record |= {"status": "failed", "reason": str(error)}
            continue
        after = load.read_usage()
        answer["others"] = load.others(
            before, after, competitor.cpus, answer.pop("command_cpu_seconds")
        )
        answer["samples_per_second"] = answer["rows"] / answer["seconds"]
        entries[competitor.label] = answer
    return {
        "type": "round",
        "round": number,
        "peak": peaks,
        "entries": entries,
        "quiet": all(e["others"] <= QUIET for e in entries.values()),
    }
