"""The machine's limits that predictions are made from, measured before anything else is timed."""

import warnings
from collections.abc import Callable, Iterable
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


def measure_ceiling(
    threads: Iterable[int],
    cpus_for: Callable[[int], tuple[int, ...]],
    bandwidth_mebibytes: int = 192,
) -> CeilingRecord:
    """Measure peak arithmetic, memory bandwidth, and the costs of working together.

    Parameters
    ----------
    threads : iterable of int
        Numbers of threads to measure with.
    cpus_for : callable
        The CPUs of a number of threads.
    bandwidth_mebibytes : int, default=192
        Memory that each thread reads.

    Raises
    ------
    StudyError
        If there is no C compiler, which the measuring kernels need.
    """
    try:
        machine = Ceiling()
    except RuntimeError as error:
        raise StudyError(str(error)) from error
    counts = sorted({1, *threads})
    serial = {s: _step_seconds("serial", 1, s) for s in ("two-phase", "partial-gradients")}
    hand_over, fork_join = {}, {}
    for t in counts:
        if t > 1:
            extra = _step_seconds("threads", t, "two-phase") - serial["two-phase"]
            hand_over[str(t)] = max(0.0, extra) / _PHASES
            extra = _step_seconds("threads", t, "fork-join") - serial["partial-gradients"]
            fork_join[str(t)] = max(0.0, extra)
    return CeilingRecord(
        {str(t): max(machine.peak(cpus_for(t)).flops for _ in range(3)) for t in counts},
        {str(t): machine.bandwidth(cpus_for(t), bandwidth_mebibytes) for t in counts},
        hand_over,
        fork_join,
    )


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
