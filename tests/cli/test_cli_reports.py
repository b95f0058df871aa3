"""`parmlp info`, `parmlp data`, `parmlp demo`: what they say is so, for people and as JSON."""

from pathlib import Path
from typing import Any

import pytest

from parmlp import _core
from parmlp.cli import demo_runs, hardware
from parmlp.engines import EngineStatus, cpu


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_runs, "EPOCHS", 3)
    monkeypatch.setattr(demo_runs, "ROUNDS", 2)


def test_info(parmlp: Any) -> None:
    outcome = parmlp("info", "--json")
    assert outcome.err == ""
    report = outcome.json
    assert report["usable_cores"] == _core.usable_cores()
    assert report["simd"] == _core.simd_target()
    assert report["simd"] in report["simd_targets"]
    assert [engine["name"] for engine in report["engines"]] == [
        "serial",
        "threads",
        "openmp",
        "cuda",
    ]
    text = parmlp("info").out
    for expected in (report["cpu"], report["simd"], "serial: available"):
        assert expected in text


def test_info_says_why_an_engine_is_missing(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [
        EngineStatus("serial", True),
        EngineStatus("openmp", False, "it was built without.", "Build it with."),
    ]
    monkeypatch.setattr("parmlp.engines.engine_statuses", lambda: missing)
    assert parmlp("info", "--json").json["engines"][1] == {
        "name": "openmp",
        "available": False,
        "reason": "it was built without.",
        "remedy": "Build it with.",
    }
    text = parmlp("info").out
    assert "openmp: not available: it was built without. Build it with." in text


def test_processor_as_linux_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Brain 9: fast\n", encoding="utf-8")
    for index, (level, kind, size) in enumerate([(2, "Unified", "1M"), (1, "Data", "32K")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        texts = {"level": level, "type": kind, "size": size, "shared_cpu_list": "0-1"}
        for name, text in texts.items():
            (folder / name).write_text(f"{text}\n", encoding="ascii")
    (tmp_path / "index9").mkdir()  # a cache that the virtual machine says nothing of
    monkeypatch.setattr(hardware, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(hardware, "_CACHES", tmp_path)
    assert hardware.cpu_model() == "Brain 9: fast"
    assert hardware.caches() == [
        hardware.Cache(1, "Data", "32K", "0-1"),
        hardware.Cache(2, "Unified", "1M", "0-1"),
    ]


def test_processor_that_linux_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(hardware, "_CACHES", tmp_path / "none")
    assert hardware.cpu_model()
    assert hardware.caches() == []


def test_data_list(parmlp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PARMLP_DATA", raising=False)
    monkeypatch.setenv("PARMLP_CACHE", str(tmp_path / "cache"))
    datasets = {each["name"]: each for each in parmlp("data", "list", "--json").json["datasets"]}
    assert list(datasets) == ["digits", "mnist5k", "mnist", "kddcup99"]
    assert datasets["digits"]["available"] is True
    assert datasets["mnist"]["available"] is False
    assert "parmlp data fetch mnist" in datasets["mnist"]["remedy"]
    assert "parmlp data fetch kddcup99" in parmlp("data", "list").out


def test_data_path_finds_files_below_parmlp_data(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARMLP_DATA", str(tmp_path))
    (tmp_path / "kddcup99").mkdir()
    paths = [
        str(tmp_path / "kddcup99" / name) for name in ("kddcup.data_10_percent.gz", "corrected.gz")
    ]
    for path in paths:
        Path(path).write_bytes(b"")
    assert parmlp("data", "path", "kddcup99", "--json").json == {"name": "kddcup99", "paths": paths}
    assert parmlp("data", "path", "kddcup99").out.splitlines() == paths


@pytest.mark.parametrize("command", ["path", "fetch"])
def test_digits_have_no_files(parmlp: Any, command: str) -> None:
    outcome = parmlp("data", command, "digits", "--json")
    assert outcome.code == 0
    assert outcome.json == {"name": "digits", "paths": []}
    assert "package" in parmlp("data", command, "digits").err


def test_fetch_of_a_spoiled_file_is_refused(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARMLP_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist" / f"{name}-ubyte.gz").write_bytes(b"not it")
    outcome = parmlp("data", "fetch", "mnist", "--json")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "SHA-256" in outcome.err


@pytest.mark.usefixtures("short_demo")
def test_demo_trains_every_engine_to_the_same_weights(parmlp: Any) -> None:
    outcome = parmlp("demo", "--threads", "2", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    available = [status.name for status in cpu.engine_statuses() if status.available]
    assert [row["name"] for row in report["engines"] if row["available"]] == available
    assert len({row["weights_sha256"] for row in report["engines"] if row["available"]}) == 1
    assert report["identical"] is True
    assert report["engines"][0]["speedup"] == 1.0
    assert report["engines"][1]["threads"] == 2

    text = parmlp("demo", "--threads", "2").out
    for name in available:
        assert f"\n{name} " in text
    assert "same bits" in text


@pytest.mark.usefixtures("short_demo")
def test_demo_fails_if_the_weights_differ(parmlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_runs, "weights_sha256", lambda model: f"as by {model.engine_}")
    outcome = parmlp("demo", "--json")
    assert outcome.code == 1
    assert outcome.json["identical"] is False
    assert "differ" in outcome.err
    assert " NO" in parmlp("demo").out


@pytest.mark.usefixtures("short_demo")
def test_demo_goes_on_without_openmp_and_says_why(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = [
        EngineStatus("serial", True),
        EngineStatus("threads", True),
        EngineStatus("openmp", False, "no libgomp.", "Install it."),
    ]
    monkeypatch.setattr(demo_runs, "engine_statuses", lambda: statuses)
    outcome = parmlp("demo")
    assert outcome.code == 0
    assert "openmp did not run: no libgomp. Install it." in outcome.out


@pytest.mark.usefixtures("short_demo")
@pytest.mark.parametrize(("share", "told"), [(0.5, True), (1.0, False)])
def test_demo_tells_of_a_busy_machine(
    parmlp: Any, monkeypatch: pytest.MonkeyPatch, share: float, told: bool
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(demo_runs.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(demo_runs.time, "process_time", lambda: share * next(clock))
    outcome = parmlp("demo")
    assert ("other programs kept the cores busy" in outcome.out) is told
