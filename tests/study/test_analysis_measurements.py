"""Rounds become times, GFLOP/s and speed-ups; what cannot be used is left out."""

from dataclasses import replace

import pytest

from parmlp.study.analysis import (
    Measurements,
    against_best_serial,
    against_own_one_thread,
    measure,
    winners,
)
from parmlp.study.records import Cell, CellRecord, Round
from study.simulated_machine import FAITHFUL, Machine

NET = (784, 100, 10)


def cell(name: str, threads: int = 1, batch: int = 128) -> Cell:
    return Cell(name, NET, "mnist5k", 4096, batch, threads, FAITHFUL)


def quiet_machine(**fields: object) -> Machine:
    return Machine(noise=0.0, **fields)


def test_time_and_gflops_are_the_machine_s() -> None:
    machine = quiet_machine()
    (record,) = machine.group("e", "g", [cell("blas_serial")])
    m = measure(record)
    assert m is not None
    step = machine.step_seconds(record.cell)
    assert m.epoch_seconds.median == pytest.approx(32 * step)
    assert m.step_seconds == pytest.approx(step)
    # BLAS serial has nothing but arithmetic at 11 % of the peak.
    assert m.gflops.median == pytest.approx(0.11 * 115)


def test_busy_rounds_are_left_out_when_enough_quiet_ones_remain() -> None:
    (record,) = Machine(rounds=12).group("e", "g", [cell("jax")])
    slow = [replace(r, seconds=100.0, quiet=False) for r in record.rounds[:5]]
    m = measure(replace(record, rounds=(*slow, *record.rounds[5:])))
    assert m is not None
    assert m.quiet
    assert m.row_seconds.high < 1
    few = measure(replace(record, rounds=(*slow, *record.rounds[5:9])))
    assert few is not None
    assert not few.quiet
    assert few.row_seconds.rounds == 9


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0])
def test_rounds_that_say_nothing(seconds: float) -> None:
    (record,) = Machine().group("e", "g", [cell("jax")])
    useless = tuple(replace(r, seconds=seconds) for r in record.rounds)
    assert measure(replace(record, rounds=useless)) is None
    assert measure(replace(record, rounds=(*useless, Round(9, 0, 1.0, 0.0, True)))) is None
    one = measure(replace(record, rounds=(*useless[:-1], record.rounds[-1])))
    assert one is not None
    assert one.row_seconds.rounds == 1
    assert measure(replace(record, status="failed")) is None


def test_speedups_have_the_right_baselines() -> None:
    machine = quiet_machine(cores=4)
    names = ("parmlp_serial", "parmlp_threads", "jax")
    cells = [cell(n, p) for n in names for p in (1, 4) if (n, p) != ("parmlp_serial", 4)]
    measured = Measurements.of(machine.group("e", "g", cells))
    best = {(s.measurement.name, s.threads): s for s in against_best_serial(measured)}
    assert {s.baseline.name for s in best.values()} == {"parmlp_serial"}
    assert best["parmlp_serial", 1].speedup.median == 1
    own = {(s.measurement.name, s.threads): s for s in against_own_one_thread(measured)}
    assert own["jax", 4].baseline.name == "jax"
    # JAX: serial share 0.35 of the work, and a launch, which does not get faster.
    assert own["jax", 4].speedup.median < 1 / (0.35 + 0.65 / 4)
    assert own["jax", 4].efficiency.median == pytest.approx(own["jax", 4].speedup.median / 4)
    fraction = own["jax", 4].serial_fraction
    assert fraction is not None
    assert 0.35 < fraction.median < 0.5
    assert own["jax", 1].serial_fraction is None


def test_pthreads_on_one_thread_is_naive_serial_where_it_was_not_timed_itself() -> None:
    cells = [cell("naive_serial"), cell("naive_pthreads", 2)]
    own = against_own_one_thread(Measurements.of(Machine().group("e", "g", cells)))
    assert [(s.measurement.name, s.baseline.name) for s in own] == [
        ("naive_serial", "naive_serial"),
        ("naive_pthreads", "naive_serial"),
    ]


def test_rounds_of_different_groups_are_no_pairs() -> None:
    machine = Machine(noise=0.2)
    one = measure(machine.group("e", "one", [cell("jax")])[0])
    other = measure(machine.group("e", "other", [cell("jax")])[0])
    assert one is not None
    assert other is not None
    assert one.speed_over(other).low < 1 < one.speed_over(other).high
    assert one.speed_over(one).low == one.speed_over(one).high == 1


def test_winners_are_the_fastest_and_lead_the_second() -> None:
    names = ("parmlp_serial", "jax", "numpy")
    (win,) = winners(Measurements.of(Machine().group("e", "g", [cell(n) for n in names])))
    assert win.second is not None
    assert (win.winner.name, win.second.name) == ("parmlp_serial", "jax")
    assert win.clear
    (alone,) = winners(Measurements.of(Machine().group("e", "g", [cell("jax")])))
    assert alone.second is None
    assert not alone.clear


def test_no_measurements() -> None:
    none = Measurements.of([])
    assert (len(none), none.most_threads, none.fastest(), winners(none)) == (0, 0, None, [])
    assert against_best_serial(none) == against_own_one_thread(none) == []


def test_records_of_any_name_are_measured() -> None:
    machine = quiet_machine()
    machine.programs["my_own"] = machine.programs["jax"]
    record: CellRecord
    (record,) = machine.group("e", "g", [cell("my_own")])
    m = measure(record)
    assert m is not None
    assert m.label == "my own"
