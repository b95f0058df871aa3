"""Speed-up, efficiency and the Karp-Flatt metric."""

from collections.abc import Iterable
from dataclasses import dataclass

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.measurements import Measurement, Measurements


def karp_flatt(speedup: float, threads: int) -> float:
    """The experimentally determined serial fraction, ``(1/S - 1/p) / (1 - 1/p)``.

    Karp and Flatt, "Measuring parallel processor performance", CACM 33 (1990). It is negative
    where the speed-up is more than linear.

    Raises
    ------
    ValueError
        For fewer than two threads or a speed-up that is not positive.
    """
    if threads < 2:
        raise ValueError(f"the Karp-Flatt metric needs two threads or more, got {threads}")
    if not speedup > 0:
        raise ValueError(f"a speed-up is positive, got {speedup}")
    return (1 / speedup - 1 / threads) / (1 - 1 / threads)


@dataclass(frozen=True)
class Speedup:
    """How much faster one measurement is than a baseline for the same problem.

    ``efficiency`` is speed-up divided by threads; ``serial_fraction`` is Karp and Flatt's, None on
    one thread.
    """

    measurement: Measurement
    baseline: Measurement
    speedup: Estimate

    @property
    def threads(self) -> int:
        return self.measurement.threads

    @property
    def efficiency(self) -> Estimate:
        return self.speedup.map(lambda s: s / self.threads)

    @property
    def serial_fraction(self) -> Estimate | None:
        if self.threads < 2:
            return None
        return self.speedup.map(lambda s: karp_flatt(s, self.threads))


def best_serial(measured: Iterable[Measurement]) -> Measurement | None:
    """The fastest on one thread of a CPU, whoever wrote it."""
    return Measurements(measured).where(threads=1, device="cpu").fastest()


#: Rows that have no parallel form of themselves are the one-thread runs of those that have.
_ONE_THREAD_OF = {
    "parmlp_threads": "parmlp_serial",
    "parmlp_openmp": "parmlp_serial",
    "parmlp_partial_gradients": "parmlp_serial",
    "parmlp_fork_join": "parmlp_serial",
    "naive_pthreads": "naive_serial",
    "blas_parallel": "blas_serial",
}


def own_one_thread(m: Measurement, measured: Measurements) -> Measurement | None:
    """The same implementation on one thread, or its serial form where that is what there is."""
    same = measured.where(problem=m.problem, threads=1)
    own = same.where(names=[m.name]).fastest()
    if own is None and m.name in _ONE_THREAD_OF:
        own = same.where(names=[_ONE_THREAD_OF[m.name]]).fastest()
    return own


def against_best_serial(measured: Measurements) -> list[Speedup]:
    """Every measurement against the best serial one of the same problem, where there is one."""
    found = []
    for problem in measured.problems:
        cells = measured.where(problem=problem)
        base = best_serial(cells)
        if base is not None:
            found += [Speedup(m, base, m.speed_over(base)) for m in cells]
    return found


def against_own_one_thread(measured: Measurements) -> list[Speedup]:
    """Every CPU measurement against its own implementation on one thread, where that was timed."""
    found = []
    for m in measured.where(device="cpu"):
        base = own_one_thread(m, measured)
        if base is not None:
            found.append(Speedup(m, base, m.speed_over(base)))
    return found
