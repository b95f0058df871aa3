"""Who is fastest, problem by problem."""

from dataclasses import dataclass

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.measurements import Measurement, Measurements, Problem


@dataclass(frozen=True)
class Win:
    """The fastest implementation of a problem, and by how much it is ahead of other people's.

    ``second`` is the fastest of another family (ours, the authors', the libraries), for rows of one
    family share most of their code. ``lead`` is the ratio of their rates. Both are None where no
    other family was timed.
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
        cells = measured.where(problem=problem)
        first = min(cells, key=lambda m: m.row_seconds.median)
        family = first.implementation.family
        second = Measurements(m for m in cells if m.implementation.family != family).fastest()
        lead = None if second is None else first.speed_over(second)
        found.append(Win(problem, first, second, lead))
    return found
