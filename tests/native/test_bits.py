"""The same bits, whoever computes: any engine, any number of workers, AVX2 or AVX-512.

Batches do not divide evenly by tiles or workers, the last one is short, and there are more workers
than cores and, on small networks, than tiles.
"""

import pytest

from native.support import (
    DTYPES,
    PARALLEL_ENGINES,
    WORKERS,
    Case,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    simd_target,
    train,
)
from parmlp import _core

NARROW = (41, 37, 19, 11)
#: More than 640 KB of weights: a phase a layer instead of all layers in one.
WIDE = {"float32": (101, 501, 263, 11), "float64": (101, 331, 223, 11)}
TRAININGS = {
    "sgd": {"solver": "sgd", "out": "sigmoid", "loss": "mse", "hidden": "sigmoid"},
    "momentum-l2-softmax": {"solver": "momentum", "alpha": 0.3, "class_indices": True},
    "nesterov-l2-weights": {"solver": "nesterov", "alpha": 0.3, "weighted": True, "hidden": "gelu"},
    "adam-l2-weights": {"solver": "adam", "alpha": 0.3, "weighted": True, "hidden": "relu"},
    "adamw-poisson": {"solver": "adamw", "out": "exp", "loss": "poisson", "hidden": "silu"},
}


def results(case: Case, team: _core.Team, schedule: str = "two-phase") -> tuple[object, ...]:
    """Train; return losses, parameters, optimizer state and predictions, all to the last bit."""
    data = draw(case)
    network = core_network(case, data)
    losses = train(case, data, network, team, schedule)
    state = network.get_optimizer_state()
    moments = b"".join(
        a.tobytes() for coefs, intercepts in state["moments"] for a in [*coefs, *intercepts]
    )
    predictions = network.predict(team, data.X).tobytes()
    return losses, parameter_bytes(network), state["t"], moments, predictions


def training(name: str, units: tuple[int, ...], dtype: str) -> Case:
    # 157 = 3 x 47 + 16
    return Case(units, dtype=dtype, rows=157, batch=47, **TRAININGS[name])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["narrow", "wide"])
@pytest.mark.parametrize("name", TRAININGS)
def test_engines_and_numbers_of_workers(name: str, kind: str, dtype: str) -> None:
    case = training(name, NARROW if kind == "narrow" else WIDE[dtype], dtype)
    serial = results(case, make_team("serial", 1))
    for engine in PARALLEL_ENGINES:
        for workers in WORKERS:
            assert results(case, make_team(engine, workers)) == serial, f"{engine} {workers}"


@pytest.mark.skipif("avx512" not in _core.simd_targets(), reason="this CPU lacks AVX-512")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["narrow", "wide"])
@pytest.mark.parametrize("name", TRAININGS)
def test_avx2_and_avx512(name: str, kind: str, dtype: str) -> None:
    case = training(name, NARROW if kind == "narrow" else WIDE[dtype], dtype)
    bits = []
    for target in ("avx2", "avx512"):
        with simd_target(target):
            bits.append(results(case, make_team("serial", 1)))
    assert bits[0] == bits[1]


@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_without_fused_multiply_add(kind: str) -> None:
    """The baseline target has bits of its own, but one set of them."""
    case = training(
        "momentum-l2-softmax", NARROW if kind == "narrow" else WIDE["float32"], "float32"
    )
    with simd_target("baseline"):
        serial = results(case, make_team("serial", 1))
        for workers in (2, 7):
            assert results(case, make_team("threads", workers)) == serial


def test_batches_larger_than_a_block_of_the_products() -> None:
    """More than 256 rows and inputs: sums that are continued from block to block."""
    case = Case((700, 50, 9), rows=1217, batch=1100, solver="momentum", alpha=0.1, epochs=1)
    serial = results(case, make_team("serial", 1))
    for engine in PARALLEL_ENGINES:
        for workers in (2, 3, 16):
            assert results(case, make_team(engine, workers)) == serial, f"{engine} {workers}"


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 9])
def test_single_examples_and_tiny_batches(batch: int) -> None:
    """Fewer rows than workers; 0 rows for some."""
    case = Case((5, 7, 3), rows=2 * batch + 1, batch=batch, solver="nesterov")
    serial = results(case, make_team("serial", 1))
    for engine in PARALLEL_ENGINES:
        assert results(case, make_team(engine, 7)) == serial


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_a_prediction_does_not_depend_on_its_company(
    simd: str, kind: str, out: str, dtype: str
) -> None:
    """predict(X[:1]) == predict(X)[:1], wherever the row stands and whatever its tile."""
    units = NARROW if kind == "narrow" else WIDE[dtype]
    case = Case(units, out=out, dtype=dtype, rows=150)
    data = draw(case)
    network = core_network(case, data)
    serial = make_team("serial", 1)
    everything = network.predict(serial, data.X)

    def assert_same(rows: slice, team: _core.Team = serial) -> None:
        part = network.predict(team, data.X[rows])
        assert part.tobytes() == everything[rows].tobytes()

    for first in (0, 1, 63, 64, 65, 127, 149):
        assert_same(slice(first, first + 1))
    for rows in (2, 3, 5, 7, 8, 9, 13, 31, 63, 64, 65, 100, 149):
        assert_same(slice(150 - rows, None))
    for engine in PARALLEL_ENGINES:
        for workers in WORKERS:
            assert_same(slice(None), make_team(engine, workers))


def test_two_trainings_in_a_row_are_the_same_as_in_two_networks() -> None:
    """What is kept from epoch to epoch leaves no trace: other batch sizes, schedules and data."""
    case = Case(NARROW, rows=157, batch=47, solver="adam", epochs=1)
    data = draw(case)
    team = make_team("threads", 3)
    used = core_network(case, data)
    for batch, schedule in ((150, "two-phase"), (11, "partial-gradients"), (157, "fork-join")):
        used.train_epoch(team, data.X, data.y, None, None, batch, 0.5, schedule)
    used.predict(team, data.X)
    used.set_parameters(data.coefs, data.intercepts)
    used.set_optimizer_state(core_network(case, data).get_optimizer_state())
    fresh = core_network(case, data)
    assert train(case, data, used, team) == train(case, data, fresh, team)
    assert parameter_bytes(used) == parameter_bytes(fresh)
