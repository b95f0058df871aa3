"""Cells, and a laboratory whose measurements are made up but the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parmlp.study.cells import PlannedCell
from parmlp.study.laboratory import Failure, Prepared, Training
from parmlp.study.measure.workload import FAITHFUL
from parmlp.study.records import CeilingRecord, Cell, Check, RunRecord, cell_key
from parmlp.study.settings import Settings

SETTINGS = Settings(
    rounds=3,
    repeats=1,
    seconds=0.01,
    minibatches=1,
    check_rows=64,
    patience=5.0,
    every_mode=True,
)
CEILING = CeilingRecord({"1": 1e11, "2": 2e11}, {"1": 1e10, "2": 2e10}, {"2": 1e-7}, {"2": 2e-5})


def run_record(**more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "preset": "quick",
        "started": "2026-11-24T12:00:00+00:00",
        "platform": {"cpu": "a processor", "cores": 2, "affinity": [0, 1]},
        "versions": {"parmlp": "0.1.0"},
        "commit": None,
        "experiments": ("one",),
    }
    return RunRecord(**fields | more)


def planned(implementation: str, group: str = "g", **more: Any) -> PlannedCell:
    """A cell of experiment "one"; `more` are fields of the cell or the plan."""
    own = {k: more.pop(k) for k in ("time", "phases", "thresholds") if k in more}
    fields: dict[str, Any] = {
        "layers": (64, 32, 10),
        "data": "digits",
        "rows": 1024,
        "batch": 64,
        "threads": 1,
        "configuration": FAITHFUL,
    }
    cell = Cell(implementation, **fields | more)
    plan: dict[str, Any] = {"time": True, "phases": False, "thresholds": ()}
    return PlannedCell("one", cell, cell_key("one" + group, cell), group, **plan | own)


@dataclass
class FakeBench:
    """Outcomes by implementation's name; every call is noted."""

    laboratory: FakeLaboratory
    rounds: dict[str, int] = field(default_factory=dict)

    def prepare(self, planned: PlannedCell) -> Prepared:
        name = planned.cell.implementation
        self.laboratory.calls.append(("prepare", planned.key))
        if name in ("unavailable", "rejected", "timeout"):
            return Prepared(name, f"because it is {name}", Check(None, 0.5))  # type: ignore[arg-type]
        return Prepared("timed", None, Check(1e-7, 2e-7), {"mode": name}, "ab" * 32, False)

    def time_round(self, running: list[PlannedCell]) -> Mapping[str, Mapping[str, float] | Failure]:
        self.laboratory.timed += 1
        found: dict[str, Mapping[str, float] | Failure] = {}
        for p in running:
            self.laboratory.calls.append(("round", p.key))
            if p.cell.implementation == "dies":
                found[p.key] = Failure("failed", "ended with status 3")
                continue
            seconds = 1 + int(hashlib.sha256(p.key.encode()).hexdigest()[:6], 16) / 1e9
            found[p.key] = {"rows": 1024, "seconds": seconds, "others": self.laboratory.others}
        return found

    def train(self, planned: PlannedCell) -> Training | Failure:
        self.laboratory.calls.append(("train", planned.key))
        if planned.cell.implementation == "diverges":
            return Failure("failed", "the loss became nan")
        return Training([2.0, 1.0], [0.8, 0.96], [None, None], [0.5, 0.5], 0.1)

    def profile(self, planned: PlannedCell) -> Mapping[str, Any] | Failure:
        self.laboratory.calls.append(("profile", planned.key))
        phase = {"phase": "rows", "layer": 0, "seconds": 1e-5, "share": 1.0}
        return {"phases": [phase], "hand_over_seconds": 1e-7}

    def close(self) -> None:
        self.laboratory.closed += 1


@dataclass
class FakeLaboratory:
    others: float = 0.0
    peak: float = 0.0  # FLOP/s of one thread that is seen after each group
    calls: list[tuple[str, str]] = field(default_factory=list)
    timed: int = 0
    closed: int = 0

    def raise_peak(self, before: CeilingRecord) -> CeilingRecord | None:
        if self.peak <= before.peak_flops["1"]:
            return None
        return replace(before, peak_flops=before.peak_flops | {"1": self.peak})

    def open(self, cells: list[PlannedCell]) -> FakeBench:
        if any(c.cell.data == "missing" for c in cells):
            raise ValueError("the data is not on this machine")
        return FakeBench(self)
