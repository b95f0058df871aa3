"""The table of cells."""

from __future__ import annotations

import json

import pytest

from benchmarks.cpu.cells import CELLS, QUICK, Cell, select
from parmlp.study.records import flops_per_sample


@pytest.mark.parametrize(
    ("layers", "flops"),
    [
        ((784, 100, 10), 4 * 784 * 100 + 6 * 100 * 10),
        ((41, 64, 23), 4 * 41 * 64 + 6 * 64 * 23),
        ((784, 1024, 1024, 10), 4 * 784 * 1024 + 6 * (1024 * 1024 + 1024 * 10)),
        ((5, 3), 4 * 5 * 3),
    ],
)
def test_flops_leave_out_the_gradient_of_the_input(layers: tuple[int, ...], flops: int) -> None:
    assert flops_per_sample(layers) == flops


def test_every_cell_has_its_own_name_and_both_configurations() -> None:
    names = [c.name for c in CELLS]
    assert len(set(names)) == len(names)
    assert {n.rpartition("/")[0] for n in names if n.endswith("faithful")} == {
        n.rpartition("/")[0] for n in names if n.endswith("default")
    }


def test_a_cell_survives_json() -> None:
    for cell in CELLS:
        assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell


def test_select_by_pattern() -> None:
    assert [c.name for c in select(list(QUICK))] == list(QUICK)
    assert {c.batch for c in select(["784-1024-10/*/faithful"])} == {128, 1024, 4096}
    with pytest.raises(ValueError, match="no cell matches 'x'"):
        select(["x"])
