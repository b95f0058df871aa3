"""How much a competitor is timed on: as many rows as fill a round, compilation left out."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from parmlp.study.measure import problem
from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.worker import Worker
from parmlp.study.measure.workload import FAITHFUL, Workload

COMPILING = 0.3


class Compiles:
    """Fast, but slow at first for every number of rows, as a just-in-time compiler is."""

    def available(self, workload: Workload) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {}

    def setup(self, work: Work) -> None:
        self.work = work
        self.seen: list[int] = []

    def run_epoch(self, order: Array) -> None:
        time.sleep(1e-5 * len(order) + (0 if len(order) in self.seen else COMPILING))
        self.seen.append(len(order))

    def result(self) -> Result:
        return Result(1.0, self.work.coefs, self.work.intercepts)


def test_compilation_does_not_shorten_the_rounds(tmp_path: Path) -> None:
    workload = Workload((5, 4, 3), 8, "random", FAITHFUL, 20_000)
    made = problem.make_problem(workload)
    problem.save(made, tmp_path)
    np.save(tmp_path / "order.npy", np.arange(165))
    worker = Worker(f"{__name__}:Compiles")
    worker.setup({"workload": workload.to_dict(), "threads": 1, "folder": str(tmp_path)})
    command: dict[str, Any] = {"order": str(tmp_path / "order.npy"), "target": 0.02}
    answer = worker.warm_up(command | {"minibatches": 1})
    # 0.02 s are 2,000 rows at the most: far more than compiling lets through, 165 / 0.3 s x 0.02 s
    assert 100 < answer["rows"] <= 2_000
    assert worker.rival.seen.count(answer["rows"]) == 1
    worker.round({})
    assert worker.rival.seen.count(answer["rows"]) == 2
