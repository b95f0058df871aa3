"""The authors' implementations: what the reference computes, and errors that say what is wrong."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parmlp.study.baselines import IMPLEMENTATIONS, blas_info, train_epoch
from reference import SGD, Network

Array = NDArray[Any]

RUNS = [
    ("naive_serial", 1),
    ("blas_serial", 1),
    *(("naive_pthreads", n) for n in (1, 2, 3, 7)),
    *(("blas_parallel", n) for n in (1, 2)),
]
#: Float32 against float64 after a few steps, absolute and relative.
TOLERANCE = 1e-5


@dataclass
class Problem:
    coefs: list[Array]
    intercepts: list[Array]
    X: Array
    y: Array

    def copy_of_parameters(self) -> tuple[list[Array], list[Array]]:
        return [W.copy() for W in self.coefs], [b.copy() for b in self.intercepts]


def draw(units: tuple[int, ...], rows: int) -> Problem:
    rng = np.random.default_rng([rows, *units])
    shapes = list(pairwise(units))
    return Problem(
        [rng.normal(scale=n**-0.5, size=(n, m)).astype(np.float32) for n, m in shapes],
        [rng.normal(scale=0.3, size=m).astype(np.float32) for _, m in shapes],
        rng.normal(size=(rows, units[0])).astype(np.float32),
        rng.integers(2, size=(rows, units[-1])).astype(np.float32),
    )


@pytest.mark.parametrize(("implementation", "n_threads"), RUNS)
@pytest.mark.parametrize(
    ("units", "hidden", "out"),
    [
        ((5, 3), "sigmoid", "sigmoid"),
        ((13, 17, 3), "sigmoid", "sigmoid"),
        ((13, 17, 3), "identity", "identity"),
        ((30, 1, 21, 4), "sigmoid", "identity"),
        # wide enough for OpenBLAS to share products among its threads
        ((260, 250, 10), "identity", "sigmoid"),
    ],
)
def test_epochs_are_the_references(
    implementation: str, n_threads: int, units: tuple[int, ...], hidden: str, out: str
) -> None:
    problem = draw(units, rows=45)
    coefs, intercepts = problem.copy_of_parameters()
    plain = Network(problem.coefs, problem.intercepts, hidden, out, "mse")
    solver = SGD(plain.params, momentum=0.0, nesterov=False)
    rate = 0.5 / max(1, max(units) / 8)
    rng = np.random.default_rng(0)
    for epoch in range(3):
        # in order, shuffled, and a part of the rows with some of them twice; short last batches
        order = (None, rng.permutation(45), rng.integers(45, size=29))[epoch]
        settings = {"batch_size": 16, "learning_rate": rate}
        loss = train_epoch(
            implementation,
            coefs,
            intercepts,
            problem.X,
            problem.y,
            order=order,
            n_threads=n_threads,
            hidden_activation=hidden,
            out_activation=out,
            **settings,
        )
        expected = plain.train_epoch(solver, problem.X, problem.y, order=order, **settings)
        assert loss == pytest.approx(expected.loss, rel=TOLERANCE)
    for ours, theirs in zip([*coefs, *intercepts], plain.params, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
    moved = max(np.abs(W - start).max() for W, start in zip(coefs, problem.coefs, strict=True))
    assert moved > 20 * TOLERANCE


@pytest.mark.parametrize(("implementation", "n_threads"), RUNS)
def test_a_batch_larger_than_the_data_and_threads_without_examples(
    implementation: str, n_threads: int
) -> None:
    problem = draw((13, 17, 3), rows=2)
    coefs, intercepts = problem.copy_of_parameters()
    plain = Network(problem.coefs, problem.intercepts, "sigmoid", "sigmoid", "mse")
    solver = SGD(plain.params, momentum=0.0, nesterov=False)
    settings = {"batch_size": 100, "learning_rate": 0.5}
    data = (problem.X, problem.y)
    loss = train_epoch(implementation, coefs, intercepts, *data, n_threads=n_threads, **settings)
    assert loss == pytest.approx(plain.train_epoch(solver, *data, **settings).loss, rel=TOLERANCE)
    np.testing.assert_allclose(coefs[0], plain.coefs[0], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("implementation", "n_threads"), RUNS)
def test_nan_shows(implementation: str, n_threads: int) -> None:
    problem = draw((13, 17, 3), rows=20)
    problem.X[11, 4] = np.nan
    coefs, intercepts = problem.copy_of_parameters()
    loss = train_epoch(
        implementation,
        coefs,
        intercepts,
        problem.X,
        problem.y,
        batch_size=10,
        learning_rate=0.1,
        n_threads=n_threads,
    )
    assert np.isnan(loss)
    assert all(np.isnan(p).any() for p in [*coefs, *intercepts])


def test_what_saturates_stays_finite() -> None:
    """exp overflows in sigmoid(-1000), which is 0 all the same."""
    problem = draw((13, 17, 3), rows=20)
    problem.X *= 1e4
    for implementation in IMPLEMENTATIONS:
        coefs, intercepts = problem.copy_of_parameters()
        data = (problem.X, problem.y)
        settings = {"batch_size": 10, "learning_rate": 0.1}
        assert np.isfinite(train_epoch(implementation, coefs, intercepts, *data, **settings))
        assert all(np.isfinite(p).all() for p in [*coefs, *intercepts])


def test_threads_of_blas_are_set_for_the_epoch_alone() -> None:
    before = blas_info()
    problem = draw((13, 17, 3), rows=20)
    coefs, intercepts = problem.copy_of_parameters()
    settings = {"batch_size": 10, "learning_rate": 0.1}
    train_epoch("blas_serial", coefs, intercepts, problem.X, problem.y, **settings)
    assert blas_info() == before
    assert before.library
    assert before.n_threads >= 1


BAD_CALLS = {
    "implementation": ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
    "hidden": ({"hidden_activation": "relu"}, ValueError, "'relu'; known: sigmoid, identity"),
    "out": ({"out_activation": "softmax"}, ValueError, "unknown out_activation 'softmax'"),
    "batch": ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    "threads": ({"n_threads": 0}, ValueError, "n_threads must be 1 to 4096, got 0"),
    "serial": ({"n_threads": 2}, ValueError, "naive_serial has one thread, got n_threads=2"),
    "layers": ({"intercepts": []}, ValueError, "got 2 and 0"),
    "no layers": ({"coefs": [], "intercepts": []}, ValueError, "got 0 and 0"),
    "dtype": ({"X": np.zeros((9, 4))}, TypeError, "X must be an array of float32, got float64"),
    "list": ({"X": [[0.0] * 4]}, TypeError, "X must be an array of float32, got list"),
    "width": (
        {"X": np.zeros((9, 5), np.float32)},
        ValueError,
        r"coefs\[0\] has shape \(4, 3\) where \(5, 'any'\) is needed",
    ),
    "targets": (
        {"y": np.zeros((9, 3), np.float32)},
        ValueError,
        r"y has shape \(9, 3\) where \(9, 2\) is needed",
    ),
    "dimensions": ({"y": np.zeros(9, np.float32)}, ValueError, r"y has shape \(9,\)"),
    "layout": ({"X": np.zeros((4, 9), np.float32).T}, ValueError, "X must be C-contiguous"),
    "row": ({"order": np.array([0, 9])}, ValueError, "order holds 9, X has rows 0 to 8"),
    "negative row": ({"order": np.array([0, -1])}, ValueError, "order holds -1"),
    "order's dtype": ({"order": np.array([0], np.int32)}, TypeError, "got int32"),
    "no rows": ({"order": np.array([], np.int64)}, ValueError, "needs at least one row"),
    "no units": (
        {
            "coefs": [np.zeros((4, 0), np.float32), np.zeros((0, 2), np.float32)],
            "intercepts": [np.zeros(0, np.float32), np.zeros(2, np.float32)],
        },
        ValueError,
        r"at least one unit, got \[4, 0, 2\]",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_say_what_is_wrong(name: str) -> None:
    problem = draw((4, 3, 2), rows=9)
    good: dict[str, Any] = {
        **vars(problem),
        "implementation": "naive_serial",
        "batch_size": 3,
        "learning_rate": 0.1,
    }
    train_epoch(**good)
    bad, error, message = BAD_CALLS[name]
    with pytest.raises(error, match=message):
        train_epoch(**(good | bad))


def test_parameters_that_cannot_be_updated() -> None:
    problem = draw((4, 3, 2), rows=9)
    problem.intercepts[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"intercepts\[1\] is updated in place, but it is read-"):
        train_epoch("naive_serial", **vars(problem), batch_size=3, learning_rate=0.1)


def test_more_threads_than_blas_has() -> None:
    problem = draw((4, 3, 2), rows=9)
    with pytest.raises(RuntimeError, match="threads where n_threads=4096 was asked for"):
        train_epoch(
            "blas_parallel", **vars(problem), batch_size=3, learning_rate=0.1, n_threads=4096
        )


INTERRUPTED = """
import sys, threading, time
import numpy as np
from parmlp.study.baselines import train_epoch
rng = np.random.default_rng(0)
shapes = ((64, 128), (128, 10))
coefs = [rng.standard_normal(s, "float32") / 10 for s in shapes]
start = [W.copy() for W in coefs]
intercepts = [np.zeros(m, "float32") for _, m in shapes]
X, y = rng.random((1000, 64), "float32"), np.zeros((1000, 10), "float32")
order = np.tile(np.arange(1000), 100_000)  # minutes
ticks = []
def tick():
    while True:
        time.sleep(0.01)
        ticks.append(1)
threading.Thread(target=tick, daemon=True).start()
print("ready", flush=True)
try:
    train_epoch(
        sys.argv[1], coefs, intercepts, X, y, order=order, batch_size=100, learning_rate=0.1
    )
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
else:
    raise SystemExit("was not interrupted")
assert all(np.isfinite(p).all() for p in coefs + intercepts)
assert not np.array_equal(coefs[0], start[0])
assert len(ticks) > 5, "other Python threads stood still"
"""


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_ctrl_c_is_heard_between_minibatches(implementation: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, implementation],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.stderr and child.stderr.read()
            time.sleep(0.6)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0, out + err
