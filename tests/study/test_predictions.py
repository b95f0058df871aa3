"""Predictions follow from operation counts, ceilings and hand-over costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parmlp.study import experiments
from parmlp.study.cells import expand
from parmlp.study.implementations import IMPLEMENTATIONS
from parmlp.study.predictions import EXPECTATIONS, document, predict
from parmlp.study.records import flops_per_sample

from .fakes import CEILING, planned


def seconds(implementation: str, **more: object) -> float:
    found = predict(planned(implementation, **more).cell, CEILING)
    assert found is not None
    return found[0]


def test_an_epoch_is_its_operations_at_a_share_of_the_peak() -> None:
    share = EXPECTATIONS["parmlp_serial"].share
    by_hand = 1024 * flops_per_sample((64, 32, 10)) / (share * 1e11)
    assert seconds("parmlp_serial") == pytest.approx(by_hand)


def test_two_threads_add_hand_overs_and_fork_join_adds_threads() -> None:
    steps = 1024 / 64
    half = seconds("parmlp_serial") / 2
    assert seconds("parmlp_threads", threads=2) == pytest.approx(half + steps * 2 * 1e-7)
    cost = seconds("parmlp_fork_join", threads=2) - seconds("parmlp_fork_join") / 2
    assert cost == pytest.approx(steps * 2e-5)
    # One thread neither hands over nor is made.
    assert seconds("parmlp_fork_join") == seconds("parmlp_partial_gradients")


def test_rows_by_blas_are_flat_in_threads_and_batch() -> None:
    assert seconds("blas_parallel", threads=2) == seconds("blas_serial")
    assert seconds("blas_serial", batch=512) == pytest.approx(seconds("blas_serial"))


def test_a_slow_memory_binds() -> None:
    slow = replace(CEILING, read_bytes_per_second={"1": 1e8, "2": 1e8})
    found = predict(planned("parmlp_serial").cell, slow)
    assert found is not None
    moved = 4 * (64 * 64 + 2 * (64 * 32 + 32 * 10))
    assert found[0] == pytest.approx(1024 / 64 * moved / 1e8)
    assert "bound by memory bandwidth" in found[1]


def test_every_implementation_that_can_be_measured_on_a_cpu_is_predicted() -> None:
    measurable = {i.name for i in IMPLEMENTATIONS.values() if i.reason is None and not i.on_gpu}
    assert set(EXPECTATIONS) == measurable
    cells = expand(experiments.load(), "quick", 2)
    predicted = document(cells, CEILING)["cells"]
    assert set(predicted) == {p.key for p in cells if p.cell.implementation in EXPECTATIONS}
