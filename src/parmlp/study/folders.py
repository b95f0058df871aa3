"""Where runs are kept: one folder each, named by its date, below ``parmlp-study``."""

from datetime import datetime
from pathlib import Path

from parmlp.study.errors import StudyError
from parmlp.study.records import RESULTS

HOME = Path("parmlp-study")


def new_folder(home: Path = HOME) -> Path:
    """A folder for a run that begins now; it is not made yet."""
    return home / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")


def latest_folder(home: Path = HOME) -> Path:
    """The run whose results were written last.

    Raises
    ------
    StudyError
        If there is none.
    """
    found = [file for file in home.glob(f"*/{RESULTS}") if file.is_file()]
    if not found:
        raise StudyError(
            f"no run in {home}; make one with `parmlp study run`, or name a run's folder"
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent
