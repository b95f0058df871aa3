"""Run a study: predictions first, then the cells by groups, each record at once on the disk."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from parmlp.study import predictions
from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.laboratory import Bench, Failure, Prepared, Training
from parmlp.study.measure.rounds import is_quiet
from parmlp.study.records import (
    PREDICTIONS,
    RESULTS,
    Accuracy,
    CeilingRecord,
    CellRecord,
    EndRecord,
    Phase,
    Results,
    ResultsWriter,
    Round,
    RoundRecord,
    RunRecord,
    finite_or_none,
    read_results,
)
from parmlp.study.settings import Settings


class OpensBenches(Protocol):
    """What the runner needs of a laboratory."""

    def open(self, cells: list[PlannedCell]) -> Bench:
        """A bench for the cells of one group."""


@dataclass(frozen=True)
class Watcher:
    """Who is told how it goes: a line of text, and each cell that is done."""

    say: Callable[[str], None]
    done: Callable[[PlannedCell], None]


def open_results(folder: Path, *, resume: bool) -> ResultsWriter:
    """Open the results of `folder` for a new run or for the one to go on with, for us alone.

    Raises
    ------
    StudyError
        If the folder holds a run and `resume` is False, or holds none and `resume` is True, or
        another process is writing there.
    """
    file = folder / RESULTS
    begun = file.exists() and b"\n" in file.read_bytes()
    if begun and not resume:
        raise StudyError(f"{folder} holds a run already; go on with it by --resume")
    if resume and not begun:
        raise StudyError(f"{folder} holds no run to go on with; leave --resume out")
    return ResultsWriter(file)


def start(
    folder: Path,
    writer: ResultsWriter,
    run: RunRecord,
    cells: list[PlannedCell],
    measure_ceiling: Callable[[], CeilingRecord],
) -> tuple[Results, CeilingRecord]:
    """Begin `run`, or go on with the one in `folder`; predictions are there when it returns.

    Parameters
    ----------
    measure_ceiling : callable
        Called unless the folder has a ceiling already.

    Raises
    ------
    StudyError
        If the run in the folder is not of this machine, version and request, or is damaged.
    """
    if writer.is_empty:
        results = Results(run)
        writer.append(run)
    else:
        results = read_results(writer.path)
        _check_same(folder, results.run, run)
    if results.ceiling is None:
        results.ceiling = measure_ceiling()
        writer.append(results.ceiling)
    if not (folder / PREDICTIONS).exists():
        predictions.write(folder, predictions.document(cells, results.ceiling))
    return results, results.ceiling


def _check_same(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Refuse to mix what cannot stand in one table."""
    wanted: list[tuple[str, Any, Any]] = [
        ("preset", before.preset, now.preset),
        ("experiments", before.experiments, now.experiments),
        ("implementations", before.implementations, now.implementations),
        ("version of parmlp", before.versions.get("parmlp"), now.versions.get("parmlp")),
        *((k, before.platform.get(k), now.platform.get(k)) for k in ("cpu", "cores", "affinity")),
    ]
    for name, old, new in wanted:
        if json.dumps(old) != json.dumps(new):
            raise StudyError(
                f"{folder} was begun with {name} {old} and cannot go on with {new}; choose "
                "another --out"
            )


def run(
    writer: ResultsWriter,
    results: Results,
    cells: list[PlannedCell],
    *,
    laboratory: OpensBenches,
    settings: Settings,
    watcher: Watcher,
    raise_peak: Callable[[CeilingRecord], CeilingRecord | None],
) -> None:
    """Measure the cells that `results` does not have yet and append their records.

    Parameters
    ----------
    raise_peak : callable
        Called after each group with the ceiling on record; a higher one that it returns is
        appended. Predictions stay as they were made.

    Raises
    ------
    StudyError
        If a record cannot be written. What was written is kept, and a resumed run goes on there.
    """
    groups: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        if planned.key in results.cells:
            watcher.done(planned)
        else:
            groups.setdefault(planned.group, []).append(planned)
    if not groups and results.end is not None and results.end.complete:
        return
    try:
        for number, (group, members) in enumerate(groups.items(), 1):
            watcher.say(f"[{number}/{len(groups)}] {group}")
            journal = results.rounds.get(group, [])
            _Group(members, journal, settings, watcher, writer).run(laboratory)
            higher = raise_peak(results.ceiling) if results.ceiling else None
            if higher is not None:
                results.ceiling = higher
                writer.append(higher)
    except BaseException:
        _try_to_end(writer)
        raise
    writer.append(EndRecord(_now(), complete=True))


def _try_to_end(writer: ResultsWriter) -> None:
    """Note that a run stopped; where that cannot be written, the error being raised says why."""
    try:
        writer.append(EndRecord(_now(), complete=False))
    except StudyError:
        return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Group:
    """Cells that are timed alternately; each is recorded as soon as all of it is measured."""

    def __init__(
        self,
        members: list[PlannedCell],
        journal: list[RoundRecord],
        settings: Settings,
        watcher: Watcher,
        writer: ResultsWriter,
    ) -> None:
        self.members, self.settings = members, settings
        self.watcher, self.writer = watcher, writer
        self.journal = list(journal)
        self.prepared: dict[str, Prepared] = {}

    def run(self, laboratory: OpensBenches) -> None:
        try:
            bench = laboratory.open(self.members)
        except (ValueError, RuntimeError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            for planned in self.members:
                self._record(planned, "unavailable", reason)
            return
        try:
            running = [p for p in self.members if self._prepare(bench, p)]
            timed = self._time(bench, [p for p in running if p.time])
            for planned in running:
                if planned in timed or not planned.time:
                    self._finish(bench, planned)
        finally:
            bench.close()

    def _prepare(self, bench: Bench, planned: PlannedCell) -> bool:
        prepared = self.prepared[planned.key] = bench.prepare(planned)
        if prepared.status != "timed":
            self._record(planned, prepared.status, prepared.reason)
        return prepared.status == "timed"

    def _time(self, bench: Bench, running: list[PlannedCell]) -> list[PlannedCell]:
        """Rounds until there are enough; returns the cells that held out."""
        while running and self._wants_more():
            answers = bench.time_round(running)
            timings = {k: dict(a) for k, a in answers.items() if not isinstance(a, Failure)}
            record = RoundRecord(running[0].group, len(self.journal), timings)
            self.writer.append(record)
            self.journal.append(record)
            for planned in running:
                answer = answers[planned.key]
                if isinstance(answer, Failure):
                    self._record(planned, answer.status, answer.reason)
            running = [p for p in running if p.key in timings]
        return running

    def _wants_more(self) -> bool:
        wanted = self.settings.rounds
        if len(self.journal) < wanted:
            return True
        quiet = sum(_is_quiet(r) for r in self.journal)
        return quiet < wanted and len(self.journal) < wanted * (1 + self.settings.repeats)

    def _finish(self, bench: Bench, planned: PlannedCell) -> None:
        """Train and take apart what is asked for, and write the record."""
        measured: dict[str, Any] = {}
        if planned.cell.epochs is not None:
            training = bench.train(planned)
            if isinstance(training, Failure):
                self._record(planned, training.status, training.reason)
                return
            measured |= _trained(training, planned.thresholds)
        if planned.phases:
            profile = bench.profile(planned)
            if isinstance(profile, Failure):
                self._record(planned, profile.status, profile.reason, **measured)
                return
            measured |= {
                "phases": tuple(Phase(**p) for p in profile["phases"]),
                "hand_over_seconds": finite_or_none(profile["hand_over_seconds"]),
            }
        self._record(planned, "timed", None, **measured)

    def _record(
        self, planned: PlannedCell, status: Any, reason: str | None, **measured: Any
    ) -> None:
        prepared = self.prepared.get(planned.key)
        if prepared is not None:
            measured |= {
                "check": prepared.check,
                "versions": dict(prepared.versions or {}),
                "weights_sha256": prepared.weights_sha256,
                "scaled": prepared.scaled,
                "nonzero_share": prepared.nonzero_share,
            }
        rounds = tuple(
            Round(
                record.round,
                int(record.timings[planned.key]["rows"]),
                record.timings[planned.key]["seconds"],
                record.timings[planned.key]["others"],
                _is_quiet(record),
            )
            for record in self.journal
            if planned.key in record.timings
        )
        self.writer.append(
            CellRecord(
                planned.key,
                planned.experiment,
                planned.cell,
                status,
                planned.group,
                reason,
                rounds=rounds,
                **measured,
            )
        )
        if reason is not None:
            first = reason.strip().partition("\n")[0]
            name = f"{planned.cell.implementation}@{planned.cell.threads}"
            self.watcher.say(f"  {name}: {status}: {first}")
        self.watcher.done(planned)


def _is_quiet(record: RoundRecord) -> bool:
    return all(is_quiet(timing) for timing in record.timings.values())


def _trained(training: Training, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """A cell record's fields of a training."""
    return {
        "accuracy": Accuracy(training.test[-1], training.validation[-1]),
        "loss_curve": tuple(training.loss),
        "test_curve": tuple(training.test),
        "epoch_seconds": tuple(training.seconds),
        "start_seconds": training.start_seconds,
        "seconds_to_accuracy": seconds_to_accuracy(training.test, training.seconds, thresholds),
    }


def seconds_to_accuracy(
    accuracies: list[float | None], seconds: list[float], thresholds: tuple[float, ...]
) -> Mapping[str, float | None]:
    """Seconds until the first epoch whose accuracy is at least each threshold; None where never."""
    found: dict[str, float | None] = {}
    for threshold in thresholds:
        elapsed, reached = 0.0, None
        for accuracy, taken in zip(accuracies, seconds, strict=True):
            elapsed += taken
            if accuracy is not None and accuracy >= threshold:
                reached = elapsed
                break
        found[f"{threshold:g}"] = reached
    return found
