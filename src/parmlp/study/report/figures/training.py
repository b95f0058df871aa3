"""What training reaches: time to accuracy, loss, and the choice of a learning rate."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import accumulate
from statistics import median

from parmlp.study.analysis import Estimate, Problem, StudyRun, estimate
from parmlp.study.analysis.implementations import order
from parmlp.study.analysis.measurements import problem_of
from parmlp.study.records import CellRecord
from parmlp.study.report.drawing import Drawing, Gap
from parmlp.study.report.figures.lines import Axis, Panel, Series, lines

Points = Callable[[CellRecord], Mapping[float, float]]


def _panels(
    records: Iterable[CellRecord],
    panel: Callable[[CellRecord], Problem],
    points: Points,
    title: Callable[[Problem], str],
    by_threads: bool = False,
) -> list[Panel]:
    """A panel a problem, a line an implementation, with intervals over seeds.

    What does not depend on threads is pooled over them, too.
    """
    found: dict[Problem, dict[tuple[str, int | None], dict[float, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for r in records:
        for x, y in points(r).items():
            threads = r.cell.threads if by_threads else None
            found[panel(r)][r.cell.implementation, threads][x].append(y)
    return [
        Panel(
            title(problem),
            [
                Series(name, threads, {x: estimate(ys) for x, ys in by_x.items()})
                for (name, threads), by_x in sorted(
                    series.items(), key=lambda item: (order(item[0][0]), item[0][1] or 0)
                )
            ],
        )
        for problem, series in found.items()
    ]


def _problem(r: CellRecord) -> Problem:
    return problem_of(r.cell)


def _title(p: Problem) -> str:
    return f"{p.net}, {p.data}, batch {p.batch:,}"


def time_to_accuracy(run: StudyRun) -> Drawing | Gap:
    """Seconds until a held-out accuracy."""

    def points(r: CellRecord) -> dict[float, float]:
        found = r.seconds_to_accuracy or {}
        return {100 * float(a): s for a, s in found.items() if s is not None}

    return lines(
        "time_to_accuracy",
        "Time to accuracy",
        "Seconds of training until the accuracy on held-out rows was first reached at the end of "
        "an epoch; medians over seeds, bars from 95 % intervals or, with few seeds, from the least "
        "to the largest. An accuracy that no seed reached has no point.",
        panels=_panels(run.records, _problem, points, _title, by_threads=True),
        x=Axis("accuracy on held-out rows, %"),
        y=Axis("seconds", log=True),
        missing="no training was scored in this run (experiment “time_to_accuracy”)",
    )


def accuracy_over_time(run: StudyRun) -> Drawing | Gap:
    """Held-out accuracy at the end of each epoch, by seconds from the start."""
    trained: dict[Problem, dict[tuple[str, int], list[CellRecord]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for r in run.records:
        if r.experiment == "time_to_accuracy" and r.test_curve and r.epoch_seconds:
            trained[_problem(r)][r.cell.implementation, r.cell.threads].append(r)
    panels = [
        Panel(
            _title(problem),
            [
                Series(name, threads, _over_time(seeds))
                for (name, threads), seeds in sorted(
                    by_row.items(), key=lambda item: (order(item[0][0]), item[0][1])
                )
            ],
        )
        for problem, by_row in trained.items()
    ]
    return lines(
        "accuracy_over_time",
        "From start to accuracy",
        "A point is the end of an epoch: seconds from the start, set-up and compilation included "
        "and scoring not, and the accuracy on held-out rows. Medians over seeds; bars from 95 % "
        "intervals or, with few seeds, from the least to the largest.",
        panels=panels,
        x=Axis("seconds from the start", log=True, ticks_at_points=False),
        y=Axis("accuracy on held-out rows, %", from_zero=False),
        missing="no training was scored in this run (experiment “time_to_accuracy”)",
    )


def _over_time(seeds: list[CellRecord]) -> dict[float, Estimate]:
    """Accuracy by seconds from the start, at the epochs that every seed has."""
    elapsed = [
        [(r.start_seconds or 0.0) + s for s in accumulate(r.epoch_seconds or ())] for r in seeds
    ]
    points: dict[float, Estimate] = {}
    scores = [r.test_curve or () for r in seeds]
    for seconds, accuracies in zip(
        zip(*elapsed, strict=False), zip(*scores, strict=False), strict=False
    ):
        known = [100 * a for a in accuracies if a is not None]
        if known:
            points[median(seconds)] = estimate(known)
    return points


def loss_curves(run: StudyRun) -> Drawing | Gap:
    """Training loss by epoch."""

    def points(r: CellRecord) -> dict[float, float]:
        if r.experiment != "time_to_accuracy" or not r.loss_curve:
            return {}
        return {epoch: loss for epoch, loss in enumerate(r.loss_curve, 1) if loss > 0}

    return lines(
        "loss_curves",
        "Training loss by epoch",
        "Lines that lie on each other are implementations that do the same arithmetic.",
        panels=_panels(run.records, _problem, points, _title),
        x=Axis("epoch"),
        y=Axis("loss", log=True),
        missing="no loss was recorded in this run (experiment “time_to_accuracy”)",
    )


def accuracy_by_batch(run: StudyRun) -> Drawing | Gap:
    """Accuracy after the same epochs, by batch."""

    def points(r: CellRecord) -> dict[float, float]:
        accuracy = _held_out(r)
        if r.experiment != "batch_size" or accuracy is None:
            return {}
        return {r.cell.batch: 100 * accuracy}

    return lines(
        "accuracy_by_batch",
        "Batch size: accuracy after the same number of epochs",
        "A larger minibatch takes fewer steps an epoch, so it learns less in as many epochs.",
        panels=_panels(
            run.records,
            lambda r: replace(_problem(r), batch=0),
            points,
            lambda p: f"{p.net}, {p.data}, {p.rows:,} rows",
        ),
        x=Axis("minibatch (rows)", log=True),
        y=Axis("accuracy, %"),
        missing="no accuracy was recorded by batch in this run (experiment “batch_size”)",
    )


def learning_rates(run: StudyRun) -> Drawing | Gap:
    """Validation accuracy over the authors' grid of learning rates."""

    def points(r: CellRecord) -> dict[float, float]:
        if r.experiment != "hyperparameters" or r.accuracy is None:
            return {}
        found = r.accuracy.validation
        found = r.accuracy.test if found is None else found
        return {} if found is None else {r.cell.configuration.learning_rate: 100 * found}

    return lines(
        "learning_rates",
        "Learning rate: accuracy on the validation rows",
        "The authors' grid on a 5:1 split of the training rows.",
        panels=_panels(
            run.records, lambda r: replace(_problem(r), learning_rate=0.0), points, _title
        ),
        x=Axis("learning rate", log=True),
        y=Axis("validation accuracy, %"),
        missing="no learning rates were compared in this run (experiment “hyperparameters”)",
    )


def _held_out(r: CellRecord) -> float | None:
    if r.accuracy is None:
        return None
    return r.accuracy.test if r.accuracy.test is not None else r.accuracy.validation
