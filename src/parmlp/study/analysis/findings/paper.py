"""The findings of the authors' report, each looked for in the data."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from parmlp.study.analysis.estimates import Estimate
from parmlp.study.analysis.findings.finding import (
    Outcome,
    duels,
    majority,
    tell,
    times,
    vote,
    with_threads,
)
from parmlp.study.analysis.measurements import Measurement, Measurements
from parmlp.study.analysis.study import StudyRun

#: Slowest divided by fastest batch up to which a row is called flat.
FLAT = 1.2

#: The authors' threads and speed-up over naive serial, and what counts as "about" it.
THREADS, TENFOLD, ABOUT_TENFOLD = 32, 10.0, 8.0

#: The authors' GPU over (evidently) BLAS serial, and what counts as "about" it.
GPU_TIMES, ABOUT_GPU_TIMES = 25.0, 20.0

#: Threads of a warp, the width the authors' kernels liked.
WARP = 32

#: Widths are neighbours where one is at most so many times the other.
NEIGHBOURS = 1.25

#: The authors' two CUDA programs, rebuilt, and ours.
CUDA_ROWS = ("cuda", "cuda_optimized", "parmlp_cuda")

AUTHORS_CPU_ROWS = ("naive_serial", "naive_pthreads", "blas_serial", "blas_parallel")


def batch_series(measured: Measurements) -> list[list[Measurement]]:
    """Measurements that differ in nothing but batch, by batch; only where there are two or more."""
    series: dict[tuple[object, ...], dict[int, Measurement]] = defaultdict(dict)
    for m in measured:
        p = m.problem
        key = (m.name, m.threads, replace(p, batch=0))
        series[key][p.batch] = m
    return [
        [by_batch[b] for b in sorted(by_batch)] for by_batch in series.values() if len(by_batch) > 1
    ]


def examples_gain_with_batch(run: StudyRun) -> Outcome:
    """Does the speed-up of splitting examples grow with the minibatch?"""
    measured = run.measured
    votes: list[int] = []
    told: list[tuple[float, str]] = []
    for series in batch_series(measured.where(names=["naive_pthreads"])):
        found: list[tuple[Measurement, Estimate]] = []
        for m in series:
            serial = measured.where(names=["naive_serial"], problem=m.problem).fastest()
            if serial is not None and m.threads > 1:
                found.append((m, m.speed_over(serial)))
        if len(found) < 2:
            continue
        (small, before), (large, after) = found[0], found[-1]
        votes.append(int(after.low > before.high) - int(after.high < before.low))
        text = (
            f"{small.problem.net} on {small.threads} threads goes from {times(before)} at batch "
            f"{small.cell.batch:,} to {times(after)} at batch {large.cell.batch:,}"
        )
        told.append((abs(after.median / before.median - 1), text))
    if not votes:
        return _missing("naive Pthreads and naive serial were not both timed at two batch sizes")
    change = max(told)[1]
    return Outcome(
        majority(votes),
        f"The speed-up over naive serial grows with the batch in {votes.count(1)} of "
        f"{len(votes)} series, falls in {votes.count(-1)}; the rest are within the noise. "
        f"The largest change: {change}.",
    )


def blas_flat_in_batch(run: StudyRun) -> Outcome:
    """Does the time of the one-example-at-a-time BLAS rows not depend on the minibatch?"""
    found = batch_series(run.measured.where(names=["blas_serial", "blas_parallel"]))
    if not found:
        return _missing("no BLAS row was timed at two batch sizes")
    spreads = []
    for series in found:
        slow = max(series, key=lambda m: m.row_seconds.median)
        fast = min(series, key=lambda m: m.row_seconds.median)
        spreads.append((fast.speed_over(slow), series))
    votes = [int(s.high <= FLAT) - int(s.low > FLAT) for s, _ in spreads]
    spread, series = max(spreads, key=lambda item: item[0].median)
    return Outcome(
        majority(votes),
        f"The slowest batch takes at most {FLAT:g} times as long as the fastest in "
        f"{votes.count(1)} of {len(votes)} series, longer in {votes.count(-1)}; of the rest the "
        f"interval holds {FLAT:g}. The largest spread is {times(spread)}, of "
        f"{with_threads(series[0])}, {series[0].problem.net}, batch {series[0].cell.batch:,} to "
        f"{series[-1].cell.batch:,}.",
    )


def cuda_ahead_of_theano_gpu(run: StudyRun) -> Outcome:
    """Is CUDA ahead of Theano's GPU back end at batch 128? That back end no longer runs."""
    text = "Theano's GPU back end is dead upstream and runs on no current driver."
    beside = duels(
        Measurements(m for m in run.measured if m.cell.batch == 128),
        CUDA_ROWS,
        ["pytensor_gpu", "jax_gpu", "torch_gpu"],
    )
    if beside:
        return Outcome(
            None,
            f"{text} The fastest CUDA row at batch 128 beside today's libraries: {tell(beside)}",
        )
    return Outcome(None, f"{text} No other GPU row was timed at batch 128 in this run.")


def odd_widths(run: StudyRun) -> Outcome:
    """Does a GPU lose at widths that are not multiples of 32? Our CPU rows stand beside it."""
    cuda = list(_width_pairs(run.measured.where(names=CUDA_ROWS)))
    if cuda:
        text, lost = _tell_widths(cuda)
        return Outcome(lost, text)
    text = "It is about GPU kernels, and no CUDA row was timed at such a width."
    cpu = list(_width_pairs(run.measured.where(names=["parmlp_serial", "parmlp_threads"])))
    return Outcome(None, f"{text} On the CPU: {_lower(_tell_widths(cpu)[0])}" if cpu else text)


def _tell_widths(pairs: Sequence[tuple[Measurement, Measurement]]) -> tuple[str, bool]:
    """Pairs of an odd and an even width in words, and whether most of them lose."""
    # Different problems are no pairs of rounds; only the medians are divided.
    ratios = [(odd.gflops.median / even.gflops.median, odd, even) for odd, even in pairs]
    worst, odd, even = min(ratios, key=lambda item: item[0])
    lost = sum(ratio < 1 for ratio, _, _ in ratios)
    text = (
        f"Fewer GFLOP/s at a width that is not a multiple of {WARP} in {lost} of {len(ratios)} "
        f"pairs of neighbouring widths. The lowest: {with_threads(odd)} reaches "
        f"{100 * worst:.0f} % of the rate of {even.problem.net} with {odd.problem.net}."
    )
    return text, 2 * lost > len(ratios)


def _width_pairs(measured: Measurements) -> Iterable[tuple[Measurement, Measurement]]:
    """Each measurement at an odd width with the one at the nearest multiple of `WARP`.

    Only neighbours: a network of a tenth of the width is slower for other reasons.
    """

    def even(m: Measurement) -> bool:
        return all(width % WARP == 0 for width in m.cell.layers[1:-1])

    def rest(m: Measurement) -> tuple[object, ...]:
        p = m.problem
        shape = (len(p.layers), p.layers[0], p.layers[-1])
        return (*shape, p.data, p.batch, p.configuration, m.name, m.threads)

    for odd in measured:
        if even(odd):
            continue
        others = [m for m in measured if even(m) and rest(m) == rest(odd)]
        if others:
            width = sum(odd.cell.layers[1:-1])
            nearest = min(others, key=lambda m: abs(sum(m.cell.layers[1:-1]) - width))
            low, high = sorted((width, sum(nearest.cell.layers[1:-1])))
            if high <= NEIGHBOURS * low:
                yield odd, nearest


def bank_conflicts(run: StudyRun) -> Outcome:
    """Do bank conflicts cost the GPU kernels time?"""
    found = duels(run.measured, ["cuda_optimized"], ["cuda"])
    if not found:
        return _missing("the authors' CUDA programs with and without conflicts were not both timed")
    return Outcome(majority([vote(d.ratio) for d in found]), tell(found))


def ten_times_from_threads(run: StudyRun) -> Outcome:
    """Do 32 threads give about ten times naive serial?"""
    pthreads = run.measured.where(names=["naive_pthreads"])
    most = pthreads.most_threads
    serial = run.measured.where(names=["naive_serial"])
    at_most = Measurements([*pthreads.where(threads=most), *serial])
    found = duels(at_most, ["naive_pthreads"], ["naive_serial"])
    if not found or most < 2:
        return _missing("naive Pthreads on several threads and naive serial were not both timed")
    best = max(found, key=lambda d: d.ratio.median)
    efficiency = best.ratio.median / most
    text = (
        f"{with_threads(best.first)} is {times(best.ratio)} as fast as naive serial "
        f"({best.problem.text}), an efficiency of {100 * efficiency:.0f} %; the authors' "
        f"{TENFOLD:g} times on {THREADS} threads is {100 * TENFOLD / THREADS:.0f} %."
    )
    if most < THREADS:
        return Outcome(None, f"At most {most} threads ran here. {text}")
    return Outcome(best.ratio.median >= ABOUT_TENFOLD, text)


def twenty_five_times_from_gpu(run: StudyRun) -> Outcome:
    """Is the GPU about 25 times as fast as BLAS serial?"""
    found = duels(run.measured, CUDA_ROWS, ["blas_serial"])
    if not found:
        return _missing("BLAS serial and a CUDA row were not both timed on one problem")
    best = max(found, key=lambda d: d.ratio.median)
    return Outcome(best.ratio.median >= ABOUT_GPU_TIMES, tell(found))


def not_faster_than_theano(run: StudyRun) -> Outcome:
    """Is Theano at least as fast as the authors' own CPU programs?"""
    found = duels(run.measured, ["theano"], AUTHORS_CPU_ROWS)
    if not found:
        return _missing("Theano and the authors' rows were not both timed on one problem")
    return Outcome(
        majority([vote(d.ratio) for d in found]),
        f"Theano against the fastest of the authors' rows: {_lower(tell(found))}{_ours(run)}",
    )


def _ours(run: StudyRun) -> str:
    ours = [n for n in run.measured.names if n.startswith("parmlp_") and n != "parmlp_cuda"]
    found = duels(run.measured, ours, ["theano"])
    return f" The tuned rows of this project against Theano: {_lower(tell(found))}" if found else ""


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _missing(why: str) -> Outcome:
    return Outcome(None, f"{why[0].upper()}{why[1:]}.")
