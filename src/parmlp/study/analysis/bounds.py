"""What bounds a cell: arithmetic, bandwidth, synchronisation, launch, or none of these.

Each limit is turned into the time that it alone would take, and that time into a share of what was
measured. The largest share names the bound. Where none reaches `SMALL`, the machine's limits do not
explain the time: the program's own instructions take it, and the statement says so.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import optimize

from parmlp.study.analysis.measurements import Measurement, Measurements
from parmlp.study.analysis.roofline import Roof, bytes_per_sample, roofs
from parmlp.study.analysis.study import StudyRun

Kind = Literal["arithmetic", "bandwidth", "synchronisation", "launch", "instructions"]

#: A limit that explains less than this share of the time does not name the bound.
SMALL = 0.2

#: A straight line through two batch sizes always fits; a third can contradict it.
LEAST_BATCHES = 3


@dataclass(frozen=True)
class Bound:
    """What bounds a measurement, and why that is said.

    ``shares`` has the share of the measured time that each limit alone would take.
    """

    measurement: Measurement
    kind: Kind
    shares: dict[str, float]
    reasoning: str


def launch_seconds(m: Measurement, measured: Measurements) -> float | None:
    """Seconds a step costs whatever its batch: the constant of ``step = launch + batch * row``.

    Fitted without negative constants, relative to the measured times, over the batch sizes at
    which the same was timed; None for fewer than `LEAST_BATCHES` of them. It holds the calls, the
    starting of kernels and the update of the weights.
    """
    p = m.problem
    by_batch: dict[int, float] = {}
    for other in measured.where(experiment=m.record.experiment, names=[m.name], threads=m.threads):
        q = other.problem
        if replace(q, batch=p.batch) == p:
            by_batch[min(q.batch, q.rows)] = other.row_seconds.median
    if len(by_batch) < LEAST_BATCHES:
        return None
    batches = np.array(list(by_batch), dtype=float)
    seconds = np.array(list(by_batch.values()))
    columns = np.stack([1 / (batches * seconds), 1 / seconds], axis=1)
    return float(optimize.nnls(columns, np.ones_like(seconds))[0][0])


def hand_over_seconds(m: Measurement, run: StudyRun) -> tuple[float, str] | None:
    """Seconds a step spends handing work from thread to thread, and what that is made of.

    From the timers in the core where they ran, otherwise from the measured cost of one hand-over
    and how often the implementation does it. None where that is not known.
    """
    if m.threads == 1 or run.ceiling is None:
        return None
    profile = run.profile_of(m)
    if profile is not None and profile.phases and profile.hand_over_seconds is not None:
        count, one = len(profile.phases), profile.hand_over_seconds
        return count * one, f"{count} hand-overs of {_time(one)}, timed in the step"
    kind = m.implementation.hand_over
    layers = len(m.cell.layers) - 1
    batch = min(m.cell.batch, m.cell.rows)
    each_minibatch = kind == "minibatch"
    costs = run.ceiling.fork_join_seconds if each_minibatch else run.ceiling.hand_over_seconds
    cost = costs.get(str(m.threads))
    if kind == "none" or cost is None:
        return None
    if each_minibatch:
        return cost, f"one fork and join of {_time(cost)}"
    if kind == "example":
        # Forward and gradient in each layer, and backward in each but the first.
        count = batch * (3 * layers - 1)
        return count * cost, f"{count:,} products, each a hand-over of {_time(cost)}"
    count = 2 * layers
    return count * cost, f"at most {count} hand-overs of {_time(cost)}"


def bound_of(m: Measurement, run: StudyRun) -> Bound | None:
    """What bounds `m`, a measurement of `run`, or None where its ceilings were not measured."""
    roof = roofs(run.ceiling).get(m.threads)
    if roof is None or m.implementation.device != "cpu":
        return None
    step = m.step_seconds
    batch = min(m.cell.batch, m.cell.rows)
    shares: dict[str, float] = {
        "arithmetic": batch * m.needed_flops_per_sample / roof.peak_flops / step,
        "bandwidth": batch * bytes_per_sample(m.cell, run.cache) / roof.bytes_per_second / step,
    }
    hand_over = hand_over_seconds(m, run)
    launch = launch_seconds(m, run.measured)
    if hand_over is not None:
        shares["synchronisation"] = hand_over[0] / step
    if launch is not None:
        # The constant of a parallel step holds its hand-overs, which are counted already.
        rest = launch - (hand_over[0] if hand_over else 0.0)
        shares["launch"] = max(0.0, rest) / step
    largest = max(shares, key=lambda kind: shares[kind])
    kind: Kind = "instructions" if shares[largest] < SMALL else _KINDS[largest]
    reasoning = _reasoning(m, kind, shares, roof, hand_over[1] if hand_over else None)
    return Bound(m, kind, shares, reasoning)


_KINDS: dict[str, Kind] = {
    "arithmetic": "arithmetic",
    "bandwidth": "bandwidth",
    "synchronisation": "synchronisation",
    "launch": "launch",
}


def _reasoning(
    m: Measurement, kind: Kind, shares: dict[str, float], roof: Roof, hand_over: str | None
) -> str:
    cores = f"{roof.threads} core{'s' * (roof.threads > 1)}"
    operations = "the operations on nonzero values" if m.skips_zeros else "the operations"
    texts = {
        "arithmetic": f"{operations} alone, at the peak of {cores} "
        f"({roof.peak_flops / 1e9:.0f} GFLOP/s), take {{share}} of the time",
        "bandwidth": f"reading rows and weights alone, at {roof.bytes_per_second / 1e9:.0f} GB/s, "
        "takes {share} of the time",
        "synchronisation": f"{hand_over} take {{share}} of the time",
        "launch": "what a step costs whatever its batch takes {share} of the time",
    }
    said = [
        texts[k].format(share=_percent(shares[k])) for k in sorted(shares, key=shares.__getitem__)
    ]
    said.reverse()
    if kind == "instructions":
        said.insert(0, "no limit of the machine explains it, so its own instructions take the time")
    missing = []
    if max(shares["arithmetic"], shares["bandwidth"]) > 1:
        missing.append("more than all of it: that ceiling was measured too low")
    if "synchronisation" not in shares and roof.threads > 1:
        missing.append("its hand-overs are not known")
    if "launch" not in shares:
        missing.append(f"fewer than {LEAST_BATCHES} batch sizes, so no launch cost")
    return "; ".join([*said, *missing])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
