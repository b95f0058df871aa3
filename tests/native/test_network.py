"""Parameters and solver state go in and out unchanged, and snapshots bring them back."""

import numpy as np
import pytest

from native.support import (
    DTYPES,
    SOLVERS,
    Case,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    set_solver,
    train,
)
from parmlp import _core

#: One network of a phase for all layers, one of a phase a layer.
UNITS = [(41, 37, 19, 11), (61, 420, 390, 5)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [*range(1, 71), 400])
def test_parameters_come_back_as_they_went_in(width: int, dtype: str) -> None:
    """Through the kernels' layout and out of it, -0 and NaN included, for every edge of a panel."""
    case = Case((width, 71, width), dtype=dtype)
    data = draw(case)
    data.coefs[0][0, 0] = -0.0
    data.coefs[1][-1, -1] = np.nan
    data.intercepts[1][-1] = np.inf
    network = core_network(case, data)
    coefs, intercepts = network.get_parameters()
    for got, put in zip([*coefs, *intercepts], [*data.coefs, *data.intercepts], strict=True):
        assert got.tobytes() == put.tobytes()
        assert (got.shape, got.dtype) == (put.shape, put.dtype)
        assert got.flags.c_contiguous
        assert got.flags.writeable


def test_arrays_are_copies_both_ways() -> None:
    case = Case()
    data = draw(case)
    network = core_network(case, data)
    before = parameter_bytes(network)
    data.coefs[0][:] = 7  # what was given
    network.get_parameters()[0][0][:] = 7  # what was handed out
    assert parameter_bytes(network) == before


def test_a_refused_write_writes_nothing() -> None:
    """All arrays are checked before the first is copied."""
    case = Case()
    data = draw(case)
    network = core_network(case, data)
    before = parameter_bytes(network)
    ones = [np.ones_like(w) for w in data.coefs], [np.ones_like(b) for b in data.intercepts]
    ones[1][-1] = np.ones(case.units[-1] + 1, case.dtype)
    with pytest.raises(ValueError, match=r"intercepts\[2\] has shape \(4,\) where \(3,\)"):
        network.set_parameters(*ones)
    assert parameter_bytes(network) == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_network_continues_from_a_saved_state(
    solver: str, units: tuple[int, ...], dtype: str
) -> None:
    """Two epochs are an epoch, a save, a load into another network and an epoch: the same bits."""
    case = Case(units, dtype=dtype, solver=solver, alpha=0.1, rows=70, batch=32)
    data = draw(case)
    team = make_team("serial", 1)
    whole = core_network(case, data)
    train(case, data, whole, team)

    first, second = core_network(case, data), core_network(case, data)
    half = [
        type(data)(**(vars(data) | {"orders": data.orders[:1]})),
        type(data)(**(vars(data) | {"orders": data.orders[1:]})),
    ]
    train(case, half[0], first, team)
    state = first.get_optimizer_state()
    assert state["t"] == 3  # steps: 32 + 32 + 6 rows
    assert len(state["moments"]) == {"sgd": 0, "momentum": 1, "nesterov": 1}.get(solver, 2)
    train(case, half[1], second, team)  # used already: everything must be replaced
    second.set_parameters(*first.get_parameters())
    second.set_optimizer_state(state)
    train(case, half[1], second, team)
    assert parameter_bytes(second) == parameter_bytes(whole)
    assert second.get_optimizer_state()["t"] == 6


def test_set_solver_forgets_the_moments() -> None:
    case = Case(solver="adam")
    data = draw(case)
    network = core_network(case, data)
    train(case, data, network, make_team("serial", 1))
    assert any(np.abs(w).max() > 0 for w in network.get_optimizer_state()["moments"][1][0])
    for solver, moments in (("adam", 2), ("momentum", 1), ("sgd", 0), ("adamw", 2)):
        set_solver(network, solver)
        state = network.get_optimizer_state()
        assert state["t"] == 0
        assert len(state["moments"]) == moments
        for coefs, intercepts in state["moments"]:
            assert all((a == 0).all() for a in [*coefs, *intercepts])


@pytest.mark.parametrize("units", UNITS)
def test_recall_brings_back_all_that_training_uses(units: tuple[int, ...]) -> None:
    """The transposed weights of the backward pass too: what follows is the same to the last bit."""
    case = Case(units, solver="sgd", alpha=0.1, epochs=1, rows=70, batch=32)
    data = draw(case)
    team = make_team("serial", 1)
    network = core_network(case, data)
    network.remember("best")
    start = parameter_bytes(network)
    losses = train(case, data, network, team)
    trained = parameter_bytes(network)
    network.remember("last_finite")
    network.recall("best")
    assert parameter_bytes(network) == start
    assert train(case, data, network, team) == losses
    assert parameter_bytes(network) == trained
    network.remember("best")  # again, over the old one
    train(case, data, network, team)
    for slot in ("last_finite", "best"):
        network.recall(slot)
        assert parameter_bytes(network) == trained
    with pytest.raises(ValueError, match="nothing was remembered as 'worst'"):
        network.recall("worst")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parameters_finite(bad: float, dtype: str) -> None:
    case = Case((5, 9, 4, 3), dtype=dtype)
    data = draw(case)
    network = core_network(case, data)
    assert network.parameters_finite()
    for arrays in (data.coefs, data.intercepts):
        for array in arrays:
            for index in (0, -1):
                good = array.flat[index]
                array.flat[index] = bad
                network.set_parameters(data.coefs, data.intercepts)
                assert not network.parameters_finite()
                array.flat[index] = good
    huge = np.finfo(dtype).max  # its square is not finite, and it is
    data.coefs[0][:] = huge
    network.set_parameters(data.coefs, data.intercepts)
    assert network.parameters_finite()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_padding_stays_out_of_sight(solver: str, dtype: str) -> None:
    """Widths that are no multiple of a vector, and an epsilon that is zero in float32.

    In the lanes past the last unit adam divides 0 by sqrt(0) + epsilon.
    """
    case = Case((3, 5, 3), dtype=dtype, alpha=0.1)
    data = draw(case)
    network = core_network(case, data)
    name, settings = SOLVERS[solver]
    everything = {"momentum": 0.0, "nesterov": False, "beta_1": 0.9, "beta_2": 0.999}
    everything |= {"weight_decay": 0.0} | settings | {"epsilon": 1e-50}
    network.set_solver(name, alpha=0.1, **everything)
    losses = train(case, data, network, make_team("serial", 1))
    assert np.isfinite(losses).all()
    assert network.parameters_finite()


def test_attributes() -> None:
    network = _core.Network([3, 2], "relu", "identity", "squared_error", "float64")
    assert (network.dtype, network.simd) == ("float64", _core.simd_target())
    assert isinstance(_core.compiler, str)
    assert _core.compiler
