"""Where cells are measured: competitors' processes, kept from one group of cells to the next."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.implementations import IMPLEMENTATIONS, Implementation
from parmlp.study.measure import machine, rounds
from parmlp.study.measure.competitor import Competitor, CompetitorError
from parmlp.study.measure.rivals import Entry
from parmlp.study.records import Cell, Check, Status, finite_or_none
from parmlp.study.settings import Settings

# A mode chosen at one batch size is taken over by sizes that differ by less than this factor. To
# try all modes is to compile them all, most of a run's time; what sets them apart is what a step
# costs besides its arithmetic, and that changes little between neighbouring sizes.
_SAME_MODE = 8


@dataclass(frozen=True)
class Prepared:
    """What became of a cell before it is timed; only one whose status is "timed" goes on."""

    status: Status
    reason: str | None = None
    check: Check | None = None
    versions: Mapping[str, str] | None = None
    weights_sha256: str | None = None
    scaled: bool = False
    nonzero_share: float | None = None


@dataclass(frozen=True)
class Failure:
    """A cell that broke down."""

    status: Status
    reason: str


@dataclass(frozen=True)
class Training:
    """Curves by epoch, and the seconds of set-up and compilation before them."""

    loss: list[float]
    test: list[float | None]
    validation: list[float | None]
    seconds: list[float]
    start_seconds: float


class Bench(Protocol):
    """Measures the cells of one group. Every method takes only cells that it was opened for."""

    def prepare(self, planned: PlannedCell) -> Prepared:
        """Check it against the reference and warm it up."""

    def time_round(self, running: list[PlannedCell]) -> Mapping[str, Mapping[str, float] | Failure]:
        """Time each in turn; "rows", "seconds" and "others" by key."""

    def train(self, planned: PlannedCell) -> Training | Failure:
        """Train it for its epochs."""

    def profile(self, planned: PlannedCell) -> Mapping[str, Any] | Failure:
        """Its phases and its hand-over."""

    def close(self) -> None:
        """Let the group's data go."""


class Laboratory:
    """Real measurements.

    Parameters
    ----------
    settings : Settings
    cpus : tuple of int
        The CPUs to use; the last ones first, as interrupts and other programs prefer the first.
    interpreters : mapping of str to str
        Interpreter of each rival's environment that is installed.
    scratch : Path
        A folder for the competitors' data and logs. What a killed run has left there is removed.

    Raises
    ------
    StudyError
        If the folder cannot be made.
    """

    def __init__(
        self,
        settings: Settings,
        cpus: tuple[int, ...],
        interpreters: Mapping[str, str],
        scratch: Path,
    ) -> None:
        self.settings = settings
        self.cpus = cpus
        self.interpreters = interpreters
        self._competitors: dict[tuple[str, int], Competitor] = {}
        self._modes: dict[Cell, tuple[int, Entry]] = {}
        self._scratch = scratch
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
        except OSError as error:
            raise _cannot_write(scratch, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for competitor in self._competitors.values():
            competitor.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def cpus_for(self, threads: int) -> tuple[int, ...]:
        """The CPUs that so many threads are pinned to."""
        return self.cpus[-threads:]

    def open(self, cells: list[PlannedCell]) -> "RealBench":
        """Make the data of a group's cells.

        Raises
        ------
        DataError, ValueError
            If the data cannot be had or does not fit.
        StudyError
            If it cannot be written for the competitors.
        """
        try:
            folder = Path(tempfile.mkdtemp(dir=self._scratch))
        except OSError as error:
            raise _cannot_write(self._scratch, error) from error
        return RealBench(self, cells, folder)

    def competitor(self, entry: Entry, threads: int) -> Competitor:
        """The process of a mode, started if it is not running."""
        key = (entry.name, threads)
        if key not in self._competitors:
            self._competitors[key] = Competitor(
                entry,
                threads,
                self.cpus_for(threads),
                python=self.interpreters.get(entry.venv or "", sys.executable),
                log=self._scratch / f"{entry.name}-{threads}.log",
                patience=self.settings.patience,
            )
        return self._competitors[key]

    def modes(self, implementation: Implementation, cell: Cell) -> tuple[Entry, ...]:
        """The modes to try in a cell: all, or the one found fastest in a cell much like it."""
        if not self.settings.every_mode:
            return implementation.modes[:1]
        batch, entry = self._modes.get(_but_batch(cell), (0, None))
        low, high = sorted((batch, cell.batch))
        if entry is None or high >= _SAME_MODE * low:
            return implementation.modes
        return (entry,)

    def remember_mode(self, cell: Cell, entry: Entry) -> None:
        """Note that `entry` was the fastest of all modes in `cell`."""
        self._modes[_but_batch(cell)] = (cell.batch, entry)

    def dismiss(self, competitor: Competitor) -> None:
        """End a process that broke down; the next cell starts another."""
        self._competitors.pop((competitor.entry.name, competitor.threads)).close()


class RealBench:
    """A group's data and competitors."""

    def __init__(self, laboratory: Laboratory, cells: list[PlannedCell], folder: Path) -> None:
        self._laboratory, self._folder = laboratory, folder
        self._chosen: dict[str, Competitor] = {}
        self._prepared: dict[Any, rounds.Prepared] = {}
        for number, workload in enumerate(dict.fromkeys(c.workload for c in cells)):
            place = folder / str(number)
            try:
                place.mkdir()
                self._prepared[workload] = rounds.lay_out(
                    workload, place, laboratory.settings.check_rows
                )
            except OSError as error:
                raise _cannot_write(place, error) from error

    def prepare(self, planned: PlannedCell) -> Prepared:
        implementation = IMPLEMENTATIONS[planned.cell.implementation]
        if implementation.reason is not None:
            return Prepared("unavailable", implementation.reason)
        a_library = implementation.venv is not None  # ours say themselves what is missing
        if implementation.on_gpu and a_library and not machine.has_nvidia_driver():
            return Prepared("unavailable", "this machine has no NVIDIA driver, so no GPU")
        modes = self._laboratory.modes(implementation, planned.cell)
        best, lost = self._fastest(modes, planned)
        if best is None and modes != implementation.modes and self._laboratory.settings.every_mode:
            modes = implementation.modes  # what was fastest elsewhere does not work here
            best, lost = self._fastest(modes, planned)
        if best is None:
            return self._none_left(implementation.venv, lost)
        competitor, found = best
        if len(modes) > 1:
            self._laboratory.remember_mode(planned.cell, competitor.entry)
        self._chosen[planned.key] = competitor
        return Prepared(
            "timed",
            check=_check(found),
            versions=found["versions"] | {"mode": competitor.entry.name},
            weights_sha256=found["weights_sha256"],
            scaled=found.get("rows_per_round", planned.cell.rows) < planned.cell.rows,
            nonzero_share=self._prepared[planned.workload].nonzero_share,
        )

    def _fastest(
        self, modes: tuple[Entry, ...], planned: PlannedCell
    ) -> tuple[tuple[Competitor, rounds.Record] | None, list[tuple[Entry, rounds.Record]]]:
        """The mode with the highest rate, and what became of those that cannot be timed."""
        best: tuple[float, Competitor, rounds.Record] | None = None
        lost: list[tuple[Entry, rounds.Record]] = []
        for entry in modes:
            found = self._try(entry, planned, len(modes) > 1)
            if found["status"] != "timed":
                lost.append((entry, found))
                continue
            warm = found.get("warm", {"rows": 0, "seconds": 1.0})
            rate = warm["rows"] / warm["seconds"]
            competitor = self._laboratory.competitor(entry, planned.cell.threads)
            if best is None or rate > best[0]:
                best = (rate, competitor, found)
        return (best[1:] if best else None), lost

    def _try(self, entry: Entry, planned: PlannedCell, several: bool) -> rounds.Record:
        """One mode's check and, where it is timed or compared with other modes, its warm-up."""
        settings = self._laboratory.settings
        try:
            competitor = self._laboratory.competitor(entry, planned.cell.threads)
        except CompetitorError as error:
            return rounds.failure(error)
        found = rounds.prepare(
            competitor,
            self._prepared[planned.workload],
            settings.seconds if planned.time or several else 0.0,
            settings.minibatches,
        )
        if found["status"] in ("failed", "timeout"):
            self._laboratory.dismiss(competitor)
        return found

    def _none_left(self, venv: str | None, lost: list[tuple[Entry, rounds.Record]]) -> Prepared:
        """What is said where no mode can be timed: the first that got furthest speaks."""
        order = ("rejected", "timeout", "failed", "unavailable")
        _, found = min(lost, key=lambda item: order.index(item[1]["status"]))
        reason = "; ".join(f"{e.name}: {f['reason']}" if len(lost) > 1 else f["reason"]
                           for e, f in lost)  # fmt: skip
        if found["status"] == "unavailable" and venv not in (None, *self._laboratory.interpreters):
            reason += f" (`parmlp study peers install {venv}` makes its environment)"
        return Prepared(found["status"], reason, _check(found), found.get("versions"))

    def time_round(self, running: list[PlannedCell]) -> Mapping[str, Mapping[str, float] | Failure]:
        answers = rounds.time_round(self._chosen[p.key] for p in running)
        found: dict[str, Mapping[str, float] | Failure] = {}
        for planned in running:
            answer = answers[self._chosen[planned.key].label]
            if isinstance(answer, CompetitorError):
                found[planned.key] = self._fail(planned, answer)
            else:
                found[planned.key] = {k: answer[k] for k in ("rows", "seconds", "others")}
        return found

    def train(self, planned: PlannedCell) -> Training | Failure:
        assert planned.cell.epochs is not None
        try:
            curves = self._chosen[planned.key].train(planned.cell.epochs)
        except CompetitorError as error:
            return self._fail(planned, error)
        first, *others = seconds = curves["seconds"]
        # The first epoch alone has what is done once: compiling, compressing rows.
        usual = min(first, sorted(others)[len(others) // 2]) if others else first
        return Training(
            curves["loss"],
            curves["test"],
            curves["validation"],
            [usual, *seconds[1:]],
            curves["setup_seconds"] + first - usual,
        )

    def profile(self, planned: PlannedCell) -> Mapping[str, Any] | Failure:
        try:
            return self._chosen[planned.key].profile()
        except CompetitorError as error:
            return self._fail(planned, error)

    def _fail(self, planned: PlannedCell, error: CompetitorError) -> Failure:
        self._laboratory.dismiss(self._chosen.pop(planned.key))
        return Failure(**rounds.failure(error))

    def close(self) -> None:
        for competitor in self._chosen.values():
            with contextlib.suppress(CompetitorError):  # the next command will tell
                competitor.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def _but_batch(cell: Cell) -> Cell:
    """`cell` without what a mode is not chosen by."""
    return replace(cell, batch=0, rows=0, seed=0, epochs=None)


def _cannot_write(place: Path, error: OSError) -> StudyError:
    return StudyError(
        f"cannot write the competitors' data to {place}: {error.strerror or error}; free some "
        "space and go on with --resume"
    )


def _check(found: rounds.Record) -> Check | None:
    verdict = found.get("check")
    if verdict is None:
        return None
    return Check(finite_or_none(verdict["loss_error"]), finite_or_none(verdict["change_error"]))
