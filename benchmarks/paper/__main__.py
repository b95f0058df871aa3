"""``python -m benchmarks.paper [FOLDER] [--out DIR]``: write the paper from a run of the study.

FOLDER is a run's folder (results.jsonl, predictions.json) within this repository, so that readers
have the raw results that the paper names. Without it the paper is written anew from the run that it
names already. Needs ``pip install ".[study]"``; takes some seconds.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.paper.build import PAPER, build, run_of
from benchmarks.paper.evidence import PaperError
from parmlp.study.errors import StudyError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", help="a run's folder")
    parser.add_argument("--out", type=Path, default=PAPER, help="default: docs/paper")
    arguments = parser.parse_args()
    try:
        folder = arguments.folder or run_of(arguments.out)
        written = build(folder, arguments.out)
    except (PaperError, StudyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(written)} files in {arguments.out}, from {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
