"""The authors' Figures 5 to 10: time, rate and speed-up by implementation and batch."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from matplotlib.figure import Figure as Canvas

from parmlp.study.analysis import Estimate, Measurement, Measurements, Problem, StudyRun
from parmlp.study.analysis.implementations import order
from parmlp.study.analysis.speedup import best_serial
from parmlp.study.report.drawing import Drawing, Gap, axes_grid
from parmlp.study.report.figures.dots import Dot, DotPanel, dots
from parmlp.study.report.figures.lines import Axis, Panel, Series, lines
from parmlp.study.report.palette import MUTED, PAPER, label, style
from parmlp.study.report.values import Table, Value

#: From so many batch sizes on, values are drawn as lines over the batch.
_LINES_FROM = 3

_MISSING = "no cell of the experiment “implementations” was timed in this run"

Quantity = Callable[[Measurement], Estimate | None]


def time_per_epoch(run: StudyRun) -> Drawing | Gap:
    """The authors' Figures 5 and 6."""
    return _by_batch(
        run,
        "time_per_epoch",
        "Time per epoch by implementation and batch",
        "Lower is better.",
        y=Axis("seconds an epoch", log=True),
        quantity=lambda m: m.epoch_seconds,
    )


def gflops(run: StudyRun) -> Drawing | Gap:
    """The authors' Figures 7 and 8."""
    return _by_batch(
        run,
        "gflops",
        "GFLOP/s by implementation and batch",
        "Higher is better. Operations are counted by one formula, whatever a program does.",
        y=Axis("GFLOP/s", log=True),
        quantity=lambda m: m.gflops,
    )


def speedup_by_batch(run: StudyRun) -> Drawing | Gap:
    """The authors' Figures 9 and 10."""
    measured = run.of_experiment("implementations")
    bases = {p: best_serial(measured.where(problem=p)) for p in measured.problems}

    def speedup(m: Measurement) -> Estimate | None:
        base = bases[m.problem]
        return None if base is None else m.speed_over(base)

    return _by_batch(
        run,
        "speedup_by_batch",
        "Speed-up over the best serial program, by implementation and batch",
        "The best serial program is the fastest of all on one thread of the CPU, whoever wrote it; "
        "the dashed line is its speed.",
        y=Axis("speed-up", log=True),
        quantity=speedup,
        reference=1.0,
    )


def _by_batch(
    run: StudyRun,
    id: str,
    title: str,
    caption: str,
    *,
    y: Axis,
    quantity: Quantity,
    reference: float | None = None,
) -> Drawing | Gap:
    measured = run.of_experiment("implementations")
    groups: dict[Problem, list[Problem]] = defaultdict(list)
    for problem in measured.problems:
        groups[replace(problem, batch=0)].append(problem)
    if max(map(len, groups.values()), default=0) < _LINES_FROM:
        panels = [
            DotPanel(
                f"{p.net}\n{p.configuration}, batch {p.batch:,}",
                _dots(measured.where(problem=p), quantity),
            )
            for p in measured.problems
        ]
        said = f"{caption} Threads stand in brackets; bars are 95 % intervals of the median."
        return dots(id, title, said, panels=panels, x=y, missing=_MISSING, reference=reference)
    line_panels = [
        Panel(
            f"{p.net}, {p.data}, {p.configuration}",
            _series([measured.where(problem=q) for q in problems], quantity),
            None if reference is None else lambda _: reference,
        )
        for p, problems in groups.items()
    ]
    said = (
        f"{caption} Each implementation at its best number of threads; bars are 95 % intervals of "
        "the median."
    )
    x = Axis("minibatch (rows)", log=True)
    return lines(
        id, title, said, panels=line_panels, x=x, y=y, missing=_MISSING, curve_label="best serial"
    )


def _dots(cells: Measurements, quantity: Quantity) -> list[Dot]:
    found = ((m, quantity(m)) for m in cells)
    return [Dot(m.name, m.threads, value) for m, value in found if value is not None]


def _series(by_batch: list[Measurements], quantity: Quantity) -> list[Series]:
    points: dict[str, dict[float, Estimate]] = defaultdict(dict)
    for cells in by_batch:
        for name, m in cells.by_name().items():
            value = quantity(m)
            if value is not None:
                points[name][m.cell.batch] = value
    return [Series(name, None, points[name]) for name in sorted(points, key=order)]


def distributions(run: StudyRun) -> Drawing | Gap:
    """Every round of the implementations, about its median."""
    id, title = "distributions", "Distributions: every round about its median"
    measured = run.of_experiment("implementations")
    by_net: dict[tuple[object, ...], Problem] = {}
    for p in measured.problems:
        by_net.setdefault((p.layers, p.data, p.configuration), p)
    problems = list(by_net.values())
    if not problems:
        return Gap(id, title, _MISSING)
    cells = {p: list(measured.where(problem=p)) for p in problems}
    names = sorted(
        {(m.name, m.threads) for found in cells.values() for m in found},
        key=lambda row: (order(row[0]), row[1]),
    )

    def deviations(m: Measurement) -> list[tuple[int, float, bool]]:
        quiet = {r.round: r.quiet for r in m.record.rounds}
        middle = m.row_seconds.median
        return [(r, 100 * (s / middle - 1), quiet[r]) for r, s in m.seconds_per_row.items()]

    def draw(canvas: Canvas, narrow: bool) -> None:
        axes = axes_grid(canvas, len(problems), narrow, 0.19 * len(names) + 0.85, share_y=True)
        for ax, p in zip(axes, problems, strict=True):
            for m in cells[p]:
                look = style(m.name)
                for wanted in (True, False):
                    percents = [x for _, x, quiet in deviations(m) if quiet == wanted]
                    ax.plot(
                        percents,
                        [names.index((m.name, m.threads))] * len(percents),
                        marker="o",
                        markersize=3.5,
                        linestyle="none",
                        alpha=0.75,
                        color=look.colour.light,
                        markerfacecolor=look.colour.light if wanted else PAPER.light,
                    )
            ax.axvline(0, color=MUTED.light, lw=0.8)
            ax.set_yticks(range(len(names)), [label(*row) for row in names])
            ax.set_ylim(len(names) - 0.4, -0.6)
            ax.set_title(f"{p.net}\n{p.configuration}, batch {p.batch:,}")
            ax.set_xlabel("% from the median")

    rows: list[tuple[Value, ...]] = [
        (p.text, m.label, m.threads, r, percent, "yes" if quiet else "no")
        for p in problems
        for m in cells[p]
        for r, percent, quiet in deviations(m)
    ]
    header = ("problem", "implementation", "threads", "round", "% from the median", "quiet")
    caption = (
        "A dot is the time of a round; hollow ones are rounds during which other programs used the "
        "CPU. The smallest batch of each network is shown."
    )
    return Drawing(id, title, caption, Table(id, header, rows), draw)
