"""Turning raw rows into the float32 matrix a network takes, alike in training and prediction.

A ``Preprocessing`` is fitted (or known) when a model is trained, is stored in the model file as
plain JSON and is applied to raw rows by ``predict``. It holds numbers and names, never code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from parmlp.errors import DataError

__all__ = [
    "CategoricalColumn",
    "IdentityPreprocessing",
    "NumericColumn",
    "PixelPreprocessing",
    "Preprocessing",
    "StandardPreprocessing",
    "TablePreprocessing",
    "Target",
    "require_complete",
]

Task = Literal["classification", "regression"]
TargetKind = Literal["boolean", "integer", "number", "string"]
Scaling = Literal["standard", "log1p_minmax"]
FloatMatrix = npt.NDArray[np.float32]
T = TypeVar("T")

# Rows transformed at a time. The output is row-major and filled column by column, so a block should
# stay in cache; a small one costs calls. KDD'99 (494,021 x 122, one core of a shared Zen 4 virtual
# machine): 1024 rows 0.7 to 0.9 s, 4096 0.31 to 0.33 s, 8192 0.25 to 0.27 s, all at once 0.6 s.
BLOCK_ROWS = 8192

# A column with more distinct strings than this is an identifier or free text, not a category.
MAX_CATEGORIES = 10_000


@dataclass(frozen=True)
class Target:
    """What a model predicts: the raw column's name and element type, and the task.

    The type is kept because a file seen later may suggest another one: a CSV column of labels
    ``1, 2, x`` is text, and must stay text in a file where only ``1`` and ``2`` occur.
    """

    name: str
    kind: TargetKind
    task: Task

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"name": self.name, "kind": self.kind, "task": self.task}

    @classmethod
    def from_dict(cls, record: object) -> Self:
        """Rebuild from ``to_dict``'s result; DataError if it is not one."""
        fields = _fields(record, "target")
        kind = _field(fields, "kind", str)
        task = _field(fields, "task", str)
        if kind not in get_args(TargetKind):
            raise DataError(f"preprocessing: unknown target kind {kind!r}")
        if task not in get_args(Task):
            raise DataError(f"preprocessing: unknown task {task!r}")
        return cls(_field(fields, "name", str), cast(TargetKind, kind), cast(Task, task))


class Preprocessing(ABC):
    """Base class. Subclasses are frozen: what a model was trained with does not change.

    Attributes
    ----------
    kind : str
        Name of the subclass in model files.
    target : Target or None
        The column the model predicts; ignored where raw rows hold it.
    """

    kind: ClassVar[str]
    target: Target | None

    @property
    @abstractmethod
    def n_features_in(self) -> int:
        """Number of raw columns, the target not counted."""

    @property
    @abstractmethod
    def n_features_out(self) -> int:
        """Number of columns ``transform`` returns: the network's input units."""

    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the ``n_features_out`` columns."""

    @abstractmethod
    def transform(self, rows: Any) -> FloatMatrix:
        """Return ``rows`` as a C-contiguous float32 matrix of shape (n_rows, n_features_out).

        Raises
        ------
        DataError
            Wrong columns, missing or non-finite values, values of another type.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description that ``from_dict`` takes."""

    @staticmethod
    def from_dict(record: object) -> "Preprocessing":
        """Rebuild a preprocessing; runs no code from ``record`` and checks every field.

        Raises
        ------
        DataError
            ``record`` does not describe a preprocessing.
        """
        fields = _fields(record, "preprocessing")
        kind = _field(fields, "kind", str)
        builder = _BUILDERS.get(kind)
        if builder is None:
            raise DataError(f"preprocessing: unknown kind {kind!r}; known: {', '.join(_BUILDERS)}")
        target = fields.get("target")
        return builder(fields, None if target is None else Target.from_dict(target))


class _ArrayPreprocessing(Preprocessing):
    """Rows are numbers without column names: images, npz arrays."""

    def feature_names(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(self.n_features_out))

    @property
    def n_features_out(self) -> int:
        return self.n_features_in

    def _base_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "target": None if self.target is None else self.target.to_dict()}


@dataclass(frozen=True)
class PixelPreprocessing(_ArrayPreprocessing):
    """Divide pixels in 0..``maximum`` by ``maximum``, giving [0, 1]."""

    kind = "pixels"
    n_pixels: int
    maximum: float
    target: Target | None = None

    @property
    def n_features_in(self) -> int:
        return self.n_pixels

    def transform(self, rows: Any) -> FloatMatrix:
        """Scale images of shape (n, n_pixels), or (n, height, width) with that many pixels."""
        pixels = _numeric_matrix(rows, self.n_pixels)
        if pixels.size:
            low, high = pixels.min(), pixels.max()
            if low < 0 or high > self.maximum:
                bad = low if low < 0 else high
                raise DataError(
                    f"pixel value {bad:g} is outside 0..{self.maximum:g}, the range this model was "
                    "trained on; pass the images with their original scale"
                )
        scaled = np.empty(pixels.shape, dtype=np.float32)
        # float32 division: correctly rounded, so the same from uint8, float32 or float64 pixels.
        np.divide(
            pixels, np.float32(self.maximum), out=scaled, dtype=np.float32, casting="same_kind"
        )
        return scaled

    def to_dict(self) -> dict[str, Any]:
        return {**self._base_dict(), "n_pixels": self.n_pixels, "maximum": self.maximum}

    @classmethod
    def _build(cls, fields: Mapping[str, Any], target: Target | None) -> Self:
        maximum = _number(fields, "maximum")
        if maximum <= 0:
            raise DataError(f"preprocessing: maximum is {maximum}, not positive")
        return cls(_count(fields, "n_pixels"), maximum, target)


@dataclass(frozen=True)
class StandardPreprocessing(_ArrayPreprocessing):
    """Standardize every column of an array: ``(x - shift) / scale``."""

    kind = "standard"
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    target: Target | None = None

    @classmethod
    def fit(cls, rows: Any, target: Target | None = None) -> Self:
        """Take mean and standard deviation of each column of ``rows``, shape (n, n_features)."""
        values = _numeric_matrix(rows, None)
        moments = [_standard(values[:, j], f"x{j}") for j in range(values.shape[1])]
        return cls(tuple(m[0] for m in moments), tuple(m[1] for m in moments), target)

    @property
    def n_features_in(self) -> int:
        return len(self.shift)

    def transform(self, rows: Any) -> FloatMatrix:
        values = _numeric_matrix(rows, self.n_features_in)
        shift, scale = np.array(self.shift), np.array(self.scale)
        out = np.empty(values.shape, dtype=np.float32)
        for start in range(0, len(values), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            with np.errstate(over="ignore"):
                out[block] = (values[block].astype(np.float64) - shift) / scale
        bad = np.flatnonzero(~np.isfinite(out).all(axis=0))
        if bad.size:
            raise DataError(_too_large(f"x{bad[0]}"))
        return out

    def to_dict(self) -> dict[str, Any]:
        return {**self._base_dict(), "shift": list(self.shift), "scale": list(self.scale)}

    @classmethod
    def _build(cls, fields: Mapping[str, Any], target: Target | None) -> Self:
        shift, scale = _numbers(fields, "shift"), _numbers(fields, "scale")
        if len(shift) != len(scale) or not shift:
            raise DataError(
                f"preprocessing: {len(shift)} shifts and {len(scale)} scales; need one of each a "
                "column"
            )
        if min(scale) <= 0:
            raise DataError(f"preprocessing: scale {min(scale)} is not positive")
        return cls(shift, scale, target)


@dataclass(frozen=True)
class IdentityPreprocessing(_ArrayPreprocessing):
    """Take numbers as they are, in float32."""

    kind = "identity"
    n_features: int
    target: Target | None = None

    @property
    def n_features_in(self) -> int:
        return self.n_features

    def transform(self, rows: Any) -> FloatMatrix:
        values = _numeric_matrix(rows, self.n_features)
        with np.errstate(over="ignore"):
            out = np.ascontiguousarray(values, dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(out).all(axis=0))
        if bad.size:
            raise DataError(_too_large(f"x{bad[0]}"))
        return out

    def to_dict(self) -> dict[str, Any]:
        return {**self._base_dict(), "n_features": self.n_features}

    @classmethod
    def _build(cls, fields: Mapping[str, Any], target: Target | None) -> Self:
        return cls(_count(fields, "n_features"), target)


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers (or of booleans, taken as 0 and 1) and how it is scaled.

    ``standard``: ``(x - shift) / scale``. ``log1p_minmax``: ``log1p(x) / scale`` for x >= 0, which
    keeps zeros zero and maps the training maximum to 1.
    """

    name: str
    scaling: Scaling
    shift: float
    scale: float
    boolean: bool = False

    @classmethod
    def standard(
        cls, name: str, values: npt.NDArray[Any], *, boolean: bool = False
    ) -> "NumericColumn":
        """Fit mean and standard deviation on ``values``, shape (n,)."""
        shift, scale = _standard(values, name)
        return cls(name, "standard", shift, scale, boolean)

    @classmethod
    def log1p_minmax(cls, name: str, maximum: float) -> "NumericColumn":
        """Scale so that ``maximum`` becomes 1; a column that is always 0 is left as it is."""
        return cls(name, "log1p_minmax", 0.0, float(np.log1p(maximum)) if maximum > 0 else 1.0)

    @property
    def width(self) -> int:
        """Output columns."""
        return 1

    def feature_names(self) -> tuple[str, ...]:
        """Return the output column's name."""
        return (self.name,)

    def check_type(self, type_: Any) -> None:
        """Raise DataError unless ``type_`` (a pyarrow type) holds numbers or booleans."""
        if not (_is_number(type_) or pa.types.is_boolean(type_)):
            raise DataError(
                f"column {self.name!r} holds {type_}, but this model was trained with numbers there"
            )

    def fill(self, column: Any, out: FloatMatrix) -> None:
        """Write the scaled ``column`` (a complete pyarrow array) into ``out``, shape (n, 1)."""
        values = _to_float64(column)
        with np.errstate(over="ignore"):
            if self.scaling == "log1p_minmax":
                if values.size and values.min() < 0:
                    raise DataError(
                        f"column {self.name!r} holds {values.min():g}; its values are counts or "
                        "rates and cannot be negative"
                    )
                out[:, 0] = np.log1p(values) / self.scale
            else:
                out[:, 0] = (values - self.shift) / self.scale
        if not np.isfinite(out[:, 0]).all():
            raise DataError(_too_large(self.name))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {
            "type": "numeric",
            "name": self.name,
            "scaling": self.scaling,
            "shift": self.shift,
            "scale": self.scale,
            "boolean": self.boolean,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Rebuild from ``to_dict``'s result; DataError if it is not one."""
        scaling = _field(fields, "scaling", str)
        if scaling not in get_args(Scaling):
            raise DataError(f"preprocessing: unknown scaling {scaling!r}")
        scale = _number(fields, "scale")
        if scale <= 0:
            raise DataError(f"preprocessing: scale {scale} is not positive")
        return cls(
            _field(fields, "name", str),
            cast(Scaling, scaling),
            _number(fields, "shift"),
            scale,
            _field(fields, "boolean", bool),
        )


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of strings, one-hot encoded; a category not listed gives all zeros."""

    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, column: Any) -> Self:
        """Take the distinct strings of ``column`` (a pyarrow array), sorted."""
        distinct = pc.unique(column)
        if len(distinct) > MAX_CATEGORIES:
            raise DataError(
                f"column {name!r} has {len(distinct):,} distinct strings, more than the "
                f"{MAX_CATEGORIES:,} that are one-hot encoded; remove the column or group its "
                "values"
            )
        return cls(name, tuple(sorted(distinct.to_pylist())))

    @property
    def width(self) -> int:
        """Output columns."""
        return len(self.categories)

    def feature_names(self) -> tuple[str, ...]:
        """Return ``name=category`` for each output column."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    def check_type(self, type_: Any) -> None:
        """Raise DataError unless ``type_`` (a pyarrow type) holds strings."""
        if not _is_string(type_):
            raise DataError(
                f"column {self.name!r} holds {type_}, but this model was trained with strings there"
            )

    @cached_property
    def _value_set(self) -> Any:
        return pa.array(self.categories, pa.string())

    def fill(self, column: Any, out: FloatMatrix) -> None:
        """Set the ones of ``column`` (a complete pyarrow array) in ``out`` (n, width), all 0."""
        if not self.categories:
            return
        codes = pc.fill_null(
            pc.index_in(pc.cast(column, pa.string()), value_set=self._value_set), -1
        ).to_numpy(zero_copy_only=False)
        known = np.flatnonzero(codes >= 0)
        out[known, codes[known]] = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"type": "categorical", "name": self.name, "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Rebuild from ``to_dict``'s result; DataError if it is not one."""
        name = _field(fields, "name", str)
        categories = _field(fields, "categories", list)
        if not all(isinstance(category, str) for category in categories):
            raise DataError(f"preprocessing: a category of column {name!r} is not a string")
        if len(set(categories)) != len(categories):
            raise DataError(f"preprocessing: a category of column {name!r} occurs twice")
        return cls(name, tuple(categories))


Column = NumericColumn | CategoricalColumn


@dataclass(frozen=True)
class TablePreprocessing(Preprocessing):
    """Named columns: numbers and booleans scaled, strings one-hot encoded, in the columns' order.

    Attributes
    ----------
    columns : tuple of NumericColumn and CategoricalColumn
        The raw columns, the target not among them.
    target : Target or None
        The column the model predicts; ignored where raw rows hold it.
    header : bool
        False for data whose original CSV files have no line of names (KDD'99).
    """

    kind = "table"
    columns: tuple[Column, ...]
    target: Target | None = None
    header: bool = True

    @classmethod
    def fit(cls, table: Any, target: Target | None = None) -> Self:
        """Learn scaling and categories from the training rows.

        Parameters
        ----------
        table : pyarrow.Table
            The training rows; a column named as the target is left out.

        Raises
        ------
        DataError
            Missing or infinite values, a column of a type that is neither number, boolean nor
            string, no column at all, too many categories.
        """
        names = [n for n in table.column_names if target is None or n != target.name]
        if not names:
            raise DataError("there is no column to learn from besides the target")
        plain = pa.table([_plain(table.column(name)) for name in names], names=names)
        require_complete(plain)
        return cls(tuple(_fit_column(name, plain.column(name)) for name in names), target)

    @property
    def n_features_in(self) -> int:
        return len(self.columns)

    @property
    def n_features_out(self) -> int:
        return sum(column.width for column in self.columns)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the raw columns, in order."""
        return tuple(column.name for column in self.columns)

    def feature_names(self) -> tuple[str, ...]:
        return tuple(name for column in self.columns for name in column.feature_names())

    def transform(self, rows: Any) -> FloatMatrix:
        """Scale and encode raw rows.

        Parameters
        ----------
        rows : pyarrow.Table, DataFrame, mapping of name to values, or 2-D array
            Named columns may come in any order, and columns the model does not know are ignored;
            those of an array are taken in ``column_names``' order.
        """
        table = self._select(_as_table(rows, self.column_names))
        require_complete(table)
        try:
            out = np.zeros((table.num_rows, self.n_features_out), dtype=np.float32)
        except MemoryError as error:
            raise DataError(
                f"{table.num_rows:,} rows of {self.n_features_out:,} columns (strings one-hot "
                "encoded) do not fit in memory; remove or group columns of many categories"
            ) from error
        for start in range(0, table.num_rows, BLOCK_ROWS):
            block = table.slice(start, BLOCK_ROWS)
            stop, left = start + block.num_rows, 0
            for column in self.columns:
                piece = out[start:stop, left : left + column.width]
                column.fill(block.column(column.name), piece)
                left += column.width
        return out

    def _select(self, table: Any) -> Any:
        """Return this model's columns of ``table`` in order, or raise naming what does not fit."""
        names = table.column_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"column {twice[0]!r} occurs {names.count(twice[0])} times")
        missing = [name for name in self.column_names if name not in names]
        if missing:
            known = {*self.column_names, *([self.target.name] if self.target else [])}
            extra = [name for name in names if name not in known]
            # Perhaps the missing ones under another name.
            others = f" and have {_listed(extra)}, unknown to this model" if extra else ""
            raise DataError(
                f"the rows lack {_listed(missing)}{others}; expected the columns the model was "
                f"trained on: {_listed(self.column_names)}"
            )
        arrays = []
        for column in self.columns:
            array = _plain(table.column(column.name))
            # A column without a single value has no type; require_complete names it as missing.
            if not pa.types.is_null(array.type):
                column.check_type(array.type)
            arrays.append(array)
        return pa.table(arrays, names=self.column_names)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "columns": [column.to_dict() for column in self.columns],
            "target": None if self.target is None else self.target.to_dict(),
            "header": self.header,
        }

    @classmethod
    def _build(cls, fields: Mapping[str, Any], target: Target | None) -> Self:
        columns: list[Column] = []
        for record in _field(fields, "columns", list):
            column = _fields(record, "column")
            type_ = _field(column, "type", str)
            if type_ == "numeric":
                columns.append(NumericColumn.from_dict(column))
            elif type_ == "categorical":
                columns.append(CategoricalColumn.from_dict(column))
            else:
                raise DataError(f"preprocessing: unknown column type {type_!r}")
        names = [column.name for column in columns]
        if not columns or len(set(names)) != len(names):
            raise DataError("preprocessing: no columns, or two of the same name")
        if target is not None and target.name in names:
            raise DataError(f"preprocessing: the target {target.name!r} is also an input")
        return cls(tuple(columns), target, _field(fields, "header", bool))


_BUILDERS: dict[str, Callable[[Mapping[str, Any], Target | None], Preprocessing]] = {
    PixelPreprocessing.kind: PixelPreprocessing._build,
    StandardPreprocessing.kind: StandardPreprocessing._build,
    IdentityPreprocessing.kind: IdentityPreprocessing._build,
    TablePreprocessing.kind: TablePreprocessing._build,
}


def _fit_column(name: str, array: Any) -> Column:
    if pa.types.is_boolean(array.type):
        return NumericColumn.standard(name, _to_float64(array), boolean=True)
    if _is_number(array.type):
        return NumericColumn.standard(name, _to_float64(array))
    if _is_string(array.type):
        return CategoricalColumn.fit(name, array)
    if pa.types.is_binary(array.type):
        raise DataError(f"column {name!r} holds bytes that are not UTF-8 text; convert the file")
    raise DataError(
        f"column {name!r} is of type {array.type}; parmlp learns from numbers, booleans and "
        "strings: convert or remove the column"
    )


def _standard(values: npt.NDArray[Any], name: str) -> tuple[float, float]:
    """Return (mean, standard deviation) of ``values``; (value, 1) for a constant column."""
    if not values.size:
        raise DataError("there are no rows to learn the scaling from")
    low, high = float(values.min()), float(values.max())
    # Compared, not computed: the standard deviation of equal values may round to a tiny number
    # instead of zero, and dividing by it would blow up.
    if low == high:
        return low, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean(dtype=np.float64))
        deviation = float(values.std(dtype=np.float64))
    if not np.isfinite(mean) or not np.isfinite(deviation) or deviation <= 0:
        raise DataError(
            f"column {name!r} runs from {low:g} to {high:g}, too wide or too narrow to standardize "
            "in floating point; rescale or remove the column"
        )
    return mean, deviation


def _too_large(name: str) -> str:
    return f"column {name!r} holds a value that is too large for float32 once scaled"


def _is_number(type_: Any) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _is_string(type_: Any) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _plain(column: Any) -> Any:
    """Return ``column`` as numbers, booleans or strings where it is merely stored otherwise."""
    type_ = column.type
    if pa.types.is_dictionary(type_):
        return _plain(column.cast(type_.value_type))
    if pa.types.is_decimal(type_) or pa.types.is_float16(type_):
        return column.cast(pa.float64())
    if pa.types.is_string_view(type_):
        return column.cast(pa.string())
    return column


def _to_float64(column: Any) -> npt.NDArray[np.float64]:
    """Return a complete column of numbers or booleans as float64, shape (n,)."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _as_table(rows: Any, names: Sequence[str]) -> Any:
    """Return ``rows`` as a pyarrow table; an array's columns are called ``names``."""
    try:
        if isinstance(rows, pa.Table):
            return rows
        if isinstance(rows, pa.RecordBatch):
            return pa.Table.from_batches([rows])
        if isinstance(rows, Mapping):
            return pa.table({name: pa.array(v, from_pandas=True) for name, v in rows.items()})
        if hasattr(rows, "to_arrow"):
            return rows.to_arrow()
        if hasattr(rows, "iloc"):
            return pa.Table.from_pandas(rows, preserve_index=False)
        # dtype object keeps the numbers of a list of mixed rows numbers.
        array = rows if isinstance(rows, np.ndarray) else np.array(list(rows), dtype=object)
        if array.ndim != 2 or array.shape[1] != len(names):
            raise DataError(
                f"expected rows of {len(names)} values ({_listed(names)}), got an array of shape "
                f"{array.shape}"
            )
        columns = [pa.array(array[:, j], from_pandas=True) for j in range(len(names))]
        return pa.table(columns, names=list(names))
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"the rows are not a table: {error}") from error


def require_complete(table: Any) -> None:
    """Raise DataError naming the columns with missing or infinite values and how many each has."""
    missing: dict[str, int] = {}
    infinite: dict[str, int] = {}
    for name, stored in zip(table.column_names, table.columns, strict=True):
        column = _plain(stored)
        n_missing, n_infinite = column.null_count, 0
        if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column)).as_py():
            n_missing += pc.sum(pc.is_nan(column)).as_py() or 0
            n_infinite = pc.sum(pc.is_inf(column)).as_py() or 0
        if n_missing:
            missing[name] = n_missing
        if n_infinite:
            infinite[name] = n_infinite
    for faults, what in ((missing, "missing values"), (infinite, "infinite values")):
        if faults:
            listed = ", ".join(f"{name!r} ({count:,})" for name, count in faults.items())
            raise DataError(
                f"{what} in column {listed} of {table.num_rows:,} rows; fill them in, or remove "
                "those rows or columns"
            )


def _numeric_matrix(rows: Any, n_columns: int | None) -> npt.NDArray[Any]:
    """Return ``rows`` as a finite numeric matrix (n, n_columns), flattening images."""
    if isinstance(rows, pa.Table):
        columns = [_plain(column) for column in rows.columns]
        for name, column in zip(rows.column_names, columns, strict=True):
            if not (_is_number(column.type) or pa.types.is_boolean(column.type)):
                raise DataError(f"column {name!r} holds {column.type}, not numbers")
        require_complete(pa.table(columns, names=rows.column_names))
        array = np.empty((rows.num_rows, len(columns)), dtype=np.float64)
        for j, column in enumerate(columns):
            array[:, j] = _to_float64(column)
    else:
        try:
            array = np.asarray(rows)
        except ValueError as error:
            raise DataError(f"the rows are not an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"the rows are of type {array.dtype}, not numbers")
    if array.ndim > 2:
        array = array.reshape(len(array), int(np.prod(array.shape[1:])))
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"expected rows of numbers, shape (n, n_columns), got shape {array.shape}")
    if n_columns is not None and array.shape[1] != n_columns:
        raise DataError(
            f"the rows have {array.shape[1]} values each, but this model takes {n_columns}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        finite = np.isfinite(array)
        column = int(np.flatnonzero(~finite.all(axis=0))[0])
        count = int((~finite[:, column]).sum())
        raise DataError(
            f"column {column} holds {count:,} missing or infinite values (NaN, inf); fill them in, "
            "or remove those rows"
        )
    return array


def _listed(names: Sequence[str], limit: int = 8) -> str:
    """Return up to ``limit`` names in quotes, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def _fields(record: object, what: str) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise DataError(f"preprocessing: {what} is {type(record).__name__}, not an object")
    return record


def _field(fields: Mapping[str, Any], key: str, type_: type[T]) -> T:
    value = fields.get(key)
    if not isinstance(value, type_):
        raise DataError(f"preprocessing: {key!r} is {value!r:.60}, not {type_.__name__}")
    return value


def _number(fields: Mapping[str, Any], key: str) -> float:
    value = fields.get(key)
    # The comparison is false for NaN and keeps integers no float can hold from float().
    if isinstance(value, bool) or not isinstance(value, int | float) or not (abs(value) < 1e308):
        raise DataError(f"preprocessing: {key!r} is {value!r:.60}, not a finite number")
    return float(value)


def _numbers(fields: Mapping[str, Any], key: str) -> tuple[float, ...]:
    return tuple(_number({key: value}, key) for value in _field(fields, key, list))


def _count(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DataError(f"preprocessing: {key!r} is {value!r:.60}, not a positive integer")
    return value
