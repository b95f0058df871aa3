"""Figures of dots: a row an implementation, so that names stand beside their values."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from parmlp.study.analysis import Estimate
from parmlp.study.analysis.implementations import order
from parmlp.study.report.drawing import Drawing, Gap, axes_grid
from parmlp.study.report.figures.lines import Axis, plain_log_ticks
from parmlp.study.report.palette import MUTED, PAPER, label, style
from parmlp.study.report.values import Table, Value

#: Inches of a row, and of what is above and below the rows.
_ROW, _FRAME = 0.19, 1.0


@dataclass(frozen=True)
class Dot:
    """One value of an implementation on so many threads."""

    name: str
    threads: int
    value: Estimate


@dataclass(frozen=True)
class DotPanel:
    title: str
    dots: Sequence[Dot]


def dots(
    id: str,
    title: str,
    caption: str,
    *,
    panels: Sequence[DotPanel],
    x: Axis,
    missing: str,
    reference: float | None = None,
) -> Drawing | Gap:
    """A figure of dots, or a gap with the reason `missing` where there are none.

    A thin line marks `reference`.
    """
    panels = [p for p in panels if p.dots]
    if not panels:
        return Gap(id, title, missing)
    names = sorted(
        {(d.name, d.threads) for p in panels for d in p.dots},
        key=lambda row: (order(row[0]), row[1]),
    )

    def draw(canvas: Canvas, narrow: bool) -> None:
        height = _ROW * len(names) + _FRAME
        axes = axes_grid(canvas, len(panels), narrow, height, share_y=True)
        for ax, panel in zip(axes, panels, strict=True):
            draw_rows(ax, names, panel.dots)
            ax.set_title(panel.title)
            ax.set_xlabel(x.label)
            if x.log:
                ax.set_xscale("log")
                plain_log_ticks(ax.xaxis)
            if reference is not None:
                ax.axvline(reference, color=MUTED.light, lw=1.0, ls=(0, (4, 3)))

    rows: list[tuple[Value, ...]] = [
        (p.title, label(d.name), d.threads, d.value) for p in panels for d in p.dots
    ]
    return Drawing(
        id, title, caption, Table(id, ("panel", "implementation", "threads", x.label), rows), draw
    )


def draw_rows(ax: Axes, names: Sequence[tuple[str, int]], found: Sequence[Dot]) -> None:
    """Dots with intervals in rows that are named on the left, the first on top."""
    places = {row: i for i, row in enumerate(names)}
    for d in found:
        look = style(d.name)
        ax.errorbar(
            d.value.median,
            places[d.name, d.threads],
            xerr=[[d.value.median - d.value.low], [d.value.high - d.value.median]],
            color=look.colour.light,
            marker=look.marker,
            markerfacecolor=PAPER.light if look.hollow else look.colour.light,
            elinewidth=1.0,
            capsize=2.0,
        )
    ax.set_yticks(range(len(names)), [label(n, p) for n, p in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", which="both")
