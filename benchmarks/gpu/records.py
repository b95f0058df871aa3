"""Results as JSON lines, of which the last may be cut short where a run was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """Return the records of a file, none where there is no file, without a half-written last line.

    Raises
    ------
    ValueError
        If another line is no record; the message names file and line.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise ValueError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} is not a JSON object: {line[:60]!r}")
        found.append(record)
    return found


class Appender:
    """Adds records to a file, each on disk before the next begins.

    A half-written last line, of a run that was killed, is taken away first.

    Parameters
    ----------
    path : Path
        It and its folder are made where they do not exist.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        if path.exists():
            whole, newline, _ = path.read_bytes().rpartition(b"\n")
            if len(whole + newline) < path.stat().st_size:
                path.write_bytes(whole + newline)

    def write(self, record: Record) -> None:
        """Add one record; NaN and infinity, which JSON has not, become null."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(record), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
