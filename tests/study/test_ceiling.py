"""The machine's limits: measured for each number of threads, and a peak that only rises."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from parmlp.study.ceiling import Meter
from parmlp.study.errors import StudyError

from .fakes import CEILING


def first_cpus(threads: int) -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))[:threads]


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """Its memory is small, so that the test is quick."""
    made = Meter([1], first_cpus)
    bandwidth = made._machine.bandwidth
    monkeypatch.setattr(made._machine, "bandwidth", lambda cpus: bandwidth(cpus, mebibytes=1))
    return made


def test_limits_are_positive_and_by_thread_count(meter: Meter) -> None:
    found = meter.measure()
    assert set(found.peak_flops) == set(found.read_bytes_per_second) == {"1"}
    assert found.peak_flops["1"] > 1e8
    assert found.read_bytes_per_second["1"] > 1e7
    assert found.hand_over_seconds == found.fork_join_seconds == {}  # one thread has neither


def test_a_peak_only_rises(meter: Meter) -> None:
    assert meter.raise_peak(replace(CEILING, peak_flops={"1": 1e18})) is None
    raised = meter.raise_peak(replace(CEILING, peak_flops={"1": 1.0, "2": 5.0}))
    assert raised is not None
    assert raised.peak_flops["1"] > 1e8
    assert raised.peak_flops["2"] == 5.0
    assert raised.hand_over_seconds == CEILING.hand_over_seconds


def test_no_compiler_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StudyError, match="no C compiler was found"):
        Meter([1], first_cpus).measure()
