"""The tables of a run, from its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.cpu.statistics import Summary, paired_ratio, summarize
from benchmarks.gpu import mnist
from benchmarks.gpu.floors import binding, floors
from benchmarks.gpu.records import Record

OURS = "parmlp"
_NOT_TOLD = "the fits were too short to tell"


def done_tasks(records: Iterable[Record]) -> set[str]:
    """Return the names of tasks that need not be done again: all that ended and had time enough."""
    done: set[str] = set()
    for record in records:
        name = record.get("name_of_task")
        if name is None:
            continue
        competitors = record.get("competitors", {}).values()
        cut_short = any(c.get("left_out") == "no time left" for c in competitors)
        if record["task"] == "failed" or cut_short:
            done.discard(name)
        else:
            done.add(name)
    return done


def failed_tasks(records: Iterable[Record]) -> set[str]:
    """Return the names of tasks that crashed or were ended, and have not been done since."""
    records = list(records)
    failed = {r["name_of_task"] for r in records if r.get("task") == "failed"}
    return failed - done_tasks(records)


def latest(records: Iterable[Record], task: str) -> list[Record]:
    """Return the last record of each task of this kind, in the order of their first ones."""
    found: dict[str, Record] = {}
    for record in records:
        if record.get("task") == task:
            found[record.get("name_of_task", task)] = record
    return list(found.values())


def timed(record: Record) -> dict[str, list[float]]:
    """Return the seconds of a record's competitors that were timed."""
    return {
        name: competitor["seconds"]
        for name, competitor in record["competitors"].items()
        if competitor["seconds"] and min(competitor["seconds"]) > 0
    }


def is_ours(name: str) -> bool:
    """Whether a competitor is a row of parmlp's."""
    return name.startswith(OURS)


def best_rival(parts: Sequence[Record], ours: str = OURS) -> tuple[str, Summary, Summary] | None:
    """Return the rival with the lowest median over a cell's records, its seconds, and the ratio.

    The ratio is the rival's seconds over those of ``ours`` in the same record, round by round.
    """
    best: tuple[str, Summary, Summary] | None = None
    for record in parts:
        seconds = timed(record)
        for name, rounds in seconds.items():
            if is_ours(name) or ours not in seconds:
                continue
            summary = summarize(rounds)
            if best is None or summary.median < best[1].median:
                best = name, summary, paired_ratio(rounds, seconds[ours])
    return best


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [_row(head), _row("---" for _ in head), *(_row(row) for row in rows), ""]


def _range(summary: Summary, digits: int = 2) -> str:
    return (
        f"{summary.median:.{digits}f} [{summary.minimum:.{digits}f}, {summary.maximum:.{digits}f}]"
    )


def _microseconds(seconds: Sequence[float], steps: int) -> Summary:
    return summarize([1e6 * s / steps for s in seconds])


# --------------------------------------------------------------------------------------- one record


def words(record: Record) -> str:
    """Return what one record says, as it is printed while a run goes on."""
    head = f"[{record.get('name_of_task', record['task'])}]"
    if record.get("left_out"):
        return f"{head} {record['left_out']}"
    if record["task"] == "mnist":
        return f"{head} {mnist.words(record)}"
    if "competitors" not in record:
        shown = {k: v for k, v in record.items() if k not in ("name_of_task", "at", "platform")}
        return f"{head} {shown}"
    steps = record.get("steps") or record["net_steps"]
    unit = "us a step" if "steps" in record else "us a network's step"
    lines = [head]
    seconds = timed(record)
    for name, competitor in record["competitors"].items():
        if name not in seconds:
            lines.append(f"  {name:34} {competitor.get('left_out') or _NOT_TOLD}")
            continue
        lines.append(f"  {name:34} {_range(_microseconds(seconds[name], steps))} {unit}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------ the run


def table(records: Sequence[Record]) -> str:
    """Return everything a run found, as Markdown."""
    lines = ["# GPU benchmark", ""]
    for record in latest(records, "platform"):
        if "gpu" in record:
            lines += [f"{key}: {value}" + "  " for key, value in record["gpu"].items()]
        else:
            lines.append("On a CPU, to try out the programs: these are no results.")
        lines.append("")
    ceilings = (latest(records, "ceilings") or [{}])[-1]
    lines += _ceilings(ceilings)
    cells = _by_cell(records)
    if cells:
        lines += ["## Goals", "", *_goals(cells, ceilings)]
        lines += ["## All competitors", "", *_competitors(cells)]
        lines += ["## Floors of parmlp's rungs", "", *_floors(cells, ceilings)]
    lines += _mnist(latest(records, "mnist"))
    for record in latest(records, "many"):
        lines += _many(record, ceilings)
    failed = latest(records, "failed")
    done = done_tasks(records)
    lost = [f"- {r['name_of_task']}: {r['left_out']}" for r in failed
            if r["name_of_task"] not in done]  # fmt: skip
    left = [r for r in records if r.get("task") == "left out"]
    if left:
        lost += [f"- {name}: no time left" for name in left[-1]["names"]]
    if lost:
        lines += ["## Not measured", "", *lost, ""]
    return "\n".join(lines).rstrip()


def _by_cell(records: Sequence[Record]) -> dict[str, list[Record]]:
    cells: dict[str, list[Record]] = {}
    for record in latest(records, "cell"):
        cells.setdefault(record["cell"], []).append(record)
    return cells


def _ceilings(found: Record) -> list[str]:
    if len(found) <= 1:
        return []
    lines = ["## Ceilings, measured in this run", ""]
    for precision, rate in found.get("flops_per_second", {}).items():
        lines.append(f"- large product, {precision}: {rate * 1e-12:.1f} TFLOP/s")
    for key, name in (("copy", "copy"), ("cached_copy", "copy of 8 MiB, in the cache")):
        if f"{key}_bytes_per_second" in found:
            rate = found[f"{key}_bytes_per_second"]
            lines.append(f"- {name}: {rate * 1e-9:.0f} GB/s, read and written")
    for key, name in (
        ("launch_seconds", "launch"),
        ("graph_launch_seconds", "launch in a graph"),
        ("block_barrier_seconds", "barrier of a block"),
    ):
        if key in found:
            lines.append(f"- {name}: {1e6 * found[key]:.3f} us")
    for blocks, seconds in found.get("cluster_barrier_seconds", {}).items():
        lines.append(f"- barrier of a cluster of {blocks}: {1e6 * seconds:.3f} us")
    if "shared_bytes_per_second" in found:
        rate = found["shared_bytes_per_second"] * 1e-9
        lines.append(f"- reads of shared memory, one multiprocessor: {rate:.0f} GB/s")
    if found.get("left_out"):
        lines.append(f"- {found['left_out']}")
    return [*lines, ""]


def _goals(cells: dict[str, list[Record]], ceilings: Record) -> list[str]:
    rows = []
    for name, parts in cells.items():
        goal = next((r for r in parts if OURS in timed(r)), parts[0])
        seconds = timed(goal).get(OURS)
        wanted = []
        if goal["goal_microseconds"] is not None:
            wanted.append(f"<= {goal['goal_microseconds']:g} us")
        if goal["goal_ratio"] is not None:
            wanted.append(f">= {goal['goal_ratio']:g} x")
        if seconds is None:
            why = goal["competitors"].get(OURS, {}).get("left_out") or "not run"
            rows.append([name, ", ".join(wanted), why, "", "", "", "", ""])
            continue
        us = _microseconds(seconds, goal["steps"])
        rate = goal["flops_per_step"] / us.median * 1e-6
        account = goal["competitors"][OURS].get("account")
        bound = binding(floors(account, goal["flops_per_step"], goal["precision"], ceilings))
        best = best_rival(parts)
        products = ceilings.get("products_seconds", {}).get(name)
        verdicts = []
        if goal["goal_microseconds"] is not None:
            verdicts.append(us.median <= goal["goal_microseconds"])
        if goal["goal_ratio"] is not None:
            verdicts.append(best is not None and best[2].median >= goal["goal_ratio"])
        rows.append(
            [
                name,
                ", ".join(wanted),
                _range(us),
                f"{rate:.2f}",
                f"{bound[0]}, {1e6 * bound[1]:.2f} us" if bound else "",
                f"{best[0]}: {_range(best[2])}" if best else "no rival was timed",
                f"{100e6 * products / us.median:.0f} %" if products else "",
                ("met" if all(verdicts) else "missed") if verdicts else "",
            ]
        )
    return _table(
        (
            "network, batch, precision",
            "goal",
            "us a step",
            "TFLOP/s",
            "highest floor",
            "best rival's time over ours",
            "cuBLAS's products over ours",
            "",
        ),
        rows,
    )


def _competitors(cells: dict[str, list[Record]]) -> list[str]:
    rows = []
    for name, parts in cells.items():
        for record in parts:
            seconds = timed(record)
            for competitor, found in record["competitors"].items():
                if competitor == OURS and record is not parts[0]:
                    continue  # beside the others of each part: its row is the first
                if competitor not in seconds:
                    rows.append([name, competitor, found.get("left_out") or _NOT_TOLD, "", ""])
                    continue
                ratio = ""
                if competitor != OURS and OURS in seconds:
                    ratio = _range(paired_ratio(seconds[competitor], seconds[OURS]))
                check, product = found["check"], found.get("product_error")
                rows.append(
                    [
                        name,
                        competitor,
                        _range(_microseconds(seconds[competitor], record["steps"])),
                        ratio,
                        f"{check['loss_error']:.1g}, {check['change_error']:.1g}"
                        + ("" if product is None else f", {product:.1g}"),
                    ]
                )
    return _table(
        (
            "network, batch, precision",
            "competitor",
            "us a step",
            "times ours",
            "off float64: loss, change, a product by itself",
        ),
        rows,
    )


def _floors(cells: dict[str, list[Record]], ceilings: Record) -> list[str]:
    rows = []
    for name, parts in cells.items():
        shown: set[str] = set()
        for record in parts:
            seconds = timed(record)
            for competitor, found in record["competitors"].items():
                account = found.get("account")
                if account is None or competitor not in seconds or competitor in shown:
                    continue
                shown.add(competitor)
                step = account["step"]
                us = _microseconds(seconds[competitor], record["steps"]).median
                limits = floors(account, record["flops_per_step"], record["precision"], ceilings)
                bound = binding(limits)
                rows.append(
                    [
                        name,
                        competitor,
                        account["rung"]
                        + (f", {account['cluster_blocks']} blocks"
                           if "cluster_blocks" in account else ""),
                        f"{us:.2f}",
                        f"{record['flops_per_step'] / 1e6:.1f}",
                        f"{step['fresh_bytes'] / 1e3:.0f}",
                        f"{step['once_bytes'] / 1e3:.0f}",
                        f"{(step['loaded_bytes'] + step['stored_bytes']) / 1e3:.0f}",
                        f"{step['launches']:.3g}",
                        f"{step['barriers']:.3g} + {step['cluster_barriers']:.3g}",
                        "; ".join(f"{k} {1e6 * v:.2f}" for k, v in limits.items()),
                        f"{bound[0]}, {100e6 * bound[1] / us:.0f} %" if bound else "",
                    ]
                )  # fmt: skip
    return _table(
        (
            "network, batch, precision",
            "competitor",
            "rung",
            "us a step",
            "MFLOP",
            "kB fresh",
            "kB once a launch",
            "kB asked for",
            "launches",
            "barriers of a block + of the cluster",
            "floors, us",
            "which binds, share of the time",
        ),
        rows,
    )


def _mnist(records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    lines = ["## MNIST to 98 % on the test set", ""]
    for record in records:
        if record.get("left_out"):
            lines.append(f"- {record['name']}: {record['left_out']}")
            continue
        met = (
            median(record["seconds"]) < record["goal_seconds"]
            and median(record["test_accuracy"]) >= record["goal_accuracy"]
        )
        lines.append(
            f"- {mnist.words(record)}. Goal, under {record['goal_seconds']:g} s: "
            f"{'met' if met else 'missed'}"
        )
    return [*lines, ""]


def _many(record: Record, ceilings: Record) -> list[str]:
    peak = ceilings.get("flops_per_second", {}).get("float32")
    seconds = timed(record)
    rows = []
    for name, found in record["competitors"].items():
        if name not in seconds:
            rows.append([name, found.get("left_out") or _NOT_TOLD, "", ""])
            continue
        rates = summarize([record["net_steps"] / s for s in seconds[name]])
        flops = record["flops_per_net_step"] * rates.median
        ratio = ""
        ours = next((n for n in seconds if is_ours(n)), None)
        if ours and name != ours:
            ratio = _range(paired_ratio(seconds[name], seconds[ours]))
        rows.append(
            [name, f"{rates.median:,.0f} [{rates.minimum:,.0f}, {rates.maximum:,.0f}]",
             f"{100 * flops / peak:.1f} %" if peak else "", ratio]
        )  # fmt: skip
    return [
        f"## {record['name']}: goal {100 * record['goal_share']:.0f} % of the float32 peak",
        "",
        *_table(("competitor", "networks' steps a second", "of the peak", "times ours"), rows),
    ]
