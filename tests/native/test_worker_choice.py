"""How many workers run a step: the fastest number is found, kept, and sought anew on a change."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from native.support import PARALLEL_ENGINES, Case, core_network, draw, make_team, parameter_bytes
from parmlp import _core


def run(
    choice: _core.WorkerChoice, step: Callable[[int], float], seconds: float
) -> tuple[float, dict[int, int]]:
    """Steps of ``step(workers)`` seconds for so long: their mean time, and steps by workers."""
    took, used = 0.0, dict[int, int]()
    while took < seconds:
        workers = choice.workers
        time = step(workers)
        choice.step_took(time)
        took += time
        used[workers] = used.get(workers, 0) + 1
    return took / sum(used.values()), used


def amdahl(work: float, handing_over: float) -> Callable[[int], float]:
    return lambda n: work / n + handing_over * (n - 1)


def test_one_worker_has_no_choice() -> None:
    choice = _core.WorkerChoice(1)
    assert run(choice, amdahl(1e-5, 0), 0.1)[1].keys() == {1}


@pytest.mark.parametrize(
    ("most", "work", "handing_over", "best"),
    [
        (2, 20e-6, 30e-6, 1),  # a short step
        (2, 200e-6, 5e-6, 2),
        (16, 100e-6, 0, 16),
        (16, 100e-6, 1e-6, 8),  # 20.5 us with 16, 19.5 with 8, 28 with 4
        (16, 100e-6, 100e-6, 1),
        (12, 100e-6, 8e-6, 3),
        (7, 90e-6, 0, 7),
    ],
)
def test_the_fastest_number_is_used(most: int, work: float, handing_over: float, best: int) -> None:
    step = amdahl(work, handing_over)
    choice = _core.WorkerChoice(most)
    run(choice, step, 0.1)
    mean, used = run(choice, step, 1.0)
    assert max(used, key=lambda n: used[n]) == best
    assert mean < 1.03 * step(best), used


def test_noise_costs_little() -> None:
    rng = np.random.default_rng(0)
    quiet = amdahl(100e-6, 10e-6)

    def step(workers: int) -> float:
        # now and then the system takes a core away for a while
        return quiet(workers) * rng.uniform(0.9, 1.1) + (2e-3 if rng.random() < 0.002 else 0)

    mean, used = run(_core.WorkerChoice(2), step, 2.0)
    assert mean < 1.06 * (quiet(2) + 0.002 * 2e-3), used


def test_a_change_is_noticed() -> None:
    choice = _core.WorkerChoice(2)
    run(choice, amdahl(100e-6, 5e-6), 1.0)
    assert choice.workers == 2
    beside_a_busy_core = {1: 100e-6, 2: 400e-6}
    run(choice, lambda n: beside_a_busy_core[n], 0.02)
    mean, _ = run(choice, lambda n: beside_a_busy_core[n], 1.0)
    assert mean < 1.06 * 100e-6
    run(choice, amdahl(100e-6, 5e-6), 0.3)
    mean, _ = run(choice, amdahl(100e-6, 5e-6), 1.0)
    assert mean < 1.06 * 55e-6


def test_long_steps_are_not_slowed_down_by_trials() -> None:
    assert run(_core.WorkerChoice(4), amdahl(20e-3, 0), 10.0)[1].keys() == {4}


def epochs(engine: str, schedule: str, *, adaptive: bool) -> Iterator[tuple[bytes, int]]:
    """Weights and tiles run, epoch by epoch, of steps so short that one worker is faster."""
    case = Case((20, 9, 5, 3), rows=4000, batch=10)
    data = draw(case)
    network = core_network(case, data)
    team = make_team(engine, 3)
    while True:
        result = network.train_epoch(
            team,
            data.X,
            data.y,
            None,
            None,
            case.batch,
            0.1,
            schedule,
            adaptive_workers=adaptive,
        )
        yield parameter_bytes(network), sum(result.tiles)


@pytest.mark.parametrize("engine", PARALLEL_ENGINES)
def test_bits_do_not_depend_on_the_choice(engine: str) -> None:
    """Up to an epoch in which another number of workers was tried: its tiles are fewer."""
    fixed = epochs(engine, "two-phase", adaptive=False)
    chosen = epochs(engine, "two-phase", adaptive=True)
    for _, (weights, tiles), (chosen_weights, chosen_tiles) in zip(
        range(2000), fixed, chosen, strict=False
    ):
        assert chosen_weights == weights
        if chosen_tiles < tiles:
            break
    else:
        pytest.fail("no other number of workers was tried in 800,000 steps")


@pytest.mark.parametrize("schedule", ["partial-gradients", "fork-join"])
def test_schedules_whose_bits_depend_on_the_workers_use_all(schedule: str) -> None:
    fixed = epochs("threads", schedule, adaptive=False)
    chosen = epochs("threads", schedule, adaptive=True)
    for _, one, other in zip(range(20), fixed, chosen, strict=False):
        assert one == other
