"""How the paper says numbers, and that it says none that is not there."""

import math

import pytest

from benchmarks.paper import words
from benchmarks.paper.evidence import PaperError
from parmlp.study.analysis import Estimate, Measurements
from parmlp.study.analysis.findings.finding import Duel
from parmlp.study.records import Cell
from study.simulated_machine import FAITHFUL, Machine


def duel(ratio: float, batch: int, half_width: float = 0.05) -> Duel:
    cells = [Cell("parmlp_serial", (784, 100, 10), "mnist", 4096, batch, 1, FAITHFUL)]
    (m,) = Measurements.of(Machine().group("implementations", "g", cells))
    return Duel(m.problem, m, m, Estimate(ratio, ratio - half_width, ratio + half_width, 7))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "", "12", True])
def test_what_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(PaperError, match="do not have"):
        words.number(value)


def test_numbers() -> None:
    assert words.number(123.456) == "123"
    assert words.number(2.5e-6, 1e-6) == "2.50"
    assert words.count(60_000) == "60,000"
    assert words.percent(0.12345, 1) == "12.3 %"
    assert words.interval(Estimate(1.5, 1.25, 2.0, 7)) == "1.50 [1.25, 2.00]"
    assert words.interval(Estimate(1.5, 1.5, 1.5, 1, 0.0)) == "1.50 (one round)"


def test_the_range_of_a_ratio_names_its_ends() -> None:
    found = [duel(1.5, 128), duel(1.2, 256), duel(2.0, 4096)]
    assert words.span(found) == "1.20 to 2.00 times"
    assert words.span_where(found) == "1.20 times (batch 256) to 2.00 times (batch 4,096)"
    assert words.span(found[:1]) == "1.50 [1.45, 1.55] times"
    with pytest.raises(PaperError):
        words.span([])


def test_a_course_is_what_the_intervals_show() -> None:
    low, high = duel(1.2, 128), duel(2.0, 4096)
    assert words.course([low, high]).startswith("rises from 1.20 [1.15, 1.25] times at batch 128")
    assert words.course([high, low]).startswith("falls from 2.00")
    assert words.course([low, duel(1.24, 4096)]).startswith("shows no clear change")


def test_standings_count_what_clears_the_noise() -> None:
    found = [duel(1.5, 128), duel(0.5, 256), duel(1.01, 512)]
    assert words.standing(found) == (
        "ahead in 1 of 3 problems, behind in 1 and within the noise in 1"
    )
