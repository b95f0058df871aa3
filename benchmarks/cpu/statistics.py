"""What a series of rounds says: median, extremes, and ratios pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Summary:
    median: float
    minimum: float
    maximum: float
    rounds: int


def summarize(values: Sequence[float]) -> Summary:
    """Median, minimum, maximum; ValueError when there is nothing to summarize."""
    if not values:
        raise ValueError("no rounds to summarize")
    return Summary(median(values), min(values), max(values), len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Summary of ours/theirs round by round: noise that hits a whole round cancels.

    Raises
    ------
    ValueError
        If the series differ in length; they are then not pairs.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"not pairs: {len(ours)} rounds against {len(theirs)}")
    return summarize([a / b for a, b in zip(ours, theirs, strict=True)])
