"""One competitor in its own process, driven by JSON lines over pipes.

``python -m benchmarks.cpu.worker TARGET CPUS`` pins itself to CPUS (comma-separated) before it
imports anything heavy, then answers one line for every line it reads. Between commands it blocks
on the pipe and uses no CPU. It runs in the competitor's own environment, so it needs nothing but
NumPy. What libraries print goes to stderr; the answers have a pipe of their own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {int(c) for c in sys.argv[2].split(",")})

import numpy as np  # noqa: E402 (its BLAS counts the cores it may use when it is imported)

from benchmarks.cpu import data  # noqa: E402
from benchmarks.cpu.cells import Cell  # noqa: E402


class Orders:
    """Shuffled rows: permutations of all rows, handed out in pieces of one length.

    Every competitor draws them alike, inside the timed region, for a fit shuffles too.
    """

    def __init__(self, n: int, piece: int) -> None:
        self._rng = np.random.default_rng(data.SEED + 2)
        self._n, self._piece = n, piece
        self._order = np.empty(0, np.int64)

    def next(self) -> Any:
        if len(self._order) < self._piece:
            self._order = self._rng.permutation(self._n)
        head, self._order = self._order[: self._piece], self._order[self._piece :]
        return head


class Worker:
    """The commands; each returns its answer."""

    def __init__(self, target: str) -> None:
        module, _, name = target.partition(":")
        self.rival = getattr(importlib.import_module(module), name)()

    def setup(self, command: dict[str, Any]) -> dict[str, Any]:
        self.cell = Cell.from_dict(command["cell"])
        reason = self.rival.available(self.cell)
        if reason:
            return {"unavailable": reason}
        work = data.load(self.cell, command["threads"], Path(command["folder"]))
        begin = time.perf_counter()
        self.n = len(work.X)
        self.rival.setup(work)
        return {"versions": self.rival.versions(), "seconds": time.perf_counter() - begin}

    def check(self, command: dict[str, Any]) -> dict[str, Any]:
        order = np.load(command["order"])
        begin = time.perf_counter()
        self.rival.run_epoch(order)
        seconds = time.perf_counter() - begin  # compilation included
        result = self.rival.result()
        np.savez(
            command["result"],
            **{f"coef{i}": w for i, w in enumerate(result.coefs)},
            **{f"intercept{i}": b for i, b in enumerate(result.intercepts)},
        )
        return {"loss": result.loss, "seconds": seconds}

    def warm_up(self, command: dict[str, Any]) -> dict[str, Any]:
        """Find how many rows a round of about `target` seconds takes; run one such round."""
        target, batch = command["target"], self.cell.batch
        if hasattr(self.rival, "run_fit"):
            self.rows = batch
            took = self.round({})
            while took["seconds"] < target / 4:
                self.rows = took["rows"] * 4
                took = self.round({})
        else:
            order = np.load(command["order"])
            self.rival.run_epoch(order)
            begin = time.perf_counter()
            self.rival.run_epoch(order)
            took = {"rows": len(order), "seconds": time.perf_counter() - begin}
        rows = took["rows"] / took["seconds"] * target
        self.rows = max(batch, round(rows / batch) * batch)
        self.pieces = 1
        if not hasattr(self.rival, "run_fit") and self.rows > self.n / 2:
            self.pieces, self.rows = max(1, round(self.rows / self.n)), self.n
        self.orders = Orders(self.n, min(self.n, self.rows))
        return self.round({})

    def round(self, command: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        extra: dict[str, float] = {}
        rows = 0
        begin = time.perf_counter()
        if hasattr(self.rival, "run_fit"):
            rows, extra = self.rival.run_fit(self.rows)
        else:
            for _ in range(self.pieces):
                order = self.orders.next()
                self.rival.run_epoch(order)
                rows += len(order)
        seconds = time.perf_counter() - begin
        answer: dict[str, Any] = {"rows": rows, "seconds": seconds}
        if extra:
            answer["own_clock"] = extra
        loss = self.rival.result().loss
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} while being timed")
        return answer | {"loss": float(loss)}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker: Worker | None = None
    for line in sys.stdin:
        command = json.loads(line)
        cpu = time.process_time()
        try:
            if worker is None:
                worker = Worker(sys.argv[1])
            answer = getattr(worker, command["do"])(command)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        # All our CPU use since the command came: the driver takes it from the machine's.
        answer["command_cpu_seconds"] = time.process_time() - cpu
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
