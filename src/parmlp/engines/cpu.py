"""The CPU engines: from ``engine=`` and ``n_threads=`` to a native team of workers.

Results do not depend on what is chosen here: with the default schedule the trained weights are the
same bits for every engine and every number of threads. So all choices below are about time alone.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

from joblib.parallel import get_active_backend

from parmlp import _core
from parmlp.engines.errors import EngineUnavailableError
from parmlp.threadpool import most_threads

#: CPU engines by name, as ``engine=`` takes them besides "auto".
ENGINES = ("serial", "threads", "openmp")

#: Orders of work within a minibatch step; docs/schedules say what each does.
SCHEDULES = ("two-phase", "partial-gradients", "fork-join")

#: More threads than any machine has cores: a larger number is a mistake.
MOST_THREADS = 4096

# engine="auto" gives every thread at least this much arithmetic in a minibatch step, some 6 us of a
# core: less, and handing over between phases eats what the second thread brings. Measured on two
# cores of a Zen 4, two threads against one: 784-30-10 at batch 10 (1.0 MFLOP) 1.0x, 41-64-23 at
# batch 64 (1.2 MFLOP) 1.5x (benchmarks/results: sparse.jsonl, oversubscription.jsonl).
_FLOPS_PER_THREAD = 600_000.0

_OPENMP_REMEDY = (
    "Install an OpenMP runtime (libgomp comes with GCC, libomp-dev with Clang) and rebuild parmlp: "
    "'pip install --force-reinstall --no-deps --no-binary parmlp parmlp'. Or use engine='threads', "
    "which gives the same results."
)


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can be used here.

    Attributes
    ----------
    name : str
    available : bool
    reason : str or None
        Why it is not available.
    remedy : str or None
        What to do about it.
    """

    name: str
    available: bool
    reason: str | None = None
    remedy: str | None = None


def engine_statuses() -> list[EngineStatus]:
    """Return the status of every CPU engine, in the order of ``ENGINES``."""
    return [_openmp_status() if n == "openmp" else EngineStatus(n, True) for n in ENGINES]


def default_n_threads() -> int:
    """Return the most threads used where ``n_threads`` is None.

    :func:`parmlp.threadpool.most_threads`, and one inside a worker of joblib, be it a process or a
    thread.
    """
    return 1 if _in_joblib_worker() else most_threads()


def count_threads(n_threads: int | None) -> int:
    """Return how many threads ``n_threads`` asks for.

    Parameters
    ----------
    n_threads : int or None
        None: :func:`default_n_threads`; -1: all usable cores; otherwise that number.

    Raises
    ------
    ValueError
        For 0, a number below -1, or more than ``MOST_THREADS``.
    """
    if n_threads is None:
        return default_n_threads()
    if n_threads == -1:
        return _core.usable_cores()
    if not 1 <= n_threads <= MOST_THREADS:
        raise ValueError(
            f"n_threads={n_threads} is not possible: give a number of threads, at most "
            f"{MOST_THREADS}, -1 for all usable cores, or None to let parmlp choose."
        )
    return n_threads


def warn_of_threads(n_threads: int, stacklevel: int) -> None:
    """Warn where there are more threads than usable cores."""
    cores = _core.usable_cores()
    if n_threads > cores:
        warnings.warn(
            f"n_threads={n_threads} is more than the {cores} usable cores: training works and "
            "gives the same result, but threads that share a core are slower than one thread a "
            "core.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def make_team(
    engine: str,
    n_threads: int | None,
    layer_units: Sequence[int],
    rows: int,
    *,
    warn: bool = True,
) -> _core.Team:
    """Return the workers that run the tiles of a network's steps.

    Parameters
    ----------
    engine : {"auto", "serial", "threads", "openmp"}
        "auto" takes "threads" where the work of a step pays for handing it out, else "serial".
    n_threads : int or None
        None: :func:`default_n_threads`, and for "auto" only as many as the work keeps busy;
        -1: all usable cores; otherwise that number.
    layer_units : sequence of int
        Units of each layer, inputs first.
    rows : int
        Rows of a minibatch.
    warn : bool, default=True
        Warn when ``n_threads`` exceeds the usable cores.

    Raises
    ------
    ValueError
        For an unknown engine, ``n_threads`` 0 or below -1, or several threads for "serial".
    EngineUnavailableError
        When the engine cannot be used on this machine or in this build.
    """
    if engine != "auto":
        _check_engine(engine)
    size = count_threads(n_threads)
    if engine == "serial":
        if n_threads is not None and n_threads > 1:
            raise ValueError(
                f"engine='serial' runs on one thread, but n_threads={n_threads}: use "
                "engine='threads', or leave n_threads at None."
            )
        return _core.Team("serial", 1)
    if engine == "auto" and n_threads is None:
        size = min(size, max(1, int(flops_per_step(layer_units, rows) / _FLOPS_PER_THREAD)))
    if warn:
        warn_of_threads(size, stacklevel=2)
    if engine == "auto":
        engine = "serial" if size == 1 else "threads"
    if engine == "openmp":
        return _core.Team("openmp", size, openmp_team=_openmp_team())
    return _core.Team(engine, size)


def threads_side_by_side(
    networks: Sequence[tuple[Sequence[int], int]], n_threads: int
) -> list[int]:
    """Return how many of ``n_threads`` threads train each of several networks.

    One thread each keeps all threads busy until fewer networks than threads are left; so the
    networks that do not fill a round, and those the largest, share all threads among them, each as
    many as its work pays for. docs/decisions/0030 has the measurements.

    Parameters
    ----------
    networks : sequence of (sequence of int, int)
        Units of each layer, inputs first, and rows of a minibatch.
    n_threads : int
    """
    work = [flops_per_step(units, rows) for units, rows in networks]
    threads = [1] * len(work)
    leftover = len(work) % n_threads
    by_work = sorted(range(len(work)), key=lambda i: -work[i])
    for i in by_work[:leftover]:
        threads[i] = min(n_threads // leftover, max(1, int(work[i] / _FLOPS_PER_THREAD)))
    return threads


def _check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}: parmlp has {', '.join(ENGINES)} (or 'auto').")


def _openmp_status() -> EngineStatus:
    try:
        import_module("parmlp._openmp")
    except ImportError as error:
        reason = f"parmlp's OpenMP extension could not be loaded ({error})."
        return EngineStatus("openmp", False, reason, _OPENMP_REMEDY)
    return EngineStatus("openmp", True)


def _openmp_team() -> Any:
    status = _openmp_status()
    if not status.available:
        raise EngineUnavailableError(
            f"engine='openmp' is not available: {status.reason} {status.remedy}"
        )
    return import_module("parmlp._openmp").team_function()


def _in_joblib_worker() -> bool:
    backend, _ = get_active_backend()
    return (getattr(backend, "nesting_level", 0) or 0) > 0


def flops_per_step(layer_units: Sequence[int], rows: int) -> float:
    """Return the floating-point operations of a minibatch step of ``rows`` rows."""
    # a multiply and an add each for forward, weight gradient and, but for the first layer, deltas
    products = [float(n) * m for n, m in pairwise(layer_units)]
    return rows * (4.0 * products[0] + 6.0 * sum(products[1:]))
