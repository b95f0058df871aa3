"""Whole fits with ``engine="cuda"`` on the simulated device."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from simulated_gpu import Simulator
from sklearn.datasets import load_diabetes, load_digits

from parmlp import MLPClassifier, MLPRegressor
from parmlp.engines.cuda import network as gpu_network
from parmlp.engines.cuda import team
from parmlp.engines.cuda.device import Device

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = (X[:150] / 16).astype(np.float32), Y[:150]
CLASSIFIER: dict[str, Any] = {
    "hidden_layer_sizes": (12,),
    "batch_size": 32,
    "max_iter": 3,
    "random_state": 7,
}


@pytest.fixture(autouse=True)
def here(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated device is the one that engine='cuda' finds."""
    monkeypatch.setattr(team, "find_device", lambda: device)


def assert_same_training(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    for a, b in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.stop_reason_ == theirs.stop_reason_


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 1, "tol": 0.5},
        {"loss": "mse", "activation": "sigmoid", "solver": "sgd", "momentum": 0.0, "alpha": 0.0},
        {"solver": "sgd", "learning_rate": "adaptive", "shuffle": False},
    ],
)
def test_classifier_trains_as_on_the_cpu(device: Device, parameters: dict[str, Any]) -> None:
    gpu = MLPClassifier(engine="cuda", **CLASSIFIER, **parameters).fit(X, Y)
    cpu = MLPClassifier(engine="serial", **CLASSIFIER, **parameters).fit(X, Y)
    assert_same_training(gpu, cpu)
    assert (gpu.engine_, gpu.n_threads_, gpu.simd_) == (
        "cuda",
        1,
        "sm_{}{}".format(*device.capability),
    )
    np.testing.assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), rtol=1e-3, atol=1e-5)


def test_regressor_trains_as_on_the_cpu() -> None:
    features, values = load_diabetes(return_X_y=True)
    features, values = features[:100], (values[:100] - 150) / 77
    w = np.linspace(0.5, 1.5, len(values))
    fits = [
        MLPRegressor(
            hidden_layer_sizes=(9,), engine=engine, batch_size=20, max_iter=3, random_state=1
        ).fit(features, values, sample_weight=w)
        for engine in ("cuda", "serial")
    ]
    assert fits[0].coefs_[0].dtype == np.float64
    assert_same_training(*fits, tolerance=1e-9)


def test_the_same_bits_again() -> None:
    # the simulator's threads run in another order the second time
    fits = [MLPClassifier(engine="cuda", **CLASSIFIER).fit(X, Y) for _ in range(2)]
    for a, b in zip(fits[0].coefs_, fits[1].coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert fits[0].loss_curve_ == fits[1].loss_curve_


def test_sparse_rows() -> None:
    dense = MLPClassifier(engine="cuda", **CLASSIFIER).fit(X, Y)
    from_csr = MLPClassifier(engine="cuda", **CLASSIFIER).fit(sparse.csr_matrix(X), Y)
    for a, b in zip(dense.coefs_, from_csr.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(dense.predict(X), from_csr.predict(sparse.csr_matrix(X)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_rows_that_do_not_fit_stream_through(
    monkeypatch: pytest.MonkeyPatch, make: Any, weighted: bool
) -> None:
    w = np.linspace(0.5, 1.5, len(Y)) if weighted else None
    resident = MLPClassifier(engine="cuda", **CLASSIFIER).fit(X, Y, sample_weight=w)
    monkeypatch.setattr(gpu_network.Rows, "resident", lambda self, device: None)
    monkeypatch.setattr(gpu_network, "_STREAM_BYTES", 2 * 32 * X.shape[1] * 4)
    streamed = MLPClassifier(engine="cuda", **CLASSIFIER).fit(make(X), Y, sample_weight=w)
    for a, b in zip(resident.coefs_, streamed.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert resident.loss_curve_ == streamed.loss_curve_
    np.testing.assert_array_equal(resident.predict_proba(X), streamed.predict_proba(make(X)))


def test_memory_decides_what_streams(simulator: Simulator, device: Device) -> None:
    assert gpu_network.Rows(X).resident(device) is not None
    simulator.reset(memory=simulator.counters().memory_used + X.nbytes)
    assert gpu_network.Rows(X).resident(device) is None


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_rounded_operands(precision: str) -> None:
    full = MLPClassifier(engine="cuda", **CLASSIFIER).fit(X, Y)
    rounded = MLPClassifier(engine="cuda", precision=precision, **CLASSIFIER).fit(X, Y)
    assert rounded.loss_curve_ != full.loss_curve_
    np.testing.assert_allclose(rounded.loss_curve_, full.loss_curve_, rtol=1e-2)
    if precision == "bf16":
        for a, b in zip(full.coefs_, rounded.coefs_, strict=True):
            assert abs(a - b).max() < 0.02


def test_partial_fit_goes_on_after_a_pickle_and_on_another_engine() -> None:
    straight = MLPClassifier(engine="cuda", **CLASSIFIER)
    stored = MLPClassifier(engine="cuda", **CLASSIFIER)
    for _ in range(2):
        straight.partial_fit(X, Y, classes=np.unique(Y))
        stored.partial_fit(X, Y, classes=np.unique(Y))
        stored = pickle.loads(pickle.dumps(stored))
    for a, b in zip(straight.coefs_, stored.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    on_cpu = copy.deepcopy(straight).set_params(engine="serial").partial_fit(X, Y)
    assert_same_training(straight.partial_fit(X, Y), on_cpu)


def test_divergence_is_seen() -> None:
    estimator = MLPClassifier(
        engine="cuda",
        solver="sgd",
        activation="identity",
        learning_rate_init=1e20,
        **CLASSIFIER,
    )
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        estimator.fit(X, Y)
    assert all(np.isfinite(W).all() for W in estimator.coefs_)


def test_later_epochs_replay_a_graph(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_network, "_PERSISTENT_FLOPS", 0)  # for a rung with many launches
    bf16 = {"precision": "bf16", **CLASSIFIER}
    MLPClassifier(engine="cuda", **{**bf16, "max_iter": 1}).fit(X, Y)
    assert simulator.counters().graph_launches == 0
    MLPClassifier(engine="cuda", **{**bf16, "max_iter": 4}).fit(X, Y)
    assert simulator.counters().graph_launches == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_threads": 2}, "n_threads=2: leave n_threads at None"),
        ({"schedule": "fork-join"}, "leave it at 'two-phase'"),
        ({"precision": "tf32", "dtype": "float64"}, "dtype is 'float64'"),
    ],
)
def test_parameters_of_other_engines(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(engine="cuda", **CLASSIFIER, **parameters).fit(X, Y)


def test_tf32_is_not_the_cpus() -> None:
    with pytest.raises(ValueError, match="use engine='cuda'"):
        MLPClassifier(precision="tf32", **CLASSIFIER).fit(X, Y)


def test_auto_stays_on_the_cpu() -> None:
    # until a rule has been measured, whatever the size
    wide = MLPClassifier(hidden_layer_sizes=(700, 700), batch_size=150, max_iter=1).fit(X, Y)
    assert wide.engine_ != "cuda"


def test_two_threads_at_once() -> None:
    alone = MLPClassifier(engine="cuda", precision="bf16", **CLASSIFIER).fit(X, Y)
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(
                lambda _: MLPClassifier(engine="cuda", precision="bf16", **CLASSIFIER).fit(X, Y),
                range(2),
            )
        )
    for fit in together:
        for a, b in zip(alone.coefs_, fit.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)


def test_targets_changed_in_place_between_calls() -> None:
    regressors = [
        MLPRegressor(hidden_layer_sizes=(9,), engine="cuda", batch_size=50, random_state=1)
        for _ in range(2)
    ]
    y, w = Y.astype(np.float32), np.ones(len(Y), np.float32)
    for _ in range(2):
        regressors[0].partial_fit(X, y, sample_weight=w)
        regressors[1].partial_fit(X, y.copy(), sample_weight=w.copy())
        y *= -1
        w[::2] = 0.5
    for a, b in zip(regressors[0].coefs_, regressors[1].coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
