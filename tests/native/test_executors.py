"""Who runs the tiles: each exactly once, whatever the team; errors come back; teams live on."""

import os
import threading
import time

import numpy as np
import pytest

from native.support import (
    PARALLEL_ENGINES,
    WORKERS,
    Case,
    check_python,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    run_python,
    train,
)
from parmlp import _core

TEAMS = [("serial", 1, False)] + [
    (engine, workers, fresh)
    for engine in PARALLEL_ENGINES
    for workers in WORKERS
    for fresh in (False, True)
]


@pytest.mark.parametrize(("engine", "workers", "fresh"), TEAMS)
@pytest.mark.parametrize("vary", [False, True])
@pytest.mark.parametrize("tiles", [1, 2, 5, 64])
def test_every_tile_runs_once_in_its_phase(
    engine: str, workers: int, fresh: bool, tiles: int, vary: bool
) -> None:
    """The self-check throws if a phase opens before each tile of the last has run exactly once."""
    team = make_team(engine, workers)
    assert (team.engine, team.size) == (engine, workers)
    for phases in (1, 2, 150):
        run = team.self_check(phases, tiles, fresh_threads=fresh, vary_workers=vary)
        assert len(run) == workers
        assert min(run) >= 0
        assert sum(run) == phases * tiles


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "workers", "fresh"), TEAMS)
def test_many_phases(engine: str, workers: int, fresh: bool) -> None:
    team = make_team(engine, workers)
    for tiles in (1, 3, 100):
        for vary in (False, True):
            run = team.self_check(10_000, tiles, fresh_threads=fresh, vary_workers=vary)
            assert sum(run) == 10_000 * tiles


@pytest.mark.parametrize("workers", [2, 3, 4, 7, 16])
@pytest.mark.parametrize("engine", PARALLEL_ENGINES)
def test_every_worker_works(engine: str, workers: int) -> None:
    """The counters of tiles say so, and they count every tile."""
    case = Case((200, 64, 10), out="sigmoid", loss="mse", rows=20_000, batch=512, epochs=1)
    data = draw(case)
    network = core_network(case, data)
    team = make_team(engine, workers)
    tiles = np.zeros(workers, int)
    per_epoch = set()
    give_up = time.monotonic() + 20
    while not (tiles > 0).all() and time.monotonic() < give_up:
        result = network.train_epoch(
            team,
            data.X,
            data.y,
            None,
            None,
            case.batch,
            0.1,
            "two-phase",
            adaptive_workers=False,
        )
        assert result.workers == workers
        assert len(result.tiles) == workers
        tiles += result.tiles
        per_epoch.add(sum(result.tiles))
    assert (tiles > 0).all(), tiles
    # tiles follow from the shapes and the number of workers, not from who runs them
    assert len(per_epoch) == 1


@pytest.mark.parametrize(("engine", "workers", "fresh"), TEAMS)
def test_an_exception_in_a_tile_reaches_the_caller(engine: str, workers: int, fresh: bool) -> None:
    team = make_team(engine, workers)
    for failing in (0, 6, 11):
        with pytest.raises(RuntimeError, match=rf"^tile {failing} failed.* on worker \d+$"):
            team.self_check(50, 12, failing_tile=failing, fresh_threads=fresh)
        # and the team is as good as new
        assert sum(team.self_check(50, 12, fresh_threads=fresh)) == 600


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("engine", PARALLEL_ENGINES)
def test_an_exception_crosses_threads(engine: str, fresh: bool) -> None:
    team = make_team(engine, 2)
    # So many that worker 1 is there before worker 0 has run them all; it starts in the middle.
    tiles = 300_000
    for _ in range(200):
        with pytest.raises(RuntimeError) as error:
            team.self_check(1, tiles, failing_tile=tiles - 1, fresh_threads=fresh)
        if str(error.value).endswith("worker 1"):
            return
    pytest.fail("worker 1 never ran the last tile")


def test_failures_and_successes_take_turns() -> None:
    for engine in PARALLEL_ENGINES:
        team = make_team(engine, 4)
        for _ in range(100):
            with pytest.raises(RuntimeError, match="tile 3 failed"):
                team.self_check(3, 8, failing_tile=3)
            assert sum(team.self_check(3, 8)) == 24


@pytest.mark.parametrize("engine", ["serial", *PARALLEL_ENGINES])
def test_teams_of_several_python_threads_at_once(engine: str) -> None:
    """Each thread trains a network of its own with a team of its own; all get serial's bits."""
    cases = [Case((23, 31, 7), rows=211, batch=50, solver="adam", seed=seed) for seed in range(4)]
    expected = {}
    for case in cases:
        data = draw(case)
        network = core_network(case, data)
        losses = train(case, data, network, make_team("serial", 1))
        expected[case] = losses, parameter_bytes(network)
    failures: list[object] = []

    def work(case: Case, workers: int) -> None:
        try:
            data = draw(case)
            for _ in range(5):
                team = make_team(engine, workers)
                network = core_network(case, data)
                losses = train(case, data, network, team)
                if (losses, parameter_bytes(network)) != expected[case]:
                    failures.append((case, "other bits"))
                if sum(team.self_check(20, 9)) != 180:
                    failures.append((case, "tiles"))
        except Exception as error:  # reported by the main thread
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(case, 1 if engine == "serial" else 2 + i % 2))
        for i, case in enumerate(cases)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures


def test_one_team_shared_by_several_python_threads() -> None:
    """They take turns. In a process of its own: what is tested for is a hang."""
    check_python(
        """
import threading
from native.support import PARALLEL_ENGINES, make_team
for engine in PARALLEL_ENGINES:
    team = make_team(engine, 2)
    sums = []
    def work():
        for i in range(100):
            sums.append(sum(team.self_check(20, 8, fresh_threads=i % 10 == 0)))
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert sums == [160] * 300, sums
"""
    )


def test_a_network_can_be_read_while_it_trains() -> None:
    """By a progress display in another thread, say: it waits its turn and gets whole epochs."""
    check_python(
        """
import threading
from native.support import Case, core_network, draw, make_team, train, parameter_bytes
case = Case((50, 40, 10), rows=5000, batch=20, epochs=6, solver="momentum", hidden="sigmoid")
data = draw(case)
network, after_each = core_network(case, data), []
after_each.append(parameter_bytes(network))
for order in data.orders:
    network.train_epoch(make_team("serial", 1), data.X, data.y, order, None, 20, 0.01, "two-phase")
    after_each.append(parameter_bytes(network))
network = core_network(case, data)
team = make_team("threads", 2)
def fit():
    for order in data.orders:
        network.train_epoch(team, data.X, data.y, order, None, 20, 0.01, "two-phase")
thread = threading.Thread(target=fit)
thread.start()
seen = set()
while thread.is_alive():
    seen.add(parameter_bytes(network))
    network.get_optimizer_state(), network.parameters_finite(), network.remember("best")
    network.predict(make_team("serial", 1), data.X[:3])
thread.join()
assert seen and seen <= set(after_each), "a half-trained epoch was seen"
assert parameter_bytes(network) == after_each[-1]
"""
    )


def test_threads_that_the_system_refuses() -> None:
    """An error with advice, not an abort, and smaller teams still work."""
    check_python(
        """
import resource
from native.support import make_team
make_team("threads", 2).self_check(10, 10)
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) for line in status if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20), resource.RLIM_INFINITY))
try:
    make_team("threads", 64)
except RuntimeError as error:
    assert "of 64" in str(error) and "smaller n_threads" in str(error), error
else:
    raise SystemExit("64 stacks of 8 MB in 60 MB?")
# Fork and join makes do with those it gets.
small = make_team("threads", 3)
assert sum(small.self_check(10, 10, fresh_threads=True)) == 100
assert sum(small.self_check(10, 10)) == 100
"""
    )


@pytest.mark.skipif("openmp" not in PARALLEL_ENGINES, reason="this build has no OpenMP")
def test_openmp_with_fewer_threads_than_asked_for() -> None:
    """The real team size is reported, all tiles are done, and the bits stay the same."""
    printed = check_python(
        """
from native.support import Case, core_network, draw, make_team, parameter_bytes, train
case = Case((23, 31, 7), rows=111, batch=50)
data = draw(case)
networks = []
for team in (make_team("serial", 1), make_team("openmp", 4)):
    networks.append(core_network(case, data))
    result = networks[-1].train_epoch(
        team, data.X, data.y, None, None, case.batch, 0.1, "two-phase")
    assert team.self_check(30, 20)[0] > 0
assert parameter_bytes(networks[0]) == parameter_bytes(networks[1])
print(result.workers, len(result.tiles), sum(result.tiles[1:]))
""",
        env={"OMP_THREAD_LIMIT": "1"},
    )
    assert printed.split() == ["1", "4", "0"]


def test_usable_cores_follow_the_affinity_mask() -> None:
    cores = _core.usable_cores()
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    printed = check_python(
        """
import os
from parmlp import _core
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(_core.usable_cores())
from native.support import PARALLEL_ENGINES, make_team
for engine in PARALLEL_ENGINES:  # all workers on one core: slower, and no hang
    assert sum(make_team(engine, 3).self_check(100, 10)) == 1000
"""
    )
    assert printed.split() == ["1"]


def test_a_process_ends_while_its_teams_sleep() -> None:
    done = run_python(
        """
from native.support import PARALLEL_ENGINES, make_team
teams = [make_team(engine, 3) for engine in PARALLEL_ENGINES]
for team in teams: team.self_check(10, 10)
""",
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
