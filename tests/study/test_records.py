"""Records survive the file; half lines, other formats and damaged lines are told apart."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from parmlp.study import records
from parmlp.study.errors import StudyError
from parmlp.study.measure.workload import DEFAULT, FAITHFUL
from parmlp.study.records import (
    Accuracy,
    Cell,
    CellRecord,
    Check,
    EndRecord,
    Phase,
    ResultsWriter,
    Round,
    RoundRecord,
    cell_key,
    read_results,
    to_line,
)

from .fakes import CEILING, run_record

CELL = Cell("parmlp_threads", (64, 32, 10), "digits", 1437, 32, 2, FAITHFUL, 3, 5)
RECORD = CellRecord(
    cell_key("one", CELL),
    "one",
    CELL,
    "timed",
    "g",
    check=Check(1e-7, None),
    rounds=(Round(0, 1437, 0.25, 0.0, True),),
    scaled=True,
    accuracy=Accuracy(0.9, None),
    loss_curve=(2.0, 1.0),
    test_curve=(0.5, None),
    epoch_seconds=(0.1, 0.1),
    start_seconds=0.5,
    weights_sha256="ab" * 32,
    seconds_to_accuracy={"0.9": 0.2, "0.95": None},
    phases=(Phase("rows", 0, 1e-5, 0.6),),
    hand_over_seconds=1e-7,
    versions={"parmlp": "0.1.0"},
)
ALL = (
    run_record(),
    CEILING,
    RoundRecord("g", 0, {RECORD.key: {"rows": 1437, "seconds": 0.25, "others": 0.0}}),
    RECORD,
    EndRecord("2026-11-24T13:00:00+00:00", True),
)


def write(folder: Path, *some: records.Record) -> Path:
    file = folder / records.RESULTS
    with ResultsWriter(file) as writer:
        for record in some:
            writer.append(record)
    return file


def test_records_survive_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, *ALL)
    results = read_results(tmp_path)
    assert results == read_results(file)
    assert (results.run, results.ceiling, results.end) == (ALL[0], ALL[1], ALL[4])
    assert results.cells == {RECORD.key: RECORD}
    assert results.rounds == {"g": [ALL[2]]}
    assert results.of("one") == [RECORD]
    assert results.of("two") == []
    assert not results.half_line


def test_every_line_is_an_object_with_its_type(tmp_path: Path) -> None:
    lines = write(tmp_path, *ALL).read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == [
        "run", "ceiling", "round", "cell", "end",
    ]  # fmt: skip


def test_keys_do_not_change_and_tell_cells_apart() -> None:
    # Written down: a key that changes would measure old cells again.
    assert cell_key("one", CELL) == "8a905a17db196fe3"
    others = [
        cell_key("two", CELL),
        cell_key(
            "one", Cell("parmlp_threads", (64, 32, 10), "digits", 1437, 32, 1, FAITHFUL, 3, 5)
        ),
        cell_key("one", Cell("parmlp_threads", (64, 32, 10), "digits", 1437, 32, 2, DEFAULT, 3, 5)),
    ]
    assert len({RECORD.key, *others}) == 4


def test_a_half_line_is_ignored_and_then_cut_off(tmp_path: Path) -> None:
    file = write(tmp_path, *ALL[:4])
    whole = file.read_bytes()
    file.write_bytes(whole + to_line(ALL[4]).encode()[:-1])
    results = read_results(file)
    assert results.half_line
    assert results.end is None
    assert results.cells == {RECORD.key: RECORD}
    write(tmp_path, ALL[4])
    assert file.read_bytes() == whole + to_line(ALL[4]).encode()


def test_nan_is_refused_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = write(tmp_path, ALL[0])
    before = file.read_bytes()
    with ResultsWriter(file) as writer, pytest.raises(ValueError, match="JSON"):
        writer.append(CellRecord("k", "one", CELL, "failed", "g", loss_curve=(float("nan"),)))
    assert file.read_bytes() == before


def test_a_full_disk_is_reported_and_what_was_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, *ALL[:3])
    before = file.read_bytes()
    pwrite = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset > len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data[:20], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with ResultsWriter(file) as writer:
        with pytest.raises(StudyError, match=r"No space left on device.*--resume"):
            writer.append(RECORD)
        assert file.read_bytes() == before
        monkeypatch.undo()
        writer.append(RECORD)  # there is space again
    assert read_results(file).cells == {RECORD.key: RECORD}


def test_ctrl_c_while_writing_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, ALL[0])
    before = file.read_bytes()
    pwrite = os.pwrite

    def interrupted(descriptor: int, data: bytes, offset: int) -> int:
        pwrite(descriptor, data[:20], offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", interrupted)
    with ResultsWriter(file) as writer, pytest.raises(KeyboardInterrupt):
        writer.append(RECORD)
    assert file.read_bytes() == before


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    with ResultsWriter(tmp_path / records.RESULTS), pytest.raises(StudyError, match="another run"):
        ResultsWriter(tmp_path / records.RESULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no record"),
        ('{"type": "run"', "holds no record"),
        (to_line(CEILING), "does not start with a run record"),
        (to_line(run_record(format=7)), "line 1: .*format 7.*reads 1"),
        (to_line(run_record()) * 2, "line 2: a second run"),
        (to_line(run_record()) + '{"type": "plot"}\n', "line 2: .*'plot'"),
        (to_line(run_record()) + '{"type": "end"}\n', "line 2 is damaged"),
        (to_line(run_record()) + "[1]\n", "line 2 is damaged"),
        (to_line(run_record()) + "\x00\x00\n", "line 2 is damaged"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / records.RESULTS
    file.write_text(text)
    with pytest.raises(StudyError, match=message):
        read_results(file)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot read .*nowhere.*parmlp study run"):
        read_results(tmp_path / "nowhere")
