"""The GPU benchmark: what it records and prints, without a GPU."""

import time
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.gpu.__main__ import run_cell, table
from benchmarks.gpu.cells import CELLS
from parmlp.study.measure.rivals.base import Result
from parmlp.study.measure.rivals.numpy import Numpy

TINY = replace(CELLS[0], cell=replace(CELLS[0].cell, layers=(6, 9, 4), batch=32, n_rows=256))


class Wrong(Numpy):
    """Trains, and reports weights that are a little off."""

    def result(self) -> Result:
        right = super().result()
        return Result(right.loss, [1.001 * W for W in right.coefs], right.intercepts)


class Broken(Numpy):
    def setup(self, work: Any) -> None:
        raise RuntimeError("out of order")


def test_only_who_agrees_with_float64_is_timed() -> None:
    later = time.monotonic() + 100
    competitors = {"parmlp": Numpy, "numpy": Numpy, "wrong": Wrong, "broken": Broken}
    record = run_cell(TINY, competitors, later, rounds=3)
    found = record["competitors"]
    assert len(found["parmlp"]["seconds"]) == len(found["numpy"]["seconds"]) == 3
    assert found["wrong"]["seconds"] == found["broken"]["seconds"] == []
    assert "wrong" in found["wrong"]["left_out"]
    assert found["broken"]["left_out"] == "RuntimeError: out of order"
    text = table(record)
    assert "6-9-4/b32/float32: goals 8 us a step, 4.0 x the best rival" in text
    assert " x numpy" in text
    assert "out of order" in text


def test_what_there_is_no_time_for_is_named() -> None:
    record = run_cell(TINY, {"numpy": Numpy}, until=0.0)
    assert record["competitors"]["numpy"]["left_out"] == "no time left"
    assert "no time left" in table(record)


def test_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_minibatches_are_whole(cell: Any) -> None:
    assert cell.cell.n_rows % cell.cell.batch == 0
