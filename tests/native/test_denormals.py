"""Denormals are zero while workers compute, and the caller gets its arithmetic back."""

import numpy as np
import pytest

from native.support import DTYPES, PARALLEL_ENGINES, Case, core_network, draw, make_team, train
from parmlp import _core

TEAMS = [("serial", 1)] + [(engine, workers) for engine in PARALLEL_ENGINES for workers in (1, 3)]


def denormals_live() -> bool:
    """Whether this thread computes with denormals: neither flushed (FTZ) nor read as zero (DAZ)."""
    for dtype in DTYPES:
        smallest = np.array([np.finfo(dtype).smallest_subnormal])
        tiny = np.array([np.finfo(dtype).tiny])
        if (smallest + smallest)[0] == 0 or (tiny / 4)[0] == 0 or (tiny / 4 * 4)[0] != tiny[0]:
            return False
    return True


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("engine", "workers"), TEAMS)
def test_workers_take_denormals_for_zero(simd: str, engine: str, workers: int, dtype: str) -> None:
    """In predict and in training, in every worker's rows."""
    tiny = np.finfo(dtype).tiny
    team = make_team(engine, workers)
    network = _core.Network([1, 1], "identity", "identity", "squared_error", dtype)
    rows = 3000
    X = np.ones((rows, 1), dtype)
    for weight, x in ((tiny / 4, 1.0), (tiny * 2, 0.125)):  # read as zero; flushed to zero
        assert np.dtype(dtype).type(weight) * np.dtype(dtype).type(x) != 0
        network.set_parameters([np.array([[weight]], dtype)], [np.zeros(1, dtype)])
        predicted = network.predict(team, X * np.dtype(dtype).type(x))
        assert (predicted == 0).all()
    # a gradient of tiny / 4 for every row, added up: it never becomes a normal number
    network.set_parameters([np.zeros((1, 1), dtype)], [np.zeros(1, dtype)])
    network.train_epoch(
        team, X, np.full((rows, 1), -tiny / 4, dtype), None, None, rows, 1.0, "two-phase"
    )
    assert network.get_parameters()[0][0][0, 0] == 0


@pytest.mark.parametrize(("engine", "workers"), TEAMS)
def test_the_calling_thread_gets_its_mode_back(engine: str, workers: int) -> None:
    assert denormals_live()
    team = make_team(engine, workers)
    case = Case(rows=100, batch=30)
    data = draw(case)
    network = core_network(case, data)
    for schedule in ("two-phase", "partial-gradients", "fork-join"):
        train(case, data, network, team, schedule)
        assert denormals_live()
    network.predict(team, data.X)
    assert denormals_live()
    for fresh in (False, True):
        team.self_check(10, 10, fresh_threads=fresh)
        assert denormals_live()
        for failing in (0, 9):
            with pytest.raises(RuntimeError, match="failed"):
                team.self_check(10, 10, failing_tile=failing, fresh_threads=fresh)
            assert denormals_live()
    with pytest.raises(ValueError, match="schedule"):
        network.train_epoch(team, data.X, data.y, None, None, 10, 0.1, "three-phase")
    assert denormals_live()
