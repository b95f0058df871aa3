"""threadpoolctl lists parmlp and limits the default number of threads, and that alone."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from native.support import PARALLEL_ENGINES, check_python
from parmlp import MLPClassifier, _core
from parmlp.engines import default_n_threads, make_team

WIDE = [784, 1024, 10]
CORES = 6


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of six cores, so that a limit is felt on any."""
    monkeypatch.setattr(_core, "usable_cores", lambda: CORES)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def info() -> dict[str, Any]:
    (ours,) = [library for library in threadpool_info() if library["user_api"] == "parmlp"]
    return ours


def test_it_is_listed() -> None:
    ours = info()
    assert ours["internal_api"] == "parmlp"
    assert ours["num_threads"] == CORES
    assert Path(ours["filepath"]).samefile(_core.__file__)
    assert "version" in ours
    # many packages have a _core: ours is the one with the symbol
    assert len(ThreadpoolController().select(internal_api="parmlp")) == 1


def test_importing_parmlp_is_enough() -> None:
    """Nothing was fitted yet, so a limit set now must hold for what is imported under it."""
    script = """
import parmlp
from threadpoolctl import threadpool_info, threadpool_limits
assert "parmlp" in [library["user_api"] for library in threadpool_info()]
with threadpool_limits(1):
    model = parmlp.MLPClassifier(engine="threads", max_iter=1, random_state=0)
    print(model.fit([[0.0], [1.0]], [0, 1]).n_threads_)
"""
    assert check_python(script, env={"PYTHONWARNINGS": "ignore"}).split() == ["1"]


@pytest.mark.parametrize("limits", [2, {"parmlp": 2}, {"parmlp": np.int64(2)}, {"_core.": 2}])
def test_limits_hold_for_the_default_and_end(limits: Any) -> None:
    with threadpool_limits(limits):
        assert info()["num_threads"] == 2
        assert default_n_threads() == 2
        for engine in PARALLEL_ENGINES:
            assert make_team(engine, None, WIDE, 100).size == 2
        assert make_team("auto", None, WIDE, 100).size == 2
        assert make_team("auto", None, [4, 10, 3], 20).size == 1  # it never takes more than pay
        # said explicitly, a number is not capped
        assert make_team("threads", 3, WIDE, 100).size == 3
        assert make_team("threads", -1, WIDE, 100).size == CORES
    assert info()["num_threads"] == default_n_threads() == CORES
    assert _core.thread_limit() == 0


def test_a_limit_of_other_libraries_is_none_of_ours() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert default_n_threads() == CORES
    with threadpool_limits(1, user_api="parmlp"):
        assert default_n_threads() == 1


def test_limits_within_limits() -> None:
    with threadpool_limits(2):
        with threadpool_limits(4):
            assert default_n_threads() == 4
            with contextlib.suppress(ZeroDivisionError), threadpool_limits(1):
                assert default_n_threads() == 1
                _ = 1 / 0
            assert default_n_threads() == 4
        assert default_n_threads() == 2
    assert default_n_threads() == CORES


@pytest.mark.parametrize(("limit", "threads"), [(100, CORES), (2**40, CORES), (0, 1), (-1, 1)])
def test_limits_beyond_reason(limit: int, threads: int) -> None:
    """They raise nothing, the number of threads included: they are meant for all libraries."""
    with threadpool_limits({"parmlp": limit}):
        assert default_n_threads() == threads
    assert default_n_threads() == CORES


def test_a_limit_that_ended_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """threadpoolctl sets the old number again; a larger one must be possible later."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with threadpool_limits(2):
        assert default_n_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert default_n_threads() == 1
    assert info()["num_threads"] == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert info()["num_threads"] == default_n_threads() == CORES


def test_limits_of_threads_that_overlap() -> None:
    """Each ends its own: the one that begins and ends first does not decide for the other."""
    begun, ended = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        with threadpool_limits({"parmlp": 3}):
            begun.set()
            assert ended.wait(20)
            seen.append(default_n_threads())
        seen.append(default_n_threads())

    thread = threading.Thread(target=other)
    with threadpool_limits({"parmlp": 2}):
        thread.start()
        assert begun.wait(20)
        assert default_n_threads() == 2
    assert default_n_threads() == CORES
    ended.set()
    thread.join()
    assert seen == [3, CORES]
    assert default_n_threads() == CORES


def limited_in_joblib(limit: int) -> list[int]:
    with threadpool_limits({"parmlp": limit}):
        inside = default_n_threads()
    return [inside, default_n_threads(), _core.thread_limit()]


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_limits_in_joblib_workers(backend: str) -> None:
    """One thread there, limit or not; and the worker's one thread does not become a limit."""
    with joblib.parallel_config(backend, n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(limited_in_joblib)(n) for n in (1, 4))
    assert results == [[1, 1, 0]] * 2
    assert default_n_threads() == CORES


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_inherits_the_limit() -> None:
    with threadpool_limits({"parmlp": 2}):
        child = os.fork()
        if child == 0:
            inherited = default_n_threads() == 2
            os._exit(0 if inherited else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_limits_change_no_result() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 20)), np.arange(300) % 3

    def fitted() -> MLPClassifier:
        return MLPClassifier((30,), engine="threads", max_iter=3, random_state=0).fit(X, y)

    free = fitted()
    with threadpool_limits(2):
        limited = fitted()
    assert (free.n_threads_, limited.n_threads_) == (CORES, 2)
    for a, b in zip(free.coefs_, limited.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
