"""A run as the analysis sees it: records, measurements, ceilings and predictions together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from parmlp.study.analysis.measurements import Measurement, Measurements, problem_of
from parmlp.study.analysis.roofline import last_level_cache
from parmlp.study.records import CeilingRecord, CellRecord, Results, RunRecord


@dataclass(frozen=True)
class Statement:
    """What was said of a finding before anything was timed."""

    source: str
    statement: str
    expected: str


@dataclass(frozen=True)
class Predictions:
    """What was predicted before the run: seconds an epoch by cell key, and statements by id."""

    seconds_per_epoch: Mapping[str, float] = field(default_factory=dict)
    because: Mapping[str, str] = field(default_factory=dict)
    statements: Mapping[str, Statement] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Predictions":
        """The predictions in the content of ``predictions.json``."""
        cells = document.get("cells", {})
        return cls(
            {key: float(c["seconds_per_epoch"]) for key, c in cells.items()},
            {key: str(c["because"]) for key, c in cells.items()},
            {key: Statement(**said) for key, said in document.get("findings", {}).items()},
        )


@dataclass(frozen=True)
class StudyRun:
    """One run of the study.

    Attributes
    ----------
    run : RunRecord
    records : tuple of CellRecord
        Every cell, timed or not.
    ceiling : CeilingRecord or None
    predictions : Predictions
    """

    run: RunRecord
    records: tuple[CellRecord, ...]
    ceiling: CeilingRecord | None = None
    predictions: Predictions = field(default_factory=Predictions)

    @classmethod
    def of(cls, results: Results, predictions: Predictions | None = None) -> "StudyRun":
        """The run that a results file holds."""
        cells = tuple(results.cells.values())
        return cls(results.run, cells, results.ceiling, predictions or Predictions())

    @cached_property
    def measured(self) -> Measurements:
        """Every cell that was timed."""
        return Measurements.of(self.records)

    @cached_property
    def cache(self) -> int | None:
        """Bytes of the last-level cache."""
        return last_level_cache(self.run.platform)

    def of_experiment(self, *experiments: str) -> Measurements:
        """The measurements of some experiments."""
        return Measurements(m for m in self.measured if m.record.experiment in experiments)

    @cached_property
    def predicted(self) -> "list[PredictedCell]":
        """The measurements for which there was a prediction."""
        seconds = self.predictions.seconds_per_epoch
        return [
            PredictedCell(m, seconds[m.record.key])
            for m in self.measured
            if seconds.get(m.record.key, 0) > 0
        ]

    @cached_property
    def gaps(self) -> list[CellRecord]:
        """The cells that were to be measured and were not, or left nothing that can be used."""
        timed = {m.record.key for m in self.measured}
        return [
            r
            for r in self.records
            if r.status != "timed"
            or (r.key not in timed and r.accuracy is None and r.phases is None)
        ]

    def profile_of(self, m: Measurement) -> CellRecord | None:
        """The record of the same training with its step taken apart, where there is one."""
        for r in self.records:
            if (
                r.phases
                and (r.cell.implementation, r.cell.threads) == (m.name, m.threads)
                and problem_of(r.cell) == m.problem
            ):
                return r
        return None


@dataclass(frozen=True)
class PredictedCell:
    """A measurement beside its prediction, in seconds an epoch."""

    measurement: Measurement
    seconds: float

    @property
    def ratio(self) -> float:
        """Measured divided by predicted: above one, it took longer than was thought."""
        return self.measurement.epoch_seconds.median / self.seconds
