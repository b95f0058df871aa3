"""How much a competitor is timed on: as many rows as fill a round, compilation left out."""

import os
import sys
from pathlib import Path

import numpy as np

from parmlp.study.measure import problem
from parmlp.study.measure.competitor import Competitor
from parmlp.study.measure.rivals import Entry
from parmlp.study.measure.workload import FAITHFUL, Workload

FAKES = Path(__file__).parents[1]


def test_compilation_does_not_shorten_the_rounds(tmp_path: Path) -> None:
    workload = Workload((5, 4, 3), 8, "random", FAITHFUL, 20_000)
    problem.save(problem.make_problem(workload), tmp_path)
    np.save(tmp_path / "order.npy", np.arange(165))
    competitor = Competitor(
        Entry("compiles", "fake_rivals:Compiles", None),
        1,
        (min(os.sched_getaffinity(0)),),
        python=sys.executable,
        log=tmp_path / "log",
        path=(str(FAKES),),
    )
    try:
        competitor.setup(workload, tmp_path)
        answer = competitor.warm_up(tmp_path / "order.npy", 0.02)
    finally:
        competitor.close()
    # 10 us a row: at most 2,000 rows in 0.02 s. By its first pass, 8 rows in 0.3 s, it would get 8.
    assert 100 < answer["rows"] <= 2_000
