"""``python -m benchmarks.sparse [--out FILE]``: dense against sparse rows.

On real MNIST, and on random rows of growing density. Both give the same bits; the time decides when
the estimators compress dense input. Epochs of the two alternate, the best of each counts. Needs
PARMLP_DATA; takes two minutes.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import records
from parmlp import _core
from parmlp.datasets import load_mnist
from parmlp.engines import make_team

SETTINGS = {
    "faithful": (("sigmoid", "sigmoid", "mse"), ("sgd", 0.0)),
    "default": (("relu", "softmax", "log_loss"), ("adam", 1e-4)),
}


def network(units: list[int], configuration: str) -> _core.Network:
    functions, (solver, alpha) = SETTINGS[configuration]
    net = _core.Network(units, *functions, "float32")
    rng = np.random.default_rng(1)
    net.set_parameters(
        [rng.uniform(-0.08, 0.08, shape).astype(np.float32) for shape in pairwise(units)],
        [np.zeros(n, np.float32) for n in units[1:]],
    )
    net.set_solver(
        solver,
        alpha=alpha,
        momentum=0.0,
        nesterov=False,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    return net


def measure(
    data: str,
    X: NDArray[Any],
    y: NDArray[Any],
    *,
    hidden: int,
    batch: int,
    configuration: str,
    threads: int,
) -> dict[str, Any]:
    """The record of a network's epochs over dense and over compressed rows; prints a line."""
    units = [X.shape[1], hidden, 10]
    team = make_team("threads", threads, units, batch)
    rows = {"dense": X, "sparse": _core.SparseRows.compress(X, team)}
    n = len(X) if hidden < 1000 else len(X) // 5
    order = np.random.default_rng(0).permutation(len(X))[:n]
    seconds: dict[str, list[float]] = {kind: [] for kind in rows}
    nets = {kind: network(units, configuration) for kind in rows}
    for _ in range(3):
        for kind, given in rows.items():
            result = nets[kind].train_epoch(team, given, y, order, None, batch, 0.05, "two-phase")
            seconds[kind].append(result.seconds)
    rates = {kind: n / min(s) for kind, s in seconds.items()}
    name = "-".join(map(str, units))
    print(
        f"{data:<8} {name:<12} batch {batch:<5} {configuration:<9} {threads} thread(s)"
        f"  dense {rates['dense'] / 1e3:7.0f} k/s  sparse {rates['sparse'] / 1e3:7.0f} k/s"
        f"  ratio {rates['sparse'] / rates['dense']:.2f}",
        flush=True,
    )
    return {
        "data": data,
        "density": np.count_nonzero(X) / X.size,
        "network": name,
        "batch": batch,
        "configuration": configuration,
        "threads": threads,
        "samples_per_second": rates,
        "seconds": seconds,
    }


def main() -> None:
    out = records.out_argument("benchmarks.sparse", __doc__)
    found: list[dict[str, Any]] = [records.platform_record()]
    mnist = load_mnist()
    y = mnist.y.astype(np.int32)
    for threads in (1, 2):
        for hidden in (30, 100, 1024):
            for batch in (10, 32, 128, 1024):
                for configuration in SETTINGS:
                    found.append(
                        measure(
                            "mnist",
                            mnist.X,
                            y,
                            hidden=hidden,
                            batch=batch,
                            configuration=configuration,
                            threads=threads,
                        )
                    )
    rng = np.random.default_rng(2)
    n = 20_000
    for density in (0.1, 0.2, 0.25, 0.3, 0.35, 0.4):
        X = rng.random((n, 784), dtype=np.float32)
        X[rng.random(X.shape) > density] = 0
        for hidden in (64, 100):
            for batch in (10, 32, 128):
                found.append(
                    measure(
                        f"{density:.0%}",
                        X,
                        y[:n],
                        hidden=hidden,
                        batch=batch,
                        configuration="default",
                        threads=1,
                    )
                )
    records.write(out, found)


if __name__ == "__main__":
    main()
