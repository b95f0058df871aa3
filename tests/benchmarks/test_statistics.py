"""Median, extremes and paired ratios."""

from __future__ import annotations

import pytest

from benchmarks.cpu.statistics import paired_ratio, summarize


def test_summarize() -> None:
    s = summarize([3.0, 1.0, 2.0, 10.0])
    assert (s.median, s.minimum, s.maximum, s.rounds) == (2.5, 1.0, 10.0, 4)
    with pytest.raises(ValueError, match="no rounds"):
        summarize([])


def test_ratios_are_taken_pair_by_pair() -> None:
    # The second round was slow for both: the ratio does not see it, that of the medians would.
    s = paired_ratio([200.0, 20.0, 210.0], [100.0, 10.0, 100.0])
    assert (s.median, s.minimum, s.maximum) == (2.0, 2.0, 2.1)
    with pytest.raises(ValueError, match="not pairs"):
        paired_ratio([1.0], [1.0, 2.0])
