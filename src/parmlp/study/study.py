"""A whole study, as ``parmlp study run`` starts it."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from parmlp.study import cells, experiments, implementations, peers, predictions, runner
from parmlp.study.ceiling import Meter
from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.laboratory import Laboratory
from parmlp.study.measure import machine
from parmlp.study.records import CeilingRecord, Results, RunRecord, read_results
from parmlp.study.runner import Watcher
from parmlp.study.settings import SETTINGS, Settings

LOG = "log.txt"
#: The competitors' data and logs while a run goes on.
SCRATCH = "scratch"

# Checking, warming up and starting a cell, about; for the time left that is shown.
_SECONDS_A_CELL = 0.5


@dataclass(frozen=True)
class Request:
    """What is to be run.

    Attributes
    ----------
    preset : {"quick", "paper", "full"}
    folder : Path
    experiments : list of str or None
        Names; None for all.
    implementations : list of str or None
        Names; None for all that the experiments have.
    resume : bool
        Go on with the run in `folder`.
    peers_folder : Path
        Where the rivals' environments are.
    """

    preset: str
    folder: Path
    experiments: list[str] | None
    implementations: list[str] | None
    resume: bool
    peers_folder: Path


def run_study(
    request: Request,
    say: Callable[[str], None],
    show: Callable[[list[tuple[PlannedCell, float]]], Callable[[PlannedCell], None]],
) -> Results:
    """Run it, and return what the folder then holds.

    Parameters
    ----------
    say : callable
        Gets lines of text on how it goes; they go to ``log.txt`` as well.
    show : callable
        Gets all cells with the seconds that each may take, before the first is measured; returns
        what is called with each cell that is done.

    Raises
    ------
    StudyError
        For unknown names, and where the folder cannot be used or written.
    """
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    planned = _plan(request, len(cpus))
    run = RunRecord(
        request.preset,
        datetime.now(UTC).isoformat(timespec="seconds"),
        machine.record(checkout := machine.checkout_installed_from()),
        _versions(),
        machine.commit(checkout),
        tuple(e.name for e in experiments.load(request.experiments)),
        tuple(request.implementations or ()),
    )
    folder, settings = request.folder, SETTINGS[request.preset]
    _make(folder)
    interpreters = peers.interpreters(request.peers_folder)
    with (
        runner.open_results(folder, resume=request.resume) as writer,
        Laboratory(settings, cpus, interpreters, folder / SCRATCH) as laboratory,
    ):
        meter = Meter({p.cell.threads for p in planned}, laboratory.cpus_for)

        def measure() -> CeilingRecord:
            say("measuring the machine's limits")
            return meter.measure()

        results, limits = runner.start(folder, writer, run, planned, measure)
        predicted = predictions.read(folder)["cells"]
        done = show([(p, _expected_seconds(p, settings, predicted)) for p in planned])
        with (folder / LOG).open("a", encoding="utf-8") as log:

            def tell(text: str) -> None:
                try:
                    log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
                    log.flush()
                except OSError as error:
                    raise StudyError(
                        f"cannot write {folder / LOG}: {error.strerror or error}; what was "
                        "measured is kept. Free some space and go on with --resume"
                    ) from error
                say(text)

            tell(f"peak {limits.peak_flops} FLOP/s, environments {', '.join(interpreters)}")
            runner.run(
                writer,
                results,
                planned,
                laboratory=laboratory,
                settings=settings,
                watcher=Watcher(tell, done),
                raise_peak=meter.raise_peak,
            )
    return read_results(folder)


def _plan(request: Request, cores: int) -> list[PlannedCell]:
    planned = cells.expand(experiments.load(request.experiments), request.preset, cores)
    if request.implementations is None:
        return planned
    names = {i.name for i in implementations.select(request.implementations)}
    planned = [p for p in planned if p.cell.implementation in names]
    if not planned:
        raise StudyError(
            f"the experiments have no cells of {', '.join(sorted(names))} in the preset "
            f"{request.preset}"
        )
    return planned


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"cannot make {folder}: {error.strerror or error}; choose another --out"
        ) from error


def _versions() -> dict[str, str]:
    names = ("parmlp", "numpy", "scipy", "scikit-learn", "threadpoolctl")
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, **{name: metadata.version(name) for name in names}}


def _expected_seconds(
    planned: PlannedCell, settings: Settings, predicted: Mapping[str, Mapping[str, float]]
) -> float:
    """About how long a cell takes; cells without a prediction are unavailable and take none."""
    if planned.key not in predicted:
        return 0.0
    cell = planned.cell
    epoch = predicted[planned.key]["seconds_per_epoch"]
    seconds = _SECONDS_A_CELL + epoch * (settings.check_rows / cell.rows + (cell.epochs or 0))
    if planned.time:
        least = epoch * min(1.0, settings.minibatches * cell.batch / cell.rows)
        seconds += (1 + settings.rounds) * max(settings.seconds, least)
    return seconds
