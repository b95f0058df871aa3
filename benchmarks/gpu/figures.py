"""Figures of a run, from its records: step times over their floors, the ladder, rivals' ratios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu.statistics import paired_ratio, summarize
from benchmarks.gpu.floors import floors
from benchmarks.gpu.records import Record
from benchmarks.gpu.report import OURS, is_ours, latest, timed

_MARKS = {
    "arithmetic": "v",
    "memory": "s",
    "launches": "^",
    "barriers": "D",
    "shared memory": "P",
}


def draw(records: Sequence[Record], out: Path) -> list[str]:
    """Draw what there is; return a line for each file, or why there is none."""
    cells = latest(records, "cell")
    if not cells:
        return ["no figures: no cell was measured"]
    try:
        import matplotlib
    except ImportError as error:
        return [f"no figures: {error}; they can be drawn elsewhere, with --report"]
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ceilings = (latest(records, "ceilings") or [{}])[-1]
    written = []
    for name, function in (
        ("floors.png", _step_times_and_floors),
        ("ladder.png", _ladder),
        ("rivals.png", _ratios),
    ):
        figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
        if function(axes, cells, ceilings):
            figure.savefig(out / name, dpi=150)
            written.append(str(out / name))
        pyplot.close(figure)
    return written


def _step_times_and_floors(axes: Any, cells: Sequence[Record], ceilings: Record) -> bool:
    """A bar a cell, with a mark for each of its floors."""
    names: list[str] = []
    labelled: set[str] = set()
    for record in cells:
        if record["cell"] in names or OURS not in timed(record):
            continue
        at = len(names)
        names.append(record["cell"])
        steps = record["steps"]
        axes.bar(at, 1e6 * summarize(timed(record)[OURS]).median / steps, color="0.75", width=0.6)
        account = record["competitors"][OURS].get("account")
        limits = floors(account, record["flops_per_step"], record["precision"], ceilings)
        for limit, seconds in limits.items():
            axes.plot(
                at,
                1e6 * seconds,
                _MARKS[limit],
                color=f"C{list(_MARKS).index(limit)}",
                label=None if limit in labelled else limit,
            )
            labelled.add(limit)
    _by_cell(axes, names, "microseconds a step", "parmlp's steps and their floors")
    if labelled:
        axes.legend()
    return bool(names)


def _ladder(axes: Any, cells: Sequence[Record], ceilings: Record) -> bool:
    """A line a rung over the cells."""
    del ceilings
    names: list[str] = []
    rungs: dict[str, list[tuple[int, float]]] = {}
    for record in cells:
        if record["part"] != "ladder":
            continue
        names.append(record["cell"])
        for name, seconds in timed(record).items():
            if is_ours(name) and name != OURS:
                us = 1e6 * summarize(seconds).median / record["steps"]
                rungs.setdefault(name.removeprefix("parmlp-"), []).append((len(names) - 1, us))
    for rung, points in rungs.items():
        axes.plot(*zip(*points, strict=True), "o-", label=rung)
    _by_cell(axes, names, "microseconds a step", "The ladder")
    if rungs:
        axes.legend()
    return bool(rungs)


def _ratios(axes: Any, cells: Sequence[Record], ceilings: Record) -> bool:
    """Rivals' times over ours, with the rounds' extremes."""
    del ceilings
    names: list[str] = []
    rivals: list[str] = []
    for record in cells:
        seconds = timed(record)
        for name in seconds:
            if is_ours(name) or OURS not in seconds:
                continue
            if record["cell"] not in names:
                names.append(record["cell"])
            new = name not in rivals
            if new:
                rivals.append(name)
            ratio = paired_ratio(seconds[name], seconds[OURS])
            axes.errorbar(
                names.index(record["cell"]) + 0.08 * (rivals.index(name) - 2),
                ratio.median,
                yerr=[[ratio.median - ratio.minimum], [ratio.maximum - ratio.median]],
                fmt="o",
                capsize=3,
                color=f"C{rivals.index(name)}",
                label=name if new else None,
            )
    axes.axhline(1, color="0.5", linewidth=1)
    _by_cell(axes, names, "rival's time over parmlp's", "Rivals")
    if rivals:
        axes.legend()
    return bool(rivals)


def _by_cell(axes: Any, names: Sequence[str], quantity: str, title: str) -> None:
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    if names:
        axes.set_yscale("log")
    axes.set_ylabel(quantity)
    axes.set_title(title)
