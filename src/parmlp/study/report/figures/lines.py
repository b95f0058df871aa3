"""Figures of lines: one panel a problem, one line an implementation, intervals at the points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import (
    AutoLocator,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from parmlp.study.analysis import Estimate
from parmlp.study.report.drawing import Drawing, Gap, add_legend, axes_grid
from parmlp.study.report.palette import MUTED, PAPER, label, style
from parmlp.study.report.values import Table, Value, number

#: More ticks than this on an axis of measured places run into each other.
_MOST_TICKS = 7


@dataclass(frozen=True)
class Series:
    """One line: an implementation, its threads where they are fixed, and its points by x."""

    name: str
    threads: int | None
    points: dict[float, Estimate]


@dataclass(frozen=True)
class Panel:
    """One problem's lines; ``curve`` is a reference drawn dashed beneath them."""

    title: str
    series: Sequence[Series]
    curve: Callable[[float], float] | None = None


@dataclass(frozen=True)
class Axis:
    """What an axis shows, with its unit, and how.

    ``ticks_at_points``: of a horizontal axis, whether its ticks stand where something was measured.
    ``from_zero``: whether a linear vertical axis begins at zero.
    """

    label: str
    log: bool = False
    ticks_at_points: bool = True
    from_zero: bool = True


def lines(
    id: str,
    title: str,
    caption: str,
    *,
    panels: Sequence[Panel],
    x: Axis,
    y: Axis,
    missing: str,
    curve_label: str = "ideal",
) -> Drawing | Gap:
    """A figure of lines, or a gap with the reason `missing` where there is no point to draw."""
    panels = [p for p in panels if any(s.points for s in p.series)]
    if not panels:
        return Gap(id, title, missing)

    def draw(canvas: Canvas, narrow: bool) -> None:
        axes = axes_grid(canvas, len(panels), narrow, 2.5 if narrow else 2.7)
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel, x, y, curve_label)
        add_legend(canvas, axes, narrow)

    rows: list[tuple[Value, ...]] = [
        (p.title, label(s.name), s.threads, place, value)
        for p in panels
        for s in p.series
        for place, value in sorted(s.points.items())
    ]
    header: tuple[str, ...] = ("panel", "implementation", "threads", x.label, y.label)
    if all(s.threads is None for p in panels for s in p.series):
        header = (*header[:2], *header[3:])
        rows = [(*row[:2], *row[3:]) for row in rows]
    return Drawing(id, title, caption, Table(id, header, rows), draw)


def _draw_panel(ax: Axes, panel: Panel, x: Axis, y: Axis, curve_label: str) -> None:
    places = sorted({place for s in panel.series for place in s.points})
    if panel.curve is not None:
        ax.plot(
            places,
            [panel.curve(p) for p in places],
            color=MUTED.light,
            lw=1.0,
            ls=(0, (4, 3)),
            label=curve_label,
        )
    for s in panel.series:
        if s.points:
            plot_series(ax, s)
    ax.set_title(panel.title)
    ax.set_xlabel(x.label)
    ax.set_ylabel(y.label)
    set_scales(ax, places, x.log, y.log)
    if not x.ticks_at_points:
        if x.log:
            plain_log_ticks(ax.xaxis)
        else:
            ax.xaxis.set_major_locator(AutoLocator())
    if not y.log and not y.from_zero:
        ax.autoscale(axis="y")


def plot_series(ax: Axes, s: Series, line: bool = True) -> None:
    """Points with intervals, joined by a line."""
    look = style(s.name)
    # Where rows differ in threads alone, those of one thread look like the serial ones.
    hollow = look.hollow or s.threads == 1
    places = sorted(s.points)
    values = [s.points[p] for p in places]
    middle = [v.median for v in values]
    below = [v.median - v.low for v in values]
    above = [v.high - v.median for v in values]
    ax.errorbar(
        places,
        middle,
        yerr=[below, above],
        color=look.colour.light,
        marker=look.marker,
        linestyle=("--" if hollow else look.line) if line else "none",
        markerfacecolor=PAPER.light if hollow else look.colour.light,
        elinewidth=1.0,
        capsize=2.0,
        label=label(s.name, s.threads),
    )


def set_scales(ax: Axes, places: Sequence[float], log_x: bool, log_y: bool) -> None:
    """Scales with ticks where something was measured, in plain numbers."""
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
        plain_log_ticks(ax.yaxis)
    step = -(-len(places) // _MOST_TICKS)
    ax.xaxis.set_major_locator(FixedLocator(list(places[::step])))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: short(v)))
    if len(places) == 1:
        only = places[0]
        ax.set_xlim((only / 2, only * 2) if log_x else (only - 1, only + 1))
    if not log_y:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))


def plain_log_ticks(axis: MatplotlibAxis) -> None:
    """Ticks at powers of ten, or at 1, 2, 5 where the range is short, written in full."""
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if low > 0 and high / low < 150 else (1,)
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda v, _: short(v)))
    axis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """A number for a tick: 128, 4096, 60k, 0.01."""
    if value >= 10_000 and value % 100 == 0:
        return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
    return f"{value:g}" if value < 10_000 else number(value)
