"""Numbers as the report shows them, and tables that know both forms: shown and exact."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parmlp.study.analysis import Estimate

#: A cell of a table. An estimate is shown with its interval and takes three columns of a CSV file.
Value = str | int | float | Estimate | None

#: What stands where there is no number.
NOTHING = "–"


def number(value: float) -> str:
    """Three significant digits, without exponents where people do not expect them."""
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size == 0:
        return "0"
    if 1e-4 <= size < 1e6:
        digits = max(0, 2 - math.floor(math.log10(size)))
        return f"{value:,.{digits}f}"
    return f"{value:.2e}"


def shown(value: Value) -> str:
    """A value as text."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    if isinstance(value, Estimate):
        if value.coverage == 0:
            return number(value.median)
        return f"{number(value.median)} [{number(value.low)}, {number(value.high)}]"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value)


def sort_key(value: Value) -> str | float | None:
    """What a column is sorted by: a number, a text, or None for what comes last."""
    if isinstance(value, Estimate):
        return value.median
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class Table:
    """A table: ``header`` names the columns and their units, ``rows`` has as many values each."""

    id: str
    header: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]

    @property
    def csv_header(self) -> list[str]:
        """Names of the columns in a file; an estimate has its median, low and high."""
        names: list[str] = []
        for i, name in enumerate(self.header):
            names.append(name)
            if self._is_estimate(i):
                names += [f"{name}, low", f"{name}, high"]
        return names

    def csv_rows(self) -> Iterator[list[str | int | float | None]]:
        """Exact values."""
        for row in self.rows:
            out: list[str | int | float | None] = []
            for i, value in enumerate(row):
                if isinstance(value, Estimate):
                    out += [value.median, value.low, value.high]
                else:
                    out += [value, None, None] if self._is_estimate(i) else [value]
            yield out

    def _is_estimate(self, column: int) -> bool:
        return any(isinstance(row[column], Estimate) for row in self.rows)

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, which stand to the right."""
        return any(isinstance(row[column], int | float | Estimate) for row in self.rows)


def csv_text(table: Table) -> str:
    """A table as the text of a CSV file, with exact values."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.csv_header)
    writer.writerows(table.csv_rows())
    return file.getvalue()
