"""Competitors for the tests of the study, imported by its worker processes."""

from __future__ import annotations

import os
import time

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.rivals.numpy import Numpy
from parmlp.study.measure.workload import Workload


class Wrong(Numpy):
    """Trains with a doubled update."""

    def _update(self, n: int) -> None:
        super()._update(n)
        super()._update(n)


class Nan(Numpy):
    """Returns parameters that are not numbers."""

    def result(self) -> Result:
        found = super().result()
        return Result(found.loss, [w * np.nan for w in found.coefs], found.intercepts)


class Breaks(Numpy):
    """Raises in setup."""

    def setup(self, work: Work) -> None:
        raise OSError("no such library")


class Absent(Numpy):
    def available(self, workload: Workload) -> str | None:
        return "not on this machine"


class Platform(Numpy):
    """Tells what JAX would run on."""

    def available(self, workload: Workload) -> str | None:
        return f"JAX runs on {os.environ['JAX_PLATFORMS']}"


class _Later(Numpy):
    """Right in the check and in the warm-up; then does what it does."""

    calls = 0

    def run_epoch(self, order: Array) -> None:
        self.calls += 1
        if self.calls > 5:
            self.misbehave()
        super().run_epoch(order)

    def misbehave(self) -> None:
        raise NotImplementedError


class Hangs(_Later):
    """Gives no answer."""

    def misbehave(self) -> None:
        time.sleep(600)


class Dies(_Later):
    """Ends its process in the middle of a command."""

    def misbehave(self) -> None:
        raise SystemExit(3)


class Slow(Numpy):
    """Right, but a millisecond a row slower."""

    def run_epoch(self, order: Array) -> None:
        super().run_epoch(order)
        time.sleep(1e-3 * len(order))


class Compiles(Numpy):
    """Takes 10 us a row, and 0.3 s at first for every number of rows, as a compiler would."""

    def setup(self, work: Work) -> None:
        super().setup(work)
        self._compiled: set[int] = set()

    def run_epoch(self, order: Array) -> None:
        time.sleep(1e-5 * len(order) + 0.3 * (len(order) not in self._compiled))
        self._compiled.add(len(order))
        self.loss = 1.0
