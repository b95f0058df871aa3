"""profile_steps: an estimator's own steps, timed on a copy."""

import signal

import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import parmlp
from native.support import PARALLEL_ENGINES, check_python
from parmlp import MLPClassifier, MLPRegressor, profile_steps

TEAMS = [("serial", 1)] + [(engine, 2) for engine in PARALLEL_ENGINES]


def problem(features: int = 40, rows: int = 210) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, features)).astype(np.float32), np.arange(rows) % 5


def assert_adds_up(profile: parmlp.StepProfile) -> None:
    total = profile.between_seconds + sum(phase.seconds for phase in profile.phases)
    assert profile.seconds == pytest.approx(total)
    assert sum(phase.share for phase in profile.phases) < 1
    assert 0 < profile.hand_over_seconds < profile.seconds
    for phase in profile.phases:
        assert phase.share == pytest.approx(phase.seconds / profile.seconds)
        assert phase.tiles >= 1
        assert 0 < phase.hand_over_seconds < phase.seconds
        for work, waiting in zip(phase.work_seconds, phase.waiting_seconds, strict=True):
            assert work >= 0
            assert waiting == pytest.approx(phase.seconds - work)
            assert waiting > 0
        assert sum(phase.work_seconds) > 0
        assert len(phase.work_seconds) == profile.n_threads


@pytest.mark.parametrize("schedule", ["two-phase", "partial-gradients", "fork-join"])
@pytest.mark.parametrize(("engine", "n_threads"), TEAMS)
@pytest.mark.parametrize("hidden", [30, (600, 400)])
def test_every_engine_schedule_and_kind_of_network(
    engine: str, n_threads: int, schedule: str, hidden: object
) -> None:
    X, y = problem()
    estimator = MLPClassifier(
        hidden, batch_size=50, engine=engine, n_threads=n_threads, schedule=schedule
    )
    profile = profile_steps(estimator, X, y, epochs=3)
    assert (profile.engine, profile.n_threads) == (engine, n_threads)
    assert profile.schedule == schedule
    assert profile.steps == 4  # 210 rows: four minibatches of 50, and a short one left out
    assert len(profile.epoch_seconds) == 3
    assert sorted(profile.epoch_seconds)[1] == profile.seconds
    first = "shards" if schedule != "two-phase" else "rows" if hidden == 30 else "gather"
    assert profile.phases[0].phase == first
    assert_adds_up(profile)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_estimator_is_left_as_it_was() -> None:
    X, y = problem()
    calls = []
    estimator = MLPClassifier(30, callback=calls.append, early_stopping=True, random_state=0)
    before = estimator.get_params()
    profile_steps(estimator, X, y, epochs=1)
    assert estimator.get_params() == before
    assert not calls
    assert not hasattr(estimator, "coefs_")
    # and its own training afterwards is not timed
    estimator.set_params(max_iter=1, early_stopping=False).fit(X, y)
    assert estimator._step_profile is None


def test_sparse_rows_weights_and_a_regressor() -> None:
    X, y = problem()
    X[X < 1] = 0
    estimator = MLPRegressor(hidden_layer_sizes=64, batch_size=70, n_threads=2, max_iter=1)
    profile = profile_steps(estimator, sparse.csr_matrix(X), y, np.full(210, 0.5, np.float32))
    assert profile.steps == 3
    assert len(profile.epoch_seconds) == 3
    assert_adds_up(profile)


def test_bad_calls() -> None:
    X, y = problem()
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        profile_steps(MLPClassifier(), X, y, epochs=0)
    with pytest.raises(TypeError, match="needs an MLPClassifier or MLPRegressor, got Pipeline"):
        profile_steps(make_pipeline(StandardScaler(), MLPClassifier()), X, y)
    with pytest.raises(ValueError, match="max_iter"):
        profile_steps(MLPClassifier(max_iter="many"), X, y)


def test_ctrl_c() -> None:
    code = f"""
import os, threading, time, warnings
import numpy as np
from parmlp import MLPClassifier, profile_steps
warnings.simplefilter("ignore")
X = np.random.default_rng(0).random((5000, 64), dtype="float32")
def interrupt():
    time.sleep(0.5)
    os.kill(os.getpid(), {int(signal.SIGINT)})
threading.Thread(target=interrupt).start()
try:
    profile_steps(MLPClassifier(), X, np.arange(5000) % 3, epochs=100_000)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert check_python(code) == "interrupted\n"
