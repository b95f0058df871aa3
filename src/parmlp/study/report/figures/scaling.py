"""Speed-up, efficiency and what they say of the serial part, by number of threads."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from parmlp.study.analysis import Estimate, Fit, StudyRun
from parmlp.study.analysis.scaling import ScalingSeries, strong_series, weak_series
from parmlp.study.report.drawing import Drawing, Gap, add_legend, axes_grid
from parmlp.study.report.figures.dots import Dot, DotPanel, dots
from parmlp.study.report.figures.lines import (
    Axis,
    Panel,
    Series,
    lines,
    plot_series,
    set_scales,
)
from parmlp.study.report.palette import INK, MUTED, label
from parmlp.study.report.values import Table, Value

_MISSING = "no implementation was timed both on one thread and on several in this run"
_THREADS = Axis("threads")

#: Up to so many thread counts are no line to look along: values stand in rows then.
_DOTS_UP_TO = 2

Points = Callable[[ScalingSeries], dict[int, Estimate]]


def _by_threads(
    id: str,
    title: str,
    caption: str,
    *,
    found: Sequence[ScalingSeries],
    points: Points,
    quantity: str,
    ideal: Callable[[float], float],
    ideal_label: str = "ideal",
) -> Drawing | Gap:
    """A quantity by threads: lines, or rows where there is one or two and no more."""
    titles = list(dict.fromkeys(s.title for s in found))
    counts = {p for s in found for p in s.points}
    if len(counts) <= _DOTS_UP_TO:
        rows = [
            DotPanel(
                text,
                [
                    Dot(s.name, p, v)
                    for s in found
                    if s.title == text
                    for p, v in points(s).items()
                    if p > 1
                ],
            )
            for text in titles
        ]
        reference = ideal(float(max(counts, default=1)))
        return dots(
            id,
            title,
            f"{caption} Threads stand in brackets; the dashed line is the ideal.",
            panels=rows,
            x=Axis(quantity),
            missing=_MISSING,
            reference=reference,
        )
    panels = [
        Panel(
            text,
            [
                Series(s.name, None, {float(p): v for p, v in points(s).items()})
                for s in found
                if s.title == text
            ],
            ideal,
        )
        for text in titles
    ]
    return lines(
        id,
        title,
        f"{caption} The dashed line is the ideal.",
        panels=panels,
        x=_THREADS,
        y=Axis(quantity),
        missing=_MISSING,
        curve_label=ideal_label,
    )


def strong_scaling(run: StudyRun) -> Drawing | Gap:
    """Speed-up of a fixed problem over own one thread."""
    return _by_threads(
        "strong_scaling",
        "Strong scaling: speed-up over own one thread",
        "The same training on more threads. Bars are 95 % intervals of the ratio, pair by pair.",
        found=strong_series(run.of_experiment("strong_scaling")),
        points=ScalingSeries.speedups,
        quantity="speed-up",
        ideal=lambda p: p,
    )


def efficiency(run: StudyRun) -> Drawing | Gap:
    """Speed-up divided by threads."""
    return _by_threads(
        "efficiency",
        "Efficiency: speed-up divided by threads",
        "What is missing to 1 is time that threads wait, hand over or repeat work.",
        found=strong_series(run.of_experiment("strong_scaling")),
        points=ScalingSeries.efficiencies,
        quantity="efficiency",
        ideal=lambda _: 1.0,
    )


def weak_scaling(run: StudyRun) -> Drawing | Gap:
    """One thread's epoch over that of p threads with p times the rows."""
    return _by_threads(
        "weak_scaling",
        "Weak scaling: as many rows a thread",
        "Time of one thread's epoch divided by that of p threads on p times as many rows; at 1 "
        "the epoch stays as long.",
        found=weak_series(run.of_experiment("weak_scaling")),
        points=ScalingSeries.efficiencies,
        quantity="efficiency",
        ideal=lambda _: 1.0,
    )


def karp_flatt(run: StudyRun) -> Drawing | Gap:
    """The experimentally determined serial fraction."""
    return _by_threads(
        "karp_flatt",
        "Karp-Flatt: the serial fraction that a speed-up tells of",
        "(1/S − 1/p) / (1 − 1/p). A fraction that stays the same is code that runs on one thread; "
        "one that grows with the threads is overhead that threads add; below zero the speed-up is "
        "more than linear.",
        found=strong_series(run.of_experiment("strong_scaling")),
        points=ScalingSeries.serial_fractions,
        quantity="serial fraction",
        ideal=lambda _: 0.0,
        ideal_label="no serial part",
    )


def scaling_fits(run: StudyRun) -> Drawing | Gap:
    """Laws fitted to the measured speed-ups."""
    id, title = "scaling_fits", "Scaling laws fitted to the speed-ups"
    candidates = [
        *strong_series(run.of_experiment("strong_scaling")),
        *weak_series(run.of_experiment("weak_scaling")),
    ]
    fitted = [
        (s, fits) for s in candidates if (fits := [f for f in s.fits() if isinstance(f, Fit)])
    ]
    if not fitted:
        reasons = [f.reason for s in candidates for f in s.fits() if not isinstance(f, Fit)]
        return Gap(id, title, reasons[0] if reasons else _MISSING)

    def draw(canvas: Canvas, narrow: bool) -> None:
        axes = axes_grid(canvas, len(fitted), narrow, 2.8)
        for ax, (s, fits) in zip(axes, fitted, strict=True):
            points = {float(p): v for p, v in s.speedups().items()}
            x = np.linspace(1, max(points), 100)
            ax.plot(x, x, color=MUTED.light, lw=1.0, ls=(0, (4, 3)), label="ideal")
            for f in fits:
                ax.plot(
                    x,
                    f.predict(x),
                    color=INK.light,
                    lw=1.0,
                    ls=_LAW_LINES[f.law],
                    label=f.law,
                )
            plot_series(ax, Series(s.name, None, points), line=False)
            ax.set_title(f"{label(s.name)}\n{s.title}")
            ax.set_xlabel("threads")
            ax.set_ylabel("scaled speed-up" if s.weak else "speed-up")
            set_scales(ax, sorted(points), log_x=False, log_y=False)
        add_legend(canvas, axes, narrow)

    caption = (
        "Points are measured, lines are fitted. Amdahl and the USL to a fixed problem, Gustafson "
        "to one that grows with the threads. The constants are in the table below."
    )
    rows: list[tuple[Value, ...]] = [
        (
            label(s.name),
            s.title,
            p,
            v,
            *(float(f.predict(np.array([float(p)]))[0]) for f in fits),
            *[None] * (2 - len(fits)),
        )
        for s, fits in fitted
        for p, v in s.speedups().items()
    ]
    header = ("implementation", "problem", "threads", "speed-up", "first law", "USL")
    return Drawing(id, title, caption, Table(id, header, rows), draw)


_LAW_LINES = {"Amdahl": "-", "USL": ":", "Gustafson": "-"}


def fit_table(run: StudyRun) -> Table:
    """Constants of the fitted laws, or why there are none."""
    rows: list[tuple[Value, ...]] = []
    for s in (
        *strong_series(run.of_experiment("strong_scaling")),
        *weak_series(run.of_experiment("weak_scaling")),
    ):
        for f in s.fits():
            head = (label(s.name), s.title.replace("\n", ", "), f.law)
            if isinstance(f, Fit):
                rows += [
                    (*head, c.name, Estimate(c.value, c.low, c.high, f.points), 100 * f.error, "")
                    for c in f.constants
                ]
            else:
                rows.append((*head, None, None, None, f.reason))
    header = ("implementation", "problem", "law", "constant", "value", "misfit, %", "note")
    return Table("fits", header, rows)
