"""Who is fastest, problem by problem."""

from dataclasses import dataclass

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.measurements import Measurement, Measurements, Problem


@dataclass(frozen=True)
class Win:
    """The fastest implementation of a problem, the next one, and by how much it is ahead.

    ``lead`` is the ratio of their rates; None where nobody else was timed.
    """

    problem: Problem
    winner: Measurement
    second: Measurement | None
    lead: Estimate | None

    @property
    def clear(self) -> bool:
        """Whether the interval of the lead lies above one."""
        return self.lead is not None and self.lead.above_one


def winners(measured: Measurements) -> list[Win]:
    """The winner of each problem, each implementation at its best number of threads."""
    found = []
    for problem in measured.problems:
        best = measured.where(problem=problem).by_name().values()
        first, *others = sorted(best, key=lambda m: m.row_seconds.median)
        second = others[0] if others else None
        lead = None if second is None else first.speed_over(second)
        found.append(Win(problem, first, second, lead))
    return found
