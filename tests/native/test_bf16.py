"""precision "bf16": products of operands rounded to bfloat16, added up in float32.

The reference rounds the same operands. Where all sums are exact, nothing but the order of float32
additions in the gradient can differ; elsewhere a last bit may round an operand to its other
neighbour.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.support import (
    PARALLEL_ENGINES,
    SOLVERS,
    TARGETS,
    WORKERS,
    Case,
    Data,
    assert_matches_reference,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    run_python,
    set_solver,
    simd_target,
    train,
    train_reference,
)
from parmlp import _core
from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS, round_to_bf16

needs_bf16 = pytest.mark.skipif(
    not _core.runs_bf16(), reason="this CPU or build lacks AVX512_BF16, or PARMLP_SIMD rules it out"
)
#: More than 640 KB of weights: a phase a layer. Odd widths: every product has a pair with a zero.
WIDE = (101, 501, 263, 11)


def exact_data(case: Case) -> Data:
    """Small dyadic numbers, whose products and sums over a layer are exact in float32."""
    rng = np.random.default_rng([case.seed, *case.units, case.rows])

    def dyadic(largest: int, unit: float, *shape: int) -> np.ndarray:
        return (rng.integers(-largest, largest + 1, size=shape) * unit).astype("float32")

    targets = dyadic(8, 0.25, case.rows, case.units[-1])
    return Data(
        [dyadic(5, 0.125, n_in, n_out) for n_in, n_out in pairwise(case.units)],
        [dyadic(5, 0.125, n) for n in case.units[1:]],
        dyadic(8, 0.25, case.rows, case.units[0]),
        targets,
        targets,
        None,
        [rng.permutation(case.rows).astype(np.int64)],
    )


@needs_bf16
@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    hidden=st.sampled_from(["identity", "relu", "leaky_relu"]),
    rows=st.integers(1, 140),
    schedule=st.sampled_from(["two-phase", "partial-gradients"]),
    workers=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_a_step_on_exact_numbers(  # noqa: PLR0917
    units: list[int], hidden: str, rows: int, schedule: str, workers: int, seed: int
) -> None:
    """Every shape of tile, odd depths and odd batches, to float32's tolerance."""
    case = Case(
        tuple(units),
        hidden,
        "identity",
        "squared_error",
        precision="bf16",
        rows=rows,
        batch=rows,
        epochs=1,
        slope=0.5,
        seed=seed,
    )
    data = exact_data(case)
    network = core_network(case, data)
    losses = train(case, data, network, make_team("threads", workers), schedule)
    plain, expected = train_reference(case, data)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
    coefs, intercepts = network.get_parameters()
    for ours, theirs in zip([*coefs, *intercepts], plain.params, strict=True):
        scale = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * scale)


@needs_bf16
def test_the_operands_are_rounded_to_nearest_even() -> None:
    """One weight, one row: dL/dW is the rounded x times the rounded delta, exactly."""
    tiny = np.finfo("float32").tiny
    values = np.array(
        [1, -3, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 257, 0.1, -np.pi, 3e38, tiny / 2],
        dtype="float32",
    )
    for x in values:
        network = _core.Network([1, 1], "relu", "identity", "squared_error", "float32", 0.0, "bf16")
        network.set_parameters([np.zeros((1, 1), "f4")], [np.zeros(1, "f4")])
        set_solver(network, "sgd")
        y = np.array([[-1.0]], "f4")
        network.train_epoch(
            make_team("serial", 1), np.array([[x]]), y, None, None, 1, 1.0, "two-phase"
        )
        assert network.get_parameters()[0][0][0, 0] == -round_to_bf16(x)


@needs_bf16
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("hidden", HIDDEN_ACTIVATIONS)
def test_every_activation_with_every_solver(hidden: str, solver: str) -> None:
    assert_matches_reference(Case(hidden=hidden, solver=solver, precision="bf16", alpha=0.3))


@needs_bf16
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "out"), LEGAL_PAIRS)
def test_every_loss(loss: str, out: str, weighted: bool) -> None:
    case = Case(loss=loss, out=out, weighted=weighted, precision="bf16", alpha=0.3)
    assert_matches_reference(case)


@needs_bf16
@pytest.mark.parametrize("schedule", ["two-phase", "partial-gradients", "fork-join"])
@pytest.mark.parametrize("units", [(23, 41, 19, 6), WIDE])
def test_schedules(units: tuple[int, ...], schedule: str) -> None:
    case = Case(units, precision="bf16", rows=143, batch=77, solver="adam", weighted=True)
    assert_matches_reference(case, make_team("threads", 3), schedule=schedule, tolerance=1e-3)


@needs_bf16
@pytest.mark.parametrize("units", [(6, 19, 5, 3), WIDE])
def test_close_to_the_step_without_rounding(units: tuple[int, ...]) -> None:
    case = Case(units, rows=143, batch=77)
    data = draw(case)
    coefs, losses = [], []
    for precision in ("full", "bf16"):
        network = core_network(replace(case, precision=precision), data)
        losses.append(train(case, data, network, make_team("serial", 1)))
        coefs.append(network.get_parameters()[0])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    for ours, theirs in zip(coefs[1], coefs[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-2 * np.abs(theirs).max())
    assert not np.array_equal(coefs[0][0], coefs[1][0])


@needs_bf16
@pytest.mark.parametrize("units", [(41, 37, 19, 11), WIDE])
@pytest.mark.parametrize("hidden", ["sigmoid", "gelu"])
def test_the_same_bits_from_every_engine_and_number_of_workers(
    hidden: str, units: tuple[int, ...]
) -> None:
    # 157 = 3 x 47 + 16
    case = Case(units, hidden, precision="bf16", solver="adam", alpha=0.3, rows=157, batch=47)
    data = draw(case)

    def results(team: _core.Team) -> tuple[object, ...]:
        network = core_network(case, data)
        return train(case, data, network, team), parameter_bytes(network)

    serial = results(make_team("serial", 1))
    for engine in PARALLEL_ENGINES:
        for workers in WORKERS:
            assert results(make_team(engine, workers)) == serial, f"{engine} {workers}"


@needs_bf16
@pytest.mark.parametrize("units", [(8, 3), (8, 7, 3)])
def test_a_short_odd_batch_has_nothing_of_the_batch_before(units: tuple[int, ...]) -> None:
    """The last row's partner is zero, not what stood there."""
    case = Case(units, "relu", "identity", "squared_error", precision="bf16", rows=29, batch=16)
    case = replace(case, epochs=1)
    assert_matches_reference(case, data=exact_data(case), tolerance=1e-4)


@needs_bf16
@pytest.mark.parametrize("units", [(7, 13, 3), WIDE])
def test_weights_handed_out_and_back_change_nothing(units: tuple[int, ...]) -> None:
    """The weights' rounded copies are the same, whether the solver or set_parameters made them."""
    case = Case(units, precision="bf16", solver="momentum")
    data = draw(case)
    team = make_team("serial", 1)
    networks = core_network(case, data), core_network(case, data)
    for network in networks:
        train(case, data, network, team)
    networks[1].set_parameters(*networks[1].get_parameters())
    for network in networks:
        train(case, data, network, team)
    assert parameter_bytes(networks[0]) == parameter_bytes(networks[1])


@needs_bf16
def test_predictions_use_the_float32_weights() -> None:
    case = Case(precision="bf16")
    data = draw(case)
    team = make_team("serial", 1)
    trained = core_network(case, data)
    train(case, data, trained, team)
    full = core_network(replace(case, precision="full"), data)
    full.set_parameters(*trained.get_parameters())
    assert trained.predict(team, data.X).tobytes() == full.predict(team, data.X).tobytes()
    assert (trained.precision, full.precision) == ("bf16", "full")


@needs_bf16
@pytest.mark.parametrize("units", [(7, 13, 3), WIDE])
@pytest.mark.parametrize("place", ["row", "last row", "weight", "last weight"])
def test_nan_never_passes_silently(place: str, units: tuple[int, ...]) -> None:
    case = Case(units, "relu", precision="bf16", rows=45, batch=45, epochs=1)
    data = draw(case)
    target = data.X if place.endswith("row") else data.coefs[0]
    target[(-1, -1) if place.startswith("last") else (2, 3)] = np.nan
    network = core_network(case, data)
    assert np.isnan(train(case, data, network, make_team("serial", 1))).all()
    assert not network.parameters_finite()


def network_in_bf16(dtype: str = "float32", precision: str = "bf16") -> _core.Network:
    return _core.Network([3, 2], "relu", "softmax", "log_loss", dtype, precision=precision)


def test_unknown_precisions_and_dtypes() -> None:
    with pytest.raises(ValueError, match=r"'half'.*full, bf16"):
        network_in_bf16(precision="half")
    with pytest.raises(ValueError, match="needs dtype 'float32', got 'float64'"):
        network_in_bf16("float64")


@needs_bf16
def test_sparse_rows_are_refused() -> None:
    team = make_team("serial", 1)
    network = network_in_bf16()
    X = _core.SparseRows.compress(np.eye(3, dtype="f4"), team)
    with pytest.raises(ValueError, match="dense array, or use precision 'full'"):
        network.train_epoch(team, X, np.zeros(3, "i4"), None, None, 3, 0.1, "two-phase")


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "avx512"])
def test_other_targets_have_no_bf16(target: str) -> None:
    """An error that says what is missing and what to do: never float32 instead, silently."""
    with simd_target(target):
        assert not _core.runs_bf16()
        with pytest.raises(RuntimeError, match=r"AVX512_BF16|PARMLP_SIMD.*precision 'full'"):
            network_in_bf16()


@pytest.mark.parametrize("target", TARGETS)
def test_the_environment_decides(target: str) -> None:
    code = "from parmlp import _core; assert _core.runs_bf16()"
    done = run_python(code, env={"PARMLP_SIMD": target})
    assert (done.returncode == 0) == (target == "avx512" and _core.runs_bf16())
