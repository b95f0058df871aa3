"""What we expect of each cell and of each finding, written before anything is timed.

The time of an epoch is ``rows / batch`` steps, and a step is

    max(operations / (share of the peak * measured peak), bytes / measured bandwidth)
        + hand-overs * measured hand-over + calls,

operations being ``batch * flops_per_sample``. The *shares* and *calls* below are our expectations
of how good each implementation is; they are stated here, not fitted to any result.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from parmlp.study.cells import PlannedCell
from parmlp.study.errors import StudyError
from parmlp.study.records import FORMAT, PREDICTIONS, CeilingRecord, Cell


@dataclass(frozen=True)
class Expectation:
    """How near to the machine's peak an implementation is expected to come, and what a step adds.

    Attributes
    ----------
    share : float
        Of the FMA peak of as many cores.
    calls : float
        Seconds a step that are spent outside of products, by calls and dispatch.
    parallel : bool
        Whether its products use all its threads.
    why : str
    """

    share: float
    calls: float
    parallel: bool
    why: str


_GEMM = "products of whole minibatches by a tuned library"

EXPECTATIONS = {
    "naive_serial": Expectation(
        1 / 20, 0, False, "loops over one example at a time, four floats a step at most"
    ),
    "naive_pthreads": Expectation(1 / 20, 0, True, "the same loops, examples split over threads"),
    "blas_serial": Expectation(
        1 / 8, 0, False, "matrix-vector products load each weight for two operations"
    ),
    "blas_parallel": Expectation(
        1 / 8, 0, False, "one example's products are too short for threads to gain"
    ),
    "parmlp_serial": Expectation(0.75, 0, True, "register-blocked kernels"),
    "parmlp_threads": Expectation(0.75, 0, True, "register-blocked kernels"),
    "parmlp_openmp": Expectation(0.75, 0, True, "register-blocked kernels"),
    "parmlp_partial_gradients": Expectation(
        0.6, 0, True, "the same kernels, and partial gradients to sum"
    ),
    "parmlp_fork_join": Expectation(0.6, 0, True, "the same kernels, and partial gradients to sum"),
    "theano": Expectation(0.7, 60e-6, True, _GEMM),
    "pytensor": Expectation(0.7, 60e-6, True, _GEMM),
    "torch": Expectation(0.7, 150e-6, True, _GEMM),
    "jax": Expectation(0.75, 20e-6, True, _GEMM),
    "numpy": Expectation(0.6, 80e-6, True, _GEMM),
    "sklearn": Expectation(0.5, 300e-6, True, _GEMM),
}


def predict(cell: Cell, ceiling: CeilingRecord) -> tuple[float, str] | None:
    """Seconds of an epoch, and why; None for what the CPU's limits say nothing about.

    Parameters
    ----------
    ceiling : CeilingRecord
        With the cell's number of threads.
    """
    expected = EXPECTATIONS.get(cell.implementation)
    if expected is None:
        return None
    threads = str(cell.threads if expected.parallel else 1)
    weights = sum(a * b for a, b in pairwise(cell.layers))
    arithmetic = cell.batch * cell.flops_per_sample / (expected.share * ceiling.peak_flops[threads])
    # The rows of the minibatch are read once; weights are read and written once a step.
    moved = 4.0 * (cell.batch * cell.layers[0] + 2 * weights)
    transfer = moved / ceiling.read_bytes_per_second[threads]
    overhead, words = _overhead(cell, ceiling)
    step = max(arithmetic, transfer) + overhead + expected.calls
    bound = "arithmetic" if arithmetic >= transfer else "memory bandwidth"
    because = (
        f"{cell.batch * cell.flops_per_sample / 1e6:.3g} MFLOP a step at {expected.share:.0%} of "
        f"{ceiling.peak_flops[threads] / 1e9:.4g} GFLOP/s ({expected.why}): "
        f"{1e6 * arithmetic:.3g} us; {moved / 1e6:.3g} MB: {1e6 * transfer:.3g} us; bound by "
        f"{bound}{words}"
    )
    if expected.calls:
        because += f"; calls {1e6 * expected.calls:.3g} us"
    return cell.rows / cell.batch * step, because


def _overhead(cell: Cell, ceiling: CeilingRecord) -> tuple[float, str]:
    """What working together adds to a step, and its words."""
    threads = str(cell.threads)
    if cell.threads == 1:
        return 0.0, ""
    if cell.implementation in ("naive_pthreads", "parmlp_fork_join"):
        cost = ceiling.fork_join_seconds[threads]
        return cost, f"; threads made and joined: {1e6 * cost:.3g} us"
    if cell.implementation.startswith("parmlp"):
        # Narrow layers: rows through all layers, then weights. Wide ones: a phase each way a layer.
        widest = max(cell.layers[1:])
        phases = 2 if widest <= 256 else 2 * (len(cell.layers) - 1)
        cost = phases * ceiling.hand_over_seconds[threads]
        return cost, f"; {phases} hand-overs: {1e6 * cost:.3g} us"
    return 0.0, ""


#: What the authors' report found, and what we expect; the report says what became of it.
FINDINGS: dict[str, dict[str, str]] = {
    "examples_gain_with_batch": {
        "source": "paper",
        "statement": "Splitting examples over threads gains more, the larger the minibatch is.",
        "expected": "speed-up of naive_pthreads rises with the batch size",
    },
    "blas_flat_in_batch": {
        "source": "paper",
        "statement": "The rows with BLAS, one example at a time, are flat in the batch size.",
        "expected": "time per epoch of blas_serial within 20 % over all batch sizes",
    },
    "cuda_ahead_of_theano_gpu": {
        "source": "paper",
        "statement": "CUDA is ahead of Theano's GPU at batch 128.",
        "expected": "not measurable: Theano's GPU back end is dead upstream",
    },
    "odd_widths": {
        "source": "paper",
        "statement": "Widths that are not multiples of 32 lose time.",
        "expected": "784-1030-10 within 5 % of 784-1024-10 in GFLOP/s on the CPU",
    },
    "bank_conflicts": {
        "source": "paper",
        "statement": "Bank conflicts of shared memory slow the CUDA code down.",
        "expected": "not measurable without a GPU",
    },
    "ten_times_from_threads": {
        "source": "paper",
        "statement": "32 threads are about 10 times as fast, over naive serial code.",
        "expected": "no machine of 32 cores: speed-up of naive_pthreads up to the cores there are",
    },
    "twenty_five_times_from_gpu": {
        "source": "paper",
        "statement": "A GPU is about 25 times as fast, evidently over the serial code with BLAS.",
        "expected": "not measurable without a GPU",
    },
    "not_faster_than_theano": {
        "source": "paper",
        "statement": "We do not expect our code to run faster than Theano.",
        "expected": "reproduced for the authors' rows; parmlp_threads is ahead of theano",
    },
    "ahead_of_rivals": {
        "source": "ours",
        "statement": "parmlp is ahead of every library in its best mode.",
        "expected": "at least 1.05 times the best rival in every cell",
    },
    "examples_against_matrices": {
        "source": "ours",
        "statement": "Splitting examples beats splitting the matrix operations of one example.",
        "expected": "naive_pthreads gains from threads at large batches, blas_parallel does not",
    },
    "two_phase_against_examples": {
        "source": "ours",
        "statement": "Both combined (two-phase) beat splitting examples alone.",
        "expected": "parmlp_threads ahead of parmlp_partial_gradients at every batch",
    },
    "same_bits": {
        "source": "ours",
        "statement": "The weights do not depend on engine or threads.",
        "expected": "one SHA-256 for parmlp_serial, parmlp_threads and parmlp_openmp in a cell",
    },
    "equal_accuracy": {
        "source": "ours",
        "statement": "All implementations reach the same accuracy.",
        "expected": "test accuracies within the spread of the seeds",
    },
    "predictions_hold": {
        "source": "ours",
        "statement": "Operation counts and measured ceilings predict the times.",
        "expected": "half of the cells within a factor of 1.5",
    },
}


def document(cells: Iterable[PlannedCell], ceiling: CeilingRecord) -> dict[str, Any]:
    """The content of ``predictions.json``."""
    predicted = {}
    for planned in cells:
        found = predict(planned.cell, ceiling)
        if found is not None:
            predicted[planned.key] = {"seconds_per_epoch": found[0], "because": found[1]}
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "ceiling": asdict(ceiling),
        "cells": predicted,
        "findings": FINDINGS,
    }


def write(folder: Path, content: dict[str, Any]) -> None:
    """Write ``predictions.json``: the whole file or none.

    Raises
    ------
    StudyError
        If it cannot be written.
    """
    target = folder / PREDICTIONS
    unfinished = folder / f".{PREDICTIONS}"
    try:
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                json.dump(content, file, allow_nan=False, indent=1)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(
            f"cannot write {target}: {error.strerror or error}; nothing has been timed yet. Free "
            "some space or choose another --out"
        ) from error


def read(folder: Path) -> dict[str, Any]:
    """Read ``predictions.json``.

    Raises
    ------
    StudyError
        If it is not there, is damaged or has another format.
    """
    file = folder / PREDICTIONS
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        found = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"cannot read {file} ({error}); start the run anew") from error
    if found != FORMAT:
        raise StudyError(f"{file} has format {found!r}, and this version of parmlp reads {FORMAT}")
    return content
