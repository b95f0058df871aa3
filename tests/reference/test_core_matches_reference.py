"""The native core computes what the reference computes: 1e-10 in float64, 1e-5 in float32."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from parmlp import _core
from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS, SOLVERS, Adam, Network
from reference.activations import Array

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
UNITS = [6, 19, 5, 3]
ROWS, BATCH_SIZE, EPOCHS = 45, 16, 3  # the last minibatch is short
LEARNING_RATE = 0.02
ALPHA = 0.05
SLOPE = 0.15
TARGETS = _core.simd_targets()

SOLVER_CASES = {
    "sgd": ("sgd", {"momentum": 0.0, "nesterov": False}),
    "sgd-momentum": ("sgd", {"momentum": 0.9, "nesterov": False}),
    "sgd-nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adam": ("adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    "adamw": ("adamw", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3}),
}


@pytest.fixture(params=TARGETS, autouse=True)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run with each instruction set that this machine has."""
    before = _core.simd_target()
    _core.set_simd_target(request.param)
    yield request.param
    _core.set_simd_target(before)


def draw_parameters(rng: np.random.Generator, dtype: str) -> tuple[list[Array], list[Array]]:
    # rounded to dtype, so that both start from the same numbers
    coefs = [
        rng.normal(scale=n_in**-0.5, size=(n_in, n_out)).astype(dtype)
        for n_in, n_out in pairwise(UNITS)
    ]
    return coefs, [rng.normal(scale=0.3, size=n).astype(dtype) for n in UNITS[1:]]


def draw_targets(rng: np.random.Generator, loss: str, out_activation: str) -> NDArray[np.generic]:
    """Class indices for softmax, otherwise a matrix."""
    n_outputs = UNITS[-1]
    if out_activation == "softmax":
        return rng.integers(n_outputs, size=ROWS).astype(np.int32)
    if loss == "log_loss":
        return rng.integers(2, size=(ROWS, n_outputs)).astype(np.float64)
    if loss == "poisson":
        return rng.poisson(2.0, size=(ROWS, n_outputs)).astype(np.float64)
    return rng.integers(-2, 3, size=(ROWS, n_outputs)) / 4.0


def check_training(
    rng: np.random.Generator,
    *,
    dtype: str,
    hidden_activation: str = "tanh",
    loss: str = "log_loss",
    out_activation: str = "softmax",
    solver_case: str = "sgd-nesterov",
    weighted: bool = False,
    shuffled: bool = True,
) -> None:
    """Train both for some epochs and compare losses, parameters and predictions."""
    coefs, intercepts = draw_parameters(rng, dtype)
    X = rng.normal(size=(ROWS, UNITS[0])).astype(dtype)
    y = draw_targets(rng, loss, out_activation)
    w = rng.uniform(0.2, 2.0, size=ROWS).astype(dtype) if weighted else None
    solver_name, settings = SOLVER_CASES[solver_case]

    core = _core.Network(UNITS, hidden_activation, out_activation, loss, dtype, SLOPE)
    core.set_parameters(coefs, intercepts)
    defaults = {
        "momentum": 0.0,
        "nesterov": False,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
    }
    core.set_solver(solver_name, alpha=ALPHA, **{**defaults, **settings})  # type: ignore[arg-type]
    team = _core.Team("serial", 1)

    plain = Network(coefs, intercepts, hidden_activation, out_activation, loss, ALPHA, SLOPE)
    solver = SOLVERS[solver_name](plain.params, **settings)
    one_hot = np.eye(UNITS[-1])[y] if y.ndim == 1 else y

    tolerance = TOLERANCE[dtype]
    for _ in range(EPOCHS):
        order = rng.permutation(ROWS).astype(np.int64) if shuffled else None
        result = core.train_epoch(
            team,
            X,
            y if y.ndim == 1 else y.astype(dtype),
            order,
            w,
            BATCH_SIZE,
            LEARNING_RATE,
            "two-phase",
        )
        trace = plain.train_epoch(
            solver,
            X,
            one_hot,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            order=order,
            sample_weight=w,
        )
        assert result.loss == pytest.approx(trace.loss, rel=tolerance, abs=tolerance)

    trained_coefs, trained_intercepts = core.get_parameters()
    for ours, theirs in zip([*trained_coefs, *trained_intercepts], plain.params, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        core.predict(team, X), plain.predict(X), rtol=tolerance, atol=tolerance
    )
    # training went somewhere: agreeing on nothing would prove nothing
    assert max(abs(plain.coefs[0] - coefs[0]).max(), abs(plain.coefs[-1] - coefs[-1]).max()) > 1e-3
    if isinstance(solver, Adam):
        assert solver.t == EPOCHS * 3


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden_activation", HIDDEN_ACTIVATIONS)
def test_hidden_activations(rng: np.random.Generator, hidden_activation: str, dtype: str) -> None:
    check_training(rng, hidden_activation=hidden_activation, dtype=dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "out_activation"), LEGAL_PAIRS)
def test_losses(
    rng: np.random.Generator, loss: str, out_activation: str, weighted: bool, dtype: str
) -> None:
    check_training(rng, loss=loss, out_activation=out_activation, weighted=weighted, dtype=dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("solver_case", SOLVER_CASES)
def test_solvers(rng: np.random.Generator, solver_case: str, dtype: str) -> None:
    check_training(rng, solver_case=solver_case, dtype=dtype)


def test_rows_in_order(rng: np.random.Generator) -> None:
    check_training(rng, shuffled=False, dtype="float64")


def test_class_indices_are_one_hot_targets_of_mse(rng: np.random.Generator) -> None:
    coefs, intercepts = draw_parameters(rng, "float64")
    X = rng.normal(size=(ROWS, UNITS[0]))
    codes = rng.integers(UNITS[-1], size=ROWS).astype(np.int32)
    trained = []
    for y in (codes, np.eye(UNITS[-1])[codes]):
        core = _core.Network(UNITS, "sigmoid", "sigmoid", "mse", "float64")
        core.set_parameters(coefs, intercepts)
        core.set_solver(
            "sgd",
            alpha=0.0,
            momentum=0.0,
            nesterov=False,
            beta_1=0.9,
            beta_2=0.999,
            epsilon=1e-8,
            weight_decay=0.0,
        )
        core.train_epoch(_core.Team("serial", 1), X, y, None, None, 16, 0.5, "two-phase")
        trained.append(core.get_parameters()[0][0])
    assert not np.array_equal(trained[0], coefs[0])
    np.testing.assert_array_equal(trained[0], trained[1])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden_activation", HIDDEN_ACTIVATIONS)
def test_activation_functions(hidden_activation: str, dtype: str) -> None:
    """f and f' themselves, over the range where anything happens and far beyond it."""
    z = np.concatenate([np.linspace(-30, 30, 6001), [-1e4, -88.0, -0.0, 0.0, 88.0, 1e4]])
    z = z.astype(dtype)
    f, derivative = HIDDEN_ACTIVATIONS[hidden_activation]
    values, slopes = _core.activate(hidden_activation, z, SLOPE)
    wide = z.astype(np.float64)
    tolerance = {"float64": 1e-13, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(values, f(wide, SLOPE), rtol=tolerance, atol=tolerance)
    # looser in float32: 1 - tanh^2 cancels where tanh is near 1 (2e-6 for gelu_tanh at -5)
    tolerance = {"float64": 1e-13, "float32": 5e-6}[dtype]
    np.testing.assert_allclose(slopes, derivative(wide, SLOPE), rtol=tolerance, atol=tolerance)
