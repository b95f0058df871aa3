"""What the command line prints and writes: JSON, error lines, whole files or none."""

import csv
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import typer

EXIT_FAILED = 1
EXIT_BAD_ARGUMENTS = 2
EXIT_INTERRUPTED = 130


def print_json(document: dict[str, object]) -> None:
    """Print `document` as one JSON object on one line of stdout.

    Raises
    ------
    ValueError
        If a number in it is NaN or infinite, which JSON cannot say.
    """
    typer.echo(json.dumps(document, allow_nan=False))


def number_or_none(value: float) -> float | None:
    """`value` as JSON can say it: None where it is undefined (NaN) or infinite."""
    return float(value) if math.isfinite(value) else None


def print_error(message: str) -> None:
    """Print `error: ...` on stderr, on one line whatever line breaks `message` has."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)


def print_warning(  # noqa: PLR0917 -- the signature is Python's
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print `warning: ...` on stderr; stands in for `warnings.showwarning`."""
    typer.echo(f"warning: {' '.join(str(message).split())}", err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        typer.echo("  ".join([first, *others]).rstrip())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file under a temporary name and rename it: the whole file appears, or none.

    Raises
    ------
    OSError
        If it cannot be written; what stood at `path` before is then still there, and the message
        says so.
    """
    try:
        _write_whole(path, header, rows)
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}; what was there before is unchanged. "
            "Free some space or choose another place"
        ) from error


def _write_whole(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner reads; give it what `open` would have.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def is_terminal() -> bool:
    """Whether a person is watching stderr, where progress is shown."""
    return sys.stderr.isatty()
