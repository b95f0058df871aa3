"""What the small benchmarks share: one option, --out, and JSON lines with the platform first."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.cpu.rounds import ROOT
from parmlp.study.measure import machine


def out_argument(program: str, description: str | None) -> Path | None:
    """Parse the command line of ``python -m PROGRAM``; return where records go, if anywhere."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="JSON lines are written here")
    out: Path | None = parser.parse_args().out
    return out


def platform_record() -> dict[str, Any]:
    """Return the first record: the machine, as it is before anything is timed."""
    return {"platform": machine.record(ROOT)}


def write(out: Path | None, records: Iterable[dict[str, Any]]) -> None:
    """Write records as JSON lines, if there is a file for them."""
    if out is not None:
        out.write_text("".join(json.dumps(record) + "\n" for record in records))
