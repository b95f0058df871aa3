"""Competitors for the tests of the benchmark, imported by its worker processes."""

from __future__ import annotations

from pathlib import Path

from parmlp.study.measure.rivals.base import Array
from parmlp.study.measure.rivals.numpy import Numpy
from parmlp.study.measure.workload import Workload


class Wrong(Numpy):
    """Trains with a doubled update; leaves a file when it is asked for anything after the check."""

    calls = 0

    def run_epoch(self, order: Array) -> None:
        self.calls += 1
        if self.calls > 1:
            Path("timed-a-wrong-rival").touch()
        super().run_epoch(order)

    def _update(self, n: int) -> None:
        super()._update(n)
        super()._update(n)


class Breaks(Numpy):
    """Raises in setup."""

    def setup(self, work: object) -> None:
        raise OSError("no such library")


class Dies(Numpy):
    """Ends its process in the middle of a command."""

    def run_epoch(self, order: Array) -> None:
        raise SystemExit(3)


class Absent(Numpy):
    def available(self, workload: Workload) -> str | None:
        return "not on this machine"
