"""The paper's schedules: partial gradients with one long-lived team, and with fork and join.

Their bits depend on the number of workers, which is the number of partial sums, and on that alone.
"""

import numpy as np
import pytest

from native.support import (
    DTYPES,
    PARALLEL_ENGINES,
    SOLVERS,
    TOLERANCE,
    WORKERS,
    Case,
    assert_matches_reference,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    train,
    train_reference,
)
from parmlp import _core

UNITS = {"narrow": (41, 37, 19, 11), "wide": (101, 501, 263, 11)}


def trained(case: Case, team: _core.Team, schedule: str) -> tuple[list[float], _core.Network]:
    data = draw(case)
    network = core_network(case, data)
    return train(case, data, network, team, schedule), network


@pytest.mark.parametrize("kind", UNITS)
@pytest.mark.parametrize("workers", WORKERS)
def test_the_number_of_workers_decides_the_bits(workers: int, kind: str) -> None:
    case = Case(UNITS[kind], rows=157, batch=47, solver="momentum", alpha=0.2, weighted=True)
    expected = trained(case, make_team("threads", workers), "partial-gradients")
    for engine in PARALLEL_ENGINES:
        for schedule in ("partial-gradients", "fork-join"):
            losses, network = trained(case, make_team(engine, workers), schedule)
            assert losses == expected[0]
            assert parameter_bytes(network) == parameter_bytes(expected[1])


@pytest.mark.parametrize("kind", UNITS)
def test_one_partial_gradient_is_the_gradient(kind: str) -> None:
    """With one worker the sums run over the rows in order, as in the two-phase schedule."""
    case = Case(UNITS[kind], rows=157, batch=47, solver="adam", alpha=0.2)
    two_phase = trained(case, make_team("serial", 1), "two-phase")
    for engine in ("serial", *PARALLEL_ENGINES):
        losses, network = trained(case, make_team(engine, 1), "partial-gradients")
        assert parameter_bytes(network) == parameter_bytes(two_phase[1])
        assert losses == pytest.approx(two_phase[0], rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("workers", [2, 3, 16])
def test_against_the_reference(simd: str, workers: int, solver: str, dtype: str) -> None:
    """16 workers: some have no rows of the last, short batch."""
    case = Case(dtype=dtype, solver=solver, alpha=0.2, weighted=True)
    losses, network = trained(case, make_team("threads", workers), "partial-gradients")
    plain, expected = train_reference(case, draw(case))
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(losses, expected, **close)
    coefs, intercepts = network.get_parameters()
    for ours, theirs in zip([*coefs, *intercepts], plain.params, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)


def test_the_default_schedule_after_the_papers() -> None:
    """One team runs them in turn, with fresh threads and with its own."""
    case = Case(rows=45, batch=16)
    team = make_team("threads", 3)
    for schedule in ("fork-join", "partial-gradients", "fork-join"):
        trained(case, team, schedule)
        assert_matches_reference(case, team)
