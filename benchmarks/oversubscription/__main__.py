"""``python -m benchmarks.oversubscription [--out FILE]``: 1, 2, 4 threads, quiet and not.

Quiet, and beside a busy loop on the second core. Rounds alternate between the thread counts;
medians are shown.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.sparse.__main__ import network
from parmlp.engines import make_team

CELLS = (([784, 100, 10], 128), ([41, 64, 23], 64), ([784, 1024, 10], 128))
THREADS = (1, 2, 4)
ROUNDS = 9


def rounds(units: list[int], batch: int) -> dict[int, list[float]]:
    """Samples per second of each number of threads, round by round."""
    rng = np.random.default_rng(0)
    flops = 4 * units[0] * units[1] + 6 * units[1] * units[2]
    n = max(4 * batch, int(5e9 / flops))
    X = rng.random((n, units[0]), dtype=np.float32)
    y = rng.integers(0, units[-1], n).astype(np.int32)
    order = rng.permutation(n)
    net = network(units, "faithful")
    speeds: dict[int, list[float]] = {t: [] for t in THREADS}
    for _ in range(ROUNDS):
        for threads, found in speeds.items():
            team = make_team("threads", threads, units, batch, warn=False)
            result = net.train_epoch(team, X, y, order, None, batch, 0.01, "two-phase")
            found.append(n / result.seconds)
    return speeds


def main() -> None:
    out = records.out_argument("benchmarks.oversubscription", __doc__)
    found: list[dict[str, Any]] = [records.platform_record()]
    for units, batch in CELLS:
        name = "-".join(map(str, units))
        for busy in (False, True):
            loop = None
            if busy:
                command = ["taskset", "-c", "1", sys.executable, "-c", "while True: pass"]
                loop = subprocess.Popen(command)
                time.sleep(0.2)
            try:
                speeds = rounds(units, batch)
            finally:
                if loop is not None:
                    loop.kill()
                    loop.wait()
            found.append(
                {"network": name, "batch": batch, "busy": busy, "samples_per_second": speeds}
            )
            one, two, four = (statistics.median(s) for s in speeds.values())
            print(
                f"{name:<12} batch {batch}  {'beside a busy loop' if busy else 'quiet':<18}"
                f"  1: {one / 1e3:.0f}  2: {two / 1e3:.0f}  4: {four / 1e3:.0f} k/s"
                f"  two/one {two / one:.2f}  four/two {four / two:.2f}",
                flush=True,
            )
    records.write(out, found)


if __name__ == "__main__":
    main()
