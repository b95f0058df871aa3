"""From checked input to the rows that the native core takes: dense, or compressed sparse."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from parmlp import _core

Array = NDArray[Any]

# Dense and sparse rows give the same bits, so all that follows is about time alone. A value costs
# the sparse first layer some 3 times as much as the dense one, which keeps weights in registers.
# Measured on MNIST (19 % nonzero) with one and two threads of a Zen 4 (benchmarks/sparse): from
# batch 32 on 784-100-10 trains 1.3 to 1.5 times as fast and 784-1024-10 mostly 1.2 to 1.8 times;
# 784-30-10 mostly 0.9 to 1.1 times, as 30 columns alone share every entry's overhead.
_SPARSE_DENSITY = 0.25
_LEAST_UNITS = 64
_LEAST_BATCH = 32

# Compressing reads X twice, about as much time as an epoch of a small network takes.
_LEAST_EPOCHS_TO_COMPRESS = 3

# Rows looked at, evenly spaced, to estimate the share of nonzero values.
_SAMPLE_ROWS = 512

# Narrower rows leave too little to skip.
_LEAST_FEATURES = 32


def core_rows(X: Any) -> "Array | _core.SparseRows":
    """Return checked X, an ndarray or a scipy sparse matrix in CSR format, for the core.

    A sparse matrix is not made dense; its entries are put in order in place.
    """
    if not sparse.issparse(X):
        dense: Array = X
        return dense
    X.sum_duplicates()  # sorts the indices as well
    return _core.SparseRows(
        X.indptr.astype(np.int64, copy=False),
        X.indices.astype(np.int32, copy=False),
        X.data,
        X.shape[1],
    )


def rows_to_train_on(
    X: Any, team: _core.Team, first_layer_units: int, batch_size: int, epochs: int
) -> "Array | _core.SparseRows":
    """Return :func:`core_rows` of X, compressed where that makes training faster."""
    if (
        sparse.issparse(X)
        or epochs < _LEAST_EPOCHS_TO_COMPRESS
        or first_layer_units < _LEAST_UNITS
        or batch_size < _LEAST_BATCH
        or X.shape[1] < _LEAST_FEATURES
        or _density(X) > _SPARSE_DENSITY
    ):
        return core_rows(X)
    return _core.SparseRows.compress(X, team)


def _density(X: Array) -> float:
    sample = X[:: max(1, X.shape[0] // _SAMPLE_ROWS)]
    return float(np.count_nonzero(sample)) / sample.size
