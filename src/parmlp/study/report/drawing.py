"""Figures as files and as part of the page: matplotlib draws, this writes."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from parmlp.study.report.palette import COLOURS, INK, LINE, MUTED
from parmlp.study.report.values import Table

#: Inches of a figure beside text, and of one on a telephone; a CSS pixel is 1/96 inch.
WIDE, NARROW = 9.0, 3.5

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be found and read aloud
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.labelcolor": INK.light,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": LINE.light,
    "grid.linewidth": 0.6,
    "text.color": INK.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelcolor": INK.light,
    "ytick.labelcolor": INK.light,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.formatter.use_mathtext": False,
}


@dataclass(frozen=True)
class Drawing:
    """A figure of the report.

    Attributes
    ----------
    id : str
    title : str
    caption : str
        What is shown and how to read it.
    data : Table
        Every number in it.
    draw : callable
        Draws on an empty canvas; told whether it is narrow. It sets the canvas's height.
    """

    id: str
    title: str
    caption: str
    data: Table
    draw: Callable[[Canvas, bool], None]


@dataclass(frozen=True)
class Gap:
    """A figure that could not be drawn, and why."""

    id: str
    title: str
    reason: str


@dataclass(frozen=True)
class Drawn:
    """A figure as it stands in the page."""

    drawing: Drawing
    wide: str
    narrow: str


@contextmanager
def _canvas(drawing: Drawing, narrow: bool) -> Iterator[Canvas]:
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": f"{drawing.id}-{narrow}"}):
        canvas = Canvas(figsize=(NARROW if narrow else WIDE, 4.0), layout="constrained")
        drawing.draw(canvas, narrow)
        # Laid out once here, not again by every kind of file that is written.
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")
        yield canvas


def draw(drawing: Drawing, folder: Path) -> Drawn:
    """Draw a figure for the page, and write it to `folder` as SVG and PNG, on white.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    with _canvas(drawing, narrow=False) as canvas:
        canvas.savefig(folder / f"{drawing.id}.png", facecolor="white", dpi=160)
        text = _svg(canvas)
    (folder / f"{drawing.id}.svg").write_text(_on_white(text), encoding="utf-8")
    wide = _inline(drawing, text, "wide")
    with _canvas(drawing, narrow=True) as canvas:
        narrow = _inline(drawing, _svg(canvas), "narrow")
    return Drawn(drawing, wide, narrow)


def svg_file(drawing: Drawing) -> str:
    """The text of a figure's SVG file, on white; the same for the same figure."""
    with _canvas(drawing, narrow=False) as canvas:
        return _on_white(_svg(canvas))


def _on_white(text: str) -> str:
    return text.replace("<svg ", '<svg style="background: #ffffff" ', 1)


def _svg(canvas: Canvas) -> str:
    file = io.StringIO()
    canvas.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


_ID = re.compile(r'\b(id="|href="#|url\(#)')


def _inline(drawing: Drawing, text: str, variant: str) -> str:
    """The figure as an <svg> element: ids of its own, and colours that follow the page's."""
    text = text[text.index("<svg") :]
    text = _ID.sub(rf"\g<1>{drawing.id}-{variant}-", text)
    for colour in COLOURS:
        text = text.replace(colour.light, f"var(--{colour.name})")
    # The page says how large it is; matplotlib's sizes are in points.
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{drawing.title}">{rest}'


def axes_grid(
    canvas: Canvas,
    panels: int,
    narrow: bool,
    height: float,
    *,
    most_columns: int = 3,
    share_y: bool = False,
) -> list[Axes]:
    """Axes for so many panels, in one column where it is narrow; sets the canvas's height.

    ``height`` is inches of a row of panels.
    """
    columns = 1 if narrow else min(panels, most_columns)
    rows = -(-panels // columns)
    canvas.set_figheight(rows * height + 0.3)
    grid = canvas.subplots(rows, columns, squeeze=False, sharey=share_y and not narrow)
    flat = list(grid.flat)
    for unused in flat[panels:]:
        unused.set_visible(False)
    return flat[:panels]


def add_legend(canvas: Canvas, axes: list[Axes], narrow: bool) -> None:
    """One legend for all axes, below them; every label once."""
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(text), handle)
    if not handles:
        return
    columns = 2 if narrow else min(5, len(handles))
    rows = -(-len(handles) // columns)
    canvas.set_figheight(canvas.get_figheight() + 0.2 * rows + 0.15)
    canvas.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower left",
        ncols=columns,
        columnspacing=1.2,
        handlelength=2.2,
    )
