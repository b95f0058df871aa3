"""Medians, ratios and their intervals."""

import numpy as np
import pytest

from parmlp.study.analysis import estimate, ratio


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (4, 9, 15):
        samples = rng.lognormal(0, 0.5, (500, n))
        found = [estimate(s) for s in samples]
        covered = np.mean([e.low <= 1.0 <= e.high for e in found])
        assert covered >= found[0].coverage - 0.03


def test_few_rounds_say_so() -> None:
    assert estimate([3.0]).coverage == 0
    three = estimate([3.0, 1.0, 2.0])
    assert (three.median, three.low, three.high, three.coverage) == (2, 1, 3, 0.75)
    assert estimate(range(1, 10)).coverage == 0.95


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        estimate(values)


def test_pairs_cancel_what_hits_a_whole_round() -> None:
    rng = np.random.default_rng(1)
    drift = np.exp(rng.normal(0, 1, 9))
    slow = {i: 3.0 * d for i, d in enumerate(drift)}
    fast = {i: 1.5 * d for i, d in enumerate(drift)}
    paired = ratio(slow, fast)
    assert (paired.low, paired.high) == pytest.approx((2, 2))
    unpaired = ratio({i + 100: s for i, s in slow.items()}, fast)
    assert unpaired.median == pytest.approx(2)
    assert unpaired.low < 1.5
    assert unpaired.high > 2.5


def test_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        ratio({}, {0: 1.0})


def test_a_falling_function_keeps_low_below_high() -> None:
    inverse = estimate([1.0, 2.0, 4.0]).map(lambda x: 1 / x)
    assert (inverse.low, inverse.median, inverse.high) == (0.25, 0.5, 1.0)
