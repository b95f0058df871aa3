"""docs/paper is what the committed raw results say: it cannot go stale."""

import re
from pathlib import Path

import pytest

from benchmarks.paper.build import FIGURES, PAPER, ROOT, build, compose, run_of
from benchmarks.paper.pages import Pages
from parmlp.study.records import PREDICTIONS, RESULTS
from parmlp.study.report.drawing import svg_file
from parmlp.study.report.values import csv_text

#: A bootstrapped interval may move a little with scipy's version; a result may not.
TOLERANCE = 0.03

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def pages() -> Pages:
    return compose(run_of(PAPER))


def assert_same(committed: str, rebuilt: str, where: str) -> None:
    """Equal words, and numbers that are equal but for rounding."""
    assert _NUMBER.sub("#", committed) == _NUMBER.sub("#", rebuilt), where
    for a, b in zip(_NUMBER.findall(committed), _NUMBER.findall(rebuilt), strict=True):
        one, other = float(a.replace(",", "")), float(b.replace(",", ""))
        assert one == pytest.approx(other, rel=TOLERANCE, abs=1e-4), f"{where}: {a} and {b}"


def test_the_pages_are_those_of_the_results(pages: Pages) -> None:
    assert {f.name for f in PAPER.glob("*.md")} == set(pages.texts)
    for name, text in pages.texts.items():
        assert_same((PAPER / name).read_text("utf-8"), text, name)


def test_the_figures_are_those_of_the_results(pages: Pages) -> None:
    wanted = {f"{id}.{kind}" for id in pages.drawings for kind in ("svg", "csv")}
    assert {f.name for f in (PAPER / FIGURES).iterdir()} == wanted
    for id, drawing in pages.drawings.items():
        file = PAPER / FIGURES / f"{id}.csv"
        assert_same(file.read_text("utf-8"), csv_text(drawing.data), file.name)
        assert (PAPER / FIGURES / f"{id}.svg").read_text("utf-8").endswith("</svg>\n")


def test_a_figure_is_the_same_file_each_time(pages: Pages) -> None:
    for id in ("strong_scaling", "phases"):
        if id in pages.drawings:
            one, other = (svg_file(pages.drawings[id]) for _ in range(2))
            assert one == other
            assert "<dc:date>" not in one
            return
    pytest.fail("the committed paper has neither of the figures that this test draws")


def test_raw_results_and_pages_name_no_place_of_a_machine(pages: Pages) -> None:
    folder = run_of(PAPER)
    raw = [(folder / name).read_text("utf-8") for name in (RESULTS, PREDICTIONS)]
    for text in (*pages.texts.values(), *raw):
        assert not re.search(r"(?<![\w.])/(tmp|home|root|work)/", text)


def test_a_build_that_fails_touches_nothing(tmp_path: Path, pages: Pages) -> None:
    out = tmp_path / "paper"
    out.mkdir()
    (out / "index.md").write_text("as it was", encoding="utf-8")
    with pytest.raises(Exception, match="cannot read"):
        build(ROOT / "benchmarks/results", out)
    assert (out / "index.md").read_text("utf-8") == "as it was"
    assert [f.name for f in out.iterdir()] == ["index.md"]
