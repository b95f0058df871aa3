"""Roofline and bounds: programs built to be bound by one thing are said to be bound by it."""

from dataclasses import replace

import pytest

from parmlp.study.analysis import Bound, StudyRun, bound_of, roofline
from parmlp.study.analysis.roofline import Roof, bytes_per_sample, last_level_cache
from parmlp.study.records import Cell, Phase
from study.simulated_machine import FAITHFUL, Machine, Program

MEGABYTES_32 = 32 * 2**20


def run_of(
    machine: Machine, program: Program, batches: tuple[int, ...] = (128,), threads: int = 1
) -> StudyRun:
    machine.programs["parmlp_threads"] = program
    cells = [
        Cell("parmlp_threads", (784, 100, 10), "mnist5k", 4096, b, threads, FAITHFUL)
        for b in batches
    ]
    records = tuple(machine.group("e", "g", cells))
    return StudyRun(machine.run(), records, machine.ceiling())


def first_bound(run: StudyRun) -> Bound:
    bound = bound_of(next(iter(run.measured)), run)
    assert bound is not None
    return bound


@pytest.mark.parametrize(
    ("program", "batches", "threads", "kind"),
    [
        (Program(0.8), (128,), 1, "arithmetic"),
        (Program(0.01), (128,), 1, "instructions"),
        (Program(0.8, launch=1e-3), (32, 128, 512), 1, "launch"),
        (Program(0.8, serial=0.0, hand_overs=4), (16,), 8, "synchronisation"),
    ],
)
def test_the_bound_is_what_the_program_was_built_with(
    program: Program, batches: tuple[int, ...], threads: int, kind: str
) -> None:
    machine = Machine(noise=0.005, hand_over=80e-6 if kind == "synchronisation" else 80e-9)
    bound = first_bound(run_of(machine, program, batches, threads))
    assert bound.kind == kind
    assert all(share >= 0 for share in bound.shares.values())
    assert "%" in bound.reasoning


def test_bandwidth_binds_where_memory_is_slow() -> None:
    machine = Machine(noise=0, bandwidth=1e9)
    assert first_bound(run_of(machine, Program(0.8))).kind == "bandwidth"


def test_fork_join_and_each_example_cost_what_they_hand_over() -> None:
    machine = Machine(noise=0)
    for name in ("naive_pthreads", "blas_parallel"):
        cell = Cell(name, (784, 100, 10), "mnist5k", 4096, 128, 8, FAITHFUL)
        records = tuple(machine.group("e", "g", [cell]))
        bound = first_bound(StudyRun(machine.run(), records, machine.ceiling()))
        program = machine.programs[name]
        times = 128 if program.an_example else 1
        cost = program.hand_overs * machine.hand_over * 3 + program.fork_joins * 4 * 50e-6
        assert bound.shares["synchronisation"] == pytest.approx(
            times * cost / machine.step_seconds(cell)
        )


def test_a_ceiling_that_is_too_low_is_told() -> None:
    run = run_of(Machine(noise=0), Program(0.8))
    low = replace(Machine(), peak=50e9).ceiling()
    assert "measured too low" in first_bound(replace(run, ceiling=low)).reasoning
    assert "too low" not in first_bound(run).reasoning


def test_skipped_zeros_are_no_arithmetic() -> None:
    # 784-100-10: 4 * 784 * 100 of 319,600 operations are of the first layer.
    run = run_of(Machine(noise=0), Program(1.5))
    assert first_bound(run).shares["arithmetic"] == pytest.approx(1.5)
    (record,) = run.records
    few = replace(run, records=(replace(record, nonzero_share=0.2),))
    needed = (319_600 - 0.8 * 4 * 784 * 100) / 319_600
    bound = first_bound(few)
    assert bound.shares["arithmetic"] == pytest.approx(1.5 * needed)
    assert "on nonzero values" in bound.reasoning
    assert "too low" not in bound.reasoning
    assert roofline(few.measured, few.ceiling, MEGABYTES_32)[0].share == pytest.approx(1.5 * needed)
    many = replace(run, records=(replace(record, nonzero_share=0.5),))
    assert first_bound(many).shares["arithmetic"] == pytest.approx(1.5)
    rival = replace(record.cell, implementation="jax")
    others = replace(run, records=(replace(record, cell=rival, nonzero_share=0.2),))
    assert first_bound(others).shares["arithmetic"] == pytest.approx(1.5)


def test_no_ceiling_no_bound() -> None:
    run = replace(run_of(Machine(), Program(0.8)), ceiling=None)
    assert bound_of(next(iter(run.measured)), run) is None
    assert roofline(run.measured, None, None) == []


def test_hand_overs_timed_in_the_step_count_first() -> None:
    machine = Machine(noise=0)
    run = run_of(machine, Program(0.8, serial=0.0), threads=8)
    (record,) = run.records
    timed = replace(
        record,
        key="another",
        experiment="phases",
        rounds=(),
        phases=(Phase("forward", 0, 1e-5, 0.5), Phase("weights", 0, 1e-5, 0.5)),
        hand_over_seconds=machine.step_seconds(record.cell) / 4,
    )
    bound = first_bound(replace(run, records=(record, timed)))
    assert bound.shares["synchronisation"] == pytest.approx(0.5)
    assert "timed in the step" in bound.reasoning


def test_roofline_share_is_the_program_s_efficiency() -> None:
    machine = Machine(noise=0)
    cells = run_of(machine, Program(0.6)).measured
    (point,) = roofline(cells, machine.ceiling(), MEGABYTES_32)
    assert point.share == pytest.approx(0.6)
    # The weights fit the cache: only the row and its target come from memory.
    assert point.intensity == pytest.approx(319_600 / (4 * 794))


def test_weights_count_where_they_do_not_fit() -> None:
    cell = Cell("jax", (784, 100, 10), "mnist5k", 4096, 128, 1, FAITHFUL)
    weights = 4 * (784 * 100 + 100 * 10)
    assert bytes_per_sample(cell, None) == pytest.approx(4 * 794 + 3 * weights / 128)
    assert bytes_per_sample(cell, weights) == 4 * 794
    assert bytes_per_sample(cell, weights - 1) == bytes_per_sample(cell, None)


def test_roof_has_a_ridge() -> None:
    roof = Roof(1, 100e9, 10e9)
    assert roof.ridge == 10
    assert roof.allows(5) == 50e9
    assert roof.allows(20) == 100e9


def test_largest_cache_of_a_platform() -> None:
    caches = [{"level": "2", "size": "1024K"}, {"level": "3", "size": "32M"}, {"size": None}]
    assert last_level_cache({"caches": caches}) == MEGABYTES_32
    assert last_level_cache({"caches": [{"level": "1"}]}) is None
    assert last_level_cache({}) is None
