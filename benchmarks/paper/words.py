"""Numbers and comparisons as the paper says them."""

import math
from collections.abc import Sequence

from benchmarks.paper.evidence import PaperError
from parmlp.study.analysis import Estimate
from parmlp.study.analysis.findings.finding import Duel
from parmlp.study.report.values import number as three_digits

#: In tables; what a reader may not take for a number.
NOT_PLANNED = "not run"


def finite(value: object) -> float:
    """`value` as a number.

    Raises
    ------
    PaperError
        If it is none: the results lack what the text asks for.
    """
    if isinstance(value, Estimate):
        value = value.median
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PaperError(f"a number was asked for that the results do not have: {value!r}")
    return float(value)


def number(value: object, unit: float = 1.0) -> str:
    """Three significant digits, in units of `unit`."""
    return three_digits(finite(value) / unit)


def count(value: object) -> str:
    """A whole number with its thousands apart."""
    return f"{round(finite(value)):,}"


def percent(value: object, digits: int = 0) -> str:
    """A share in percent."""
    return f"{100 * finite(value):.{digits}f} %"


def interval(value: Estimate) -> str:
    """``1.52 [1.40, 1.61]``."""
    finite(value)
    if value.coverage == 0:
        return f"{three_digits(value.median)} (one round)"
    return f"{three_digits(value.median)} [{three_digits(value.low)}, {three_digits(value.high)}]"


def small_interval(value: Estimate) -> str:
    """The median, with its interval in small print below it: for wide tables."""
    finite(value)
    if value.coverage == 0:
        return f"{three_digits(value.median)}<br><small>one round</small>"
    ends = f"{three_digits(value.low)} – {three_digits(value.high)}"
    return f"{three_digits(value.median)}<br><small>{ends}</small>"


def listed(items: Sequence[object]) -> str:
    """``a, b and c``."""
    words = [str(i) for i in items]
    if not words:
        raise PaperError("a list was asked for that the results do not have")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(amount: int, one: str, several: str | None = None) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{amount:,} {one if amount == 1 else several or one + 's'}"


def batch(d: Duel) -> str:
    """What distinguishes the duels of one network."""
    return f"batch {d.problem.batch:,}"


def span(found: Sequence[Duel]) -> str:
    """The range of a ratio over problems: ``1.2 times (batch 128) to 1.9 times (batch 4,096)``.

    With one problem its interval is given instead.
    """
    if not found:
        raise PaperError("a ratio was asked for that the results do not have")
    low = min(found, key=lambda d: d.ratio.median)
    high = max(found, key=lambda d: d.ratio.median)
    if len(found) == 1:
        return f"{interval(low.ratio)} times"
    ends = [three_digits(d.ratio.median) for d in (low, high)]
    if ends[0] == ends[1]:
        return f"{ends[0]} times in all {len(found)} problems"
    return f"{ends[0]} to {ends[1]} times"


def span_where(found: Sequence[Duel]) -> str:
    """The same, and at which batch either end is."""
    if len(found) < 2:
        return span(found)
    low = min(found, key=lambda d: d.ratio.median)
    high = max(found, key=lambda d: d.ratio.median)
    ends = [f"{three_digits(d.ratio.median)} times ({batch(d)})" for d in (low, high)]
    return " to ".join(ends)


def course(found: Sequence[Duel]) -> str:
    """Where a ratio goes from the first problem to the last: "rises", "falls" or neither.

    It rises or falls where the intervals of the two ends do not overlap.
    """
    if len(found) < 2:
        raise PaperError("a course needs two problems")
    first, last = found[0].ratio, found[-1].ratio
    said = [f"{interval(d.ratio)} times at {batch(d)}" for d in (found[0], found[-1])]
    ends = f"from {' to '.join(said)}"
    if last.low > first.high:
        return f"rises {ends}"
    if last.high < first.low:
        return f"falls {ends}"
    return f"shows no clear change {ends}"


def standing(found: Sequence[Duel]) -> str:
    """How often the first was ahead of the second: ``ahead in 5 of 6 problems, behind in 1``."""
    if not found:
        raise PaperError("a comparison was asked for that the results do not have")
    ahead = sum(d.ratio.above_one for d in found)
    behind = sum(d.ratio.below_one for d in found)
    level = len(found) - ahead - behind
    parts = [f"ahead in {ahead} of {plural(len(found), 'problem')}"]
    parts += [f"behind in {behind}"] if behind else []
    parts += [f"within the noise in {level}"] if level else []
    return listed(parts)
