"""``python -m benchmarks.sparse [--out FILE]``: dense against sparse rows on real MNIST.

Both give the same bits; the time decides when the estimators compress dense input. Epochs of the
two alternate, the best of each counts. Needs PARMLP_DATA; takes about a minute.
"""

from itertools import pairwise
from typing import Any

import numpy as np

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


def main() -> None:
    out = records.out_argument("benchmarks.sparse", __doc__)
    mnist = load_mnist()
    X, y = mnist.X, mnist.y.astype(np.int32)
    found: list[dict[str, Any]] = [records.platform_record()]
    for threads in (1, 2):
        team = make_team("threads", threads, [784, 100, 10], 128)
        rows = {"dense": X, "sparse": _core.SparseRows.compress(X, team)}
        for hidden in (30, 100, 1024):
            n = 60_000 if hidden < 1000 else 12_000
            order = np.random.default_rng(0).permutation(60_000)[:n]
            for batch in (10, 32, 128, 1024):
                for configuration in SETTINGS:
                    seconds: dict[str, list[float]] = {"dense": [], "sparse": []}
                    nets = {kind: network([784, hidden, 10], configuration) for kind in rows}
                    for _ in range(3):
                        for kind, given in rows.items():
                            result = nets[kind].train_epoch(
                                team, given, y, order, None, batch, 0.05, "two-phase"
                            )
                            seconds[kind].append(result.seconds)
                    record = {
                        "network": f"784-{hidden}-10",
                        "batch": batch,
                        "configuration": configuration,
                        "threads": threads,
                        "samples_per_second": {k: n / min(s) for k, s in seconds.items()},
                        "seconds": seconds,
                    }
                    found.append(record)
                    best = record["samples_per_second"]
                    dense, sparse = best["dense"] / 1e3, best["sparse"] / 1e3
                    print(
                        f"784-{hidden}-10  batch {batch:<5} {configuration:<9} {threads} thread(s)"
                        f"  dense {dense:7.0f} k/s  sparse {sparse:7.0f} k/s"
                        f"  ratio {sparse / dense:.2f}",
                        flush=True,
                    )
    records.write(out, found)


if __name__ == "__main__":
    main()
