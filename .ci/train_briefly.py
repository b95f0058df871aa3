"""Train small networks with the engines named on the command line, for the sanitizers to watch.

Short and odd sizes: batches that do not divide evenly, more threads than rows in the last batch,
every loss, solver and schedule, early stopping and sample weights.
"""

import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from parmlp import MLPClassifier, MLPRegressor

N_SAMPLES, N_FEATURES = 131, 19

SETTINGS: list[dict[str, object]] = [
    {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True, "activation": "sigmoid"},
    {"solver": "adam", "activation": "relu", "early_stopping": True},
    {"solver": "adamw", "activation": "gelu", "alpha": 0.01},
    {"solver": "sgd", "momentum": 0.0, "activation": "tanh", "batch_size": N_SAMPLES},
    {"solver": "sgd", "momentum": 0.0, "activation": "elu", "batch_size": 1, "max_iter": 2},
]


def train(engine: str, n_threads: int, schedule: str) -> None:
    """Fit every kind of network with one engine and one schedule."""
    rng = np.random.RandomState(0)
    for dtype in (np.float32, np.float64):
        X = rng.standard_normal((N_SAMPLES, N_FEATURES)).astype(dtype)
        weight = rng.uniform(0.5, 2.0, N_SAMPLES).astype(dtype)
        classes = rng.randint(0, 5, N_SAMPLES)
        for settings in SETTINGS:
            common = {
                "hidden_layer_sizes": (37, 13),
                "batch_size": 32,
                "max_iter": 4,
                "random_state": 0,
                "engine": engine,
                "n_threads": n_threads,
                "schedule": schedule,
                **settings,
            }
            for loss, target in (
                ("log_loss", classes),
                ("log_loss", classes % 2),
                ("mse", classes),
            ):
                MLPClassifier(loss=loss, **common).fit(X, target, weight).predict(X)
            for loss in ("squared_error", "poisson"):
                MLPRegressor(loss, **common).fit(X, classes.astype(dtype), weight).predict(X)


def main() -> None:
    """Train with the named engines at several thread counts and with each schedule."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    # "more threads than cores" is asked for here
    warnings.simplefilter("ignore", UserWarning)
    for engine in sys.argv[1:]:
        for n_threads in (1,) if engine == "serial" else (2, 3):
            schedules = ["two-phase", "partial-gradients"]
            if engine == "threads":
                schedules.append("fork-join")
            for schedule in schedules:
                train(engine, n_threads, schedule)
                print(f"{engine} {n_threads} {schedule}: clean")


if __name__ == "__main__":
    main()
