"""The machine's limits that predictions are made from, measured before anything else is timed."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from parmlp import MLPClassifier
from parmlp.study.errors import StudyError
from parmlp.study.measure.ceiling import Ceiling
from parmlp.study.records import CeilingRecord

# A network with hardly any arithmetic: what a step takes is nearly all hand-over.
_ROWS, _BATCH, _EPOCHS = 2000, 4, 12
#: Phases of its step in the schedule two-phase.
_PHASES = 2


# A peak that is this much higher than the one on record replaces it.
_RAISE = 1.01


class Meter:
    """Measures the limits for some numbers of threads.

    Parameters
    ----------
    threads : iterable of int
    cpus_for : callable
        The CPUs of a number of threads.
    """

    def __init__(self, threads: Iterable[int], cpus_for: Callable[[int], tuple[int, ...]]) -> None:
        self._counts = sorted({1, *threads})
        self._cpus_for = cpus_for

    @cached_property
    def _machine(self) -> Ceiling:
        try:
            return Ceiling()
        except RuntimeError as error:
            raise StudyError(str(error)) from error

    def measure(self) -> CeilingRecord:
        """Peak arithmetic, memory bandwidth, and the costs of working together.

        Raises
        ------
        StudyError
            If there is no C compiler, which the measuring kernels need.
        """
        serial = {s: _step_seconds("serial", 1, s) for s in ("two-phase", "partial-gradients")}
        hand_over, fork_join = {}, {}
        for t in self._counts:
            if t > 1:
                extra = _step_seconds("threads", t, "two-phase") - serial["two-phase"]
                hand_over[str(t)] = max(0.0, extra) / _PHASES
                extra = _step_seconds("threads", t, "fork-join") - serial["partial-gradients"]
                fork_join[str(t)] = max(0.0, extra)
        peaks = [self._peaks() for _ in range(3)]
        return CeilingRecord(
            {t: max(peak[t] for peak in peaks) for t in peaks[0]},
            {str(t): self._machine.bandwidth(self._cpus_for(t)) for t in self._counts},
            hand_over,
            fork_join,
        )

    def raise_peak(self, before: CeilingRecord) -> CeilingRecord | None:
        """Measure the peak again; the new record if it is higher than in `before`, else None.

        A peak taken beside somebody else's work is too low, and shares of it would flatter.
        """
        now = self._peaks()
        if all(now[t] <= _RAISE * before.peak_flops.get(t, 0.0) for t in now):
            return None
        higher = {t: max(now[t], before.peak_flops.get(t, 0.0)) for t in now}
        return replace(before, peak_flops=before.peak_flops | higher)

    def _peaks(self) -> dict[str, float]:
        return {str(t): self._machine.peak(self._cpus_for(t)).flops for t in self._counts}


def _step_seconds(engine: str, threads: int, schedule: str) -> float:
    """Seconds of a step of a tiny network, the least of some epochs' means."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((_ROWS, 2), dtype=np.float32)
    y = np.arange(_ROWS) % 2
    seconds: list[float] = []

    def after(report: Any) -> None:
        seconds.append(report.seconds)

    model = MLPClassifier(
        (2,),
        "logistic",
        solver="sgd",
        momentum=0.0,
        loss="mse",
        batch_size=_BATCH,
        max_iter=_EPOCHS,
        tol=0.0,
        n_iter_no_change=np.inf,
        engine=engine,
        n_threads=threads,
        schedule=schedule,
        adaptive_threads=False,
        random_state=0,
        callback=after,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge, nor should it
        model.fit(X, y)
    return min(seconds) / (_ROWS / _BATCH)
