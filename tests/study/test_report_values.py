"""Numbers as people read them, and as files keep them."""

import csv
import io

import pytest

from parmlp.study.analysis import Estimate
from parmlp.study.analysis.implementations import IMPLEMENTATIONS
from parmlp.study.report.palette import COLOURS, STYLES
from parmlp.study.report.values import NOTHING, Table, number, shown, sort_key


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00123456, "0.00123"),
        (1.23456, "1.23"),
        (123.456, "123"),
        (45678.9, "45,679"),
        (1.5e9, "1.50e+09"),
        (1e-9, "1.00e-09"),
        (-2.5, "-2.50"),
        (float("nan"), NOTHING),
        (float("inf"), NOTHING),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_values_are_shown_and_sorted() -> None:
    found = Estimate(2.0, 1.0, 4.0, 7)
    assert shown(found) == "2.00 [1.00, 4.00]"
    assert shown(Estimate(2.0, 2.0, 2.0, 1, 0.0)) == "2.00"
    assert [shown(v) for v in (None, "x", 4096)] == [NOTHING, "x", "4,096"]
    assert [sort_key(v) for v in (found, None, "x", 3, float("nan"))] == [2.0, None, "x", 3, None]


def test_a_file_has_the_intervals_in_columns_of_their_own() -> None:
    rows = [("a", Estimate(2.0, 1.0, 4.0, 7)), ("b", None)]
    table = Table("t", ("name", "time, s"), rows)
    assert table.csv_header == ["name", "time, s", "time, s, low", "time, s, high"]
    file = io.StringIO()
    csv.writer(file).writerows(table.csv_rows())
    assert file.getvalue().splitlines() == ["a,2.0,1.0,4.0", "b,,,"]
    assert not table.is_number(0)
    assert table.is_number(1)


def test_every_implementation_has_a_look_of_its_own() -> None:
    assert set(STYLES) == set(IMPLEMENTATIONS)
    assert len(set(STYLES.values())) == len(STYLES)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_from_light_and_dark_paper() -> None:
    """WCAG's contrast: 3 to 1 for marks, 4.5 to 1 for text."""
    by_name = {c.name: c for c in COLOURS}
    for mode in ("light", "dark"):
        paper = _luminance(getattr(by_name["paper"], mode))
        for name, colour in by_name.items():
            if name in ("paper", "line"):
                continue
            mark = _luminance(getattr(colour, mode))
            contrast = (max(mark, paper) + 0.05) / (min(mark, paper) + 0.05)
            assert contrast >= (4.5 if name in ("ink", "muted", "blue") else 2.8), (name, mode)
