"""The table, made from nothing but the raw records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.cpu.cells import Cell
from benchmarks.cpu.statistics import Summary, paired_ratio, summarize

Record = dict[str, Any]

#: Our rows: whole minibatch epochs, called one by one, are the ones paired with the rivals.
OURS = "parmlp"


@dataclass(frozen=True)
class Row:
    """One competitor's figures in one cell at one number of threads."""

    entry: str
    threads: int
    rate: Summary  # samples/s
    fraction: float  # of the FMA peak of as many cores


@dataclass(frozen=True)
class Comparison:
    """Us against the best rival using no more threads than we do."""

    threads: int
    ours: Row
    best: Row
    ratio: Summary
    goal_ratio: float | None
    goal_fraction: float | None

    @property
    def lost(self) -> bool:
        return self.ratio.median < 1.0

    @property
    def missed(self) -> list[str]:
        """Goals not reached, in words."""
        out = []
        if self.goal_ratio is not None and self.ratio.median < self.goal_ratio:
            out.append(f"ratio goal {self.goal_ratio:g}x")
        if self.goal_fraction is not None and self.ours.fraction < self.goal_fraction:
            out.append(f"peak goal {100 * self.goal_fraction:g}%")
        return out


@dataclass(frozen=True)
class CellFigures:
    cell: Cell
    noisy: bool  # too few quiet rounds, so all rounds were used
    rounds: int
    rows: list[Row]
    comparisons: list[Comparison]
    dropped: list[Record]  # competitors that were not timed


def cells_of(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records cell by cell; what stands before the first cell is skipped."""
    group: list[Record] = []
    for record in records:
        if record["type"] == "cell":
            if group:
                yield group
            group = [record]
        elif group and record["type"] in ("competitor", "round"):
            group.append(record)
    if group:
        yield group


def peaks_of(records: Iterable[Record]) -> dict[int, float]:
    """Best FLOP/s by number of cores over the whole run.

    Over the run, not the cell: a peak taken beside somebody else's work is too low, and fractions
    of it would flatter.
    """
    peaks: dict[int, float] = {}
    for record in records:
        if record["type"] == "round":
            for threads, peak in record["peak"].items():
                peaks[int(threads)] = max(peaks.get(int(threads), 0.0), peak["flops"])
    return peaks


def figures(group: list[Record], peaks: dict[int, float], wanted_rounds: int = 7) -> CellFigures:
    """Figures of one cell. Quiet rounds only, if there are `wanted_rounds` of them."""
    head = group[0]
    cell = Cell.from_dict(head["cell"])
    competitors = [r for r in group if r["type"] == "competitor"]
    rounds = [r for r in group if r["type"] == "round"]
    quiet = [r for r in rounds if r["quiet"]]
    noisy = len(quiet) < wanted_rounds
    used = rounds if noisy else quiet
    rates: dict[tuple[str, int], list[float]] = {}
    rows: list[Row] = []
    for c in competitors:
        if c["status"] != "timed" or not used:
            continue
        key = (c["entry"], c["threads"])
        label = f"{c['entry']}@{c['threads']}"
        rates[key] = [r["entries"][label]["samples_per_second"] for r in used]
        rate = summarize(rates[key])
        fraction = rate.median * cell.flops_per_sample / peaks[c["threads"]]
        rows.append(Row(*key, rate, fraction))
    comparisons = []
    for threads in head["threads"]:
        ours = [r for r in rows if r.entry == OURS and r.threads == threads]
        rivals = [r for r in rows if not r.entry.startswith("parmlp") and r.threads <= threads]
        if not ours or not rivals:
            continue
        best = max(rivals, key=lambda r: r.rate.median)
        ratio = paired_ratio(rates[OURS, threads], rates[best.entry, best.threads])
        comparisons.append(
            Comparison(
                threads,
                ours[0],
                best,
                ratio,
                cell.goal.ratio_for(threads),
                cell.goal.fraction_for(threads),
            )
        )
    dropped = [c for c in competitors if c["status"] != "timed"]
    return CellFigures(cell, noisy, len(used), rows, comparisons, dropped)


def markdown(records: Iterable[Record], wanted_rounds: int = 7) -> str:
    """One row a cell for the documentation: our rate, share of the peak, and ratio to the best."""
    records = list(records)
    peaks = peaks_of(records)
    threads = sorted(peaks)
    columns = ["network, batch, data", "configuration"]
    for t in threads:
        columns += [f"{t} thread{'s' * (t > 1)}: k samples/s", "of peak", "best rival", "ratio"]
    lines = ["| " + " | ".join(columns) + " |"]
    lines.append("| --- | --- |" + " ---: | ---: | --- | --- |" * len(threads))
    for group in cells_of(records):
        f = figures(group, peaks, wanted_rounds)
        net, batch, data, configuration = f.cell.name.split("/")
        noisy = " (noisy)" if f.noisy else ""
        cells = [f"{net}, {batch.removeprefix('b')}, {data}{noisy}", configuration]
        for t in threads:
            c = next((c for c in f.comparisons if c.threads == t), None)
            if c is None:
                cells += ["", "", "", ""]
                continue
            ratio = f"{c.ratio.median:.2f} [{c.ratio.minimum:.2f}, {c.ratio.maximum:.2f}]"
            missed = "".join(f"; {m} missed" for m in c.missed)
            cells += [
                f"{c.ours.rate.median / 1e3:,.3g}"
                if c.ours.rate.median < 1e6
                else f"{c.ours.rate.median / 1e3:,.0f}",
                f"{100 * c.ours.fraction:.0f} %",
                f"{c.best.entry}@{c.best.threads}",
                f"**{ratio}, lost**" if c.lost else ratio + missed,
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(records: Iterable[Record], wanted_rounds: int = 7) -> str:
    """The printed table: every competitor's rate, our ratios, and what we lose or miss."""
    records = list(records)
    peaks = peaks_of(records)
    lines = [""]
    for threads, peak in sorted(peaks.items()):
        lines.append(f"FMA peak, {threads} core{'s' * (threads > 1)}: {peak / 1e9:.1f} GFLOP/s")
    lost: list[str] = []
    missed: list[str] = []
    for group in cells_of(records):
        f = figures(group, peaks, wanted_rounds)
        lines += [
            "",
            f"{f.cell.name}  ({f.rounds} rounds{', NOISY' if f.noisy else ''})",
            f"  {'competitor':<16}{'threads':>8}{'samples/s':>12}{'min':>12}{'max':>12}{'peak':>8}",
        ]
        for row in sorted(f.rows, key=lambda r: (r.threads, -r.rate.median)):
            lines.append(
                f"  {row.entry:<16}{row.threads:>8}{row.rate.median:>12,.0f}"
                f"{row.rate.minimum:>12,.0f}{row.rate.maximum:>12,.0f}{100 * row.fraction:>7.1f}%"
            )
        for c in f.comparisons:
            what = f"{f.cell.name} @{c.threads}"
            text = (
                f"{c.ratio.median:.2f}x [{c.ratio.minimum:.2f}, {c.ratio.maximum:.2f}] against "
                f"{c.best.entry}@{c.best.threads}"
            )
            mark = "LOST" if c.lost else ("missed: " + ", ".join(c.missed) if c.missed else "ok")
            lines.append(f"  {c.threads} thread{'s' * (c.threads > 1)}: {text}  {mark}")
            if c.lost:
                lost.append(f"{what}: {text}")
            if c.missed:
                missed.append(
                    f"{what}: {', '.join(c.missed)} ({text}, {100 * c.ours.fraction:.0f}% of peak)"
                )
        for d in f.dropped:
            reason = d["reason"].strip().partition("\n")[0]
            lines.append(f"  not timed: {d['entry']}@{d['threads']}: {d['status']}: {reason}")
    lines += ["", f"cells we lose: {len(lost)}", *(f"  {x}" for x in lost)]
    lines += [f"goals missed: {len(missed)}", *(f"  {x}" for x in missed)]
    return "\n".join(lines[1:])
