"""Strong and weak scaling: an implementation on a problem at several numbers of threads."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.laws import Fit, TooFewPoints, fit
from parmlp.study.analysis.measurements import Measurement, Measurements, Problem
from parmlp.study.analysis.speedup import karp_flatt, own_one_thread


def _share(speedup: float, threads: int) -> float:
    return speedup / threads


@dataclass(frozen=True)
class ScalingSeries:
    """One implementation's rates by number of threads.

    Attributes
    ----------
    name : str
    problem : Problem
        With the rows of one thread, where rows grow with threads.
    one_thread : Measurement
    points : dict of int to Measurement
        By number of threads, the one-thread measurement included.
    weak : bool
        Whether rows grow with the threads.
    """

    name: str
    problem: Problem
    one_thread: Measurement
    points: dict[int, Measurement]
    weak: bool

    @property
    def title(self) -> str:
        """The problem in two lines, with rows a thread in a weak series."""
        p = self.problem
        rows = f", {p.rows:,} rows a thread" if self.weak else ""
        return f"{p.net}, {p.data}\nbatch {p.batch:,}{rows}"

    def speedups(self) -> dict[int, Estimate]:
        """Rows a second over one thread's: the scaled speed-up where rows grow."""
        return {p: m.speed_over(self.one_thread) for p, m in sorted(self.points.items())}

    def efficiencies(self) -> dict[int, Estimate]:
        """Speed-up divided by threads; for a weak series, one thread's epoch over this one's."""
        return {p: s.map(partial(_share, threads=p)) for p, s in self.speedups().items()}

    def serial_fractions(self) -> dict[int, Estimate]:
        """Karp and Flatt's metric, from two threads on."""
        found = {p: s for p, s in self.speedups().items() if p > 1}
        return {p: s.map(partial(karp_flatt, threads=p)) for p, s in found.items()}

    def fits(self) -> list[Fit | TooFewPoints]:
        """Amdahl's law and the USL for a fixed problem, Gustafson's for one that grows."""
        base = self.one_thread.seconds_per_row
        by_round = {
            p: {r: base[r] / s for r, s in m.seconds_per_row.items() if r in base}
            for p, m in self.points.items()
        }
        laws = ("Gustafson",) if self.weak else ("Amdahl", "USL")
        return [fit(law, by_round) for law in laws]


def strong_series(measured: Measurements) -> list[ScalingSeries]:
    """Series of fixed problems with two numbers of threads or more, one of them one."""
    found = []
    for problem in measured.problems:
        cells = measured.where(problem=problem, device="cpu")
        for name in cells.names:
            points = {m.threads: m for m in cells.where(names=[name])}
            base = own_one_thread(next(iter(points.values())), cells)
            if base is not None and max(points) > 1:
                found.append(ScalingSeries(name, problem, base, {1: base, **points}, weak=False))
    return found


def weak_series(measured: Measurements) -> list[ScalingSeries]:
    """Series of problems whose rows are in proportion to the threads."""
    by_key: dict[tuple[object, ...], dict[int, Measurement]] = defaultdict(dict)
    for m in measured.where(device="cpu"):
        if m.cell.rows % m.threads == 0:
            p = m.problem
            rest = (p.layers, p.data, p.batch, p.configuration, p.learning_rate)
            by_key[(m.name, m.cell.rows // m.threads, *rest)][m.threads] = m
    return list(_with_one_thread(by_key.values()))


def _with_one_thread(groups: Iterable[dict[int, Measurement]]) -> Iterable[ScalingSeries]:
    for points in groups:
        base = points.get(1)
        if base is not None and len(points) > 1:
            yield ScalingSeries(base.name, base.problem, base, points, weak=True)
