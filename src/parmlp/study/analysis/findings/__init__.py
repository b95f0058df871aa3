"""Findings in words: each statement with what was expected, what was measured and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from parmlp.study.analysis.findings import ours, paper
from parmlp.study.analysis.findings.finding import Finding, Outcome, Verdict, verdict
from parmlp.study.analysis.study import StudyRun

__all__ = ["QUESTIONS", "Finding", "Verdict", "findings"]


@dataclass(frozen=True)
class Question:
    """A statement to look for in a run: see `Finding` for the fields."""

    id: str
    source: Literal["paper", "ours"]
    statement: str
    expected: str
    look: Callable[[StudyRun], Outcome]
    figure: str | None


QUESTIONS = (
    Question(
        "not_faster_than_theano",
        "paper",
        "The authors did not expect their code to run faster than Theano.",
        "Theano is ahead of the authors' CPU rows.",
        paper.not_faster_than_theano,
        "time_per_epoch",
    ),
    Question(
        "examples_gain_with_batch",
        "paper",
        "Splitting examples over threads gains as the minibatch grows.",
        "The speed-up of naive Pthreads over naive serial grows with the batch.",
        paper.examples_gain_with_batch,
        "speedup_by_batch",
    ),
    Question(
        "blas_flat_in_batch",
        "paper",
        "The BLAS rows, one example at a time, are flat in the minibatch.",
        "Their time per epoch does not depend on the batch.",
        paper.blas_flat_in_batch,
        "time_per_epoch",
    ),
    Question(
        "ten_times_from_threads",
        "paper",
        "About 10 times from 32 threads, over naive serial.",
        "10 times on 32 threads.",
        paper.ten_times_from_threads,
        "strong_scaling",
    ),
    Question(
        "twenty_five_times_from_gpu",
        "paper",
        "About 25 times from the GPU, evidently over BLAS serial.",
        "25 times BLAS serial.",
        paper.twenty_five_times_from_gpu,
        "speedup_by_batch",
    ),
    Question(
        "cuda_ahead_of_theano_gpu",
        "paper",
        "CUDA is ahead of Theano's GPU back end at batch 128.",
        "CUDA takes less time than Theano's GPU row.",
        paper.cuda_ahead_of_theano_gpu,
        None,
    ),
    Question(
        "odd_widths",
        "paper",
        "The GPU loses at layer widths that are not multiples of 32.",
        "Fewer GFLOP/s at such widths.",
        paper.odd_widths,
        "network_sizes",
    ),
    Question(
        "bank_conflicts",
        "paper",
        "Bank conflicts in shared memory cost the GPU kernels time.",
        "Kernels without conflicts are faster.",
        paper.bank_conflicts,
        None,
    ),
    Question(
        "ahead_of_rivals",
        "ours",
        "parmlp trains faster than the libraries a user would otherwise pick.",
        "Our fastest CPU row is ahead of the fastest library.",
        ours.ahead_of_rivals,
        "winners",
    ),
    Question(
        "examples_against_matrices",
        "ours",
        "Splitting examples pays more than splitting matrix operations.",
        "A larger speed-up over own one thread.",
        ours.examples_against_matrices,
        "examples_or_matrices",
    ),
    Question(
        "two_phase_against_examples",
        "ours",
        "Combining both splits (two phases) is ahead of splitting examples alone.",
        "The two-phase schedule takes less time at the same number of threads.",
        ours.two_phase_against_examples,
        "examples_or_matrices",
    ),
    Question(
        "same_bits",
        "ours",
        "The weights are the same to the last bit on any engine and number of threads.",
        "One digest of the weights a problem.",
        ours.same_bits,
        None,
    ),
    Question(
        "equal_accuracy",
        "ours",
        "The implementations reach the same accuracy with the same training.",
        f"Within {100 * ours.EQUAL:g} point of each other.",
        ours.equal_accuracy,
        "time_to_accuracy",
    ),
    Question(
        "predictions_hold",
        "ours",
        "Times follow from operation counts, measured ceilings and hand-over costs.",
        f"Most cells within {ours.RIGHT:g} times their prediction.",
        ours.predictions_hold,
        "predictions",
    ),
)


def findings(run: StudyRun) -> list[Finding]:
    """Every finding, the paper's first; what was stated before the run stands in its own words."""
    found = []
    for q in QUESTIONS:
        outcome = q.look(run)
        said = run.predictions.statements.get(q.id)
        found.append(
            Finding(
                q.id,
                q.source,
                said.statement if said else q.statement,
                said.expected if said else q.expected,
                outcome.measured,
                verdict(q.source, outcome.holds),
                q.figure,
            )
        )
    return found
