"""Medians and ratios with their intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

#: What an interval is meant to cover.
LEVEL = 0.95

#: Resamples of a bootstrap; its generator starts from the same state, so that a report repeats.
RESAMPLES = 999


@dataclass(frozen=True)
class Estimate:
    """A median and an interval for it.

    Attributes
    ----------
    median, low, high : float
    rounds : int
        Values it is made of.
    coverage : float
        Probability that the interval holds the median of what was sampled; 0 for one value.
    """

    median: float
    low: float
    high: float
    rounds: int
    coverage: float = LEVEL

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a monotonic `function` of the quantity."""
        ends = sorted((function(self.low), function(self.high)))
        return Estimate(function(self.median), ends[0], ends[1], self.rounds, self.coverage)

    @property
    def above_one(self) -> bool:
        """Whether the whole interval lies above one: for a ratio, a difference that was seen."""
        return self.low > 1.0

    @property
    def below_one(self) -> bool:
        """Whether the whole interval lies below one."""
        return self.high < 1.0


def estimate(values: Sequence[float]) -> Estimate:
    """Median with the distribution-free interval between two order statistics.

    Up to five values cannot give 95 %; their interval is from the smallest to the largest, which
    covers the median with probability ``1 - 2**(1 - n)``.

    Raises
    ------
    ValueError
        For no values, or one that is not finite.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        raise ValueError("no values to take a median of")
    if not np.isfinite(array).all():
        raise ValueError(f"values must be finite, got {array[~np.isfinite(array)][0]}")
    median = float(np.median(array))
    ends = _order_statistics(array.size)
    if ends is None:
        coverage = 1.0 - 2.0 ** (1 - array.size)
        return Estimate(median, float(array.min()), float(array.max()), array.size, coverage)
    ordered = np.sort(array)
    return Estimate(median, float(ordered[ends[0]]), float(ordered[ends[1]]), array.size)


@lru_cache
def _order_statistics(size: int) -> tuple[int, int] | None:
    """Which of `size` ordered values are the ends of the median's interval; None for too few.

    They do not depend on the values, and asking scipy takes 2 ms.
    """
    places = np.arange(size)
    interval = stats.quantile_test(places, q=0, p=0.5).confidence_interval(LEVEL)
    if np.isnan(interval.low) or np.isnan(interval.high):
        return None
    return int(interval.low), int(interval.high)


def ratio(numerators: Mapping[int, float], denominators: Mapping[int, float]) -> Estimate:
    """Ratio of two series by round number.

    Rounds of the same number are divided pair by pair, so that noise that hits a whole round
    cancels. Where fewer than half have a partner, the ratio is of the medians, with a bootstrapped
    interval.

    Raises
    ------
    ValueError
        If a series is empty.
    """
    if not numerators or not denominators:
        raise ValueError("no rounds to divide")
    common = sorted(numerators.keys() & denominators.keys())
    if 2 * len(common) >= max(len(numerators), len(denominators)):
        return estimate([numerators[r] / denominators[r] for r in common])
    return _ratio_of_medians(list(numerators.values()), list(denominators.values()))


def _ratio_of_medians(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    middle = float(np.median(above) / np.median(below))
    rounds = min(above.size, below.size)
    if rounds == 1:
        return Estimate(middle, middle, middle, 1, 0.0)
    interval = stats.bootstrap(
        (above, below),
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        vectorized=True,
        method="percentile",
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(middle, float(interval.low), float(interval.high), rounds)
