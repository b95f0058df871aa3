"""What limits a step: the roofline, its phases, and what was predicted from the limits."""

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from parmlp.study.analysis import StudyRun, roofline
from parmlp.study.analysis.findings.ours import RIGHT
from parmlp.study.analysis.measurements import problem_of
from parmlp.study.report.drawing import Drawing, Gap, add_legend, axes_grid
from parmlp.study.report.figures.lines import plain_log_ticks
from parmlp.study.report.palette import (
    BLUE,
    GREEN,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    Colour,
    label,
    style,
)
from parmlp.study.report.values import Table, Value


def roofline_figure(run: StudyRun) -> Drawing | Gap:
    """Measured GFLOP/s under what peak and bandwidth allow."""
    id, title = "roofline", "Roofline: what was reached of what the machine allows"
    points = roofline(run.measured, run.ceiling, run.cache)
    if not points:
        return Gap(id, title, "the machine's ceilings were not measured, or nothing was timed")
    counts = sorted({p.measurement.threads for p in points})
    shown = sorted({counts[0], counts[-1]})

    def draw(canvas: Canvas, narrow: bool) -> None:
        axes = axes_grid(canvas, len(shown), narrow, 3.2, most_columns=2)
        for ax, threads in zip(axes, shown, strict=True):
            here = [p for p in points if p.measurement.threads == threads]
            roof = here[0].roof
            low = min(*(p.intensity for p in here), roof.ridge) / 2
            high = max(*(p.intensity for p in here), roof.ridge) * 2
            x = np.geomspace(low, high, 200)
            ax.plot(x, [roof.allows(i) / 1e9 for i in x], color=INK.light, lw=1.2, label="roof")
            for p in here:
                look = style(p.measurement.name)
                ax.plot(
                    p.intensity,
                    p.flops / 1e9,
                    look.marker,
                    color=look.colour.light,
                    markerfacecolor=PAPER.light if look.hollow else look.colour.light,
                    markersize=4.5,
                    linestyle="none",
                    label=label(p.measurement.name),
                )
            ax.set_xscale("log")
            ax.set_yscale("log")
            plain_log_ticks(ax.xaxis)
            plain_log_ticks(ax.yaxis)
            ax.set_title(
                f"{threads} thread{'s' * (threads > 1)}: {roof.peak_flops / 1e9:.0f} GFLOP/s, "
                f"{roof.bytes_per_second / 1e9:.0f} GB/s"
            )
            ax.set_xlabel("FLOPs a byte from memory")
            ax.set_ylabel("GFLOP/s")
        add_legend(canvas, axes, narrow)

    rows: list[tuple[Value, ...]] = [
        (
            p.measurement.label,
            p.measurement.problem.text,
            p.measurement.threads,
            p.intensity,
            p.flops / 1e9,
            p.roof.allows(p.intensity) / 1e9,
            100 * p.share,
        )
        for p in points
    ]
    header = (
        "implementation",
        "problem",
        "threads",
        "FLOPs a byte",
        "GFLOP/s",
        "roof, GFLOP/s",
        "of the roof, %",
    )
    caption = (
        "The roof is the measured FMA peak, and left of its corner the measured memory bandwidth "
        "times intensity. GFLOP/s count the operations of dense rows. Where rows have many zeros "
        "parmlp skips them, and its points may lie above the roof; its share of the roof counts "
        "the operations that are left. Bytes are the least a step can do with: rows and targets "
        "once, weights three times a minibatch where they do not fit the last-level cache."
    )
    return Drawing(id, title, caption, Table(id, header, rows), draw)


#: Colours of phases, in the order in which they first occur.
_PHASE_COLOURS: tuple[Colour, ...] = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)

#: Percent of a step that no bar can show.
_INVISIBLE = 0.1

#: Layers of one phase are told apart by how solid its colour is.
_LAYER_ALPHA = (1.0, 0.65, 0.4, 0.25)


def phases(run: StudyRun) -> Drawing | Gap:
    """Where the time of a step goes."""
    id, title = "phases", "Where a step's time goes, phase by phase"
    records = [r for r in run.records if r.phases]
    if not records:
        return Gap(id, title, "no step was taken apart in this run (experiment “phases”)")
    names = list(dict.fromkeys(p.phase for r in records for p in r.phases or ()))
    colours = {n: _PHASE_COLOURS[i % len(_PHASE_COLOURS)] for i, n in enumerate(names)}
    titles = [
        f"{label(r.cell.implementation, r.cell.threads)}\n{r.cell.net}, batch {r.cell.batch:,}"
        for r in records
    ]

    def draw(canvas: Canvas, narrow: bool) -> None:
        (ax,) = axes_grid(canvas, 1, narrow, 0.42 * len(records) + 0.8)
        patches: dict[str, Patch] = {}
        for y, r in enumerate(records):
            left = 0.0
            for p in r.phases or ():
                alpha = _LAYER_ALPHA[min(p.layer, len(_LAYER_ALPHA) - 1)]
                name = f"{p.phase}, layer {p.layer}"
                ax.barh(
                    y,
                    100 * p.share,
                    left=left,
                    height=0.62,
                    color=colours[p.phase].light,
                    alpha=alpha,
                    edgecolor=PAPER.light,
                    linewidth=0.8,
                )
                patches.setdefault(name, Patch(color=colours[p.phase].light, alpha=alpha))
                left += 100 * p.share
            if left < 100 - _INVISIBLE:
                ax.barh(y, 100 - left, left=left, height=0.62, color=LINE.light)
                patches.setdefault("between phases", Patch(color=LINE.light))
        ax.set_yticks(range(len(records)), titles)
        ax.set_ylim(len(records) - 0.4, -0.6)
        ax.set_xlim(0, 100)
        ax.set_xlabel("% of a step")
        ax.grid(axis="y", visible=False)
        columns = 2 if narrow else 4
        canvas.set_figheight(canvas.get_figheight() + 0.2 * -(-len(patches) // columns) + 0.15)
        canvas.legend(
            list(patches.values()), list(patches), loc="outside lower left", ncols=columns
        )

    rows: list[tuple[Value, ...]] = [
        (
            label(r.cell.implementation),
            problem_of(r.cell).text,
            r.cell.threads,
            p.phase,
            p.layer,
            1e6 * p.seconds,
            100 * p.share,
            None if r.hand_over_seconds is None else 1e6 * r.hand_over_seconds,
        )
        for r in records
        for p in r.phases or ()
    ]
    header = (
        "implementation",
        "problem",
        "threads",
        "phase",
        "layer",
        "µs a step",
        "% of a step",
        "hand-over, µs",
    )
    caption = (
        "From timers in the core. A phase lasts until its last tile is done, so waiting is in it. "
        "Colours stand for phases here, their strength for layers."
    )
    return Drawing(id, title, caption, Table(id, header, rows), draw)


def predictions(run: StudyRun) -> Drawing | Gap:
    """Predicted beside measured times."""
    id, title = "predictions", "Predicted and measured time per epoch"
    cells = run.predicted
    if not cells:
        return Gap(id, title, "no predictions were kept with this run, or none of a timed cell")

    def draw(canvas: Canvas, narrow: bool) -> None:
        (ax,) = axes_grid(canvas, 1, narrow, 3.4 if narrow else 4.4)
        predicted = [c.seconds for c in cells]
        ends = np.array([min(predicted) / 2, max(predicted) * 2])
        ax.fill_between(
            ends,
            ends / RIGHT,
            ends * RIGHT,
            color=LINE.light,
            alpha=0.6,
            lw=0,
            label=f"within {RIGHT:g} times",
        )
        ax.plot(ends, ends, color=MUTED.light, lw=1.0, label="as predicted")
        for c in cells:
            look = style(c.measurement.name)
            ax.plot(
                c.seconds,
                c.measurement.epoch_seconds.median,
                look.marker,
                color=look.colour.light,
                linestyle="none",
                markersize=4.5,
                markerfacecolor=PAPER.light if look.hollow else look.colour.light,
                label=label(c.measurement.name),
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log_ticks(ax.xaxis)
        plain_log_ticks(ax.yaxis)
        ax.set_xlabel("predicted, seconds an epoch")
        ax.set_ylabel("measured, seconds an epoch")
        add_legend(canvas, [ax], narrow)

    rows: list[tuple[Value, ...]] = [
        (
            c.measurement.label,
            c.measurement.problem.text,
            c.measurement.threads,
            c.seconds,
            c.measurement.epoch_seconds,
            c.ratio,
            run.predictions.because.get(c.measurement.record.key, ""),
        )
        for c in cells
    ]
    header = (
        "implementation",
        "problem",
        "threads",
        "predicted, s",
        "measured, s",
        "measured / predicted",
        "why",
    )
    caption = (
        "Predictions were written before anything was timed, from operation counts and the "
        "machine's measured ceilings. Above the line a cell took longer than predicted."
    )
    return Drawing(id, title, caption, Table(id, header, rows), draw)
