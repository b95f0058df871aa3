"""Findings come from the data: swap two implementations' numbers and they swap."""

from dataclasses import replace

import pytest

from parmlp.study import implementations, predictions
from parmlp.study.analysis import Finding, Predictions, Statement, StudyRun, findings
from parmlp.study.analysis.implementations import IMPLEMENTATIONS
from parmlp.study.records import Cell, CellRecord
from study.simulated_machine import FAITHFUL, Machine, Program


def run_of(machine: Machine, records: list[CellRecord] | None = None) -> StudyRun:
    cells = machine.study() if records is None else records
    return StudyRun(machine.run(), tuple(cells), machine.ceiling())


def by_id(run: StudyRun) -> dict[str, Finding]:
    return {f.id: f for f in findings(run)}


def swap(records: list[CellRecord], one: str, other: str) -> list[CellRecord]:
    """The same records with the names of two implementations exchanged."""
    names = {one: other, other: one}
    return [
        replace(
            r,
            cell=replace(
                r.cell, implementation=names.get(r.cell.implementation, r.cell.implementation)
            ),
        )
        for r in records
    ]


def test_what_the_simulation_was_built_with_is_found() -> None:
    found = by_id(run_of(Machine()))
    verdicts = {name: f.verdict for name, f in found.items()}
    assert verdicts == {
        "not_faster_than_theano": "reproduced",
        "examples_gain_with_batch": "reproduced",
        "blas_flat_in_batch": "reproduced",
        "ten_times_from_threads": "not measurable here",
        "twenty_five_times_from_gpu": "not measurable here",
        "cuda_ahead_of_theano_gpu": "not measurable here",
        "odd_widths": "not measurable here",
        "bank_conflicts": "not measurable here",
        "ahead_of_rivals": "holds",
        "examples_against_matrices": "holds",
        "two_phase_against_examples": "holds",
        "same_bits": "holds",
        "equal_accuracy": "holds",
        "predictions_hold": "not measurable here",
    }
    assert "At most 8 threads" in found["ten_times_from_threads"].measured


def test_swapped_numbers_swap_the_findings() -> None:
    records = list(Machine().implementations())
    before = by_id(run_of(Machine(), records))["ahead_of_rivals"]
    # Both of our tuned rows must lose their numbers, or the other one wins for us.
    ours = [r for r in records if r.cell.implementation in ("parmlp_threads", "jax")]
    plain = by_id(run_of(Machine(), ours))["ahead_of_rivals"]
    swapped = by_id(run_of(Machine(), swap(ours, "parmlp_threads", "jax")))["ahead_of_rivals"]
    assert before.verdict == plain.verdict == "holds"
    assert swapped.verdict == "does not hold"
    assert plain.measured.startswith("Ahead in 6 of 6 problems, behind in 0.")
    assert swapped.measured.startswith("Ahead in 0 of 6 problems, behind in 6.")


@pytest.mark.parametrize(
    ("one", "other", "finding"),
    [
        ("parmlp_threads", "parmlp_partial_gradients", "two_phase_against_examples"),
        ("blas_parallel", "theano", "not_faster_than_theano"),
    ],
)
def test_swaps_turn_verdicts(one: str, other: str, finding: str) -> None:
    records = [r for r in Machine().implementations() if r.cell.implementation in (one, other)]
    before = by_id(run_of(Machine(), records))[finding]
    after = by_id(run_of(Machine(), swap(records, one, other)))[finding]
    assert {before.verdict, after.verdict} in (
        {"holds", "does not hold"},
        {"reproduced", "refuted"},
    )
    assert before.measured != after.measured


def test_ten_times_is_judged_where_there_are_32_threads() -> None:
    net, rows = (784, 1024, 10), 4096
    cells = [Cell("naive_serial", net, "mnist", rows, 4096, 1, FAITHFUL)]
    cells.append(Cell("naive_pthreads", net, "mnist", rows, 4096, 32, FAITHFUL))
    machine = Machine(cores=32)
    good = by_id(run_of(machine, machine.group("e", "g", cells)))
    assert good["ten_times_from_threads"].verdict == "reproduced"
    machine.programs["naive_pthreads"] = Program(0.015, serial=0.3)
    bad = by_id(run_of(machine, machine.group("e", "g", cells)))
    assert bad["ten_times_from_threads"].verdict == "refuted"


def test_pthreads_are_judged_on_most_threads_though_they_lose() -> None:
    machine = Machine(cores=2, fork_join=1.0)
    cells = [
        Cell(name, (784, 100, 10), "mnist5k", 4096, 128, p, FAITHFUL)
        for name, p in (("naive_serial", 1), ("naive_pthreads", 1), ("naive_pthreads", 2))
    ]
    found = by_id(run_of(machine, machine.group("e", "g", cells)))["ten_times_from_threads"]
    assert "At most 2 threads ran here" in found.measured
    assert "naive Pthreads on 2 threads is 0.0" in found.measured


@pytest.mark.parametrize(
    ("noise", "launch", "verdict"),
    [(0.01, 0.0, "reproduced"), (0.01, 1e-2, "refuted"), (0.5, 0.0, "not measurable here")],
)
def test_blas_is_flat_or_not_beyond_the_noise(noise: float, launch: float, verdict: str) -> None:
    machine = Machine(noise=noise)
    machine.programs["blas_serial"] = Program(0.11, launch=launch)
    cells = [
        Cell("blas_serial", (784, 100, 10), "mnist5k", 4096, b, 1, FAITHFUL) for b in (128, 1024)
    ]
    found = by_id(run_of(machine, machine.group("e", "g", cells)))
    assert found["blas_flat_in_batch"].verdict == verdict
    assert "both with a row of ours" in found["ahead_of_rivals"].measured


@pytest.mark.parametrize(("conflicts", "verdict"), [(3.0, "reproduced"), (8.0, "refuted")])
def test_bank_conflicts_are_judged_where_both_cuda_programs_were_timed(
    conflicts: float, verdict: str
) -> None:
    machine = Machine()
    machine.programs |= {"cuda": Program(conflicts), "cuda_optimized": Program(5.0)}
    cells = [
        Cell(name, (784, 1024, 10), "mnist", 4096, 128, 1, FAITHFUL)
        for name in ("cuda", "cuda_optimized")
    ]
    found = by_id(run_of(machine, machine.group("e", "g", cells)))["bank_conflicts"]
    assert found.verdict == verdict
    assert "CUDA optimized is" in found.measured


def test_widths_and_gpu_are_judged_where_cuda_was_timed() -> None:
    machine = Machine()
    machine.programs["parmlp_cuda"] = Program(8.0)
    nets = [(784, 1000, 10), (784, 1024, 10)]
    records = machine.group(
        "e", "g", [Cell("parmlp_cuda", n, "mnist", 4096, 128, 1, FAITHFUL) for n in nets]
    )
    slower = [replace(r, seconds=1.5 * r.seconds) for r in records[0].rounds]
    records[0] = replace(records[0], rounds=tuple(slower))
    records += machine.group(
        "e", "g", [Cell("blas_serial", n, "mnist", 4096, 128, 1, FAITHFUL) for n in nets]
    )
    found = by_id(run_of(machine, records))
    assert found["odd_widths"].verdict == "reproduced"
    assert (
        "reaches 67 % of the rate of 784-1024-10 with 784-1000-10" in found["odd_widths"].measured
    )
    assert found["twenty_five_times_from_gpu"].verdict == "reproduced"


def test_widths_on_the_cpu_decide_nothing_about_the_gpu() -> None:
    nets = [(784, 1000, 10), (784, 1024, 10)]
    cells = [Cell("parmlp_threads", n, "mnist", 4096, 128, 8, FAITHFUL) for n in nets]
    found = by_id(run_of(Machine(), Machine().group("e", "g", cells)))["odd_widths"]
    assert found.verdict == "not measurable here"
    assert "On the CPU" in found.measured


def test_every_implementation_of_the_study_is_known_here() -> None:
    assert set(implementations.IMPLEMENTATIONS) == set(IMPLEMENTATIONS)


def test_every_prediction_in_words_is_judged() -> None:
    assert set(predictions.FINDINGS) == {f.id for f in findings(run_of(Machine(), []))}


def test_one_different_bit_is_told() -> None:
    machine = Machine()
    records = list(machine.same_bits())
    records[-1] = replace(records[-1], weights_sha256="0" * 64)
    found = by_id(run_of(machine, records))["same_bits"]
    assert found.verdict == "does not hold"
    assert "784-100-10" in found.measured


def test_predictions_are_judged_in_the_words_they_were_made_with() -> None:
    machine = Machine()
    records = list(machine.network_sizes())
    said = Statement("ours", "Times can be predicted.", "Within a half.")
    for factor, verdict in ((1.1, "holds"), (3.0, "does not hold")):
        seconds = {
            r.key: machine.step_seconds(r.cell) * r.cell.rows / r.cell.batch * factor
            for r in records
        }
        predictions = Predictions(seconds, {}, {"predictions_hold": said})
        run = StudyRun(machine.run(), tuple(records), machine.ceiling(), predictions)
        found = by_id(run)["predictions_hold"]
        assert found.verdict == verdict
        assert (found.statement, found.expected) == ("Times can be predicted.", "Within a half.")


def test_noise_alone_decides_nothing() -> None:
    machine = Machine(noise=0.3)
    machine.programs["jax"] = machine.programs["parmlp_threads"]
    cells = [
        Cell(name, (784, 100, 10), "mnist5k", 4096, 128, 8, FAITHFUL)
        for name in ("parmlp_threads", "jax")
    ]
    found = by_id(run_of(machine, machine.group("e", "g", cells)))["ahead_of_rivals"]
    assert found.verdict == "not measurable here"
    assert "no difference seen in 1" in found.measured


def test_nothing_measured_finds_nothing() -> None:
    found = findings(run_of(Machine(), []))
    assert {f.verdict for f in found} == {"not measurable here"}
    assert all(f.measured for f in found)
