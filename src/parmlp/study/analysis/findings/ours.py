"""What this project says of its own code and its predictions, looked for in the data."""

from parmlp.study.analysis.agreement import accuracies, compare_bits
from parmlp.study.analysis.findings.finding import Outcome, duels, majority, tell, times, vote
from parmlp.study.analysis.implementations import implementation
from parmlp.study.analysis.measurements import Measurement, Measurements
from parmlp.study.analysis.speedup import own_one_thread
from parmlp.study.analysis.study import StudyRun

#: Engines of the two-phase schedule, whose weights are the same to the last bit.
SAME_BITS = ("parmlp_serial", "parmlp_threads", "parmlp_openmp")

#: A prediction is right when measured and predicted differ by at most this factor.
RIGHT = 1.5

#: Accuracies that differ by no more than this are called equal.
EQUAL = 0.01


def _names(run: StudyRun, family: str, device: str) -> list[str]:
    return [
        name
        for name in run.measured.names
        if implementation(name).family == family and implementation(name).device == device
    ]


def ahead_of_rivals(run: StudyRun) -> Outcome:
    """Is our fastest CPU row ahead of the fastest library, problem by problem?"""
    found = duels(run.measured, _names(run, "ours", "cpu"), _names(run, "rival", "cpu"))
    if not found:
        return Outcome(None, "No problem was timed both with a row of ours and with a library.")
    return Outcome(majority([vote(d.ratio) for d in found]), tell(found))


def examples_against_matrices(run: StudyRun) -> Outcome:
    """Does splitting examples speed up more than splitting each matrix operation?"""
    measured = run.measured
    votes: list[int] = []
    told: list[tuple[float, str]] = []
    for problem in measured.problems:
        cells = measured.where(problem=problem)
        shared = set(_counts(cells, "naive_pthreads")) & set(_counts(cells, "blas_parallel"))
        for threads in sorted(shared)[-1:]:
            (examples,) = cells.where(names=["naive_pthreads"], threads=threads).by_name().values()
            (matrices,) = cells.where(names=["blas_parallel"], threads=threads).by_name().values()
            bases = own_one_thread(examples, measured), own_one_thread(matrices, measured)
            if bases[0] is None or bases[1] is None:
                continue
            one, other = examples.speed_over(bases[0]), matrices.speed_over(bases[1])
            votes.append(int(one.low > other.high) - int(one.high < other.low))
            text = (
                f"{problem.text}, {threads} threads: splitting examples makes naive code "
                f"{times(one)} as fast as on one thread, splitting products makes BLAS code "
                f"{times(other)} as fast"
            )
            told.append((one.median / other.median, text))
    if not votes:
        return Outcome(
            None, "The authors' two parallel rows were not both timed with their one-thread forms."
        )
    return Outcome(
        majority(votes),
        f"Splitting examples speeds up more in {votes.count(1)} of {len(votes)} problems, less in "
        f"{votes.count(-1)}. The widest difference: {max(told)[1]}.",
    )


def _counts(cells: Measurements, name: str) -> list[int]:
    return [m.threads for m in cells.where(names=[name]) if m.threads > 1]


def two_phase_against_examples(run: StudyRun) -> Outcome:
    """Is combining both splits (two phases) ahead of splitting examples alone?"""
    shared = Measurements(_at_shared_threads(run.measured))
    found = duels(shared, ["parmlp_threads"], ["parmlp_partial_gradients"])
    if not found:
        return Outcome(None, "The two schedules were not both timed on two threads or more.")
    return Outcome(majority([vote(d.ratio) for d in found]), tell(found))


def _at_shared_threads(measured: Measurements) -> list[Measurement]:
    """Both schedules at the largest number of threads at which both ran, problem by problem."""
    found: list[Measurement] = []
    names = ("parmlp_threads", "parmlp_partial_gradients")
    for problem in measured.problems:
        cells = measured.where(problem=problem)
        counts = set(_counts(cells, names[0])) & set(_counts(cells, names[1]))
        if counts:
            found += cells.where(names=names, threads=max(counts))
    return found


def same_bits(run: StudyRun) -> Outcome:
    """Are the weights the same to the last bit for any engine and number of threads?"""
    found = compare_bits(run.records, SAME_BITS)
    if not found:
        return Outcome(None, "No two of the engines left their weights' digest for one problem.")
    same = [c for c in found if c.same]
    text = f"The same bits in {len(same)} of {len(found)} comparisons of engines and thread counts."
    different = next((c for c in found if not c.same), None)
    if different is not None:
        text += f" They differ in {different.problem.text}, seed {different.seed}."
    return Outcome(different is None, text)


def equal_accuracy(run: StudyRun) -> Outcome:
    """Does everybody reach the same held-out accuracy with the same training?"""
    by_problem: dict[object, list[tuple[float, str]]] = {}
    for row in accuracies(run.records):
        key = (row.problem, row.epochs)
        by_problem.setdefault(key, []).append((row.median, implementation(row.name).label))
    spreads = [(max(v)[0] - min(v)[0], max(v), min(v)) for v in by_problem.values() if len(v) > 1]
    if not spreads:
        return Outcome(None, "No problem was trained to an accuracy by two implementations.")
    spread, best, least = max(spreads)
    return Outcome(
        spread <= EQUAL,
        f"The widest difference of medians over seeds among {len(spreads)} "
        f"problem{'s' * (len(spreads) > 1)} is {100 * spread:.2f} points: {best[1]} "
        f"{100 * best[0]:.2f} %, {least[1]} {100 * least[0]:.2f} %.",
    )


def predictions_hold(run: StudyRun) -> Outcome:
    """Were the times predicted within a factor?"""
    cells = run.predicted
    if not cells:
        return Outcome(None, "No predictions were made before this run, or none of a timed cell.")
    right = [c for c in cells if 1 / RIGHT <= c.ratio <= RIGHT]
    worst = max(cells, key=lambda c: max(c.ratio, 1 / c.ratio))
    return Outcome(
        2 * len(right) > len(cells),
        f"{len(right)} of {len(cells)} cells took between {1 / RIGHT:.2f} and {RIGHT:g} times the "
        f"predicted time. The worst: {worst.measurement.label}, {worst.measurement.problem.text}, "
        f"{worst.measurement.threads} thread{'s' * (worst.measurement.threads > 1)}, took "
        f"{worst.ratio:.2f} times it.",
    )
