"""fit_many: the bits of each estimator's own fit, all at once; errors, Ctrl-C, threads, sharing."""

import copy
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from native.support import check_python
from parmlp import EpochReport, FitManyError, MLPClassifier, MLPRegressor, _core, fit_many
from parmlp.engines import threads_side_by_side
from parmlp.estimators import _multilayer_perceptron, _samples

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:n_threads=.* is more than"),
]

X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]


def net(**parameters: Any) -> MLPClassifier:
    settings = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return MLPClassifier(**{**settings, **parameters})


def bits(model: Any) -> tuple[Any, ...]:
    arrays = [a.tobytes() for a in model.coefs_ + model.intercepts_]
    return arrays, model.loss_curve_, model.validation_scores_, model.n_iter_, model.t_


def fit_alone(models: list[Any], *data: Any) -> list[Any]:
    return [copy.deepcopy(model).fit(*data) for model in models]


def assert_same(models: list[Any], alone: list[Any]) -> None:
    for ours, theirs in zip(models, alone, strict=True):
        assert bits(ours) == bits(theirs)


# --------------------------------------------------------------------------- bits

PARAMETERS = st.fixed_dictionaries(
    {
        "hidden_layer_sizes": st.sampled_from([(), (5,), (70,), (9, 4)]),
        "activation": st.sampled_from(["relu", "logistic"]),
        "solver": st.sampled_from(["sgd", "adam"]),
        "batch_size": st.sampled_from(["auto", 7, 64]),
        "early_stopping": st.booleans(),
        "shuffle": st.booleans(),
        "max_iter": st.integers(1, 4),
        "dtype": st.sampled_from(["auto", "float32", "float64"]),
        "engine": st.sampled_from(["auto", "serial", "threads"]),
        "random_state": st.integers(0, 3),
    }
)


@settings(max_examples=25, deadline=None)
@given(
    nets=st.lists(st.tuples(st.booleans(), PARAMETERS), max_size=7),
    n_threads=st.integers(1, 5),
    form=st.sampled_from(["dense", "float32", "sparse", "list"]),
    weighted=st.booleans(),
)
def test_the_bits_are_those_of_fit(
    nets: list[Any], n_threads: int, form: str, weighted: bool
) -> None:
    rows = {
        "dense": X,
        "float32": X.astype(np.float32),
        "sparse": sparse.csr_matrix(X),
        "list": X.tolist(),
    }[form]
    data = (rows, Y, np.linspace(0.5, 2, len(Y)) if weighted else None)
    models = [(MLPRegressor if regression else MLPClassifier)(**p) for regression, p in nets]
    alone = fit_alone(models, *data)
    assert fit_many(models, *data, n_threads=n_threads) == models
    assert_same(models, alone)


def test_warm_start_goes_on_as_fit_does() -> None:
    models = [net(warm_start=True, random_state=seed) for seed in range(3)]
    alone = fit_alone(models, X, Y)
    for model in alone:
        model.fit(X, Y)
    fit_many(fit_many(models, X, Y), X, Y)
    assert_same(models, alone)


@pytest.mark.parametrize("schedule", ["partial-gradients", "fork-join"])
def test_schedules_whose_bits_depend_on_the_threads(schedule: str) -> None:
    models = [net(schedule=schedule, engine="threads", n_threads=n) for n in (1, 2, 3)]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y, n_threads=3)
    assert_same(models, alone)
    assert [m.n_threads_ for m in models] == [1, 2, 3]
    with pytest.raises(ValueError, match="depend on the number of threads"):
        fit_many([net(schedule=schedule)], X, Y)


def test_the_estimators_may_be_a_generator() -> None:
    models = fit_many((net(random_state=seed) for seed in range(2)), X, Y)
    assert_same(models, fit_alone(models, X, Y))


def test_feature_names_are_each_estimators() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    models = [net(random_state=seed) for seed in range(2)]
    alone = fit_alone(models, frame, Y)
    fit_many(models, frame, Y)
    assert_same(models, alone)
    for model in models:
        assert list(model.feature_names_in_) == list(frame.columns)
    other = net(warm_start=True).fit(frame[frame.columns[::-1]], Y)
    with pytest.raises(ValueError, match="feature names should match"):
        fit_many([net(), other], frame, Y)


# ---------------------------------------------------------------- what is shared


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_x_is_checked_and_compressed_once_a_dtype(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = X * (np.random.default_rng(0).random(X.shape) < 0.1)
    made, checks = [], []
    compress, validate = _core.SparseRows.compress, _samples.validate_data

    class Spy:
        def __new__(cls, indptr: Any, indices: Any, data: Any, n_features: int) -> Any:
            made.append(data.dtype)
            return _core_SparseRows(indptr, indices, data, n_features)

        @staticmethod
        def compress(array: Any, team: Any) -> Any:
            made.append(array.dtype)
            return compress(array, team)

    def counting(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("skip_check_array"):
            checks.append(kwargs["dtype"])
        return validate(*args, **kwargs)

    _core_SparseRows = _core.SparseRows
    monkeypatch.setattr(_core, "SparseRows", Spy)
    monkeypatch.setattr(_samples, "validate_data", counting)
    models = [
        net(hidden_layer_sizes=(64,), dtype=dtype, random_state=seed)
        for dtype in ("float32", "float64", "auto")
        for seed in range(3)
    ]
    fit_many(models, sparse.csr_matrix(rows) if form == "sparse" else rows, Y, n_threads=3)
    assert sorted(map(str, made)) == ["float32", "float64"]
    assert len(checks) == 3  # "auto" is found to be float64 by checking
    monkeypatch.undo()
    assert_same(models, fit_alone(models, rows, Y))


def test_scikit_learns_configuration_holds_in_the_threads() -> None:
    seen = []
    with config_context(assume_finite=True):
        fit_many(
            [net(random_state=seed) for seed in range(3)],
            X,
            Y,
            callback=lambda *_: seen.append(get_config()["assume_finite"]),
        )
    assert seen == [True] * 9


# ------------------------------------------------------------------------- threads


def test_they_are_trained_side_by_side() -> None:
    """Each waits in its own callback until all the others are there too."""
    barrier = threading.Barrier(3)
    wait = lambda report: barrier.wait(60) < 0  # noqa: E731
    models = [net(random_state=seed, callback=wait) for seed in range(3)]
    fit_many(models, X, Y, n_threads=3)
    assert [m.n_iter_ for m in models] == [3, 3, 3]
    assert [m.n_threads_ for m in models] == [1, 1, 1]


@settings(max_examples=20, deadline=None)
@given(
    n_threads=st.integers(1, 4),
    own=st.lists(st.sampled_from([None, 1, 2, 3, 4]), min_size=1, max_size=9),
)
def test_no_more_threads_than_asked_for(n_threads: int, own: list[int | None]) -> None:
    own = [k if k is None else min(k, n_threads) for k in own]
    at_work, most, lock = 0, 0, threading.Lock()
    train = _multilayer_perceptron.train

    def counting(estimator: Any, run: Any) -> None:
        nonlocal at_work, most
        with lock:
            at_work += run.team.size
            most = max(most, at_work)
        train(estimator, run)
        with lock:
            at_work -= run.team.size

    models = [net(engine="threads", n_threads=k, max_iter=1) for k in own]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_multilayer_perceptron, "train", counting)
        fit_many(models, X, Y, n_threads=n_threads)
    assert most <= n_threads
    assert [m.n_threads_ for m, k in zip(models, own, strict=True) if k] == [k for k in own if k]


def test_the_default_number_of_threads_is_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(_core, "usable_cores", lambda: 6)
    side_by_side = threads_side_by_side

    def noting(networks: Any, n_threads: int) -> list[int]:
        seen.append(n_threads)
        return side_by_side(networks, n_threads)

    monkeypatch.setattr("parmlp.estimators.many.threads_side_by_side", noting)
    for n_threads in (None, -1, 4):
        fit_many([net()], X, Y, n_threads=n_threads)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    fit_many([net()], X, Y)
    assert seen == [6, 6, 4, 2]
    with pytest.warns(UserWarning, match="n_threads=7 is more than the 6 usable cores") as found:
        fit_many([net()], X, Y, n_threads=7)
    assert found[0].filename == __file__


def test_impossible_numbers_of_threads() -> None:
    for n_threads in (0, -2, 10**9):
        with pytest.raises(ValueError, match=f"n_threads={n_threads} is not possible"):
            fit_many([net()], X, Y, n_threads=n_threads)
    with pytest.raises(ValueError, match="n_threads=3, more than fit_many's 2"):
        fit_many([net(n_threads=3)], X, Y, n_threads=2)


WIDE, TINY = ([784, 1024, 10], 128), ([4, 10, 3], 20)


@pytest.mark.parametrize(
    ("networks", "n_threads", "expected"),
    [
        ([], 2, []),
        ([WIDE], 1, [1]),
        ([WIDE], 4, [4]),
        ([TINY], 4, [1]),
        ([WIDE] * 4, 2, [1, 1, 1, 1]),
        ([WIDE] * 3, 2, [2, 1, 1]),
        ([TINY, TINY, WIDE], 2, [1, 1, 2]),
        ([WIDE] * 3, 16, [5, 5, 5]),
        ([TINY] * 3, 2, [1, 1, 1]),
    ],
)
def test_what_is_left_over_shares_all_threads(
    networks: Any, n_threads: int, expected: list[int]
) -> None:
    assert threads_side_by_side(networks, n_threads) == expected


# -------------------------------------------------------------------------- errors


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_that_fails_does_not_lose_the_others(n_threads: int) -> None:
    models: list[Any] = [net(random_state=seed) for seed in range(4)]
    models[1] = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1e30)
    models[3].set_params(callback=lambda report: 1 / 0)
    alone = fit_alone([models[0], models[2]], X, Y)
    with pytest.raises(FitManyError, match=r"^2 of 4 .*: estimators\[1\], estimators\[3\]") as e:
        fit_many(models, X, Y, n_threads=n_threads)
    assert list(e.value.failures) == [1, 3]
    assert [type(error) for error in e.value.exceptions] == [ValueError, ZeroDivisionError]
    assert e.value.failures[3].__notes__ == ["This is of estimators[3]."]
    assert e.value.subgroup(ValueError) is not None
    assert [m.stop_reason_ for m in models] == ["max_iter", "diverged", "max_iter", "error"]
    assert_same([models[0], models[2]], alone)


def test_what_cannot_be_trained_is_found_before_anything_is() -> None:
    models = [net(), net(), net(solver="lbfgs")]
    with pytest.raises(ValueError, match="solver='lbfgs' is not available") as e:
        fit_many(models, X, Y)
    assert e.value.__notes__ == ["This is of estimators[2]. No estimator was trained."]
    assert not any(hasattr(m, "coefs_") for m in models)
    with pytest.raises(ValueError, match="'alpha' parameter of MLPClassifier") as e:
        fit_many([net(), net(alpha=-1)], X, Y)
    assert e.value.__notes__ == ["This is of estimators[1]. No estimator was trained."]
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fit_many([net()], np.where(X > 0.9, np.nan, X), Y)
    fitted = net(warm_start=True).fit(X[:, :5], Y)
    with pytest.raises(ValueError, match="X has 64 features, but MLPClassifier is expecting 5"):
        fit_many([net(), fitted], X, Y)


def test_what_is_no_estimator_of_ours() -> None:
    with pytest.raises(TypeError, match=r"estimators\[1\] is a Pipeline: .* joblib"):
        fit_many([net(), make_pipeline(net())], X, Y)
    model = net()
    with pytest.raises(ValueError, match=r"estimators\[2\] is the same object as estimators\[0\]"):
        fit_many([model, net(), model], X, Y)
    assert fit_many([], X, Y) == []


def test_no_more_threads_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def refusing(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) == 3:  # the foreman's, the first one's
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    models = [net(random_state=seed) for seed in range(3)]
    with pytest.raises(FitManyError, match=r"1 of 3 estimators could not be trained") as e:
        fit_many(models, X, Y, n_threads=2)
    assert [str(error) for error in e.value.exceptions] == ["can't start new thread"]


# ----------------------------------------------------------------------- callbacks


def test_the_callback_is_told_of_every_epoch_one_at_a_time() -> None:
    told: list[tuple[int, int]] = []
    inside = threading.Lock()

    def tell(index: int, report: EpochReport) -> bool:
        assert inside.acquire(blocking=False)
        told.append((index, report.epoch))
        assert report.estimator is models[index]
        inside.release()
        return index == 1 and report.epoch == 2

    own: list[int] = []
    models = [net(random_state=seed) for seed in range(4)]
    models[2].set_params(callback=lambda report: own.append(len(told)))
    fit_many(models, X, Y, n_threads=4, callback=tell)
    assert sorted(told) == [(i, e) for i in range(4) for e in (1, 2, 3) if (i, e) != (1, 3)]
    assert [m.stop_reason_ for m in models] == ["max_iter", "callback", "max_iter", "max_iter"]
    assert len(own) == 3


def test_keyboard_interrupt_in_a_callback_stops_all() -> None:
    def interrupt(index: int, report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    models = [net(random_state=seed) for seed in range(3)]
    with pytest.warns(UserWarning, match="interrupted by user: of 3 .* 0 .* 1 .* 2 not begun"):
        assert fit_many(models, X, Y, n_threads=1, callback=interrupt) == models
    assert models[0].stop_reason_ == "interrupted"
    assert bits(models[0])[0] == bits(net(max_iter=2).fit(X, Y))[0]
    assert not any(hasattr(m, "coefs_") for m in models[1:])


def test_system_exit_in_a_callback_is_obeyed() -> None:
    def leave(index: int, report: EpochReport) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as e:
        fit_many([net(), net()], X, Y, n_threads=1, callback=leave)
    assert e.value.code == 3


CTRL_C = """
import os, signal, sys, threading, time, warnings
import numpy as np
from parmlp import MLPClassifier, fit_many
rng = np.random.default_rng(0)
X, y = rng.random((30_000, 64), "float32"), rng.integers(0, 10, 30_000)
# a step of the large ones takes half a second, an epoch of the others milliseconds
large = {"hidden_layer_sizes": (500, 500), "batch_size": 30_000}
small = {"hidden_layer_sizes": (8,)}
models = [MLPClassifier(**(large if i < int(sys.argv[1]) else small), max_iter=100_000,
                        n_iter_no_change=np.inf, random_state=i) for i in range(int(sys.argv[2]))]
sent = []
def send():
    time.sleep(1.0)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=send, daemon=True).start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert fit_many(models, X, y, n_threads=2) is not None
latency = time.monotonic() - sent[0]
assert latency < 5, latency  # 0.1 s on an idle machine
(text,) = [str(w.message) for w in caught]
print(text)
at_work = [m for m in models if hasattr(m, "coefs_")]
print([m.n_threads_ for m in at_work])
assert {m.stop_reason_ for m in at_work} == {"interrupted"}
assert all(np.isfinite(m.predict_proba(X[:9])).all() for m in at_work)
"""


@pytest.mark.parametrize(
    ("large", "total", "threads"), [(0, 3, [1, 1]), (1, 4, [1, 1]), (2, 4, [1, 1]), (3, 3, [2])]
)
def test_ctrl_c_stops_all_soon(large: int, total: int, threads: list[int]) -> None:
    """Within a long step as between thousands of short ones, on single threads and on a team."""
    text, at_work = check_python(CTRL_C, large, total).splitlines()
    stopped = len(threads)
    begun = f"0 had ended, {stopped} were stopped and {total - stopped} not begun"
    assert text == f"Training interrupted by user: of {total} estimators {begun}."
    assert at_work == str(threads)


# -------------------------------------------------------------------- random states


@pytest.mark.parametrize("n_threads", [1, 3])
def test_numpys_global_random_state(n_threads: int) -> None:
    """It repeats with its seed, however many are at work, and no two are alike."""

    def fitted(threads: int) -> list[Any]:
        np.random.seed(5)  # noqa: NPY002
        models = [net(random_state=None) for _ in range(5)]
        return [bits(m) for m in fit_many(models, X, Y, n_threads=threads)]

    ours, again = fitted(n_threads), fitted(2)
    assert ours == again
    assert len({b"".join(b[0]) for b in ours}) == 5
    np.random.seed(5)  # noqa: NPY002
    (only,) = fit_many([net(random_state=None)], X, Y)
    np.random.seed(5)  # noqa: NPY002
    assert bits(only) == bits(net(random_state=None).fit(X, Y))


def test_random_state_instances() -> None:
    own, shared = np.random.RandomState(1), np.random.RandomState(2)
    models = [net(random_state=shared), net(random_state=own), net(random_state=shared)]
    fit_many(models, X, Y, n_threads=3)
    own_again, shared_again = np.random.RandomState(1), np.random.RandomState(2)
    seeds = [shared_again.randint(np.iinfo(np.int32).max) for _ in range(2)]
    alone = [net(random_state=state).fit(X, Y) for state in (seeds[0], own_again, seeds[1])]
    assert_same(models, alone)
    # both instances are where they would be
    assert own.random_sample() == own_again.random_sample()
    assert shared.random_sample() == shared_again.random_sample()
    assert models[0].random_state is shared
