"""``python -m benchmarks.cpu``: time the trainers of this package and its rivals on the CPU.

::

    python -m benchmarks.cpu install-rivals --dir ~/rivals     # once: a venv a rival
    python -m benchmarks.cpu --rivals-dir ~/rivals --out results.jsonl
    python -m benchmarks.cpu --quick                           # two cells, some minutes
    python -m benchmarks.cpu list                              # cells and competitors
    python -m benchmarks.cpu table results.jsonl               # the table again, from raw records

Real data sets are looked for as `parmlp.datasets` does (PARMLP_DATA). Every competitor's result is
compared with a float64 reference before it is timed, and all of a cell take turns within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cpu import report
from benchmarks.cpu.cells import CELLS, QUICK, select
from benchmarks.cpu.entries import ENTRIES
from benchmarks.cpu.rounds import ROOT, Plan, run_cell
from parmlp.study import peers
from parmlp.study.measure import machine
from parmlp.study.measure.ceiling import Ceiling
from parmlp.study.measure.rivals import Entry
from parmlp.study.measure.rounds import Record


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 something failed, 2 bad arguments."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if not words or words[0] not in ("run", "install-rivals", "list", "table", "-h", "--help"):
        words.insert(0, "run")
    options = parser.parse_args(words)
    try:
        status: int = options.command(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    run = commands.add_parser("run", help="time the cells (the default command)")
    run.set_defaults(command=_run)
    run.add_argument("--cells", nargs="+", metavar="PATTERN", help="shell patterns of cell names")
    run.add_argument("--rounds", type=_positive, default=7, help="quiet rounds wanted (7)")
    run.add_argument("--seconds", type=float, default=0.3, help="length of one timing (0.3)")
    run.add_argument("--threads", nargs="+", type=_positive, help="thread counts (1 and all cores)")
    run.add_argument("--rivals", nargs="+", metavar="NAME", help="competitors, ours included")
    run.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH",
                     help="interpreter of an environment (see list)")  # fmt: skip
    run.add_argument("--rivals-dir", type=Path, help="folder that install-rivals filled")
    run.add_argument("--repeats", type=int, default=2,
                     help="how often rounds are repeated on a busy machine (2)")  # fmt: skip
    run.add_argument("--out", type=Path, help="JSON lines, appended cell by cell")
    run.add_argument("--quick", action="store_true", help=f"only {' and '.join(QUICK)}")

    rivals = commands.add_parser("install-rivals", help="make the rivals' environments")
    rivals.set_defaults(command=_install)
    rivals.add_argument("--dir", type=Path, required=True)
    rivals.add_argument("--only", nargs="+", default=[], metavar="NAME")

    listing = commands.add_parser("list", help="print cells, competitors and environments")
    listing.set_defaults(command=_list)

    table = commands.add_parser("table", help="print the table of raw results")
    table.set_defaults(command=_table)
    table.add_argument("files", nargs="+", type=Path)
    table.add_argument("--markdown", action="store_true", help="a row a cell, for the docs")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _run(options: argparse.Namespace) -> int:
    cells = select(options.cells or (list(QUICK) if options.quick else ["*"]))
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    threads = tuple(options.threads or sorted({1, len(cpus)}))
    if max(threads) > len(cpus):
        raise ValueError(
            f"--threads {max(threads)}: this process may use {len(cpus)} CPUs, and each thread is "
            "measured on its own"
        )
    plan = Plan(
        entries=_entries(options.rivals),
        threads=threads,
        cpus=cpus,
        rounds=options.rounds,
        target_seconds=options.seconds,
        repeats=options.repeats,
        python=_interpreters(options),
        default_python=sys.executable,
    )
    ceiling = Ceiling()
    records: list[Record] = [
        {
            "type": "platform",
            "format": 1,
            **machine.record(ROOT),
            "peak_compiler": ceiling.compiler,
            "read_bytes_per_second": {
                str(t): ceiling.bandwidth(plan.cpus_for(t)) for t in plan.threads
            },
            "wanted_rounds": plan.rounds,
            "seconds": plan.target_seconds,
        }
    ]
    _append(options.out, records)
    for number, cell in enumerate(cells, 1):
        _say(f"[{number}/{len(cells)}] {cell.name}")
        group = run_cell(cell, plan, ceiling, _say)
        _append(options.out, group)
        records += group
    print(report.table(records, plan.rounds))
    return 0


def _entries(names: list[str] | None) -> tuple[Entry, ...]:
    if names is None:
        return tuple(e for e in ENTRIES.values() if e.by_default)
    unknown = [n for n in names if n not in ENTRIES]
    if unknown:
        raise ValueError(f"no competitor {', '.join(unknown)}; there are {', '.join(ENTRIES)}")
    return tuple(ENTRIES[n] for n in names)


def _interpreters(options: argparse.Namespace) -> dict[str, str]:
    found = peers.interpreters(options.rivals_dir) if options.rivals_dir else {}
    for text in options.python:
        name, equals, path = text.partition("=")
        if not equals or name not in peers.requirements():
            names = ", ".join(sorted(peers.requirements()))
            raise ValueError(f"--python {text}: expected NAME=PATH with NAME one of {names}")
        found[name] = path
    return found


def _append(out: Path | None, records: list[Record]) -> None:
    if out is not None:
        with out.open("a") as stream:
            stream.writelines(json.dumps(r) + "\n" for r in records)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _install(options: argparse.Namespace) -> int:
    return 1 if peers.install(options.dir, options.only) else 0


def _list(options: argparse.Namespace) -> int:
    print("cells:")
    for cell in CELLS:
        print(f"  {cell.name}  ({cell.flops_per_sample:,} FLOPs a sample)")
    print("competitors:")
    for entry in ENTRIES.values():
        print(f"  {entry.name}  (environment: {entry.venv or 'this one'})")
    return 0


def _table(options: argparse.Namespace) -> int:
    for path in options.files:
        records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        wanted = next((r["wanted_rounds"] for r in records if r["type"] == "platform"), 7)
        print((report.markdown if options.markdown else report.table)(records, wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
