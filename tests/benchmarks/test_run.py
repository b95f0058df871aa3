"""A whole tiny run: competitors are checked before they are timed, records are JSON lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.cpu import __main__ as program
from benchmarks.cpu import cells, report
from benchmarks.cpu.cells import Cell, Goal
from parmlp.study.measure.rivals import Entry
from parmlp.study.measure.workload import DEFAULT, FAITHFUL

HERE = Path(__file__).resolve().parent
TINY = Cell((6, 5, 3), 8, "dense", FAITHFUL, 256, Goal(((1, 1.5),), ((1, 1000.0),)))


def _fake(name: str, target: str) -> Entry:
    return Entry(name, f"fake_rivals:{target}", None)


@pytest.fixture
def tiny_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One cell; NumPy as ourselves and as a rival; four rivals that must not be timed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setattr(program, "CELLS", (TINY,))
    monkeypatch.setattr(cells, "CELLS", (TINY,))
    numpy = "parmlp.study.measure.rivals.numpy:Numpy"
    entries = [
        Entry("parmlp", numpy, None),
        Entry("numpy", numpy, None),
        _fake("wrong", "Wrong"),
        _fake("breaks", "Breaks"),
        _fake("dies", "Dies"),
        _fake("absent", "Absent"),
    ]
    monkeypatch.setattr(program, "ENTRIES", {e.name: e for e in entries})
    return tmp_path


def test_a_run_checks_first_and_writes_json_lines(
    tiny_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tiny_world / "results.jsonl"
    words = ["--threads", "1", "--rounds", "2", "--repeats", "0", "--seconds", "0.01"]
    assert program.main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out

    records = [json.loads(line) for line in out.read_text().splitlines()]
    by_type = {t: [r for r in records if r["type"] == t] for t in ("platform", "cell", "round")}
    competitors = {r["entry"]: r for r in records if r["type"] == "competitor"}
    assert by_type["platform"][0]["cpu"]
    assert by_type["platform"][0]["peak_compiler"]
    assert by_type["cell"][0]["cell"]["flops_per_sample"] == 4 * 30 + 6 * 15
    assert by_type["cell"][0]["zero_fraction"] == 0.0
    assert len(by_type["round"]) == 2
    for record in by_type["round"]:
        assert set(record["entries"]) == {"parmlp@1", "numpy@1"}
        assert record["peak"]["1"]["flops"] > 1e9
        assert all(e["seconds"] > 0 and e["rows"] > 0 for e in record["entries"].values())

    assert competitors["numpy"]["status"] == "timed"
    assert competitors["numpy"]["check"]["change_error"] < 1e-5
    assert competitors["wrong"]["status"] == "rejected"
    assert not (tiny_world / "timed-a-wrong-rival").exists()
    assert competitors["breaks"]["status"] == "failed"
    assert "no such library" in competitors["breaks"]["reason"]
    assert competitors["dies"]["status"] == "failed"
    assert "status 3" in competitors["dies"]["reason"]
    assert competitors["absent"]["reason"] == "not on this machine"

    # The table is made from the raw records alone, then and now.
    assert report.table(records, 2) == printed.rstrip("\n")
    rows = report.markdown(records, 2).splitlines()[2:]
    assert len(rows) == sum(r["type"] == "cell" for r in records)
    assert program.main(["table", str(out)]) == 0
    assert capsys.readouterr().out == printed
    assert "not timed: wrong@1: rejected" in printed
    assert "ratio goal 1000x" in printed


def test_a_lost_cell_is_marked() -> None:
    competitor = {"type": "competitor", "cell": TINY.name, "threads": 1, "status": "timed"}
    rounds = [
        {
            "type": "round",
            "quiet": True,
            "peak": {"1": {"flops": 1e9}},
            "entries": {
                "parmlp@1": {"samples_per_second": 90.0 + i},
                "slow@1": {"samples_per_second": 10.0},
                "fast@1": {"samples_per_second": 100.0 + i},
            },
        }
        for i in range(7)
    ]
    head = {"type": "cell", "cell": TINY.to_dict(), "threads": [1]}
    names = ("parmlp", "slow", "fast")
    group = [head, *(competitor | {"entry": n} for n in names), *rounds]
    peaks = report.peaks_of(group)
    assert peaks == {1: 1e9}
    figures = report.figures(group, peaks)
    (comparison,) = figures.comparisons
    assert comparison.best.entry == "fast"
    assert comparison.lost
    assert not figures.noisy
    assert "LOST" in report.table(group)
    assert "cells we lose: 1" in report.table(group)
    assert ", lost**" in report.markdown(group)
    rounds[0]["quiet"] = False
    assert report.figures(group, peaks).noisy


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cells", "nothing"], "no cell matches"),
        (["--rivals", "keras"], "no competitor keras"),
        (["--threads", "4096"], "may use"),
        (["--python", f"keras={sys.executable}"], "expected NAME=PATH"),
        (["install-rivals", "--dir", "x", "--only", "keras"], "no environment keras"),
    ],
)
def test_bad_arguments(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(words) == 2
    assert message in capsys.readouterr().err


def test_ours_beside_the_others(tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own rows pass the check, by epochs and by a whole fit."""
    pytest.importorskip("parmlp._core")
    entries = {
        name: Entry(name, f"benchmarks.cpu.own_rows:{target}", None)
        for name, target in (("parmlp", "Epochs"), ("parmlp_fit", "Fit"))
    }
    monkeypatch.setattr(program, "ENTRIES", entries)
    monkeypatch.setattr(cells, "CELLS", (Cell(TINY.layers, 8, "dense", DEFAULT, 256),))
    out = tiny_world / "results.jsonl"
    words = ["--threads", "1", "--rounds", "1", "--repeats", "0", "--seconds", "0.01"]
    assert program.main([*words, "--out", str(out)]) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    for record in records:
        if record["type"] == "competitor":
            assert record["status"] == "timed", record
        if record["type"] == "round":
            clock = record["entries"]["parmlp_fit@1"]["own_clock"]
            assert 0 < clock["training"] <= clock["fit"]
