"""``python -m benchmarks.gpu DIR``: the table of docs/gpu.md's goals, on a GPU.

::

    python -m benchmarks.gpu DIR [--seconds S]     # measures, then reports
    python -m benchmarks.gpu DIR --report          # the report again, from results.jsonl
    python -m benchmarks.gpu DIR --cpu             # small cells on a CPU: do the programs work?

Competitors are compared with a float64 reference before they are timed, in alternating rounds.
``results.jsonl`` in DIR has every time, one line as soon as a task has ended; tasks that it has
already are not done again, so that a second run goes on where the time of the first was over.
``table.txt`` and the figures are drawn from it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from benchmarks.gpu import figures, report
from benchmarks.gpu.records import Appender, Record, read
from benchmarks.gpu.tasks import cpu_tasks, gpu_tasks
from benchmarks.gpu.worker import run_tasks
from parmlp.engines.cuda.team import status


def tell(out: Path) -> None:
    """Write the table and the figures of what a folder has."""
    records = read(out / "results.jsonl")
    text = report.table(records)
    (out / "table.txt").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)
    for line in figures.draw(records, out):
        print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is not measured yet, and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for results.jsonl, table.txt and figures")
    parser.add_argument(
        "--seconds", type=float, default=420, help="after so long, what is left is left out"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--cpu", action="store_true", help="try the programs on a CPU")
    given = parser.parse_args(arguments)
    if given.report:
        tell(given.out)
        return 0
    if not given.cpu:
        gpu = status()
        if not gpu.available:
            print(
                f"error: {gpu.reason} {gpu.remedy} This benchmark needs a GPU; --cpu tries its "
                "programs out without one.",
                file=sys.stderr,
            )
            return 2
    until = time.time() + given.seconds
    make_tasks = cpu_tasks if given.cpu else gpu_tasks
    results = Appender(given.out / "results.jsonl")
    before = read(given.out / "results.jsonl")
    done, failed = report.done_tasks(before), report.failed_tasks(before)
    # the machine and its ceilings are of each run; what failed before waits until the rest is done
    names = [n for n in make_tasks() if n not in done or n in ("platform", "ceilings")]
    names.sort(key=lambda name: name in failed)

    def keep(name: str, record: Record) -> None:
        results.write({"name_of_task": name, "at": time.time(), **record})
        print(report.words({"name_of_task": name, **record}), flush=True)

    try:
        left = run_tasks(make_tasks, names, until, keep)
    except KeyboardInterrupt:
        tell(given.out)
        print("interrupted: the same command goes on with what is left", file=sys.stderr)
        return 130
    results.write({"task": "left out", "names": left})
    tell(given.out)
    return 0


if __name__ == "__main__":
    # by an exception, so that the process that measures is ended too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
