"""``python -m benchmarks.many [--out FILE]``: many networks side by side, or one after another.

Equal networks on random dense rows, twice as many as threads and one more than threads: trained one
after another with all threads; by fit_many with one thread each, and as it shares threads itself;
by joblib's threading backend. Then scikit-learn's grid search, in this thread, over joblib's
threads and over its processes. Rounds alternate between the ways, whose weights must agree; medians
are shown. Takes a minute on a quiet machine.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from benchmarks import records
from parmlp import MLPClassifier, _core, fit_many
from parmlp.engines import flops_per_step

CELLS = (
    ([41, 64, 23], 64),
    ([784, 30, 10], 10),
    ([784, 100, 10], 64),
    ([784, 1024, 10], 128),
    ([784, 1024, 1024, 10], 128),
    ([784, 1024, 1024, 10], 1024),
)
ROUNDS = 5
ROWS = 10_000
FLOPS = 2e9  # of a network's training, in at least one epoch of at least two steps

Array = NDArray[Any]
Models = list[MLPClassifier]


def one_after_another(models: Models, X: Array, y: Array) -> None:
    for model in models:
        model.set_params(engine="threads", n_threads=-1).fit(X, y)


def one_thread_each(models: Models, X: Array, y: Array) -> None:
    fit_many([model.set_params(n_threads=1) for model in models], X, y)


def by_joblib(models: Models, X: Array, y: Array) -> None:
    with joblib.parallel_config("threading", n_jobs=_core.usable_cores()):
        joblib.Parallel()(joblib.delayed(model.fit)(X, y) for model in models)


WAYS: dict[str, Callable[[Models, Array, Array], object]] = {
    "one after another": one_after_another,
    "one thread each": one_thread_each,
    "fit_many": fit_many,
    "joblib": by_joblib,
}


def rows_for(units: list[int], batch: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    steps = FLOPS / flops_per_step(units, batch) / 2
    n = min(ROWS, max(2, int(steps)) * batch)
    X = rng.normal(size=(n, units[0])).astype(np.float32)
    return X, np.concatenate([np.arange(units[-1]), rng.integers(0, units[-1], n - units[-1])])


def network(units: list[int], batch: int, rows: int, seed: int = 0) -> MLPClassifier:
    epochs = max(1, int(FLOPS / flops_per_step(units, rows)))
    return MLPClassifier(
        units[1:-1],
        batch_size=batch,
        max_iter=epochs,
        random_state=seed,
        n_iter_no_change=np.inf,
    )


def measure(units: list[int], batch: int, networks: int) -> dict[str, list[float]]:
    """Samples per second of all networks together, round by round, for each way."""
    X, y = rows_for(units, batch)
    models = [network(units, batch, len(X), seed) for seed in range(networks)]
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        weights = []
        for way, train in WAYS.items():
            fitted = [clone(model) for model in models]
            start = time.perf_counter()
            train(fitted, X, y)
            speeds[way].append(
                models[0].max_iter * networks * len(X) / (time.perf_counter() - start)
            )
            weights.append([W.tobytes() for model in fitted for W in model.coefs_])
        if not all(w == weights[0] for w in weights):
            raise SystemExit(f"{units}: the ways of training disagree")
    return speeds


def search(units: list[int], batch: int) -> dict[str, list[float]]:
    """Seconds of a grid search of four candidates, three folds each, round by round."""
    X, y = rows_for(units, batch)
    grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
    cores = _core.usable_cores()
    backends = {"sequential": 1, "threading": cores, "loky": cores}
    seconds: dict[str, list[float]] = {backend: [] for backend in backends}
    for _ in range(ROUNDS):
        scores = []
        for backend, n_jobs in backends.items():
            start = time.perf_counter()
            with joblib.parallel_config(backend, n_jobs=n_jobs):
                found = GridSearchCV(network(units, batch, len(X)), grid, cv=3, refit=False)
                found.fit(X, y)
            seconds[backend].append(time.perf_counter() - start)
            scores.append(found.cv_results_["mean_test_score"].tolist())
        if not all(s == scores[0] for s in scores):
            raise SystemExit(f"{units}: the searches disagree")
    return seconds


def main() -> None:
    out = records.out_argument("benchmarks.many", __doc__)
    warnings.simplefilter("ignore")  # few epochs do not converge
    found: list[dict[str, Any]] = [records.platform_record()]
    cores = _core.usable_cores()
    for networks in (2 * cores, cores + 1):
        for units, batch in CELLS:
            speeds = measure(units, batch, networks)
            name = "-".join(map(str, units))
            found.append(
                {
                    "network": name,
                    "batch": batch,
                    "networks": networks,
                    "samples_per_second": speeds,
                }
            )
            one, *others = (statistics.median(s) for s in speeds.values())
            ratios = "  ".join(
                f"{way} {speed / one:.2f}x"
                for way, speed in zip(list(WAYS)[1:], others, strict=True)
            )
            print(
                f"{networks} x {name:<18} batch {batch:<5} one after another "
                f"{one / 1e3:7.1f} k/s  {ratios}",
                flush=True,
            )
    for units, batch in CELLS[1:3]:
        seconds = search(units, batch)
        name = "-".join(map(str, units))
        found.append({"search": name, "batch": batch, "seconds": seconds})
        times = "  ".join(f"{b} {statistics.median(s):.2f} s" for b, s in seconds.items())
        print(f"grid search, {name:<12} batch {batch:<4} {times}", flush=True)
    records.write(out, found)


if __name__ == "__main__":
    main()
