"""Scaling laws are found again in what they generated; Karp and Flatt's metric is Amdahl's s."""

import numpy as np
import pytest

from parmlp.study.analysis import Fit, TooFewPoints, fit, karp_flatt
from parmlp.study.analysis.laws import amdahl, gustafson, usl

THREADS = (1, 2, 4, 8, 16)
TRUE = {"Amdahl": (0.07,), "Gustafson": (0.12,), "USL": (0.05, 0.004)}
CURVES = {"Amdahl": amdahl, "Gustafson": gustafson, "USL": usl}


def noisy(law: str, noise: float) -> dict[int, dict[int, float]]:
    rng = np.random.default_rng(2)
    curve = CURVES[law](np.array(THREADS, float), *TRUE[law])
    return {
        p: {r: float(s * np.exp(rng.normal(0, noise * (p > 1)))) for r in range(9)}
        for p, s in zip(THREADS, curve, strict=True)
    }


@pytest.mark.parametrize("law", TRUE)
def test_a_law_finds_its_own_constants(law: str) -> None:
    exact = fit(law, noisy(law, 0.0))
    assert isinstance(exact, Fit)
    assert [c.value for c in exact.constants] == pytest.approx(TRUE[law], rel=1e-9)
    assert exact.error < 1e-9
    found = fit(law, noisy(law, 0.03))
    assert isinstance(found, Fit)
    for constant, true in zip(found.constants, TRUE[law], strict=True):
        assert constant.low <= true <= constant.high
        assert constant.low < constant.value < constant.high
    again = fit(law, noisy(law, 0.03))
    assert again == found  # a report repeats


def test_the_wrong_law_has_a_larger_error() -> None:
    points = noisy("USL", 0.0)
    wrong, right = fit("Amdahl", points), fit("USL", points)
    assert isinstance(wrong, Fit)
    assert isinstance(right, Fit)
    assert wrong.error > 10 * right.error + 0.01


def test_constants_stay_within_their_bounds() -> None:
    more_than_linear = {p: dict.fromkeys(range(5), p * 1.1) for p in THREADS}
    for law in TRUE:
        found = fit(law, more_than_linear)
        assert isinstance(found, Fit)
        assert all(c.value == 0 for c in found.constants)


def test_three_thread_counts_are_too_few() -> None:
    few = {p: s for p, s in noisy("Amdahl", 0).items() if p < 8}
    found = fit("Amdahl", few)
    assert isinstance(found, TooFewPoints)
    assert "too few points" in found.reason
    assert "1, 2, 4" in found.reason


def test_rounds_without_partners_give_no_fit() -> None:
    apart = {p: {100 * p + r: 1.0 for r in range(3)} for p in THREADS}
    assert isinstance(fit("USL", apart), TooFewPoints)


def test_karp_flatt_is_the_serial_fraction() -> None:
    for threads in (2, 8):
        speedup = float(amdahl(np.array([threads], float), 0.1)[0])
        assert karp_flatt(speedup, threads) == pytest.approx(0.1)
    assert karp_flatt(2.5, 2) < 0
    with pytest.raises(ValueError, match="two threads"):
        karp_flatt(1.0, 1)
    with pytest.raises(ValueError, match="positive"):
        karp_flatt(0.0, 2)
