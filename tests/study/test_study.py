"""A whole tiny study with real processes: what breaks is recorded in place, the rest goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parmlp.study import experiments, folders, implementations, laboratory, study
from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.experiments import Experiment, parse
from parmlp.study.implementations import Implementation
from parmlp.study.measure.rivals import Entry
from parmlp.study.records import CellRecord, Results
from parmlp.study.settings import SETTINGS, Settings
from parmlp.study.study import Request, run_study

HERE = Path(__file__).resolve().parent
TINY = Settings(
    rounds=2,
    repeats=0,
    seconds=0.005,
    minibatches=1,
    check_rows=64,
    patience=60.0,
    every_mode=True,
)


def tiny(**grid: Any) -> Experiment:
    fields: dict[str, Any] = {
        "data": "digits",
        "layers": [[64, 8, 10]],
        "rows": [320],
        "batch": [64],
        "threads": [1],
        "configuration": "faithful",
    }
    document = {"title": "t", "question": "q", "expectation": "e", "defaults": fields | grid}
    return parse("tiny", document | {preset: [{}] for preset in experiments.PRESETS})


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake rivals as implementations of their own."""
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    kinds = ("Wrong", "Nan", "Breaks", "Absent", "Hangs", "Dies", "Slow")
    modes = {kind: Entry(kind.lower(), f"fake_rivals:{kind}", None) for kind in kinds}
    for entry in modes.values():
        found = Implementation(entry.name, (entry,))
        monkeypatch.setitem(implementations.IMPLEMENTATIONS, entry.name, found)
    numpy = implementations.IMPLEMENTATIONS["numpy"].modes[0]
    several = Implementation("several", (modes["Slow"], modes["Wrong"], numpy, modes["Absent"]))
    monkeypatch.setitem(implementations.IMPLEMENTATIONS, "several", several)


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, experiment: Experiment, **settings: Any
) -> tuple[Results, list[str]]:
    monkeypatch.setattr(experiments, "load", lambda names=None: [experiment])
    monkeypatch.setitem(SETTINGS, "quick", Settings(**vars(TINY) | settings))
    lines: list[str] = []
    shown: list[PlannedCell] = []

    def show(cells: list[tuple[PlannedCell, float]]) -> Any:
        assert all(seconds >= 0 for _, seconds in cells)
        return shown.append

    request = Request("quick", folder, None, None, False, folder / "no-peers")
    results = run_study(request, lines.append, show)
    assert {p.key for p in shown} == set(results.cells)
    return results, lines


def by_name(results: Results) -> dict[str, CellRecord]:
    return {c.cell.implementation: c for c in results.cells.values()}


def test_rivals_that_break_are_recorded_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None
) -> None:
    names = ["wrong", "nan", "breaks", "absent", "dies", "several", "parmlp_serial", "theano_gpu"]
    results, lines = run(tmp_path, monkeypatch, tiny(implementations=names))
    cells = by_name(results)
    assert {name: c.status for name, c in cells.items()} == {
        "wrong": "rejected",
        "nan": "rejected",
        "breaks": "failed",
        "absent": "unavailable",
        "dies": "failed",
        "several": "timed",
        "parmlp_serial": "timed",
        "theano_gpu": "unavailable",
    }
    assert cells["nan"].check is not None
    assert cells["nan"].check.change_error is None
    assert cells["nan"].rounds == ()
    assert "no such library" in str(cells["breaks"].reason)
    assert "status 3" in str(cells["dies"].reason)
    assert cells["several"].versions["mode"] == "numpy"  # the fastest of those that are right
    assert cells["parmlp_serial"].check is not None
    assert cells["parmlp_serial"].check.change_error is not None
    assert cells["parmlp_serial"].check.change_error < 1e-4
    for name in ("several", "parmlp_serial"):
        assert len(cells[name].rounds) == 2
        assert all(r.seconds > 0 and r.rows > 0 for r in cells[name].rounds)
    assert any("wrong@1: rejected" in line for line in lines)
    log = (tmp_path / study.LOG).read_text()
    assert "dies@1: failed" in log
    assert results.run.platform["cpu"]
    assert results.end is not None
    assert results.end.complete


def test_a_mode_is_chosen_anew_only_at_a_very_different_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None
) -> None:
    tried: list[str] = []
    prepare = laboratory.rounds.prepare

    def spy(competitor: Any, prepared: Any, *more: Any) -> Any:
        tried.append(f"{competitor.entry.name} {prepared.workload.batch}")
        return prepare(competitor, prepared, *more)

    monkeypatch.setattr(laboratory.rounds, "prepare", spy)
    experiment = tiny(implementations=["several"], batch=[8, 32, 64])
    results, _ = run(tmp_path, monkeypatch, experiment)
    assert [c.versions["mode"] for c in results.cells.values()] == ["numpy"] * 3
    modes = ("slow", "wrong", "numpy", "absent")
    assert tried == [*(f"{m} 8" for m in modes), "numpy 32", *(f"{m} 64" for m in modes)]


def test_libraries_on_a_gpu_need_a_driver_then_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None
) -> None:
    entry = Entry("platform", "fake_rivals:Platform", "platform", device="gpu")
    monkeypatch.setitem(
        implementations.IMPLEMENTATIONS, "fake_gpu", Implementation("fake_gpu", (entry,))
    )
    names = ["fake_gpu", "jax_gpu"]
    for driver, reasons in (
        (False, ["no NVIDIA driver", "no NVIDIA driver"]),
        (True, ["JAX runs on cuda", "`parmlp study peers install jax_gpu` makes its environment"]),
    ):
        monkeypatch.setattr(laboratory.machine, "has_nvidia_driver", lambda found=driver: found)
        results, _ = run(tmp_path / str(driver), monkeypatch, tiny(implementations=names))
        cells = by_name(results)
        for name, reason in zip(names, reasons, strict=True):
            assert cells[name].status == "unavailable"
            assert reason in str(cells[name].reason)


def test_a_rival_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None
) -> None:
    results, _ = run(
        tmp_path, monkeypatch, tiny(implementations=["hangs", "theano_gpu"]), patience=3.0
    )
    cells = by_name(results)
    assert cells["hangs"].status == "timeout"
    assert "in 3 s; killed" in str(cells["hangs"].reason)
    assert cells["theano_gpu"].status == "unavailable"


def test_slow_cells_are_timed_on_some_minibatches_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: None
) -> None:
    results, _ = run(tmp_path, monkeypatch, tiny(implementations=["slow"]), minibatches=2)
    slow = by_name(results)["slow"]
    assert slow.scaled
    assert {r.rows for r in slow.rounds} == {128}


def test_training_records_accuracies_and_equal_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tiny(
        implementations=["parmlp_serial", "parmlp_threads", "numpy"],
        rows=[600],
        batch=[16],
        learning_rate=[3.0],
        epochs=8,
        thresholds=[0.5, 1.0],
        time=False,
    )
    results, _ = run(tmp_path, monkeypatch, experiment)
    cells = by_name(results)
    assert cells["parmlp_serial"].weights_sha256 == cells["parmlp_threads"].weights_sha256
    # The same seed draws the same orders: the curves of two engines are the same numbers.
    assert cells["parmlp_serial"].loss_curve == cells["parmlp_threads"].loss_curve
    for cell in cells.values():
        assert cell.status == "timed"
        assert cell.rounds == ()
        assert cell.loss_curve is not None
        assert len(cell.loss_curve) == 8
        assert np.all(np.diff(cell.loss_curve) < 0)
        assert cell.accuracy is not None
        assert cell.accuracy.test is not None
        assert cell.accuracy.test > 0.6
        assert cell.accuracy.validation is not None
        assert cell.epoch_seconds is not None
        assert cell.seconds_to_accuracy is not None
        reached = cell.seconds_to_accuracy["0.5"]
        assert reached is not None
        assert 0 < reached <= sum(cell.epoch_seconds) + 1e-9


def test_the_authors_implementations_and_the_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = ["naive_serial", "naive_pthreads", "blas_serial", "blas_parallel"]
    results, _ = run(
        tmp_path, monkeypatch, tiny(implementations=[*baselines, "parmlp_threads"], phases=True)
    )
    cells = by_name(results)
    for name in baselines:
        assert cells[name].status == "failed", cells[name].reason
        assert len(cells[name].rounds) == 2  # timed, but it cannot be taken apart
        assert "profile" in str(cells[name].reason)
    phases = cells["parmlp_threads"].phases
    assert phases is not None
    assert sum(p.share for p in phases) == pytest.approx(1.0)


def test_missing_peers_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = run(tmp_path, monkeypatch, tiny(implementations=["theano", "numpy"]))
    theano = by_name(results)["theano"]
    assert theano.status == "unavailable"
    assert "`parmlp study peers install theano`" in str(theano.reason)


def test_unknown_names(tmp_path: Path) -> None:
    def request(**more: Any) -> Request:
        fields: dict[str, Any] = {"experiments": None, "implementations": None}
        return Request("quick", tmp_path, resume=False, peers_folder=tmp_path, **fields | more)

    for wrong, message in (
        ({"experiments": ["speed"]}, "no experiment speed"),
        ({"implementations": ["keras"]}, "no implementation keras"),
        ({"implementations": ["theano"], "experiments": ["phases"]}, "no cells of theano"),
    ):
        with pytest.raises(StudyError, match=message):
            run_study(request(**wrong), print, lambda cells: print)
    assert list(tmp_path.iterdir()) == []


def test_the_latest_folder(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="parmlp study run"):
        folders.latest_folder(tmp_path)
    for i, name in enumerate(["b", "a"]):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "results.jsonl"
        file.touch()
        os.utime(file, (i, i))
    assert folders.latest_folder(tmp_path) == tmp_path / "a"
    assert folders.new_folder(tmp_path).parent == tmp_path
