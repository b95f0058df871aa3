"""Run one cell: start the competitors, check them, time them in alternating rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cpu.cells import Cell
from parmlp.study.measure import load, rounds
from parmlp.study.measure.ceiling import Ceiling
from parmlp.study.measure.competitor import Competitor, CompetitorError
from parmlp.study.measure.rivals import Entry
from parmlp.study.measure.rounds import Record

ROOT = Path(__file__).resolve().parents[2]


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


def run_cell(cell: Cell, plan: Plan, ceiling: Ceiling, say: Callable[[str], None]) -> list[Record]:
    """All records of one cell: the cell, each competitor's check, and every round.

    A competitor that is unavailable, fails the check or breaks down is recorded and not timed
    any further; its rounds are not used.
    """
    records: list[Record] = []
    running: list[Competitor] = []
    with tempfile.TemporaryDirectory(prefix="parmlp-benchmark-") as name:
        folder = Path(name)
        prepared = rounds.lay_out(cell.workload, folder)
        try:
            for threads in plan.threads:
                for entry in plan.entries:
                    competitor = Competitor(
                        entry,
                        threads,
                        plan.cpus_for(threads),
                        python=plan.python_for(entry),
                        log=folder / f"{entry.name}-{threads}.log",
                        path=(str(ROOT),),
                    )
                    record: Record = {
                        "type": "competitor",
                        "cell": cell.name,
                        "entry": entry.name,
                        "threads": threads,
                        "cpus": list(competitor.cpus),
                        **rounds.prepare(competitor, prepared, plan.target_seconds),
                    }
                    records.append(record)
                    if record["status"] == "timed":
                        running.append(competitor)
                    else:
                        competitor.close()
                        reason = record["reason"].strip().partition("\n")[0]
                        say(f"  {competitor.label}: {record['status']}: {reason}")
            before = load.snapshot()
            timed = _alternate(running, plan, ceiling, records)
            after = load.snapshot()
        finally:
            for competitor in running:
                competitor.close()
    quiet = sum(r["quiet"] for r in timed)
    say(f"  {len(timed)} rounds, {quiet} quiet, load {before['loadavg']}")
    problem, checked = prepared.problem, prepared.checked
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
        "rounds": len(timed),
        "quiet_rounds": quiet,
    }
    return [head, *records, *timed]


def _alternate(
    running: list[Competitor], plan: Plan, ceiling: Ceiling, records: list[Record]
) -> list[Record]:
    """Rounds A B C ... A B C ...; again while too few were quiet, up to `plan.repeats` times."""
    timed: list[Record] = []
    for _ in range(1 + plan.repeats):
        for _ in range(plan.rounds):
            timed.append(_one_round(len(timed), running, plan, ceiling, records))
        if sum(r["quiet"] for r in timed) >= plan.rounds:
            break
    return timed


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
    answers = rounds.time_round(running)
    for competitor in list(running):
        answer = answers[competitor.label]
        if isinstance(answer, CompetitorError):
            running.remove(competitor)
            competitor.close()
            for record in records:
                if (record["entry"], record["threads"]) == (
                    competitor.entry.name,
                    competitor.threads,
                ):
                    record.update(rounds.failure(answer))
            continue
        answer["samples_per_second"] = answer["rows"] / answer["seconds"]
        entries[competitor.label] = answer
    return {
        "type": "round",
        "round": number,
        "peak": peaks,
        "entries": entries,
        "quiet": all(rounds.is_quiet(e) for e in entries.values()),
    }
