"""Amdahl's, Gustafson's and the universal scalability law, fitted to measured speed-ups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from parmlp.study.analysis.estimates import LEVEL, RESAMPLES

Array = npt.NDArray[np.float64]

#: A law with one or two free constants is fitted to no fewer thread counts than this.
LEAST_POINTS = 4


def amdahl(threads: Array, serial: float) -> Array:
    """Speed-up of a fixed problem, ``1 / (s + (1 - s)/p)`` (Amdahl 1967)."""
    return 1 / (serial + (1 - serial) / threads)


def gustafson(threads: Array, serial: float) -> Array:
    """Scaled speed-up with a fixed problem a thread, ``p - s (p - 1)`` (Gustafson 1988)."""
    return threads - serial * (threads - 1)


def usl(threads: Array, contention: float, coherence: float) -> Array:
    """Universal scalability law, ``p / (1 + sigma (p - 1) + kappa p (p - 1))`` (Gunther 1993)."""
    return threads / (1 + contention * (threads - 1) + coherence * threads * (threads - 1))


@dataclass(frozen=True)
class Constant:
    """A fitted constant with its bootstrapped interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """A law fitted to a series.

    ``error`` is the root mean square of the relative differences between law and medians: large
    where the law does not describe the program.
    """

    law: str
    constants: tuple[Constant, ...]
    error: float
    points: int

    def predict(self, threads: Array) -> Array:
        """Speed-up that the law gives."""
        return _LAWS[self.law].curve(threads, *(c.value for c in self.constants))


@dataclass(frozen=True)
class TooFewPoints:
    """No fit, and why."""

    law: str
    reason: str


def _fit_amdahl(threads: Array, speedup: Array) -> Array:
    # 1/S - 1/p = s (1 - 1/p)
    return _fraction(1 - 1 / threads, 1 / speedup - 1 / threads)


def _fit_gustafson(threads: Array, speedup: Array) -> Array:
    # p - S = s (p - 1), each point relative to p
    return _fraction((threads - 1) / threads, 1 - speedup / threads)


def _fraction(x: Array, y: Array) -> Array:
    """Least squares for ``y = s x`` with s between 0 and 1."""
    return np.array([np.clip(x @ y / (x @ x), 0, 1)])


def _fit_usl(threads: Array, speedup: Array) -> Array:
    # p/S - 1 = sigma (p - 1) + kappa p (p - 1), Gunther's own form, each point relative to p
    columns = np.stack([threads - 1, threads * (threads - 1)], axis=1) / threads[:, None]
    return np.asarray(optimize.nnls(columns, 1 / speedup - 1 / threads)[0])


@dataclass(frozen=True)
class _Law:
    names: tuple[str, ...]
    curve: Callable[..., Array]
    solve: Callable[[Array, Array], Array]


_LAWS = {
    "Amdahl": _Law(("serial fraction",), amdahl, _fit_amdahl),
    "Gustafson": _Law(("serial fraction",), gustafson, _fit_gustafson),
    "USL": _Law(("contention", "coherence"), usl, _fit_usl),
}


def fit(law: str, speedups: Mapping[int, Mapping[int, float]]) -> Fit | TooFewPoints:
    """Fit a law to speed-ups over one thread.

    The constants are found by least squares on the law's linear form, within their bounds; their
    intervals come from a bootstrap over rounds: every resample draws rounds, takes the medians and
    fits again. They say what noise does to the constants, not whether the law is true; ``error``
    says that.

    Parameters
    ----------
    law : {"Amdahl", "Gustafson", "USL"}
    speedups : mapping of threads to (mapping of round to speed-up)
        Gustafson's law wants scaled speed-ups, the others those of a fixed problem.
    """
    counts = sorted(speedups)
    if len(counts) < LEAST_POINTS:
        text = ", ".join(map(str, counts)) or "none"
        return TooFewPoints(
            law, f"too few points: a fit needs {LEAST_POINTS} thread counts, there are {text}"
        )
    rounds = sorted(set.intersection(*(set(speedups[p]) for p in counts)))
    if not rounds:
        return TooFewPoints(law, "no round was measured at every thread count")
    threads = np.array(counts, dtype=float)
    table = np.array([[speedups[p][r] for r in rounds] for p in counts])
    found = _LAWS[law]
    medians = np.median(table, axis=1)
    values = found.solve(threads, medians)
    low, high = _interval(found, threads, table)
    error = float(np.sqrt(np.mean((found.curve(threads, *values) / medians - 1) ** 2)))
    constants = tuple(
        Constant(name, float(v), float(a), float(b))
        for name, v, a, b in zip(found.names, values, low, high, strict=True)
    )
    return Fit(law, constants, error, len(counts))


def _interval(law: _Law, threads: Array, table: Array) -> tuple[Array, Array]:
    columns = np.arange(table.shape[1])
    if columns.size == 1:
        values = law.solve(threads, table[:, 0])
        return values, values
    result = stats.bootstrap(
        (columns,),
        lambda drawn: law.solve(threads, np.median(table[:, drawn], axis=1)),
        vectorized=False,
        method="percentile",
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return result.confidence_interval.low, result.confidence_interval.high
