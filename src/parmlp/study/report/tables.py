"""The tables of the report."""

from collections.abc import Mapping
from typing import Any

from parmlp.study.analysis import StudyRun, accuracies, against_own_one_thread, bound_of
from parmlp.study.analysis.agreement import compare_bits
from parmlp.study.analysis.findings.ours import SAME_BITS
from parmlp.study.analysis.implementations import order
from parmlp.study.analysis.measurements import problem_of
from parmlp.study.analysis.speedup import against_best_serial
from parmlp.study.report.palette import label
from parmlp.study.report.values import Table, Value


def times(run: StudyRun) -> Table:
    """Absolute medians with intervals, and the two speed-ups, of everything that was timed."""
    measured = {name: run.of_experiment(name) for name in _experiments(run)}
    best = {
        s.measurement.record.key: s.speedup
        for cells in measured.values()
        for s in against_best_serial(cells)
    }
    own = {
        s.measurement.record.key: s.speedup
        for cells in measured.values()
        for s in against_own_one_thread(cells)
    }
    rows: list[tuple[Value, ...]] = []
    for name, cells in measured.items():
        for m in cells:
            notes = [] if m.quiet else ["other programs ran"]
            notes += ["scaled from part of an epoch"] if m.record.scaled else []
            rows.append(
                (
                    name,
                    m.label,
                    m.threads,
                    m.problem.net,
                    m.problem.data,
                    m.problem.rows,
                    m.problem.batch,
                    m.problem.configuration,
                    m.epoch_seconds,
                    m.gflops,
                    best.get(m.record.key),
                    own.get(m.record.key),
                    m.row_seconds.rounds,
                    m.record.versions.get("mode", ""),
                    "; ".join(notes),
                )
            )
    header = (
        "experiment", "implementation", "threads", "network", "data", "rows", "batch",
        "configuration", "seconds an epoch", "GFLOP/s", "over best serial", "over own one thread",
        "rounds", "mode", "note",
    )  # fmt: skip
    return Table("times", header, rows)


def _experiments(run: StudyRun) -> list[str]:
    return list(dict.fromkeys(m.record.experiment for m in run.measured))


def bounds(run: StudyRun) -> Table:
    """What bounds each cell, with its reasoning."""
    rows: list[tuple[Value, ...]] = []
    seen = set()
    for m in run.measured:
        bound = bound_of(m, run)
        key = (m.name, m.threads, m.problem)
        if bound is None or key in seen:
            continue
        seen.add(key)
        rows.append((m.label, m.threads, m.problem.text, bound.kind, bound.reasoning))
    return Table("bounds", ("implementation", "threads", "problem", "bound by", "because"), rows)


def accuracy(run: StudyRun) -> Table:
    """Held-out accuracy of everybody on the same training."""
    rows: list[tuple[Value, ...]] = [
        (
            r.problem.text,
            r.problem.learning_rate,
            r.epochs,
            label(r.name),
            r.seeds,
            100 * r.median,
            100 * r.low,
            100 * r.high,
        )
        for r in accuracies(run.records)
    ]
    header = (
        "problem", "learning rate", "epochs", "implementation", "seeds", "median, %", "least, %",
        "largest, %",
    )  # fmt: skip
    return Table("accuracy", header, rows)


def checks(run: StudyRun) -> Table:
    """How far each implementation was from the float64 reference before it was timed."""
    worst: dict[str, tuple[float, float, int]] = {}
    for r in run.records:
        if r.status == "timed" and r.check is not None:
            loss, change, count = worst.get(r.cell.implementation, (0.0, 0.0, 0))
            worst[r.cell.implementation] = (
                max(loss, r.check.loss_error or 0.0),
                max(change, r.check.change_error or 0.0),
                count + 1,
            )
    rows: list[tuple[Value, ...]] = [
        (label(name), count, loss, change)
        for name, (loss, change, count) in sorted(worst.items(), key=lambda item: order(item[0]))
    ]
    header = ("implementation", "cells", "largest error of the loss", "of the weights' change")
    return Table("checks", header, rows)


def same_bits(run: StudyRun) -> Table:
    """Whether engines and numbers of threads left the same weights, to the last bit."""
    rows: list[tuple[Value, ...]] = []
    for c in compare_bits(run.records, SAME_BITS):
        groups = [
            ", ".join(dict.fromkeys(label(name, p) for name, p in members))
            for members in c.digests.values()
        ]
        said = "yes" if c.same else "no"
        rows.append((c.problem.text, c.seed, said, " | ".join(groups)))
    return Table("same_bits", ("problem", "seed", "same bits", "who"), rows)


def not_measured(run: StudyRun) -> Table:
    """What was to be measured and was not, and why; cells with the same reason in one row."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for r in run.gaps:
        reason = (r.reason or "").strip().partition("\n")[0]
        if r.status == "timed":
            reason = reason or "no round of it can be used"
        key = (
            r.cell.implementation,
            r.status if r.status != "timed" else "no usable round",
            reason,
        )
        p = problem_of(r.cell)
        groups.setdefault(key, []).append(f"{p.net} b{p.batch} ({r.cell.threads})")
    rows: list[tuple[Value, ...]] = [
        (label(name), status, len(cells), reason, ", ".join(dict.fromkeys(cells)))
        for (name, status, reason), cells in sorted(groups.items(), key=lambda g: order(g[0][0]))
    ]
    header = ("implementation", "what became of it", "cells", "why", "which (threads)")
    return Table("not_measured", header, rows)


def platform(run: StudyRun) -> Table:
    """The machine, its ceilings and the versions."""
    rows: list[tuple[Value, ...]] = [(k, _text(v)) for k, v in run.run.platform.items()]
    rows += [(f"version of {k}", str(v)) for k, v in sorted(_versions(run).items())]
    if run.ceiling is not None:
        c = run.ceiling
        parts: tuple[tuple[str, Mapping[str, float], float, str], ...] = (
            ("FMA peak", c.peak_flops, 1e9, "GFLOP/s"),
            ("memory bandwidth", c.read_bytes_per_second, 1e9, "GB/s"),
            ("hand-over", c.hand_over_seconds, 1e-6, "µs"),
            ("fork and join", c.fork_join_seconds, 1e-6, "µs"),
        )
        rows += [
            (f"{name}, {t} thread{'s' * (t != '1')}", f"{value / unit:.3g} {text}")
            for name, by_threads, unit, text in parts
            for t, value in by_threads.items()
        ]
    return Table("platform", ("what", "value"), rows)


def _versions(run: StudyRun) -> dict[str, Any]:
    found: dict[str, Any] = dict(run.run.versions)
    for r in run.records:
        for name, version in r.versions.items():
            if name != "mode":
                found.setdefault(name, version)
    if run.run.commit:
        found["the source (commit)"] = run.run.commit
    return found


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(_text(v) for v in value)
    if isinstance(value, Mapping):
        return " ".join(str(v) for v in value.values() if v is not None)
    return "not known" if value is None else str(value)
