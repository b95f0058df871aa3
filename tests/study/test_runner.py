"""The runner: what is recorded, in which order, and that a killed run loses and repeats nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parmlp.study import predictions, runner
from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.records import PREDICTIONS, RESULTS, CellRecord, Results, RunRecord, read_results
from parmlp.study.runner import Watcher, seconds_to_accuracy

from .fakes import CEILING, SETTINGS, FakeLaboratory, planned, run_record

# Two groups and every way in which a cell can end.
CELLS = [
    planned("parmlp_serial", "a"),
    planned("dies", "a"),
    planned("rejected", "a"),
    planned("numpy", "a", epochs=2, thresholds=(0.95, 0.99)),
    planned("parmlp_threads", "b", threads=2),
    planned("unavailable", "b"),
    planned("diverges", "b", epochs=2),
    planned("parmlp_openmp", "b", threads=2, time=False, phases=True),
    planned("parmlp_serial", "c", data="missing"),
]


@pytest.fixture
def laboratory() -> FakeLaboratory:
    return FakeLaboratory()


def start(folder: Path, run: RunRecord | None = None, resume: bool = False) -> Results:
    with runner.open_results(folder, resume=resume) as writer:
        return runner.start(folder, writer, run or run_record(), CELLS, lambda: CEILING)[0]


def go_on(
    folder: Path,
    laboratory: FakeLaboratory,
    results: Results,
    done: Callable[[PlannedCell], None] = lambda planned: None,
) -> None:
    with runner.open_results(folder, resume=True) as writer:
        runner.run(
            writer,
            results,
            CELLS,
            laboratory=laboratory,
            settings=SETTINGS,
            watcher=Watcher(lambda text: None, done),
            raise_peak=laboratory.raise_peak,
        )


def whole_run(folder: Path, laboratory: FakeLaboratory) -> Results:
    done: list[PlannedCell] = []
    go_on(folder, laboratory, start(folder), done.append)
    assert {p.key for p in done} == {p.key for p in CELLS}
    return read_results(folder)


def by_name(results: Results, name: str) -> CellRecord:
    return next(c for c in results.cells.values() if c.cell.implementation == name)


def test_every_cell_is_recorded_with_what_became_of_it(
    tmp_path: Path, laboratory: FakeLaboratory
) -> None:
    results = whole_run(tmp_path, laboratory)
    assert list(results.cells) != []
    assert set(results.cells) == {p.key for p in CELLS}
    statuses = {c.cell.implementation: c.status for c in results.cells.values() if c.group != "c"}
    assert statuses == {
        "parmlp_serial": "timed",
        "dies": "failed",
        "rejected": "rejected",
        "numpy": "timed",
        "parmlp_threads": "timed",
        "unavailable": "unavailable",
        "diverges": "failed",
        "parmlp_openmp": "timed",
    }
    assert results.end is not None
    assert results.end.complete
    serial = results.cells[CELLS[0].key]
    assert [r.round for r in serial.rounds] == [0, 1, 2]
    assert serial.check == by_name(results, "numpy").check
    assert by_name(results, "rejected").reason == "because it is rejected"
    assert by_name(results, "dies").rounds == ()
    # Its rounds were measured before it diverged in training: they are not lost.
    assert len(by_name(results, "diverges").rounds) == 3
    assert by_name(results, "parmlp_openmp").rounds == ()
    assert by_name(results, "parmlp_openmp").hand_over_seconds == 1e-7
    numpy = by_name(results, "numpy")
    assert numpy.seconds_to_accuracy == {"0.95": 1.0, "0.99": None}
    assert numpy.accuracy is not None
    assert numpy.accuracy.test == 0.96
    missing = results.cells[CELLS[-1].key]
    assert (missing.status, missing.reason) == ("unavailable", "the data is not on this machine")
    assert laboratory.closed == 2


def test_cells_of_a_group_are_timed_in_turn(tmp_path: Path, laboratory: FakeLaboratory) -> None:
    whole_run(tmp_path, laboratory)
    first = [key for do, key in laboratory.calls if do == "round"][:7]
    a, dies, numpy = CELLS[0].key, CELLS[1].key, CELLS[3].key
    assert first == [a, dies, numpy, a, numpy, a, numpy]


def test_rounds_are_repeated_while_others_use_the_machine(tmp_path: Path) -> None:
    results = whole_run(tmp_path, FakeLaboratory(others=1.0))
    rounds = results.cells[CELLS[0].key].rounds
    assert len(rounds) == SETTINGS.rounds * (1 + SETTINGS.repeats)
    assert not any(r.quiet for r in rounds)


def test_predictions_are_there_before_anything_is_timed(
    tmp_path: Path, laboratory: FakeLaboratory
) -> None:
    start(tmp_path)
    content = predictions.read(tmp_path)
    assert laboratory.calls == []
    assert read_results(tmp_path).cells == {}
    assert content["cells"][CELLS[0].key]["seconds_per_epoch"] > 0
    assert set(content["findings"]["same_bits"]) == {"source", "statement", "expected"}


def test_a_higher_peak_that_is_seen_later_counts(
    tmp_path: Path, laboratory: FakeLaboratory
) -> None:
    laboratory.peak = 3e11
    results = whole_run(tmp_path, laboratory)
    assert results.ceiling == replace(CEILING, peak_flops={"1": 3e11, "2": 2e11})
    assert predictions.read(tmp_path)["ceiling"]["peak_flops"] == CEILING.peak_flops
    lines = (tmp_path / RESULTS).read_text().splitlines()
    assert sum('"type": "ceiling"' in line for line in lines) == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_run_killed_anywhere_goes_on_and_repeats_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut the file after any byte, as a kill does, several times; the end result is the same."""
    folder = tmp_path_factory.mktemp("killed")
    whole = whole_run(folder, FakeLaboratory())
    file = folder / RESULTS
    first_line = len(file.read_bytes().splitlines(keepends=True)[0])
    for _ in range(data.draw(st.integers(1, 3), label="kills")):
        content = file.read_bytes()
        file.write_bytes(content[: data.draw(st.integers(first_line, len(content)), label="cut")])
        kept = read_results(file)
        laboratory = FakeLaboratory()
        go_on(folder, laboratory, start(folder, resume=True))
        results = read_results(file)
        assert results.cells == whole.cells
        assert results.end is not None
        assert results.end.complete
        # Nothing that the file kept was measured again.
        assert not {key for _, key in laboratory.calls} & set(kept.cells)
        journaled = sum(len(rounds) for rounds in kept.rounds.values())
        assert laboratory.timed + journaled == 2 * SETTINGS.rounds
        assert {k: v for k, v in results.cells.items() if k in kept.cells} == kept.cells


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, laboratory: FakeLaboratory) -> None:
    whole_run(tmp_path, laboratory)
    before = (tmp_path / RESULTS).read_bytes()
    again = FakeLaboratory()
    go_on(tmp_path, again, start(tmp_path, resume=True))
    assert again.calls == []
    assert (tmp_path / RESULTS).read_bytes() == before


def test_ctrl_c_is_noted_and_a_resumed_run_finishes(
    tmp_path: Path, laboratory: FakeLaboratory
) -> None:
    results = start(tmp_path)

    def interrupt(planned: PlannedCell) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, laboratory, results, interrupt)
    stopped = read_results(tmp_path)
    assert stopped.end is not None
    assert not stopped.end.complete
    go_on(tmp_path, FakeLaboratory(), start(tmp_path, resume=True))
    assert set(read_results(tmp_path).cells) == {p.key for p in CELLS}


def test_a_full_disk_stops_the_run_and_loses_nothing(
    tmp_path: Path, laboratory: FakeLaboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = start(tmp_path)
    pwrite = os.pwrite
    room = 6000

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StudyError, match="No space left on device"):
        go_on(tmp_path, laboratory, results)
    monkeypatch.undo()
    kept = read_results(tmp_path)
    assert not kept.half_line
    assert len(kept.cells) > 0
    go_on(tmp_path, FakeLaboratory(), start(tmp_path, resume=True))
    assert set(read_results(tmp_path).cells) == {p.key for p in CELLS}


def test_a_full_disk_before_the_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match=rf"cannot write .*{PREDICTIONS}: No space left"):
        predictions.write(tmp_path, predictions.document(CELLS, CEILING))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_run_needs_resume_and_the_same_request(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no run to go on with"):
        start(tmp_path, resume=True)
    start(tmp_path)
    with pytest.raises(StudyError, match=r"holds a run already.*--resume"):
        start(tmp_path)
    for change in (
        {"preset": "paper"},
        {"experiments": ("two",)},
        {"implementations": ("numpy",)},
        {"versions": {"parmlp": "9"}},
        {"platform": {"cpu": "another", "cores": 2, "affinity": [0, 1]}},
    ):
        with pytest.raises(StudyError, match=r"was begun with .* cannot go on"):
            start(tmp_path, run_record(**change), resume=True)
    start(tmp_path, resume=True)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    start(tmp_path)
    with (
        runner.open_results(tmp_path, resume=True),
        pytest.raises(StudyError, match="another run is writing"),
    ):
        runner.open_results(tmp_path, resume=True)


def test_a_run_killed_before_its_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text('{"type": "ru')
    assert start(tmp_path).run == run_record()


def test_another_format_is_refused(tmp_path: Path) -> None:
    start(tmp_path, run_record(format=2))
    with pytest.raises(StudyError, match="format 2"):
        start(tmp_path, resume=True)
    (tmp_path / PREDICTIONS).write_text('{"format": 2}')
    with pytest.raises(StudyError, match="format 2"):
        predictions.read(tmp_path)


def test_seconds_to_accuracy() -> None:
    found = seconds_to_accuracy([0.5, 0.9, 0.8, 0.95], [1.0, 2.0, 3.0, 4.0], (0.5, 0.9, 0.95, 0.99))
    assert found == {"0.5": 1.0, "0.9": 3.0, "0.95": 10.0, "0.99": None}
    assert seconds_to_accuracy([None], [1.0], (0.5,)) == {"0.5": None}
