"""The sparse first layer: the dense path's bits, for every solver, schedule, target and shape."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from native.support import DTYPES
from parmlp import _core
from reference import HIDDEN_ACTIVATIONS

Array = NDArray[np.float32] | NDArray[np.float64]
SOLVERS = {
    "sgd": {"alpha": 0.0, "momentum": 0.0},
    "sgd with L2": {"alpha": 1e-3, "momentum": 0.0},
    "sgd with momentum": {"alpha": 0.0, "momentum": 0.9},
    "adam with L2": {"alpha": 1e-3, "momentum": 0.0},
}


def scipy_rows(X: Array, team: _core.Team) -> _core.SparseRows:
    csr = sparse.csr_matrix(X)
    return _core.SparseRows(
        csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data, X.shape[1]
    )


KINDS: dict[str, Callable[[Array, _core.Team], Array | _core.SparseRows]] = {
    "dense": lambda X, team: X,
    "compressed": _core.SparseRows.compress,
    "scipy": scipy_rows,
}


def train(
    kind: str,
    units: list[int],
    *,
    n: int,
    batch: int,
    dtype: str = "float32",
    solver: str = "sgd",
    schedule: str = "two-phase",
    team: _core.Team | None = None,
    weighted: bool = False,
    hidden: str = "relu",
) -> bytes:
    """Two epochs; weights, losses and predictions as bytes."""
    rng = np.random.default_rng(len(units) + n)
    X = np.asarray(rng.normal(size=(n, units[0])) * (rng.random((n, units[0])) < 0.2), dtype)
    X[:, ::5] = 0  # features that no row has
    X[n // 2] = 0  # a row without entries
    y = rng.integers(0, units[-1], n).astype(np.int32)
    weight = rng.random(n).astype(dtype) if weighted else None
    network = _core.Network(units, hidden, "softmax", "log_loss", dtype)
    network.set_parameters(
        [rng.normal(size=shape).astype(dtype) / 8 for shape in itertools.pairwise(units)],
        [rng.normal(size=n_out).astype(dtype) for n_out in units[1:]],
    )
    network.set_solver(
        solver.split(maxsplit=1)[0],
        **SOLVERS[solver],
        nesterov=True,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    team = team or _core.Team("threads", 3)
    rows = KINDS[kind](X, team)
    losses = [
        network.train_epoch(
            team, rows, y, rng.permutation(n).astype(np.int64), weight, batch, 0.05, schedule
        ).loss
        for _ in range(2)
    ]
    coefs, intercepts = network.get_parameters()
    parts = [np.array(losses), *coefs, *intercepts, network.predict(team, rows)]
    assert all(np.isfinite(part).all() for part in parts)
    return b"".join(part.tobytes() for part in parts)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_the_dense_path(simd: str, solver: str, dtype: str) -> None:
    for units in ([300, 100, 10], [41, 64, 23], [33, 7], [90, 1800, 300, 12], [5, 3, 2]):
        for n, batch in ((97, 32), (203, 171)):
            runs = {
                kind: train(kind, units, n=n, batch=batch, dtype=dtype, solver=solver)
                for kind in KINDS
            }
            assert runs["compressed"] == runs["dense"], (units, batch)
            assert runs["scipy"] == runs["dense"], (units, batch)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", range(1, 71))
def test_widths_1_to_70(simd: str, width: int, dtype: str) -> None:
    """As features and as columns; each with every activation, and some with each solver."""
    batch = 1 + width * 5 % 23
    for i, hidden in enumerate(HIDDEN_ACTIVATIONS):
        options = {
            "n": 2 * batch + 1 + width % max(1, batch - 1),
            "batch": batch,
            "dtype": dtype,
            "solver": list(SOLVERS)[(width + i) % len(SOLVERS)],
            "weighted": i % 2 == 0,
            "hidden": hidden,
        }
        units = [width, 71 - width, 3] if i % 2 else [71 - width, width + 1]
        dense, compressed = (train(kind, units, **options) for kind in ("dense", "compressed"))
        assert compressed == dense, options


@pytest.mark.parametrize("schedule", ["two-phase", "partial-gradients", "fork-join"])
def test_every_schedule(simd: str, schedule: str) -> None:
    options = {"n": 201, "batch": 64, "solver": "adam with L2", "schedule": schedule}
    dense = train("dense", [200, 40, 5], weighted=True, **options)
    assert train("compressed", [200, 40, 5], weighted=True, **options) == dense


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("features", [2048, 2049, 9000])
def test_many_features(simd: str, features: int, solver: str) -> None:
    """From 2049 on a block of features has more than the weight kernel takes at a time."""
    for columns in (9, 130):
        units = [features, columns, 3]
        dense, compressed = (
            train(kind, units, n=90, batch=70, solver=solver) for kind in ("dense", "compressed")
        )
        assert compressed == dense, columns


@pytest.mark.parametrize("batch", [256, 257, 400])
def test_large_minibatches(batch: int) -> None:
    """Up to 256 rows the next minibatch is fetched ahead, then the next tile."""
    dense, compressed = (
        train(kind, [60, 40, 5], n=2 * batch + 7, batch=batch) for kind in ("dense", "compressed")
    )
    assert compressed == dense


def test_rows_without_entries() -> None:
    team = _core.Team("threads", 2)
    results = []
    for make in (KINDS["dense"], KINDS["compressed"]):
        network = _core.Network([40, 30, 4], "relu", "softmax", "log_loss", "float32")
        network.set_parameters(
            [np.full(shape, 0.1, np.float32) for shape in ((40, 30), (30, 4))],
            [np.arange(n, dtype=np.float32) for n in (30, 4)],
        )
        rows = make(np.zeros((50, 40), np.float32), team)
        y = np.arange(50, dtype=np.int32) % 4
        order = np.arange(50, dtype=np.int64)
        loss = network.train_epoch(team, rows, y, order, None, 16, 0.05, "two-phase").loss
        coefs, intercepts = network.get_parameters()
        results.append((loss, [part.tobytes() for part in (*coefs, *intercepts)]))
    assert results[0] == results[1]


def test_any_number_of_workers() -> None:
    runs = {
        train("compressed", [300, 100, 10], n=211, batch=50, team=team)
        for team in (_core.Team("serial", 1), *(_core.Team("threads", n) for n in (2, 5, 16)))
    }
    assert len(runs) == 1


def test_every_simd_target() -> None:
    present = _core.simd_target()
    runs = {}
    try:
        for target in _core.simd_targets():
            _core.set_simd_target(target)
            runs[target] = train("compressed", [200, 50, 7], n=100, batch=33)
            assert runs[target] == train("dense", [200, 50, 7], n=100, batch=33), target
    finally:
        _core.set_simd_target(present)
    if "avx512" in runs:
        assert runs["avx2"] == runs["avx512"]


@settings(deadline=None, max_examples=40)
@given(
    units=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    n=st.integers(1, 150),
    batch=st.integers(1, 160),
)
def test_any_shape(units: list[int], n: int, batch: int) -> None:
    assert train("compressed", units, n=n, batch=batch) == train("dense", units, n=n, batch=batch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compress_is_scipys_csr(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(700, 13)) * (rng.random((700, 13)) < 0.3)).astype(dtype)
    rows = _core.SparseRows.compress(X, _core.Team("threads", 2))
    assert (rows.n_rows, rows.n_features, rows.n_entries) == (700, 13, np.count_nonzero(X))


def test_nan_is_an_entry() -> None:
    X = np.zeros((3, 4), np.float32)
    X[1, 2] = np.nan
    team = _core.Team("serial", 1)
    rows = _core.SparseRows.compress(X, team)
    assert rows.n_entries == 1
    network = _core.Network([4, 3, 2], "relu", "softmax", "log_loss", "float32")
    np.testing.assert_array_equal(
        np.isnan(network.predict(team, rows)).any(axis=1), [False, True, False]
    )


@pytest.mark.parametrize(
    ("indptr", "indices", "text"),
    [
        ([0, 2, 1, 3], [0, 1, 2], "must not descend"),
        ([0, 1, 2, 4], [0, 1, 2], "indptr must run from 0"),
        ([1, 1, 2, 3], [0, 1, 2], "indptr must run from 0"),
        ([0, 1, 2, 3], [0, 9, 2], "row 1 .* got 9"),
        ([0, 1, 2, 3], [0, -1, 2], "row 1 .* got -1"),
        ([0, 2, 2, 3], [1, 1, 2], "row 0"),
        ([0, 2, 2, 3], [1, 0, 2], "row 0"),
    ],
)
def test_bad_rows(indptr: list[int], indices: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        _core.SparseRows(
            np.array(indptr, np.int64), np.array(indices, np.int32), np.ones(3, np.float32), 4
        )


def test_wrong_features_and_dtype() -> None:
    team = _core.Team("serial", 1)
    network = _core.Network([5, 3, 2], "relu", "softmax", "log_loss", "float32")
    with pytest.raises(ValueError, match="4 features where 5"):
        network.predict(team, _core.SparseRows.compress(np.ones((2, 4), np.float32), team))
    with pytest.raises(TypeError, match="float32"):
        network.predict(team, _core.SparseRows.compress(np.ones((2, 5)), team))
