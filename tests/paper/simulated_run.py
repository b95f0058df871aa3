"""A whole preset's run on the machine that does not exist: every cell that the preset plans.

As `study.simulated_machine` has it, times follow from one formula and nothing is a measurement.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from parmlp.study import predictions
from parmlp.study.cells import PlannedCell, expand
from parmlp.study.experiments import load
from parmlp.study.records import (
    PREDICTIONS,
    RESULTS,
    Accuracy,
    CeilingRecord,
    CellRecord,
    EndRecord,
    Phase,
    ResultsWriter,
)
from study.simulated_machine import PROGRAMS, Machine, Program

Keep = Callable[[PlannedCell], bool]
Change = Callable[[CellRecord], CellRecord | None]

#: Programs that the simulated machine lacks.
_MORE = {"sklearn": Program(0.3, serial=0.8, launch=300e-6)}

_BITS = ("parmlp_serial", "parmlp_threads", "parmlp_openmp")


class PresetMachine(Machine):
    """A machine that runs the cells of a preset."""

    def __init__(self, cores: int = 2) -> None:
        super().__init__(cores=cores, programs={**PROGRAMS, **_MORE})

    def record(self, planned: PlannedCell) -> CellRecord:
        cell = planned.cell
        if cell.implementation not in self.programs:
            return CellRecord(
                planned.key, planned.experiment, cell, "unavailable", planned.group,
                f"{cell.implementation} has no GPU here",
            )  # fmt: skip
        (timed,) = self.group(planned.experiment, "", [cell])
        digest = hashlib.sha256(
            repr((cell.net, cell.batch, cell.data, cell.implementation in _BITS)).encode()
        ).hexdigest()
        record = replace(timed, group=planned.group, weights_sha256=digest)
        if cell.implementation.startswith("naive") and cell.layers[-2] == 1024:
            record = replace(record, scaled=True)
        if not planned.time:
            record = replace(record, rounds=())
        if planned.phases:
            record = self._with_phases(record)
        if cell.epochs is not None:
            record = self._with_training(record, planned.thresholds)
        return record

    def _with_phases(self, record: CellRecord) -> CellRecord:
        step = self.step_seconds(record.cell)
        shares = {("rows", 0): 0.5, ("weights", 0): 0.45, ("between steps", 0): 0.05}
        phases = tuple(Phase(p, layer, s * step, s) for (p, layer), s in shares.items())
        return replace(record, phases=phases, hand_over_seconds=self.hand_over)

    def _with_training(self, record: CellRecord, thresholds: tuple[float, ...]) -> CellRecord:
        cell = record.cell
        epochs = cell.epochs or 0
        steps = cell.rows / cell.batch * cell.configuration.learning_rate
        curve = [0.98 * (1 - np.exp(-steps * (e + 1) / 900)) for e in range(epochs)]
        epoch = self.step_seconds(cell) * cell.rows / cell.batch
        reached = {
            str(a): next((epoch * (e + 1) for e, got in enumerate(curve) if got >= a), None)
            for a in thresholds
        }
        split = record.experiment == "hyperparameters"
        return replace(
            record,
            accuracy=Accuracy(curve[-1] - 0.001, curve[-1] if split else None),
            loss_curve=tuple(float(1 - c) for c in curve),
            test_curve=tuple(float(c) for c in curve),
            epoch_seconds=(epoch,) * epochs,
            start_seconds=0.5,
            seconds_to_accuracy=reached or None,
        )


def write_run(
    folder: Path,
    preset: str = "paper",
    cores: int = 2,
    keep: Keep = lambda p: True,
    change: Change = lambda r: r,
) -> list[CellRecord]:
    """A run's folder as `parmlp study run` leaves it, with the cells that `keep` keeps.

    `change` may alter a record or drop it.
    """
    machine = PresetMachine(cores)
    planned = [p for p in expand(load(), preset, cores) if keep(p)]
    records = [r for p in planned if (r := change(machine.record(p))) is not None]
    folder.mkdir(parents=True, exist_ok=True)
    run = machine.run()
    platform = {**run.platform, "affinity": list(range(cores))}
    platform["caches"] = [{**c, "shared_cpu_list": "0"} for c in run.platform["caches"]]
    ceiling: CeilingRecord = machine.ceiling()
    with ResultsWriter(folder / RESULTS) as writer:
        writer.append(replace(run, preset=preset, platform=platform))
        writer.append(ceiling)
        for record in records:
            writer.append(record)
        writer.append(EndRecord("2000-01-01T01:00:00+00:00", True))
    document = predictions.document(planned, ceiling)
    document["ceiling"] = asdict(ceiling)
    (folder / PREDICTIONS).write_text(json.dumps(document), encoding="utf-8")
    return records
