"""Train small networks through ``parmlp._core`` for the sanitizers to watch (.ci/sanitize).

    python sanitized_training.py serial threads openmp

Not a test that pytest collects: it is run with instrumented modules, which are slow, so it covers
paths and edges rather than numbers: every kernel on every SIMD target, both plans of phases, all
schedules, more workers than tiles, errors, and what other Python threads may do meanwhile.
"""

import sys
import threading
from dataclasses import replace
from itertools import product

import numpy as np

from native.support import (
    SOLVERS,
    TARGETS,
    Case,
    core_network,
    draw,
    make_team,
    parameter_bytes,
    simd_target,
    train,
)
from parmlp import _core
from parmlp.study import baselines

ACTIVATIONS = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu"),
    *("elu", "gelu", "gelu_tanh", "silu"),
)
PAIRS = [
    ("log_loss", "softmax"),
    ("log_loss", "sigmoid"),
    ("mse", "identity"),
    ("mse", "sigmoid"),
    ("squared_error", "identity"),
    ("poisson", "exp"),
]


def cases() -> list[Case]:
    """Odd widths and batches: last tiles of every kind."""
    found = []
    for i, (hidden, dtype) in enumerate(product(ACTIVATIONS, ("float32", "float64"))):
        loss, out = PAIRS[i % len(PAIRS)]
        found.append(
            Case(
                (1 + 7 * i % 29, 1 + 11 * i % 37, 3 + 5 * i % 23),
                hidden,
                out,
                loss,
                dtype,
                sorted(SOLVERS)[i % len(SOLVERS)],
                alpha=i % 2 * 0.1,
                rows=37 + i,
                batch=(1 + 5 * i) % 31 + 1,
                weighted=i % 3 == 0,
                class_indices=out == "softmax" and i % 4 == 0,
                epochs=1,
            )
        )
    # more than 640 KB of weights: a phase a layer
    found.append(Case((61, 420, 390, 5), "gelu", solver="adamw", rows=70, batch=37, epochs=1))
    found.append(Case((1100, 90), dtype="float64", solver="momentum", rows=70, batch=37, epochs=1))
    if _core.runs_bf16():
        in_float32 = [case for case in found if case.dtype == "float32"]
        found += [replace(case, precision="bf16") for case in in_float32]
    return found


def check_case(case: Case, engine: str, workers: int) -> None:
    data = draw(case)
    team = make_team(engine, workers)
    bits = []
    for run in (make_team("serial", 1), team):
        network = core_network(case, data)
        losses = train(case, data, network, run)
        bits.append((losses, parameter_bytes(network), network.predict(run, data.X).tobytes()))
        network.remember("best")
        network.recall("best")
        network.set_optimizer_state(network.get_optimizer_state())
    assert bits[0] == bits[1], (case, engine, workers)
    for schedule in ("partial-gradients", "fork-join"):
        train(case, data, core_network(case, data), team, schedule)


def check_errors(engine: str, workers: int) -> None:
    team = make_team(engine, workers)
    for fresh in (False, True):
        for failing in (0, 7):
            try:
                team.self_check(3, 8, failing_tile=failing, fresh_threads=fresh)
            except RuntimeError:
                pass
            else:
                raise AssertionError("no exception")
        assert sum(team.self_check(300, 9, fresh_threads=fresh)) == 2700
        assert sum(team.self_check(300, 9, fresh_threads=fresh, vary_workers=True)) == 2700
    network = _core.Network([3, 2], "relu", "softmax", "log_loss", "float32")
    bad = np.array([0, 2], "int32")
    try:
        network.train_epoch(team, np.zeros((2, 3), "float32"), bad, None, None, 2, 0.1, "two-phase")
    except ValueError:
        pass
    else:
        raise AssertionError("class 2 of 2 was accepted")


def check_company(engine: str, workers: int) -> None:
    """Several Python threads: own teams, a shared team, and one that reads what others train."""
    case = Case((23, 31, 7), rows=150, batch=40, solver="adam", epochs=3)
    data = draw(case)
    shared_team, network = make_team(engine, workers), core_network(case, data)
    failures = []

    def guarded(work) -> threading.Thread:
        def run() -> None:
            try:
                for _ in range(3):
                    work()
            except Exception as error:
                failures.append(error)

        return threading.Thread(target=run)

    def own() -> None:
        own_case = replace(case, seed=threading.get_ident() % 1000)
        own_data = draw(own_case)
        train(own_case, own_data, core_network(own_case, own_data), make_team(engine, workers))

    def read() -> None:
        for _ in range(20):
            network.get_parameters()
            network.parameters_finite()
            network.predict(make_team("serial", 1), data.X)

    threads = [guarded(own), guarded(own), guarded(read)]
    threads += [guarded(lambda: train(case, data, network, shared_team)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def check_profiles(engine: str, workers: int) -> None:
    """Timers around the tiles, which each worker writes and whoever ends a phase reads."""
    team = make_team(engine, workers)
    for case in (Case((23, 31, 7), rows=150, batch=40), Case((61, 420, 390, 5), rows=70, batch=37)):
        data = draw(case)
        for schedule in ("two-phase", "partial-gradients", "fork-join"):
            network, profile = core_network(case, data), _core.StepProfile()
            for order in data.orders:
                settings = (case.batch, case.learning_rate, schedule)
                network.train_epoch(
                    team, data.X, data.y, order, data.weight, *settings, profile=profile
                )
            assert profile.steps == case.epochs * (case.rows // case.batch)


def check_baselines() -> None:
    """The authors' implementations, with more threads than examples too."""
    for units in ((5, 3), (260, 250, 10)):
        for implementation in baselines.IMPLEMENTATIONS:
            serial = implementation.endswith("_serial")
            for n_threads in (1,) if serial else (1, 2) if "blas" in implementation else (1, 3, 7):
                data = draw(Case(units, out="sigmoid", loss="mse", rows=45))
                arguments = (data.coefs, data.intercepts, data.X, data.y)
                settings = {"batch_size": 8, "learning_rate": 0.1, "n_threads": n_threads}
                loss = baselines.train_epoch(implementation, *arguments, **settings)
                assert np.isfinite(loss)
    print("the authors' implementations: clean", flush=True)


def main() -> None:
    check_baselines()
    for target in TARGETS:
        with simd_target(target):
            for case in cases():
                check_case(case, "serial", 1)
            for name, dtype in product([*ACTIVATIONS, "exp"], ("float32", "float64")):
                extremes = [0, -0.0, 1e-40, -1e-310, 88, -87.5, 710, -745, np.inf, -np.inf, np.nan]
                with np.errstate(over="ignore"):
                    _core.activate(name, np.array(extremes, dtype))
        print(f"kernels of {target}: clean", flush=True)
    for engine in sys.argv[1:]:
        for workers in (1,) if engine == "serial" else (2, 3):
            for case in cases()[:: 2 if workers == 3 else 1]:
                check_case(case, engine, workers)
            check_errors(engine, workers)
            check_company(engine, workers)
            check_profiles(engine, workers)
            print(f"{engine} {workers}: clean", flush=True)


if __name__ == "__main__":
    main()
