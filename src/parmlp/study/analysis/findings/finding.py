"""What a finding is, and how its verdict comes from comparisons."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.measurements import Measurement, Measurements, Problem

Verdict = Literal["reproduced", "refuted", "holds", "does not hold", "not measurable here"]


@dataclass(frozen=True)
class Outcome:
    """What the data say of a statement: whether it holds (None: they cannot say), and in words."""

    holds: bool | None
    measured: str


@dataclass(frozen=True)
class Finding:
    """A statement, what was expected, and what was measured.

    Attributes
    ----------
    id : str
    source : {"paper", "ours"}
        The authors' report, or this project.
    statement, expected, measured : str
        Sentences; `measured` is generated from the data.
    verdict : str
    figure : str or None
        Id of the figure in the report that shows it.
    """

    id: str
    source: Literal["paper", "ours"]
    statement: str
    expected: str
    measured: str
    verdict: Verdict
    figure: str | None


def verdict(source: str, holds: bool | None) -> Verdict:
    """The word for it: what the paper says is reproduced or refuted, what we say holds or not."""
    if holds is None:
        return "not measurable here"
    if source == "paper":
        return "reproduced" if holds else "refuted"
    return "holds" if holds else "does not hold"


def majority(votes: Sequence[int]) -> bool | None:
    """Whether more comparisons are clearly for (+1) than against (-1); None where none is clear."""
    if not any(votes):
        return None
    return sum(votes) > 0


def vote(ratio: Estimate) -> int:
    """+1 where the whole interval of a ratio is above one, -1 where below, 0 where it holds one."""
    return int(ratio.above_one) - int(ratio.below_one)


@dataclass(frozen=True)
class Duel:
    """Two measurements of one problem; ``ratio`` is the first's speed over the second's."""

    problem: Problem
    first: Measurement
    second: Measurement
    ratio: Estimate


def duels(measured: Measurements, first: Iterable[str], second: Iterable[str]) -> list[Duel]:
    """The fastest of `first` against the fastest of `second`, in each problem that has both."""
    ones, others = list(first), list(second)
    found = []
    for problem in measured.problems:
        cells = measured.where(problem=problem)
        a, b = cells.where(names=ones).fastest(), cells.where(names=others).fastest()
        if a is not None and b is not None:
            found.append(Duel(problem, a, b, a.speed_over(b)))
    return found


def tell(found: Sequence[Duel]) -> str:
    """Duels in words: how many were won, and the clearest win and loss with their figures."""
    votes = [vote(d.ratio) for d in found]
    won, lost = votes.count(1), votes.count(-1)
    level = len(votes) - won - lost
    text = f"Ahead in {won} of {_problems(len(found))}, behind in {lost}"
    text += f", no difference seen in {level}." if level else "."
    best = max(found, key=lambda d: d.ratio.median)
    worst = min(found, key=lambda d: d.ratio.median)
    text += f" Best: {describe(best)}."
    return text if best is worst else f"{text} Worst: {describe(worst)}."


def describe(duel: Duel) -> str:
    """One duel with its interval: who is how many times as fast as whom, in which problem."""
    return (
        f"{with_threads(duel.first)} is {times(duel.ratio)} as fast as "
        f"{with_threads(duel.second)} ({duel.problem.text})"
    )


def with_threads(m: Measurement) -> str:
    """``JAX on 2 threads``."""
    if m.implementation.device == "gpu":
        return m.label
    return f"{m.label} on {m.threads} thread{'s' * (m.threads > 1)}"


def times(ratio: Estimate) -> str:
    """``1.52 times [1.40, 1.61]``; without an interval where there is one round."""
    if ratio.coverage == 0:
        return f"{ratio.median:.2f} times (one round, no interval)"
    return f"{ratio.median:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]"


def _problems(count: int) -> str:
    return f"{count} problem{'s' * (count != 1)}"
