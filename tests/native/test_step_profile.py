"""Timers around the phases of a step: they see every tile, add up, and change no bit."""

import numpy as np
import pytest

from native.support import (
    PARALLEL_ENGINES,
    Case,
    core_network,
    draw,
    make_team,
    parameter_bytes,
)
from parmlp import _core

FULL_STEPS = 3
CASES = {
    "narrow": Case((41, 37, 19, 11), rows=157, batch=47, epochs=2),
    "wide": Case((101, 501, 263, 11), rows=157, batch=47, epochs=2),
    "one layer": Case((41, 11), rows=157, batch=47, epochs=2),
}
#: (name, layer) of the phases of a step
TWO_PHASE = {
    "narrow": [("rows", 0), ("weights", 0)],
    "wide": [
        ("gather", 0),
        ("forward", 0),
        ("forward", 1),
        ("output", 2),
        ("backward", 1),
        ("weights", 0),
    ],
    "one layer": [("rows", 0), ("weights", 0)],
}
TEAMS = [("serial", 1)] + [(engine, n) for engine in PARALLEL_ENGINES for n in (1, 2, 3)]
SCHEDULES = ("two-phase", "partial-gradients", "fork-join")


def sparse_rows(X: np.ndarray) -> _core.SparseRows:
    return _core.SparseRows.compress(X, make_team("serial", 1))


def train(
    case: Case,
    team: _core.Team,
    schedule: str,
    *,
    sparse: bool,
    profile: _core.StepProfile | None,
    adaptive: bool = False,
) -> tuple[list[float], bytes, int]:
    """Return losses, parameters and the number of tiles run."""
    data = draw(case)
    network = core_network(case, data)
    X = sparse_rows(np.where(data.X > 0.5, data.X, 0)) if sparse else data.X
    losses, tiles = [], 0
    for order in data.orders:
        result = network.train_epoch(
            team,
            X,
            data.y,
            order,
            data.weight,
            case.batch,
            case.learning_rate,
            schedule,
            adaptive_workers=adaptive,
            profile=profile,
        )
        losses.append(result.loss)
        tiles += sum(result.tiles)
    return losses, parameter_bytes(network), tiles


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("engine", "workers"), TEAMS)
def test_a_profile(engine: str, workers: int, schedule: str, kind: str, sparse: bool) -> None:
    case, team = CASES[kind], make_team(engine, workers)
    plain = train(case, team, schedule, sparse=sparse, profile=None)
    profile = _core.StepProfile()
    timed = train(case, team, schedule, sparse=sparse, profile=profile)
    assert timed[:2] == plain[:2]

    assert profile.steps == FULL_STEPS * case.epochs
    names = [(phase.name, phase.layer) for phase in profile.phases]
    paper = [("shards", 0), ("apply", 0)]
    assert names == (TWO_PHASE[kind] if schedule == "two-phase" else paper)
    assert profile.between_seconds > 0
    assert profile.seconds == pytest.approx(
        profile.between_seconds + sum(phase.seconds for phase in profile.phases)
    )
    for phase in profile.phases:
        assert phase.tiles % profile.steps == 0  # the same in every step
        assert phase.tiles >= profile.steps
        assert 0 < phase.hand_over_seconds < phase.seconds
        assert len(phase.work_seconds) == workers
        assert sum(phase.work_seconds) > 0
        # no worker can have been at it for longer than the phase was open
        assert all(0 <= work < phase.seconds for work in phase.work_seconds)
    # the tiles of full minibatches; the others are those of the short last one
    assert 0 < sum(phase.tiles for phase in profile.phases) < timed[2]


@pytest.mark.parametrize("kind", CASES)
def test_a_profile_of_fewer_workers_than_the_team(kind: str) -> None:
    """Trials of other numbers of workers leave no worker's times out of place."""
    case = CASES[kind]
    profile = _core.StepProfile()
    team = make_team("threads", 3)
    timed = train(case, team, "two-phase", sparse=False, profile=profile, adaptive=True)
    plain = train(case, team, "two-phase", sparse=False, profile=None, adaptive=True)
    assert timed[:2] == plain[:2]
    assert all(len(phase.work_seconds) == 3 for phase in profile.phases)


def test_clear() -> None:
    profile = _core.StepProfile()
    train(CASES["narrow"], make_team("serial", 1), "two-phase", sparse=False, profile=profile)
    profile.clear()
    assert (profile.steps, profile.seconds, profile.phases) == (0, 0, [])
    # and a profile of another network may follow
    train(CASES["wide"], make_team("serial", 1), "two-phase", sparse=False, profile=profile)
    assert profile.steps == FULL_STEPS * 2


@pytest.mark.parametrize(
    ("kind", "workers", "schedule"),
    [("wide", 2, "two-phase"), ("narrow", 3, "two-phase"), ("narrow", 2, "partial-gradients")],
)
def test_one_profile_for_two_kinds_of_step(kind: str, workers: int, schedule: str) -> None:
    profile = _core.StepProfile()
    train(CASES["narrow"], make_team("threads", 2), "two-phase", sparse=False, profile=profile)
    with pytest.raises(ValueError, match="another network, schedule or number of workers"):
        train(CASES[kind], make_team("threads", workers), schedule, sparse=False, profile=profile)
