"""One competitor in its own process, driven by JSON lines over pipes.

``python -m parmlp.study.measure.worker TARGET CPUS`` pins itself to CPUS (comma-separated) before
it imports anything heavy, then answers one line for every line it reads. Between commands it blocks
on the pipe and uses no CPU. It runs in the competitor's own environment, so it needs nothing but
NumPy. What libraries print goes to stderr; the answers have a pipe of their own.
"""

from __future__ import annotations

import gc
import hashlib
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

from parmlp.study.measure import problem  # noqa: E402
from parmlp.study.measure.accuracy import accuracy  # noqa: E402
from parmlp.study.measure.rivals.base import Result  # noqa: E402
from parmlp.study.measure.workload import Workload  # noqa: E402


class Orders:
    """Shuffled rows: permutations of all rows, handed out in pieces of one length.

    Every competitor draws them alike, inside the timed region, for a fit shuffles too.
    """

    def __init__(self, n: int, piece: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng(problem.SEED + 2 + seed)
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
        self.make = getattr(importlib.import_module(module), name)
        self.orders: Orders | None = None

    def setup(self, command: dict[str, Any]) -> dict[str, Any]:
        """Take a workload; what was there before is forgotten."""
        self.workload = Workload.from_dict(command["workload"])
        self.rival = self.make()
        reason = self.rival.available(self.workload)
        if reason:
            return {"unavailable": reason}
        self.folder = Path(command["folder"])
        self.work = problem.load(self.workload, command["threads"], self.folder)
        begin = time.perf_counter()
        self.n = len(self.work.X)
        self.rival.setup(self.work)
        return {"versions": self.rival.versions(), "seconds": time.perf_counter() - begin}

    def release(self, command: dict[str, Any]) -> dict[str, Any]:
        """Give the workload's memory back; the process stays for the next one."""
        del self.rival, self.work
        self.orders = None
        gc.collect()
        return {}

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
        return {"loss": result.loss, "seconds": seconds, "weights_sha256": _digest(result)}

    def warm_up(self, command: dict[str, Any]) -> dict[str, Any]:
        """Find how many rows a round of about `target` seconds takes; run one such round.

        A round has at least `minibatches` full minibatches, however long they take.
        """
        target, batch = command["target"], self.workload.batch
        least = min(self.n, batch * command["minibatches"])
        if hasattr(self.rival, "run_fit"):
            self.rows = least
            took = self.round({})
            while took["seconds"] < target / 4:
                self.rows = took["rows"] * 4
                took = self.round({})
        else:
            order = np.load(command["order"])
            self._pass(order[:batch])  # a rival may compile for this number of rows
            took = self._pass(order[:batch])
            if took["seconds"] * len(order) / len(order[:batch]) < target:
                self._pass(order)
                took = self._pass(order)
        rows = took["rows"] / took["seconds"] * target
        self.rows = max(least, round(rows / batch) * batch)
        self.pieces = 1
        if not hasattr(self.rival, "run_fit") and self.rows > self.n / 2:
            self.pieces, self.rows = max(1, round(self.rows / self.n)), self.n
        self.orders = Orders(self.n, min(self.n, self.rows))
        return self.round({})

    def _pass(self, order: Any) -> dict[str, Any]:
        begin = time.perf_counter()
        self.rival.run_epoch(order)
        return {"rows": len(order), "seconds": time.perf_counter() - begin}

    def round(self, command: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        extra: dict[str, float] = {}
        rows = 0
        begin = time.perf_counter()
        if hasattr(self.rival, "run_fit"):
            rows, extra = self.rival.run_fit(self.rows)
        else:
            assert self.orders is not None, "warm_up comes first"
            for _ in range(self.pieces):
                order = self.orders.next()
                self.rival.run_epoch(order)
                rows += len(order)
        seconds = time.perf_counter() - begin
        answer: dict[str, Any] = {"rows": rows, "seconds": extra.pop("seconds", seconds)}
        if extra:
            answer["own_clock"] = extra
        loss = self.rival.result().loss
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} while being timed")
        return answer | {"loss": float(loss)}

    def train(self, command: dict[str, Any]) -> dict[str, Any]:
        """Train `epochs` epochs from the initial parameters; score the held-out rows after each.

        Scoring is not in the seconds. Those of the first epoch include compilation where there is
        any; the driver sees it by the others.
        """
        test = problem.load_held_out("test", self.folder)
        validation = problem.load_held_out("validation", self.folder)
        hidden = self.workload.configuration.hidden_activation
        curves: dict[str, list[Any]] = {"loss": [], "test": [], "validation": [], "seconds": []}

        def after(result: Result, seconds: float) -> None:
            curves["loss"].append(float(result.loss))
            curves["test"].append(accuracy(result, hidden, test))
            curves["validation"].append(accuracy(result, hidden, validation))
            curves["seconds"].append(seconds)

        begin = time.perf_counter()
        self.rival = self.make()
        self.rival.setup(self.work)
        setup_seconds = time.perf_counter() - begin
        if hasattr(self.rival, "fit_epochs"):
            self.rival.fit_epochs(command["epochs"], self.workload.seed, after)
        else:
            orders = Orders(self.n, self.n, self.workload.seed)
            for _ in range(command["epochs"]):
                begin = time.perf_counter()
                self.rival.run_epoch(orders.next())
                seconds = time.perf_counter() - begin
                after(self.rival.result(), seconds)
        if not np.isfinite(curves["loss"]).all():
            raise FloatingPointError(f"the loss became {curves['loss'][-1]} in training")
        return curves | {"setup_seconds": setup_seconds}

    def profile(self, command: dict[str, Any]) -> dict[str, Any]:
        """Where a step's time goes, of a competitor that can tell."""
        answer: dict[str, Any] = self.rival.profile()
        return answer


def _digest(result: Result) -> str:
    """SHA-256 of the parameters as `parmlp train` gives it: W then b of each layer, C order."""
    digest = hashlib.sha256()
    for w, b in zip(result.coefs, result.intercepts, strict=True):
        for p in (w, b):
            digest.update(np.ascontiguousarray(p, "<f4").tobytes())
    return digest.hexdigest()


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
