"""Engines from Python: choice, number of threads, same bits, workers at work, processes."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits

from parmlp import MLPClassifier, _core
from parmlp.engines import (
    ENGINES,
    SCHEDULES,
    EngineUnavailableError,
    cpu,
    default_n_threads,
    engine_statuses,
    make_team,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:n_threads=.* is more than"),
]

X, Y = load_digits(return_X_y=True)
X, Y = X[:331] / 16, Y[:331]
WIDE = [784, 1024, 10]
# with a compiler that has no OpenMP the package is built without it
HERE = [s.name for s in cpu.engine_statuses() if s.available]
PARALLEL = [name for name in HERE if name != "serial"]


def fit(**parameters: Any) -> MLPClassifier:
    settings = {"hidden_layer_sizes": (33, 17), "random_state": 0, "max_iter": 4, "batch_size": 100}
    return MLPClassifier(**{**settings, **parameters}).fit(X, Y)


def assert_same_bits(a: MLPClassifier, b: MLPClassifier) -> None:
    for ours, theirs in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert a.loss_curve_ == b.loss_curve_
    assert a.validation_scores_ == b.validation_scores_
    assert a.n_iter_ == b.n_iter_


# ---------------------------------------------------------------------------- bits


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize("engine", PARALLEL)
def test_engines_train_the_same_bits(engine: str, n_threads: int) -> None:
    for parameters in (
        {"dtype": "float32", "early_stopping": True},
        {"solver": "sgd", "loss": "mse", "alpha": 0.1},
    ):
        serial = fit(engine="serial", **parameters)
        other = fit(engine=engine, n_threads=n_threads, **parameters)
        assert (other.engine_, other.n_threads_) == (engine, n_threads)
        assert (serial.engine_, serial.n_threads_) == ("serial", 1)
        assert_same_bits(serial, other)


@pytest.mark.parametrize("engine", HERE)
def test_rows_are_predicted_alike_alone_and_together(engine: str) -> None:
    model = fit(engine=engine)
    together = model.predict_proba(X)
    for row in (0, 1, 100, 330):
        np.testing.assert_array_equal(model.predict_proba(X[row : row + 1])[0], together[row])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_agree_up_to_rounding(schedule: str) -> None:
    model = fit(schedule=schedule, engine="threads", n_threads=2)
    assert model.schedule_ == schedule
    np.testing.assert_allclose(model.coefs_[0], fit().coefs_[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("engine", PARALLEL)
def test_every_worker_works(engine: str, n_threads: int) -> None:
    # A worker that the system lets wait has its tiles taken by the others, so this trains until
    # each has run some, on epochs that are long enough to be woken in; it is a hang or an idle
    # worker that would take all the epochs.
    model = MLPClassifier(
        (200,),
        engine=engine,
        n_threads=n_threads,
        random_state=0,
        max_iter=500,
        tol=0.0,
        n_iter_no_change=np.inf,
        callback=lambda report: min(report.estimator.tiles_per_worker_) > 0,
    ).fit(np.tile(X, (30, 1)), np.tile(Y, 30))
    assert len(model.tiles_per_worker_) == n_threads
    assert min(model.tiles_per_worker_) > 0
    assert model.stop_reason_ == "callback"


@pytest.mark.parametrize("engine", PARALLEL)
def test_the_number_of_tiles_is_the_same_every_time(engine: str) -> None:
    settings = {"engine": engine, "n_threads": 3, "adaptive_threads": False}
    tiles = [sum(fit(**settings).tiles_per_worker_) for _ in range(2)]
    assert tiles[0] == tiles[1]
    assert tiles[0] >= 4 * 4  # every minibatch has some


# -------------------------------------------------------------------------- choice


def test_serial_is_one_thread() -> None:
    for n_threads in (None, 1, -1):
        assert make_team("serial", n_threads, WIDE, 100).size == 1
    with pytest.raises(ValueError, match="engine='serial' runs on one thread, but n_threads=2"):
        fit(engine="serial", n_threads=2)


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "usable_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert make_team("threads", None, WIDE, 100).size == 6
    assert make_team("threads", -1, WIDE, 100).size == 6
    assert make_team("threads", 3, WIDE, 100).size == 3
    for value, expected in {
        "4": 4,
        "2,8": 2,
        "100": 6,
        "0": 6,
        "": 6,
        "many": 6,
        "-3": 6,
    }.items():
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert default_n_threads() == expected, value
        assert make_team("threads", None, WIDE, 100).size == expected
    # said explicitly, a number is not capped
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert make_team("threads", -1, WIDE, 100).size == 6
    assert make_team("threads", 5, WIDE, 100).size == 5


def test_auto_takes_threads_where_the_work_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "usable_cores", lambda: 6)
    tiny = make_team("auto", None, [4, 10, 3], 20)
    assert (tiny.engine, tiny.size) == ("serial", 1)
    wide = make_team("auto", None, WIDE, 128)
    assert (wide.engine, wide.size) == ("threads", 6)
    sizes = [make_team("auto", None, [n, n, 10], 64).size for n in (8, 16, 32, 64, 128, 512)]
    assert sizes == sorted(sizes)
    # whoever names a number gets it
    assert make_team("auto", 3, [4, 10, 3], 20).size == 3
    assert make_team("auto", 1, WIDE, 128).engine == "serial"


@pytest.mark.parametrize("n_threads", [0, -2, 2**40])
@pytest.mark.parametrize("engine", ["auto", *HERE])
def test_impossible_numbers(engine: str, n_threads: int) -> None:
    with pytest.raises(ValueError, match=f"n_threads={n_threads} is not possible"):
        make_team(engine, n_threads, WIDE, 100)


def test_unknown_engine() -> None:
    with pytest.raises(
        ValueError, match=r"unknown engine 'gpu': parmlp has serial, threads, openmp"
    ):
        make_team("gpu", None, WIDE, 100)


@pytest.mark.filterwarnings("default:n_threads=.* is more than")
def test_more_threads_than_cores_warn_once() -> None:
    many = _core.usable_cores() + 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(engine="threads", n_threads=many, early_stopping=True)
        model.predict(X)
    ours = [w for w in caught if "n_threads" in str(w.message)]
    assert len(ours) == 1
    assert f"n_threads={many} is more than the {many - 3} usable cores" in str(ours[0].message)
    assert_same_bits(model, fit(engine="serial", early_stopping=True))


# ---------------------------------------------------------------------- availability


def test_engines_available_here() -> None:
    assert [s.name for s in engine_statuses()] == list(ENGINES)
    for status in engine_statuses():
        assert status.available == (status.reason is None) == (status.remedy is None)
        assert status.available or status.name in ("openmp", "cuda")


def test_openmp_that_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(cpu, "import_module", missing)
    serial, threads, openmp, _ = engine_statuses()
    assert serial.available
    assert threads.available
    assert not openmp.available
    assert "No module named 'parmlp._openmp'" in str(openmp.reason)
    assert "engine='threads'" in str(openmp.remedy)
    with pytest.raises(EngineUnavailableError, match=r"engine='openmp' is not available.*rebuild"):
        fit(engine="openmp")


# ------------------------------------------------------------- processes and threads


def threads_used(_: int) -> int:
    return fit(engine="threads").n_threads_


needs_cores = pytest.mark.skipif(_core.usable_cores() < 2, reason="one core: one thread anyway")


@needs_cores
def test_one_thread_in_joblib_processes() -> None:
    # joblib caps OMP_NUM_THREADS in its workers; here so high that it would not be felt
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=64):
        assert joblib.Parallel()(joblib.delayed(threads_used)(i) for i in range(2)) == [1, 1]


@needs_cores
def test_one_thread_in_joblib_threads() -> None:
    with joblib.parallel_config("threading", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(threads_used)(i) for i in range(2)) == [1, 1]
    assert threads_used(0) == _core.usable_cores()


@needs_cores
def test_one_thread_in_multiprocessing_workers() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(threads_used, [0])) == [1]


def test_fits_side_by_side_in_threads() -> None:
    alone = fit(engine="threads", n_threads=2)
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(lambda _: fit(engine="threads", n_threads=2), range(6)))
        for model in models:
            assert_same_bits(alone, model)
        # one estimator may predict in several threads at once
        expected = alone.predict_proba(X)
        for outputs in pool.map(lambda _: alone.predict_proba(X), range(12)):
            np.testing.assert_array_equal(outputs, expected)


FORK = """
    import os, sys, warnings
    warnings.simplefilter("ignore")
    import numpy as np
    from parmlp import MLPClassifier
    X = np.random.default_rng(0).normal(size=(300, 20))
    y = np.arange(300) % 3
    def fit(engine):
        n_threads = 1 if engine == "serial" else 2
        return MLPClassifier((30,), engine=engine, n_threads=n_threads, max_iter=3,
                             random_state=0).fit(X, y)
    model = fit("{engine}")
    pid = os.fork()
    if pid == 0:
        try:
            other = fit("{engine}")
            model.predict(X)
            same = all(np.array_equal(a, b) for a, b in zip(model.coefs_, other.coefs_))
            os.write(1, b"same bits" if same else b"other bits")
        except RuntimeError as error:
            os.write(1, b"RuntimeError: " + str(error).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    again = fit("{engine}")
    assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, again.coefs_))
    print(" parent fits on")
"""


@pytest.mark.parametrize("engine", HERE)
def test_fit_in_a_forked_child(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK.format(engine=engine))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert "parent fits on" in done.stdout
    if engine == "openmp":
        # libgomp would hang in the child
        assert "RuntimeError: " in done.stdout
        assert "fork" in done.stdout
    else:
        assert "same bits" in done.stdout
