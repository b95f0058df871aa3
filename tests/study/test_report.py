"""The report of whatever a run may have left: whole, half, empty, failed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parmlp.study.analysis import Estimate, StudyRun
from parmlp.study.errors import StudyError
from parmlp.study.records import PREDICTIONS, RESULTS, Cell, CellRecord
from parmlp.study.report import Report, write_report
from parmlp.study.report.drawing import Drawing
from parmlp.study.report.figures import training
from study.simulated_machine import FAITHFUL, Machine, write_study

Change = Callable[[CellRecord], CellRecord]


def few(machine: Machine, experiment: str) -> list[CellRecord]:
    """A problem, four implementations."""
    names = ("naive_serial", "parmlp_serial", "parmlp_threads", "jax")
    cells = [
        Cell(name, (784, 100, 10), "mnist5k", 4096, 128, p, FAITHFUL)
        for name in names
        for p in machine.threads_of(name, (1, 2))
    ]
    return machine.group(experiment, "g", cells)


def study_in(
    folder: Path,
    change: Change = lambda r: r,
    experiment: str = "phases",  # of whose figures none shows times, so that tests are fast
    **fields: Any,
) -> Path:
    """A run's folder with a few cells; returns its results' file."""
    machine = Machine(cores=2, **fields)
    write_study(folder, machine, map(change, few(machine, experiment)))
    return folder / RESULTS


def report_of(folder: Path) -> tuple[Report, str]:
    report = write_report(folder)
    return report, report.page.read_text(encoding="utf-8")


def test_a_few_cells_make_a_report_with_gaps(tmp_path: Path) -> None:
    study_in(tmp_path, experiment="implementations")
    report, page = report_of(tmp_path)
    assert report.timed == 6
    assert report.gaps > 10
    assert report.notices == ()
    assert "too few points" not in page  # nothing was scaled, so that is not the reason
    assert "no cell of the experiment “problem_size” was timed" in page
    for kind in ("svg", "png"):
        assert (tmp_path / f"report/figures/time_per_epoch.{kind}").stat().st_size > 1000
    table = (tmp_path / "report/data/times.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 7
    assert table[0].startswith("experiment,implementation,threads,network,")


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    study_in(tmp_path)
    _, page = report_of(tmp_path)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    outside = [a for a in addresses if not a.startswith(("#", "data:"))]
    assert outside == []
    assert "@import" not in page
    assert "url(http" not in page
    assert page.count("<html") == page.count("</html>") == 1


def test_the_same_records_make_the_same_page(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        study_in(tmp_path / name)
        pages.append(report_of(tmp_path / name)[1])
    assert pages[0] == pages[1]


def test_old_figures_go(tmp_path: Path) -> None:
    study_in(tmp_path)
    old = tmp_path / "report/figures/of_another_version.svg"
    old.parent.mkdir(parents=True)
    old.write_text("<svg/>", encoding="utf-8")
    write_report(tmp_path)
    assert not old.exists()


@pytest.mark.parametrize("status", ["failed", "unavailable", "rejected", "timeout"])
def test_nothing_but_failures(tmp_path: Path, status: str) -> None:
    def fail(record: CellRecord) -> CellRecord:
        return replace(record, status=status, reason="<b>it broke</b>\nat line 3", rounds=())

    study_in(tmp_path, fail)
    report, page = report_of(tmp_path)
    assert (report.timed, report.not_timed, report.figures) == (0, 6, 0)
    assert "No cell of this run was timed" in page
    assert "&lt;b&gt;it broke&lt;/b&gt;" in page
    assert "<b>it broke" not in page
    assert "at line 3" not in page


def test_no_cell_at_all(tmp_path: Path) -> None:
    write_study(tmp_path, Machine(), [])
    report = write_report(tmp_path)
    assert (report.timed, report.not_timed, report.figures) == (0, 0, 0)
    assert "No cell of this run was timed" in report.page.read_text(encoding="utf-8")


def test_one_round_has_no_interval(tmp_path: Path) -> None:
    study_in(tmp_path, rounds=1)
    _, page = report_of(tmp_path)
    assert "one round, no interval" in page


def test_rounds_that_are_not_numbers(tmp_path: Path) -> None:
    file = study_in(tmp_path)
    text = re.sub(r'"seconds": [0-9.e-]+', '"seconds": NaN', file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    report = write_report(tmp_path)
    assert (report.timed, report.not_timed) == (0, 6)
    assert "no usable round" in report.page.read_text(encoding="utf-8")


def test_a_killed_run_is_reported_as_far_as_it_got(tmp_path: Path) -> None:
    file = study_in(tmp_path)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-2]) + lines[-2][:40], encoding="utf-8")
    report = write_report(tmp_path)
    assert report.timed == 5
    assert [n[:8] for n in report.notices] == ["The last", "This run"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no record"),
        ('{"type": "run", "format": 99}\n', "format 99"),
        ("not json\n", "line 1 is damaged"),
    ],
)
def test_results_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / RESULTS).write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_run_without_predictions_says_so(tmp_path: Path) -> None:
    study_in(tmp_path)
    (tmp_path / PREDICTIONS).unlink()
    report = write_report(tmp_path)
    assert any("No predictions" in notice for notice in report.notices)


def test_busy_rounds_and_low_ceilings_are_told(tmp_path: Path) -> None:
    def busy(record: CellRecord) -> CellRecord:
        return replace(record, rounds=tuple(replace(r, quiet=False) for r in record.rounds))

    file = study_in(tmp_path, busy)
    first, ceiling, *rest = file.read_text(encoding="utf-8").splitlines()
    low = json.loads(ceiling)
    low["peak_flops"] = {t: f / 3 for t, f in low["peak_flops"].items()}
    file.write_text("\n".join([first, json.dumps(low), *rest]) + "\n", encoding="utf-8")
    busy_told, low_told = write_report(tmp_path).notices
    assert "while 6 of 6 cells were timed" in busy_told
    assert "ceilings are too low" in low_told


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    study_in(tmp_path)
    page = tmp_path / "report/index.html"
    page.mkdir(parents=True)
    with pytest.raises(StudyError, match="cannot write"):
        write_report(tmp_path)


def test_accuracy_over_time_starts_with_set_up_and_compilation() -> None:
    machine = Machine(cores=2)
    records = tuple(machine.time_to_accuracy())
    drawing = training.accuracy_over_time(StudyRun(machine.run(), records, None))
    assert isinstance(drawing, Drawing)
    rows = [r for r in drawing.data.rows if r[1] == "JAX"]
    jax = [r for r in records if r.cell.implementation == "jax"]
    assert len(rows) == len(jax[0].test_curve or ())
    for epoch, (_, _, _, seconds, accuracy) in enumerate(rows):
        ends = sorted(0.5 + sum((r.epoch_seconds or ())[: epoch + 1]) for r in jax)
        scores = sorted(100 * (r.test_curve or ())[epoch] for r in jax)
        assert seconds == pytest.approx(ends[1])
        assert isinstance(accuracy, Estimate)
        assert (accuracy.low, accuracy.median, accuracy.high) == pytest.approx(scores)
