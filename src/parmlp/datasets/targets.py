"""The column a model predicts: its task, its element type, its values as a NumPy array."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from parmlp.errors import DataError
from parmlp.preprocessing import TargetKind, Task

# An integer column with more distinct values than this is taken for a quantity, not for classes.
MAX_INTEGER_CLASSES = 20

ARROW_TYPES: dict[TargetKind, Any] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
}

_KINDS: tuple[tuple[Callable[[Any], bool], TargetKind], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "number"),
    (pa.types.is_decimal, "number"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
)


def read_target(column: Any, name: str) -> tuple[npt.NDArray[Any], TargetKind]:
    """Return a pyarrow column's values, shape (n,), and their element type.

    Raises
    ------
    DataError
        Missing values, or a type that is no target.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        raise DataError(
            f"missing values in target column {name!r} ({column.null_count:,}) of "
            f"{len(column):,} rows; fill them in or remove those rows"
        )
    for is_kind, kind in _KINDS:
        if is_kind(column.type):
            try:
                values = column.cast(ARROW_TYPES[kind], safe=kind != "number")
            except pa.ArrowException as error:
                raise DataError(f"target column {name!r}: {error}") from error
            array = values.to_numpy(zero_copy_only=False)
            return (array.astype(str) if kind == "string" else array), kind
    if pa.types.is_binary(column.type):
        raise DataError(
            f"target column {name!r} holds bytes that are not UTF-8 text; convert the file"
        )
    raise DataError(
        f"target column {name!r} is of type {column.type}; a target is a number, a boolean or a "
        "string"
    )


def array_kind(values: npt.NDArray[Any], name: str) -> TargetKind:
    """Return the element type of a NumPy target; DataError if it cannot be one."""
    kinds: dict[str, TargetKind] = {
        "b": "boolean",
        "i": "integer",
        "u": "integer",
        "f": "number",
        "U": "string",
    }
    if values.dtype.kind not in kinds:
        raise DataError(
            f"target {name!r} is of type {values.dtype}; targets are numbers, booleans or strings"
        )
    return kinds[values.dtype.kind]


def infer_task(values: npt.NDArray[Any], kind: TargetKind) -> Task:
    """Choose the task for a target nobody stated it for.

    Strings and booleans are classes. So are integers of at most 20 distinct values that occur twice
    or more on average, and the 0s and 1s of a matrix. Other numbers are quantities.
    """
    if kind in ("string", "boolean"):
        return "classification"
    if kind == "number":
        return "regression"
    n_distinct = len(np.unique(values))
    if values.ndim == 2:
        return "classification" if n_distinct <= 2 else "regression"
    few = n_distinct <= MAX_INTEGER_CLASSES and 2 * n_distinct <= len(values)
    return "classification" if few else "regression"


def to_task(values: npt.NDArray[Any], name: str, kind: TargetKind, task: str) -> npt.NDArray[Any]:
    """Return the target as the estimators of ``task`` take it.

    Classification: integers, booleans or strings. Regression: float64.

    Raises
    ------
    DataError
        Unknown task; strings for regression; fractions for classification; NaN or infinity.
    """
    if task not in get_args(Task):
        raise DataError(f"unknown task {task!r}; choose 'classification' or 'regression'")
    if kind == "number":
        n_bad = int(values.size - np.isfinite(values).sum())
        if n_bad:
            raise DataError(
                f"target column {name!r} holds {n_bad:,} missing or infinite values (NaN, inf); "
                "remove those rows"
            )
    if task == "regression":
        if kind == "string":
            raise DataError(
                f"target column {name!r} holds strings such as {str(values.flat[0])!r}, which "
                "regression cannot predict; use task 'classification' or another target"
            )
        return values.astype(np.float64)
    if kind == "number":
        # 2**53: beyond it a float64 no longer tells neighboring integers apart.
        unfit = values[(values != np.trunc(values)) | (np.abs(values) > 2**53)]
        if unfit.size:
            raise DataError(
                f"target column {name!r} holds numbers such as {unfit.flat[0]:g}, which are no "
                "classes; use task 'regression' or another target"
            )
    return values.astype(np.int64) if kind in ("integer", "number") else values
