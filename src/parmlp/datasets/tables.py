"""Reading the rows of users' files: CSV, Parquet, npz, and idx images.

For training the columns' types come from the file; for prediction and evaluation from the model, so
that a column means the same there as where it was learned.
"""

import csv
import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from parmlp.datasets import kddcup99
from parmlp.datasets.idx import GZIP_MAGIC, is_idx, read_idx
from parmlp.datasets.npz import read_npz
from parmlp.datasets.targets import ARROW_TYPES, array_kind, infer_task, read_target, to_task
from parmlp.errors import DataError
from parmlp.preprocessing import NumericColumn, Preprocessing, TablePreprocessing, Target

DELIMITERS = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t"}
FORMATS = "CSV (.csv, .tsv, also .gz), Parquet (.parquet) and npz (.npz, arrays X and y)"

# Besides pyarrow's own list (nothing, NA, NaN, null, ...) what the UCI repository writes.
MISSING_MARKS = [*pyarrow.csv.ConvertOptions().null_values, "?"]

# pyarrow takes the columns' types from the first block; one block for the whole file up to this
# size means a column whose first fraction stands in its last row is still read as numbers.
MAX_BLOCK_BYTES = 1 << 30

# Where array data (no column names) stands in files of columns.
ARRAY_TARGET = "y"

HeaderRule = Callable[[Sequence[str]], Sequence[str] | None]


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name before the text of a DataError that does not mention it."""
    try:
        yield
    except DataError as error:
        if os.fspath(path) in str(error):
            raise
        raise DataError(f"{os.fspath(path)}: {error}") from error


def is_npz(path: str | os.PathLike[str]) -> bool:
    """Whether the file is an npz file by its name."""
    return Path(path).suffix.lower() == ".npz"


def read_table(
    path: str | os.PathLike[str],
    types: dict[str, Any] | None = None,
    header_rule: HeaderRule | None = None,
) -> Any:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : path
        ``.csv`` or ``.tsv`` (also ``.gz``) with a line of column names, or ``.parquet``. The row
        labels pandas adds to Parquet files (``__index_level_0__``) are no column.
    types : dict of str to pyarrow type, optional
        Types the named columns must have; those of other columns are inferred.
    header_rule : callable, optional
        Given the fields of a CSV file's first line, returns the column names if that line is
        already data, and None if it is the header. By default it is the header.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    DataError
        The file is missing, of an unknown format, corrupt, empty, has columns without a name or of
        the same name, or holds a value that is not of the required type.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file" if path.exists() else f"no such file: {path}")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = _read_parquet(path, types or {})
        else:
            table = _read_csv(path, types or {}, header_rule)
        names = table.column_names
    except DataError:
        raise
    # UnicodeDecodeError (a ValueError): names that are not UTF-8.
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read: {reason}. Repair it or get it anew") from error
    for name in names:
        if not name:
            raise DataError(
                f"{path}: column {names.index(name) + 1} has no name; name it, or write the file "
                "without row labels (pandas: index=False)"
            )
        if names.count(name) > 1:
            raise DataError(f"{path}: {names.count(name)} columns are called {name!r}; rename them")
    if not table.num_rows:
        raise DataError(f"{path} has no rows")
    return table


def read_rows(path: str | os.PathLike[str], preprocessing: Preprocessing | None = None) -> Any:
    """Read raw rows for ``LoadedModel.predict``.

    Parameters
    ----------
    path : path
        For a model of named columns: CSV or Parquet with those columns in any order (the target may
        be there too); for KDD'99 also the original files, which have no header. For a model of
        arrays or images: npz (X), idx images, CSV or Parquet with its columns in order.
    preprocessing : Preprocessing, optional
        The model's.

    Returns
    -------
    pyarrow.Table or ndarray
        What ``preprocessing.transform`` takes; that also checks the columns.

    Raises
    ------
    DataError
        As ``read_table``.
    """
    if isinstance(preprocessing, TablePreprocessing):
        return _read_named(path, preprocessing)
    if is_npz(path):
        return read_npz(path)[0]
    if Path(path).is_file() and is_idx(path):
        return read_idx(path)
    table = read_table(path, header_rule=_numbers_are_data)
    name = _target_name(preprocessing)
    return table.drop_columns([name]) if name in table.column_names else table


def read_labelled_rows(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing | None = None,
    *,
    target: str | None = None,
) -> tuple[Any, npt.NDArray[Any]]:
    """Read raw rows and the true target, to evaluate a model on.

    Parameters
    ----------
    path, preprocessing
        As for ``read_rows``; the target column must be there (in npz files: y).
    target : {"label", "category", "attack"}, optional
        For a KDD'99 model, what it predicts.

    Returns
    -------
    rows : pyarrow.Table or ndarray
    y : ndarray, shape (n,) or (n, n_outputs)
        Of the type the model was trained with.

    Raises
    ------
    DataError
        As ``read_table``; there is no target, or one of another type.
    """
    with naming(path):
        return _read_labelled(path, preprocessing, target)


def _read_labelled(
    path: str | os.PathLike[str], preprocessing: Preprocessing | None, target: str | None
) -> tuple[Any, npt.NDArray[Any]]:
    known = None if preprocessing is None else preprocessing.target
    if is_npz(path) and not isinstance(preprocessing, TablePreprocessing):
        X, values = read_npz(path)
        if values is None:
            raise DataError(f"{path} has no array y; add it: numpy.savez(path, X=X, y=y)")
        return X, _typed(values, ARRAY_TARGET, known)
    if isinstance(preprocessing, TablePreprocessing):
        if known is None:
            raise DataError("the model does not say which column it predicts")
        table = _read_named(path, preprocessing)
    else:
        types = {known.name: ARROW_TYPES[known.kind]} if known else {}
        table = read_table(path, types, _numbers_are_data)
    name = _target_name(preprocessing)
    if name not in table.column_names:
        raise DataError(
            f"{path} has no column {name!r}, the target this model predicts; its columns are "
            f"{', '.join(table.column_names)}"
        )
    y, _ = read_target(table.column(name), name)
    rows = table.drop_columns([name])
    if preprocessing == kddcup99.PREPROCESSING:
        return rows, kddcup99.to_target(y, target or "label")
    return rows, _typed(y, name, known)


def _typed(values: npt.NDArray[Any], name: str, known: Target | None) -> npt.NDArray[Any]:
    """Return the target as the model's estimator compares it; DataError if it is another type."""
    kind = array_kind(values, name)
    if known is None:
        return to_task(values, name, kind, infer_task(values, kind))
    numeric = {"integer", "number"}
    if kind != known.kind and not (kind in numeric and known.kind in numeric):
        raise DataError(
            f"target {name!r} is of type {kind}, but this model was trained on type {known.kind}"
        )
    return to_task(values, name, kind, known.task)


def _target_name(preprocessing: Preprocessing | None) -> str:
    if preprocessing is None or preprocessing.target is None:
        return ARRAY_TARGET
    return preprocessing.target.name


def _read_named(path: str | os.PathLike[str], preprocessing: TablePreprocessing) -> Any:
    """Read a table with the types of the model's columns."""
    if is_npz(path):
        raise DataError(
            f"{path}: this model was trained on named columns; pass a CSV or Parquet file that has "
            "them"
        )
    types = {
        column.name: (
            (pa.bool_() if column.boolean else pa.float64())
            if isinstance(column, NumericColumn)
            else pa.string()
        )
        for column in preprocessing.columns
    }
    names = list(types)
    target = preprocessing.target
    if target is not None:
        types[target.name] = ARROW_TYPES[target.kind]

    def positional(fields: Sequence[str]) -> Sequence[str] | None:
        """Names of a file without header: the features, then perhaps the target."""
        if set(names) & set(fields):
            return None
        labelled = [*names, *([target.name] if target else [])]
        for candidate in (names, labelled):
            if len(fields) == len(candidate):
                return candidate
        raise DataError(
            f"{path}: expected {len(names)} columns, or {len(labelled)} with the label, but the "
            f"first line has {len(fields)}"
        )

    return read_table(path, types, None if preprocessing.header else positional)


def _numbers_are_data(fields: Sequence[str]) -> Sequence[str] | None:
    """Take a first line of numbers for data, unless they number the columns as pandas does."""
    if list(fields) == [str(i) for i in range(len(fields))]:
        return None
    try:
        [float(field) for field in fields]
    except ValueError:
        return None
    return [f"x{i}" for i in range(len(fields))]


def _read_parquet(path: Path, types: dict[str, Any]) -> Any:
    with pyarrow.parquet.ParquetFile(path) as file:
        table = file.read()
    labels = [name for name in table.column_names if name.startswith("__index_level_")]
    table = table.drop_columns(labels)
    # A corrupt file may decode into arrays that are not consistent in themselves.
    table.validate(full=True)
    for i, field in enumerate(table.schema):
        wanted = types.get(field.name)
        if wanted is None or pa.types.is_null(field.type):
            continue
        # Numbers may be stored narrower or wider; strings stay strings, or 1 would equal "01".
        if pa.types.is_string(wanted) == _holds_strings(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(wanted))
    return table


def _holds_strings(type_: Any) -> bool:
    if pa.types.is_dictionary(type_):
        return _holds_strings(type_.value_type)
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(type_) for is_kind in kinds)


def _read_csv(path: Path, types: dict[str, Any], header_rule: HeaderRule | None) -> Any:
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    delimiter = _delimiter(path)
    with gzip.open(path) if packed else path.open("rb") as stream:
        text = stream.read()
    names = None
    if header_rule is not None:
        first = text[: text.find(b"\n") + 1 or len(text)].decode("utf-8-sig")
        fields = next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), [])
        names = header_rule(fields)
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(
            block_size=min(len(text) + 1, MAX_BLOCK_BYTES), column_names=names
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            null_values=MISSING_MARKS,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _delimiter(path: Path) -> str:
    name = path.name.lower()
    for suffix, delimiter in DELIMITERS.items():
        if name.endswith(suffix):
            return delimiter
    # KDD'99's original files are called corrected.gz and kddcup.data_10_percent.gz.
    if name.endswith(".gz"):
        return ","
    raise DataError(f"{path}: unknown kind of file; parmlp reads {FORMATS}")
