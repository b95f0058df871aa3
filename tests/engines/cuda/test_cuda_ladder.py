"""Every rung of the ladder computes what the reference computes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.network import Network, Rows
from parmlp.engines.cuda.programs import LADDER, Model
from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS, SOLVERS
from reference import Network as Reference

UNITS = (7, 35, 6, 3)
ROWS, BATCH_SIZE, EPOCHS = 45, 16, 2  # the last minibatch is short
LEARNING_RATE, ALPHA, SLOPE = 0.02, 0.05, 0.15
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
# bf16: against a reference that rounds as well, but where sums differ by a bit the rounding may too
ROUNDED_TOLERANCE = 3e-3

SOLVER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"momentum": 0.0, "nesterov": False}),
    "sgd-momentum": ("sgd", {"momentum": 0.9, "nesterov": False}),
    "sgd-nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adam": ("adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    "adamw": ("adamw", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3}),
}
DEFAULTS = {
    "momentum": 0.0,
    "nesterov": False,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
}


def draw_targets(rng: np.random.Generator, loss: str, out_activation: str, n: int, k: int) -> Any:
    """Class indices for softmax, otherwise a matrix."""
    if out_activation == "softmax":
        return rng.integers(k, size=n).astype(np.int32)
    if loss == "log_loss":
        return rng.integers(2, size=(n, k)).astype(np.float64)
    if loss == "poisson":
        return rng.poisson(2.0, size=(n, k)).astype(np.float64)
    return rng.integers(-2, 3, size=(n, k)) / 4.0


def check_training(
    device: Device,
    rng: np.random.Generator,
    rung: str,
    *,
    dtype: str = "float32",
    hidden_activation: str = "tanh",
    loss: str = "log_loss",
    out_activation: str = "softmax",
    solver_case: str = "sgd-nesterov",
    alpha: float = ALPHA,
    precision: str = "full",
    weighted: bool = False,
    shuffled: bool = True,
    units: tuple[int, ...] = UNITS,
    rows: int = ROWS,
    batch_size: int = BATCH_SIZE,
    epochs: int = EPOCHS,
) -> Network:
    """Train both for some epochs and compare losses, parameters and predictions."""
    coefs = [
        rng.normal(scale=n_in**-0.5, size=(n_in, n_out)).astype(dtype)
        for n_in, n_out in pairwise(units)
    ]
    intercepts = [rng.normal(scale=0.3, size=n).astype(dtype) for n in units[1:]]
    X = rng.normal(size=(rows, units[0])).astype(dtype)
    y = draw_targets(rng, loss, out_activation, rows, units[-1])
    w = rng.uniform(0.2, 2.0, size=rows).astype(dtype) if weighted else None
    solver_name, settings = SOLVER_CASES[solver_case]

    model = Model(units, hidden_activation, out_activation, loss, dtype, SLOPE, precision)
    network = Network(device, model, rung)
    network.set_parameters(coefs, intercepts)
    network.set_solver(solver_name, alpha=alpha, **{**DEFAULTS, **settings})
    on_device = Rows(X)

    plain = Reference(
        coefs, intercepts, hidden_activation, out_activation, loss, alpha, SLOPE,
        "bf16" if precision == "bf16" else "full",
    )  # fmt: skip
    solver = SOLVERS[solver_name](plain.params, **settings)
    one_hot = np.eye(units[-1])[y] if y.ndim == 1 else y
    targets = y if y.ndim == 1 else y.astype(dtype)

    tolerance = TOLERANCE[dtype] if precision == "full" else ROUNDED_TOLERANCE
    for _ in range(epochs):
        order = rng.permutation(rows).astype(np.int64) if shuffled else None
        result = network.train_epoch(
            None, on_device, targets, order, w, batch_size, LEARNING_RATE, "two-phase"
        )
        trace = plain.train_epoch(
            solver,
            X,
            one_hot,
            batch_size=batch_size,
            learning_rate=LEARNING_RATE,
            order=order,
            sample_weight=w,
        )
        assert result.loss == pytest.approx(trace.loss, rel=tolerance, abs=tolerance)

    trained_coefs, trained_intercepts = network.get_parameters()
    for ours, theirs in zip([*trained_coefs, *trained_intercepts], plain.params, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        network.predict(None, on_device), plain.predict(X), rtol=tolerance, atol=tolerance
    )
    # training went somewhere: agreeing on nothing would prove nothing
    assert max(abs(plain.coefs[0] - coefs[0]).max(), abs(plain.coefs[-1] - coefs[-1]).max()) > 1e-3
    return network


@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize("hidden_activation", HIDDEN_ACTIVATIONS)
def test_hidden_activations(
    device: Device, rng: np.random.Generator, hidden_activation: str, rung: str
) -> None:
    check_training(device, rng, rung, hidden_activation=hidden_activation)


@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize(("loss", "out_activation"), LEGAL_PAIRS)
def test_losses(
    device: Device, rng: np.random.Generator, loss: str, out_activation: str, rung: str
) -> None:
    check_training(device, rng, rung, loss=loss, out_activation=out_activation, weighted=True)


@pytest.mark.parametrize("rung", LADDER)
@pytest.mark.parametrize("solver_case", SOLVER_CASES)
def test_solvers(device: Device, rng: np.random.Generator, solver_case: str, rung: str) -> None:
    check_training(device, rng, rung, solver_case=solver_case, shuffled=False)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("rung", ["persistent", "tensor-cores"])
def test_rounded_operands(
    device: Device, rng: np.random.Generator, rung: str, precision: str
) -> None:
    for units in (UNITS, (20, 64, 12)):
        check_training(device, rng, rung, precision=precision, units=units, weighted=True)


@pytest.mark.parametrize("rung", ["naive", "tiled", "tiled-without-conflicts", "persistent"])
def test_float64(device: Device, rng: np.random.Generator, rung: str) -> None:
    check_training(device, rng, rung, dtype="float64", hidden_activation="gelu")
