"""The paper's tables as Markdown, each number from a record."""

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from benchmarks.paper.evidence import Evidence, PaperError
from benchmarks.paper.words import NOT_PLANNED, count, interval, number, percent, small_interval
from parmlp.study.analysis import Estimate, Measurement, estimate, measure
from parmlp.study.analysis.agreement import accuracies
from parmlp.study.analysis.bounds import bound_of
from parmlp.study.analysis.findings.ours import RIGHT
from parmlp.study.analysis.implementations import implementation, order
from parmlp.study.analysis.measurements import Problem, problem_of
from parmlp.study.analysis.scaling import ScalingSeries
from parmlp.study.analysis.speedup import own_one_thread
from parmlp.study.experiments import NAMES
from parmlp.study.records import Cell, CellRecord, flops_per_sample
from parmlp.study.report.values import Table, Value, shown

#: The authors' names of rows, by implementation and whether it is parallel.
AUTHORS_ROWS = {
    ("naive_serial", False): "Naive Serial",
    ("naive_pthreads", True): "Multicore Parallel",
    ("blas_serial", False): "Fast Serial",
    ("blas_parallel", True): "Fast Parallel",
    ("theano", False): "Theano Serial",
    ("theano", True): "Theano Parallel",
    ("theano_gpu", False): "Theano GPU",
}

Quantity = Callable[[CellRecord], Estimate | None]
Column = Callable[[Cell], object]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A table; columns from `numbers_from` on are set to the right."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not lines:
        raise PaperError(f"a table without rows: {', '.join(header)}")
    rule = ["---" if i < numbers_from else "---:" for i in range(len(header))]
    text = []
    for line in (list(header), rule, *lines):
        if len(line) != len(header) or not all(line):
            raise PaperError(f"a table row with an empty or missing cell: {line}")
        text.append(f"| {' | '.join(line)} |")
    return "\n".join(text)


def plain(table: Table, leave_out: Sequence[str] = ()) -> str:
    """A table of the report."""
    kept = [i for i, name in enumerate(table.header) if name not in leave_out]
    rows: list[list[str]] = [[_shown(row[i]) for i in kept] for row in table.rows]
    header = [table.header[i] for i in kept]
    first = next((k for k, i in enumerate(kept) if table.is_number(i)), len(kept))
    return markdown(header, rows, first)


def _shown(value: Value) -> str:
    return interval(value) if isinstance(value, Estimate) else shown(value) or "–"


# Quantities of a cell ---------------------------------------------------------------------------


def _measured(quantity: Callable[[Measurement], Estimate | None]) -> Quantity:
    def found(r: CellRecord) -> Estimate | None:
        m = measure(r)
        return None if m is None else quantity(m)

    return found


seconds = _measured(lambda m: m.epoch_seconds)
gflops = _measured(lambda m: m.gflops)


def held_out(r: CellRecord) -> Estimate | None:
    """Accuracy in percent, on the test rows or, without them, the validation rows."""
    if r.accuracy is None:
        return None
    value = r.accuracy.test if r.accuracy.test is not None else r.accuracy.validation
    return None if value is None else Estimate(100 * value, 100 * value, 100 * value, 1, 0.0)


def percentage(value: Estimate) -> str:
    """A value that is in percent already."""
    return f"{value.median:.2f}"


def speedup(evidence: Evidence, experiment: str) -> Quantity:
    """Over own one thread; None on one thread."""
    measured = evidence.run.of_experiment(experiment)

    def over(m: Measurement) -> Estimate | None:
        base = own_one_thread(m, measured) if m.threads > 1 else None
        return None if base is None else m.speed_over(base)

    return _measured(over)


def over_serial(evidence: Evidence, experiment: str, serial: str) -> Quantity:
    """Over an implementation on one thread, for the same problem."""
    measured = evidence.run.of_experiment(experiment)

    def over(m: Measurement) -> Estimate | None:
        base = measured.where(names=[serial], threads=1, problem=m.problem).fastest()
        return None if base is None else m.speed_over(base)

    return _measured(over)


# Grids: implementations down, something else across ---------------------------------------------


@dataclass
class _Notes:
    """Letters for reasons why cells were not measured, and marks for measured ones."""

    letters: dict[str, str] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)

    def letter(self, reason: str) -> str:
        if reason not in self.letters:
            number = len(self.letters)
            alphabet = string.ascii_lowercase
            self.letters[reason] = alphabet[number % 26] * (number // 26 + 1)
        return self.letters[reason]

    def lines(self) -> list[str]:
        found = [f"{mark} {text}" for mark, text in self.marks.items()]
        return [*found, *(f"({letter}) {reason}" for reason, letter in self.letters.items())]


#: What a narrow column says of a cell; the note below the table has the whole word.
_SHORT = {"unavailable": "n/a"}

_SCALED = ("\\*", "scaled from part of an epoch.")
_BUSY = ("†", "other programs used the CPU in some of its rounds.")


#: What may stand across a table of cells, by name.
_COLUMNS: dict[str, Column] = {
    "network": lambda cell: cell.net,
    "data": lambda cell: cell.data,
    "rows": lambda cell: cell.rows,
    "batch": lambda cell: cell.batch,
    "configuration": lambda cell: cell.configuration.name,
    "learning rate": lambda cell: cell.configuration.learning_rate,
    "seed": lambda cell: cell.seed,
}


def grid(
    records: Sequence[CellRecord],
    across: str,
    quantity: Quantity,
    *,
    text: Callable[[Estimate], str] = small_interval,
    authors: bool = False,
    bold: bool = False,
) -> str:
    """A table of implementations down, with threads in brackets, and `across` across.

    Cells that differ in more than that get a table for each problem, headed by what tells them
    apart. A cell that was not measured shows what became of it, with a letter for the reason below
    the table; one that the run did not plan says so. A row whose measured cells have no such
    quantity (a speed-up of one thread) is left out; where that leaves none, a sentence says so.

    Parameters
    ----------
    across : str
        One of ``network``, ``rows`` and ``batch``.
    authors : bool
        Whether the authors' name of a row stands below it.
    bold : bool
        Whether the smallest median of a column is set in bold type.
    """
    groups: dict[tuple[object, ...], list[CellRecord]] = {}
    others = [name for name in _COLUMNS if name != across]
    for r in records:
        groups.setdefault(tuple(_COLUMNS[name](r.cell) for name in others), []).append(r)
    differing = [i for i in range(len(others)) if len({key[i] for key in groups}) > 1]
    found = []
    for key, cells in groups.items():
        if differing:
            found.append(", ".join(f"{others[i]} {_head(key[i])}" for i in differing) + ":")
        found.append(_one_grid(cells, across, quantity, text=text, authors=authors, bold=bold))
    if not found:
        raise PaperError("a table was asked for of no cells")
    return "\n\n".join(found)


def _one_grid(
    records: Sequence[CellRecord],
    across: str,
    quantity: Quantity,
    *,
    text: Callable[[Estimate], str],
    authors: bool,
    bold: bool,
) -> str:
    column = _COLUMNS[across]
    cells = {(r.cell.implementation, r.cell.threads, column(r.cell)): r for r in records}
    columns = sorted({c for _, _, c in cells}, key=_number_or_text)
    rows = sorted({key[:2] for key in cells}, key=lambda row: (order(row[0]), row[1]))
    best = {c: _least(records, column, c, quantity) for c in columns} if bold else {}
    most = max((r.cell.threads for r in records), default=1)
    notes = _Notes()
    lines = []
    for name, threads in rows:
        found = [cells.get((name, threads, c)) for c in columns]
        timed = [r for r in found if r is not None and r.status == "timed"]
        if timed and all(quantity(r) is None for r in timed):
            continue
        device = implementation(name).device
        line = [implementation(name).label + (f" ({threads})" if device == "cpu" else "")]
        authors_name = AUTHORS_ROWS.get((name, threads == most > 1)) if authors else None
        if authors_name is not None:
            line[0] += f"<br><small>{authors_name}</small>"
        for c, r in zip(columns, found, strict=True):
            cell = _cell(r, quantity, text, notes)
            line.append(f"**{cell}**" if r is not None and best.get(c) is r else cell)
        lines.append(line)
    if not lines:
        return "*Nothing of this was measured in this run, or not with what it is compared with.*"
    table = markdown([f"by {across}", *map(_head, columns)], lines)
    said = notes.lines()
    return "\n\n".join([table, "<small>" + "<br>\n".join(said) + "</small>"] if said else [table])


def _cell(
    r: CellRecord | None, quantity: Quantity, text: Callable[[Estimate], str], notes: _Notes
) -> str:
    if r is None:
        return NOT_PLANNED
    if r.status != "timed":
        reason = (r.reason or "no reason was recorded").strip().partition("\n")[0]
        letter = notes.letter(f"{r.status}: {reason}")
        return f"{_SHORT.get(r.status, r.status)} ({letter})"
    value = quantity(r)
    if value is None:
        return "–"
    shown_value = text(value)
    m = measure(r)
    marks = ""
    for applies, (mark, meaning) in (
        (r.scaled, _SCALED),
        (m is not None and not m.quiet, _BUSY),
    ):
        if applies:
            notes.marks[mark] = meaning
            marks += mark
    first, newline, rest = shown_value.partition("<br>")
    return f"{first}{marks}{newline}{rest}"


def _least(
    records: Sequence[CellRecord], column: Column, c: object, quantity: Quantity
) -> CellRecord | None:
    timed = [(i, r) for i, r in enumerate(records) if r.status == "timed" and column(r.cell) == c]
    found = [(v.median, i) for i, r in timed if (v := quantity(r)) is not None]
    return records[min(found)[1]] if found else None


def _number_or_text(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _head(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Single tables ----------------------------------------------------------------------------------


def networks(evidence: Evidence) -> str:
    """The networks of the run, with their weights and the operations of a row."""
    layers = sorted({r.cell.layers for r in evidence.run.records}, key=flops_per_sample)
    cache = evidence.run.cache
    if cache is None:
        raise PaperError("the run's platform record names no cache")
    rows = []
    for n in layers:
        weights = sum(a * b for a, b in pairwise(n))
        rows.append(
            [
                "-".join(map(str, n)),
                count(weights),
                count(sum(n[1:])),
                number(4 * (weights + sum(n[1:])), 2**20),
                percent(4 * weights / cache, 1),
                number(flops_per_sample(n), 1e6),
            ]
        )
    header = [
        "network", "weights", "biases", "parameters, MiB in float32", "weights of the last cache",
        "MFLOP a row",
    ]  # fmt: skip
    return markdown(header, rows)


def experiments(evidence: Evidence) -> str:
    """How many cells of each experiment were measured, and what became of the rest."""
    rows = []
    for name in NAMES:
        e = evidence.extent(name)
        missing = ", ".join(f"{n} {status}" for status, n in e.missing.items()) or "none"
        rows.append([e.experiment.title, str(len(e.measured)), missing])
    return markdown(["experiment", "cells measured", "not measured"], rows)


def ceilings(evidence: Evidence) -> str:
    """The machine's limits by number of threads."""
    c = evidence.ceiling
    rows = [
        [
            threads,
            number(peak, 1e9),
            number(c.read_bytes_per_second.get(threads), 1e9),
            number(c.hand_over_seconds[threads], 1e-6) if threads in c.hand_over_seconds else "–",
            number(c.fork_join_seconds[threads], 1e-6) if threads in c.fork_join_seconds else "–",
        ]
        for threads, peak in c.peak_flops.items()
    ]
    header = [
        "threads", "FMA peak, GFLOP/s", "reading memory, GB/s", "hand-over between phases, µs",
        "threads made and joined, µs",
    ]  # fmt: skip
    return markdown(header, rows)


def scaling(series: Sequence[ScalingSeries]) -> str:
    """Speed-up, efficiency and Karp-Flatt's fraction on the most threads of each series."""
    rows = []
    for s in series:
        most = max(s.points)
        fractions = s.serial_fractions()
        rows.append(
            [
                s.title.replace("\n", ", "),
                implementation(s.name).label,
                str(most),
                interval(s.speedups()[most]),
                interval(s.efficiencies()[most]),
                interval(fractions[most]),
            ]
        )
    header = [
        "problem", "implementation", "threads", "scaled speed-up" if series[0].weak else "speed-up",
        "efficiency", "serial fraction (Karp-Flatt)",
    ]  # fmt: skip
    return markdown(header, rows, 2)


def hyperparameters(evidence: Evidence) -> str:
    """Validation accuracy over the grid of learning rates; the chosen one in bold type."""
    found: dict[tuple[Problem, int], dict[float, CellRecord]] = {}
    for r in evidence.extent("hyperparameters").measured:
        p = problem_of(r.cell)
        key = Problem(p.layers, p.data, p.rows, p.batch, p.configuration, 0.0)
        found.setdefault((key, r.cell.seed), {})[p.learning_rate] = r
    rates = sorted({rate for by_rate in found.values() for rate in by_rate})
    rows = []
    several = len({seed for _, seed in found}) > 1
    for (p, seed), by_rate in found.items():
        problem = f"{p.net}, {p.data}, batch {p.batch:,}" + (f", seed {seed}" if several else "")
        values = {rate: v for rate, r in by_rate.items() if (v := _validation(r)) is not None}
        if not values:
            epochs = next(iter(by_rate.values())).cell.epochs
            head = [problem, str(epochs)]
            rows.append([*head, *["not scored"] * (len(rates) + 1)])
            continue
        chosen = max(values, key=values.__getitem__)
        line = [problem, str(by_rate[chosen].cell.epochs)]
        for rate in rates:
            missing = "not scored" if rate in by_rate else NOT_PLANNED
            text = percent(values[rate], 2) if rate in values else missing
            line.append(f"**{text}**" if rate == chosen else text)
        test = by_rate[chosen].accuracy
        line.append(percent(test.test, 2) if test and test.test is not None else "no test rows")
        rows.append(line)
    header = ["problem", "epochs", *(f"α = {rate:g}" for rate in rates), "test rows, at the chosen"]
    return markdown(header, rows)


def _validation(r: CellRecord) -> float | None:
    if r.accuracy is None:
        return None
    return r.accuracy.validation if r.accuracy.validation is not None else r.accuracy.test


def times_to_accuracy(evidence: Evidence, problem: Problem) -> str:
    """Seconds to each accuracy, medians over seeds, with the accuracy at the end."""
    records = [r for r in evidence.extent("time_to_accuracy").measured
               if problem_of(r.cell) == problem and r.seconds_to_accuracy]  # fmt: skip
    groups: dict[tuple[str, int], list[CellRecord]] = {}
    for r in records:
        groups.setdefault((r.cell.implementation, r.cell.threads), []).append(r)
    thresholds = sorted({a for r in records for a in r.seconds_to_accuracy or {}}, key=float)
    rows = []
    for (name, threads), cells in sorted(groups.items(), key=lambda g: (order(g[0][0]), g[0][1])):
        line = [f"{implementation(name).label} ({threads})", str(len(cells))]
        for a in thresholds:
            reached = [s for r in cells if (s := (r.seconds_to_accuracy or {}).get(a)) is not None]
            if not reached:
                line.append("not reached")
            else:
                text = small_interval(estimate(reached))
                few = (
                    f" ({len(reached)} of {len(cells)} seeds)" if len(reached) < len(cells) else ""
                )
                line.append(text + few)
        final = [v.median for r in cells if (v := held_out(r)) is not None]
        starts = [r.start_seconds for r in cells if r.start_seconds is not None]
        line.append(f"{np.median(final):.2f} %" if final else "not scored")
        line.append(number(float(np.median(starts))) if starts else "not recorded")
        rows.append(line)
    reach = [f"to {100 * float(a):g} %, s" for a in thresholds]
    last = ["accuracy at the end", "set-up and compilation, s"]
    header = ["implementation", "seeds", *reach, *last]
    return markdown(header, rows)


def accuracy_problems(evidence: Evidence) -> list[Problem]:
    """The problems that were trained to an accuracy."""
    found = [problem_of(r.cell) for r in evidence.extent("time_to_accuracy").measured
             if r.seconds_to_accuracy]  # fmt: skip
    return list(dict.fromkeys(found))


def phases(evidence: Evidence) -> str:
    """A step's time by kind of phase."""
    rows = []
    for r in evidence.extent("phases").measured:
        if not r.phases or r.hand_over_seconds is None:
            raise PaperError(f"cell {r.key} took a step apart and left no phases")
        kinds: dict[str, float] = {}
        for p in r.phases:
            kinds[p.phase] = kinds.get(p.phase, 0.0) + p.share
        several = r.cell.threads > 1
        rows.append(
            [
                f"{r.cell.net}, {r.cell.data}, batch {r.cell.batch:,}",
                implementation(r.cell.implementation).label,
                str(r.cell.threads),
                number(sum(p.seconds for p in r.phases), 1e-6),
                "; ".join(f"{kind} {percent(share)}" for kind, share in kinds.items()),
                number(r.hand_over_seconds, 1e-6) if several else "–",
            ]
        )
    header = [
        "problem", "implementation", "threads", "step, µs", "shares of the step", "hand-over, µs",
    ]  # fmt: skip
    return markdown(header, rows, 2)


def predicted(evidence: Evidence) -> str:
    """Predictions beside measurements, by implementation."""
    by_name: dict[str, list[float]] = {}
    for c in evidence.run.predicted:
        by_name.setdefault(c.measurement.name, []).append(c.ratio)
    rows = [
        [
            implementation(name).label,
            str(len(ratios)),
            str(sum(1 / RIGHT <= r <= RIGHT for r in ratios)),
            f"{min(ratios):.2f}",
            f"{np.median(ratios):.2f}",
            f"{max(ratios):.2f}",
        ]
        for name, ratios in sorted(by_name.items(), key=lambda item: order(item[0]))
    ]
    header = [
        "implementation", "cells", f"within {RIGHT:g} times", "least measured / predicted",
        "median", "largest",
    ]  # fmt: skip
    return markdown(header, rows)


def bounds(evidence: Evidence) -> str:
    """How many cells of each implementation are bound by what."""
    kinds = ("arithmetic", "bandwidth", "synchronisation", "launch", "instructions")
    found: dict[str, dict[str, int]] = {}
    for m in evidence.run.measured:
        bound = bound_of(m, evidence.run)
        if bound is not None:
            row = found.setdefault(m.name, dict.fromkeys(kinds, 0))
            row[bound.kind] += 1
    rows = [
        [implementation(name).label, *(str(row[k]) for k in kinds)]
        for name, row in sorted(found.items(), key=lambda item: order(item[0]))
    ]
    return markdown(["implementation", *kinds], rows)


def final_accuracies(evidence: Evidence) -> str:
    """Held-out accuracy after the same training, where two implementations or more did it."""
    found = accuracies(evidence.run.records)
    shared = [
        r for r in found if sum(q.problem == r.problem and q.epochs == r.epochs for q in found) > 1
    ]
    rows = [
        [
            f"{r.problem.text}, α = {r.problem.learning_rate:g}",
            str(r.epochs),
            implementation(r.name).label,
            str(r.seeds),
            percent(r.median, 2),
            f"{percent(r.low, 2)} – {percent(r.high, 2)}" if r.seeds > 1 else "one seed",
        ]
        for r in shared
    ]
    header = ["problem", "epochs", "implementation", "seeds", "median", "least – largest"]
    return markdown(header, rows, 3)


#: Entries of a cell's versions that are none.
_NO_VERSIONS = ("mode", "engine", "schedule")


def versions(evidence: Evidence) -> list[str]:
    """Versions of parmlp's own environment, then those of each implementation that differ."""
    own = dict(evidence.run.run.versions)
    found = [", ".join(f"{name} {version}" for name, version in sorted(own.items()))]
    seen: dict[str, dict[str, str]] = {}
    for r in evidence.run.records:
        of_cell = {n: v for n, v in r.versions.items() if v and n not in _NO_VERSIONS}
        seen.setdefault(r.cell.implementation, {}).update(of_cell)
    for name in sorted(seen, key=order):
        other = {n: v for n, v in sorted(seen[name].items()) if own.get(n) != v}
        if other:
            said = ", ".join(f"{n} {v}" for n, v in other.items())
            found.append(f"{implementation(name).label}: {said}")
    return found
