"""From checked input to the rows that an engine takes: dense, compressed sparse, or a GPU's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from parmlp import _core
from parmlp.engines import Team
from parmlp.engines.cuda.team import Team as GpuTeam

Array = NDArray[Any]

# Dense and sparse rows give the same bits, so all that follows is about time alone. A nonzero value
# costs the sparse first layer more than any value costs the dense one, which keeps its sums in
# registers, and every minibatch costs it something besides. One thread of a Zen 4; earlier code,
# relu and adam, 784-64-10 and 784-100-10 (benchmarks/sparse): 1.05 to 1.3 times as fast at
# 30 % nonzero from batch 32 on, at batch 10 only at 20 %. Since then, on MNIST (19 %) at batch 10:
# 784-30-10 1.35 times as fast with plain sgd and 1.03 to 1.07 times with adam, whose step on all
# weights sets the pace; 784-24-10 1.07 and 0.87 times.
_SPARSE_DENSITY = 0.3
_SPARSE_DENSITY_OF_SMALL_BATCHES = 0.2
_SMALL_BATCH = 32
_LEAST_BATCH = 10
_LEAST_UNITS = 30

# Compressing reads X twice, about as much time as an epoch of a small network takes.
_LEAST_EPOCHS_TO_COMPRESS = 3

# Rows looked at, evenly spaced, to estimate the share of nonzero values.
_SAMPLE_ROWS = 512

# Narrower rows leave too little to skip.
_LEAST_FEATURES = 32


def engine_rows(X: Any, team: Team) -> Any:
    """Return checked X for a team's networks: an ndarray or a scipy sparse matrix in CSR format.

    For a GPU also a DeviceArray, or PickedRows of one, which stay where they are.

    The core does not make a sparse matrix dense; its entries are put in order in place.
    """
    if isinstance(team, GpuTeam):
        return team.rows(X)
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


def by_rows(X: Any) -> Any:
    """Return X, an array or a sparse matrix, with its rows in one piece each.

    A CSR matrix is copied where its entries are not in order, since it is the user's.
    """
    if not sparse.issparse(X):
        return X
    rows = X.tocsr()
    return rows if rows.has_canonical_format else rows.copy()


def compressing_pays(X: Array, first_layer_units: int, batch_size: int, epochs: int) -> bool:
    """Whether training on dense X is faster when it is compressed to its nonzero values."""
    return (
        epochs >= _LEAST_EPOCHS_TO_COMPRESS
        and first_layer_units >= _LEAST_UNITS
        and batch_size >= _LEAST_BATCH
        and X.shape[1] >= _LEAST_FEATURES
        and _density(X) <= _most_density(batch_size)
    )


def _most_density(batch_size: int) -> float:
    return _SPARSE_DENSITY if batch_size >= _SMALL_BATCH else _SPARSE_DENSITY_OF_SMALL_BATCHES


def _density(X: Array) -> float:
    sample = X[:: max(1, X.shape[0] // _SAMPLE_ROWS)]
    return float(np.count_nonzero(sample)) / sample.size
