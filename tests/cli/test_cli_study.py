"""`parmlp study run`, `parmlp study report` and `parmlp study peers`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from parmlp.study import study
from parmlp.study.errors import StudyError
from parmlp.study.records import RESULTS, CellRecord, Results, ResultsWriter, RunRecord
from parmlp.study.study import Request


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that the command makes; its study is one cell that could not be measured."""
    made: list[Request] = []

    def run_study(request: Request, say: Any, show: Any) -> Results:
        made.append(request)
        say("[1/1] a group")
        cell: Any = None
        record = CellRecord("k", "phases", cell, "unavailable", "g", "not here")
        run: Any = None
        return Results(run, cells={"k": record})

    monkeypatch.setattr(study, "run_study", run_study)
    return made


def test_defaults(parmlp: Any, requests: list[Request]) -> None:
    outcome = parmlp("study", "run")
    assert outcome.code == 0
    (request,) = requests
    assert (request.preset, request.experiments, request.resume) == ("quick", None, False)
    assert request.folder.parent == Path("parmlp-study")
    assert "1 unavailable" in outcome.out
    assert f"parmlp study report {request.folder}" in outcome.out
    assert "[1/1] a group" in outcome.err


def test_options(parmlp: Any, requests: list[Request]) -> None:
    outcome = parmlp(
        "study", "run", "--preset", "paper", "--out", "here", "--experiments", "phases",
        "--experiments", "batch_size", "--implementations", "numpy", "--peers-dir", "there",
        "--resume", "--json",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.json == {"folder": "here", "preset": "paper", "cells": {"unavailable": 1}}
    assert requests == [
        Request("paper", Path("here"), ["phases", "batch_size"], ["numpy"], True, Path("there"))
    ]


def test_resume_takes_the_latest_run(parmlp: Any, requests: list[Request]) -> None:
    outcome = parmlp("study", "run", "--resume")
    assert outcome.code == 1
    assert "no run in parmlp-study" in outcome.err
    Path("parmlp-study/old").mkdir(parents=True)
    Path("parmlp-study/old/results.jsonl").touch()
    assert parmlp("study", "run", "--resume").code == 0
    assert requests[-1].folder == Path("parmlp-study/old")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--experiments", "speed"], 1, "no experiment speed; there are implementations"),
        (["--implementations", "keras"], 1, "no implementation keras; there are naive_serial"),
        (["--preset", "huge"], 2, "huge"),
        (["--out", "file/below"], 1, "cannot make file/below"),
    ],
)
def test_bad_arguments(parmlp: Any, words: list[str], code: int, message: str) -> None:
    Path("file").touch()
    outcome = parmlp("study", "run", *words)
    assert outcome.code == code
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_study_that_fails_is_one_line(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise StudyError("cannot write x: No space left on device")

    monkeypatch.setattr(study, "run_study", fail)
    outcome = parmlp("study", "run")
    assert outcome.code == 1
    assert outcome.err == "error: cannot write x: No space left on device\n"


def test_ctrl_c_says_how_to_go_on(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_study", interrupt)
    outcome = parmlp("study", "run")
    assert outcome.code == 130
    assert "--resume goes on" in outcome.err


def test_peers_list(parmlp: Any, tmp_path: Path) -> None:
    (tmp_path / "jax" / "bin").mkdir(parents=True)
    (tmp_path / "jax" / "bin" / "python").touch()
    outcome = parmlp("study", "peers", "list", "--dir", tmp_path, "--json")
    found = {peer["name"]: peer for peer in json.loads(outcome.out)["peers"]}
    assert found["jax"]["installed"]
    assert not found["theano"]["installed"]
    lines = parmlp("study", "peers", "list", "--dir", tmp_path).out.splitlines()
    assert lines[0].split()[:2] == ["environment", "installed"]
    assert any(line.split()[:2] == ["jax", "yes"] for line in lines)


def test_peers_install_of_an_unknown_name(parmlp: Any, tmp_path: Path) -> None:
    outcome = parmlp("study", "peers", "install", "keras", "--dir", tmp_path)
    assert outcome.code == 2
    assert "no environment keras; there are jax" in outcome.err


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's folder of a machine that could measure nothing."""
    folder = tmp_path / "parmlp-study/a-run"
    folder.mkdir(parents=True)
    run = RunRecord("quick", "2000-01-01T00:00:00+00:00", {}, {}, None)
    with ResultsWriter(folder / RESULTS) as writer:
        writer.append(run)
    return folder


def test_report_of_the_latest_run(parmlp: Any, run_folder: Path) -> None:
    outcome = parmlp("study", "report")
    assert outcome.code == 0
    page = Path("parmlp-study/a-run/report/index.html")
    assert outcome.out.startswith(f"{page}: 0 figures of 0 timed cells")
    assert "note: This run has not ended" in outcome.err
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_report_as_json(parmlp: Any, run_folder: Path) -> None:
    outcome = parmlp("study", "report", run_folder, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["page"] == str(run_folder / "report/index.html")
    assert (outcome.json["figures"], outcome.json["timed"]) == (0, 0)
    assert outcome.json["gaps"] > 20
    assert len(outcome.json["notices"]) == 3


def test_no_run_to_report(parmlp: Any, tmp_path: Path) -> None:
    outcome = parmlp("study", "report")
    assert outcome.code == 1
    assert "make one with `parmlp study run`" in outcome.err
    outcome = parmlp("study", "report", tmp_path / "nowhere")
    assert outcome.code == 1
    assert "nowhere" in outcome.err


def test_report_without_its_libraries(
    parmlp: Any, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith("parmlp.study.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = parmlp("study", "report", run_folder)
    assert outcome.code == 1
    assert "pip install 'parmlp[study]'" in outcome.err
