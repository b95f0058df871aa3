"""Sparse X, and dense X that is compressed: the weights of the dense computation, bit for bit."""

import numpy as np
import pytest
from scipy import sparse

from parmlp import MLPClassifier, MLPRegressor, _core
from parmlp.estimators import _rows


@pytest.fixture
def X_y():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 60)) * (rng.random((400, 60)) < 0.15)
    return X, rng.integers(0, 3, 400)


def weights(model):
    return b"".join(a.tobytes() for a in [*model.coefs_, *model.intercepts_])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("to_sparse", [sparse.csr_matrix, sparse.csc_array, sparse.csr_array])
def test_fit_and_predict(X_y, to_sparse, early_stopping, monkeypatch):
    X, y = X_y
    options = {"max_iter": 5, "random_state": 0, "early_stopping": early_stopping, "tol": 0}
    monkeypatch.setattr(_rows, "_most_density", lambda _: -1.0)  # dense stays dense
    with pytest.warns(match="converged"):
        dense = MLPClassifier(**options).fit(X, y)
    with pytest.warns(match="converged"):
        model = MLPClassifier(**options).fit(to_sparse(X), y)
    assert weights(model) == weights(dense)
    assert model.loss_curve_ == dense.loss_curve_
    assert model.validation_scores_ == dense.validation_scores_
    assert model.predict_proba(to_sparse(X)).tobytes() == dense.predict_proba(X).tobytes()


def test_dense_zeros_are_compressed(X_y, monkeypatch):
    X, y = X_y
    compressed = []
    compress = _core.SparseRows.compress

    class Spy:
        @staticmethod
        def compress(X, team):
            compressed.append(X.shape)
            return compress(X, team)

    monkeypatch.setattr(_rows._core, "SparseRows", Spy)
    with pytest.warns(match="converged"):
        model = MLPRegressor(max_iter=5, random_state=0).fit(X, y)
    assert compressed == [X.shape]
    monkeypatch.setattr(_rows, "_most_density", lambda _: -1.0)
    with pytest.warns(match="converged"):
        dense = MLPRegressor(max_iter=5, random_state=0).fit(X, y)
    assert compressed == [X.shape]
    assert weights(model) == weights(dense)


def test_the_users_matrix_stays_as_it_is(X_y):
    _, y = X_y
    # unsorted and with a duplicate
    X = sparse.csr_matrix(
        (np.array([1.0, 2.0, 3.0, 4.0]), np.array([2, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 3)
    )
    before = X.indices.copy(), X.data.copy()
    with pytest.warns(match="converged"):
        model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, y[:2])
    np.testing.assert_array_equal(X.indices, before[0])
    np.testing.assert_array_equal(X.data, before[1])
    np.testing.assert_array_equal(model.predict(X), model.predict(X.toarray()))
