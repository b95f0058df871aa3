"""Activations at the edges of the number range, and NaN through every one of them."""

import numpy as np
import pytest

from native.support import DTYPES, Case, core_network, draw, make_team
from parmlp import _core
from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS

INF = np.inf
HUGE = {"float32": 1e38, "float64": 1e300}
#: f(-inf), f(-huge), f(-0), f(0), f(huge), f(inf); a NaN stands where a limit is not claimed:
#: gelu and silu are inf * 0 at minus infinity, as in other libraries.
LIMITS = {
    "identity": (-INF, "z", 0, 0, "z", INF),
    "sigmoid": (0, 0, 0.5, 0.5, 1, 1),
    "tanh": (-1, -1, 0, 0, 1, 1),
    "relu": (0, 0, 0, 0, "z", INF),
    "leaky_relu": (-INF, "z/4", 0, 0, "z", INF),
    "elu": (-1, -1, 0, 0, "z", INF),
    "gelu": (None, 0, 0, 0, "z", INF),
    "gelu_tanh": (None, 0, 0, 0, "z", INF),
    "silu": (None, 0, 0, 0, "z", INF),
    "exp": (0, 0, 1, 1, INF, INF),
}
#: f'(-huge), f'(-0), f'(0), f'(huge)
SLOPES = {
    "identity": (1, 1, 1, 1),
    "sigmoid": (0, 0.25, 0.25, 0),
    "tanh": (0, 1, 1, 0),
    "relu": (0, 0, 0, 1),
    "leaky_relu": (0.25, 0.25, 0.25, 1),
    "elu": (0, 1, 1, 1),
    "gelu": (0, 0.5, 0.5, 1),
    "gelu_tanh": (0, 0.5, 0.5, 1),
    "silu": (0, 0.5, 0.5, 1),
}
#: Their derivative is read off the sign of a, so it is finite at NaN; the NaN lives on in the
#: deltas that it multiplies (test_nan_reaches_every_parameter).
PIECEWISE = {"identity", "relu", "leaky_relu", "elu"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_values_at_zero_and_infinity(simd: str, name: str, dtype: str) -> None:
    huge = np.dtype(dtype).type(HUGE[dtype])
    z = np.array([-INF, -huge, -0.0, 0.0, huge, INF], dtype)
    values, _ = _core.activate(name, z, 0.25)
    for at, value, limit in zip(z, values, LIMITS[name], strict=True):
        if limit is not None:
            expected = {"z": at, "z/4": at / 4}.get(limit, limit) if at else limit
            # a float32 sigmoid stops at its value at -87, just above the smallest normal number
            assert value == pytest.approx(expected, rel=0, abs=2e-38), f"{name}({at})"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_at_zero_and_far_out(simd: str, name: str, dtype: str) -> None:
    for far in (50.0, 1e4, 1e15, HUGE[dtype]):
        _, derivatives = _core.activate(name, np.array([-far, -0.0, 0.0, far], dtype), 0.25)
        np.testing.assert_allclose(derivatives, SLOPES[name], rtol=0, atol=1e-20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_denormal_arguments(simd: str, name: str, dtype: str) -> None:
    """Whatever the thread's mode, f is f(0) + f'(0) z there, to the last denormal."""
    tiny = np.finfo(dtype).smallest_subnormal
    z = np.array([tiny, -tiny, 1000 * tiny, -1000 * tiny], dtype)
    at_zero, slope_at_zero = (x[0] for x in _core.activate(name, np.zeros(1, dtype), 0.25))
    values, derivatives = _core.activate(name, z, 0.25)
    if name == "relu":
        expected, slopes = np.maximum(z, 0), np.where(z > 0, 1, 0)
    elif name == "leaky_relu":
        expected, slopes = np.where(z > 0, z, z / 4), np.where(z > 0, 1, 0.25)
    else:
        expected, slopes = at_zero + slope_at_zero * z, np.full(4, slope_at_zero)
    np.testing.assert_allclose(values, expected, rtol=0, atol=tiny)
    np.testing.assert_array_equal(derivatives, slopes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*LIMITS, "softmax"])
def test_nan_comes_through(simd: str, name: str, dtype: str) -> None:
    # In every lane of a vector, and with either sign.
    z = np.linspace(-3, 3, 16, dtype=dtype)
    for lane in range(16):
        for nan in (np.nan, -np.nan):
            poisoned = z.copy()
            poisoned[lane] = nan
            values, derivatives = _core.activate(name, poisoned)
            assert np.isnan(values[lane])
            assert np.isfinite(np.delete(values, lane)).all()
            if name not in PIECEWISE | {"softmax"}:
                assert np.isnan(derivatives[lane])
            assert np.isfinite(np.delete(derivatives, lane)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("where", ["X", "y", "sample_weight"])
@pytest.mark.parametrize(
    ("hidden", "pair"),
    [(h, ("log_loss", "softmax")) for h in HIDDEN_ACTIVATIONS]
    + [("relu", pair) for pair in LEGAL_PAIRS],
)
def test_nan_in_one_row_reaches_the_loss_and_every_parameter(
    simd: str, hidden: str, pair: tuple[str, str], where: str, dtype: str
) -> None:
    """No max, clamp, select or flush on the way forward, back or into the update hides it."""
    loss, out = pair
    case = Case((5, 9, 4, 3), hidden, out, loss, dtype, weighted=True, rows=21, batch=21)
    data = draw(case)
    victim = 13
    {"X": data.X, "y": data.dense, "sample_weight": data.weight[:, None]}[where][victim, -1] = (
        np.nan
    )
    network = core_network(case, data)
    team = make_team("serial", 1)
    if where == "X":
        predicted = network.predict(team, data.X)
        assert np.isnan(predicted[victim]).all()
        assert np.isfinite(np.delete(predicted, victim, axis=0)).all()
    result = network.train_epoch(
        team, data.X, data.dense, None, data.weight, case.batch, 0.1, "two-phase"
    )
    assert np.isnan(result.loss)
    coefs, intercepts = network.get_parameters()
    last = [coefs[-1], intercepts[-1]]
    if where == "y":  # one output's delta: its column, and all before it
        last = [coefs[-1][:, -1], intercepts[-1][-1:]]
    for parameters in [*coefs[:-1], *intercepts[:-1], *last]:
        assert np.isnan(parameters).all()
    assert not network.parameters_finite()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN_ACTIVATIONS)
def test_nan_in_a_weight_reaches_every_prediction(simd: str, hidden: str, dtype: str) -> None:
    case = Case((5, 9, 3), hidden, "sigmoid", "mse", dtype)
    data = draw(case)
    data.coefs[0][4, 8] = np.nan
    network = core_network(case, data)
    assert not network.parameters_finite()
    assert np.isnan(network.predict(make_team("serial", 1), data.X)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_in_any_place_of_a_softmax(simd: str, dtype: str) -> None:
    """The row's maximum must not skip it, first place or last."""
    for units in (1, 2, 7, 8, 9, 23, 33):
        z = np.tile(np.linspace(-1, 1, units, dtype=dtype), (units, 1))
        np.fill_diagonal(z, np.nan)
        network = _core.Network([units, units], "relu", "softmax", "log_loss", dtype)
        # z passes through the biases, row by row: a NaN times a zero weight would spread.
        for row in z:
            network.set_parameters([np.zeros((units, units), dtype)], [row.copy()])
            predicted = network.predict(make_team("serial", 1), np.zeros((1, units), dtype))
            assert np.isnan(predicted).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax(simd: str, dtype: str) -> None:
    """Rows of 1 to 70, with logits so large that exp alone would overflow."""
    rng = np.random.default_rng(3)
    for units in range(1, 71):
        for offset in (0.0, 500.0, -5000.0):
            z = (rng.normal(scale=5, size=units) + offset).astype(dtype)
            network = _core.Network([1, units], "relu", "softmax", "log_loss", dtype)
            network.set_parameters([np.zeros((1, units), dtype)], [z])
            (predicted,) = network.predict(make_team("serial", 1), np.zeros((1, 1), dtype))
            e = np.exp(z.astype(float) - z.astype(float).max())
            # z - max(z) is rounded, and exp makes its last place, at most 40 of them, relative
            np.testing.assert_allclose(
                predicted, e / e.sum(), rtol=40 * np.finfo(dtype).eps, atol=1e-37
            )
            assert predicted.sum(dtype=float) == pytest.approx(1, abs=3e-7)
