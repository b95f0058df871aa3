"""benchmarks.gpu's own rows, on the simulated device: what a GPU will be asked to do."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gpu import mnist
from benchmarks.gpu.cells import CELLS
from benchmarks.gpu.competitors import LADDER, OURS
from benchmarks.gpu.floors import floors
from benchmarks.gpu.rounds import run_cell
from parmlp.engines.cuda import team
from parmlp.engines.cuda.device import Device
from parmlp.study.measure.problem import make_problem
from parmlp.study.measure.rivals import estimator
from parmlp.study.measure.rivals.base import Work
from parmlp.study.measure.workload import FAITHFUL, Workload

CEILINGS = {
    "multiprocessors": 4,
    "flops_per_second": {"float32": 1e12, "tf32": 1e12},
    "copy_bytes_per_second": 1e12,
    "launch_seconds": 1e-6,
    "graph_launch_seconds": 1e-6,
    "block_barrier_seconds": 1e-8,
    "shared_bytes_per_second": 1e11,
}


@pytest.fixture(autouse=True)
def _found(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "find_device", lambda: device)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_every_rung_is_checked_timed_and_accounted_for(precision: str) -> None:
    like = next(cell for cell in CELLS if cell.cell.configuration.precision == precision)
    tiny = replace(like, cell=replace(like.cell, layers=(6, 9, 4), batch=32, n_rows=96))
    record = run_cell(tiny, {**OURS, **LADDER}, time.time() + 300, rounds=1, part="ladder")
    json.dumps(record)
    for name, found in record["competitors"].items():
        rung = name.removeprefix("parmlp-")
        if precision != "float32" and rung not in ("parmlp", "persistent", "tensor-cores"):
            assert found["left_out"] == "computes in float32"
            continue
        assert found["left_out"] is None, f"{name}: {found['left_out']}"
        assert len(found["seconds"]) == 1
        account = found["account"]
        assert account["rung"] == ("persistent" if rung == "parmlp" else rung)
        limits = floors(account, record["flops_per_step"], precision, CEILINGS)
        assert {"arithmetic", "memory", "launches", "barriers"} <= set(limits)
        assert all(seconds >= 0 for seconds in limits.values())
        launches = account["step"]["launches"]
        # 3 steps and the sums of their losses
        by_layers = pytest.approx(7 + 1 / 3)
        expected = {"persistent": pytest.approx(2 / 3), "fused": pytest.approx(2 + 1 / 3)}
        assert launches == expected.get(account["rung"], by_layers)


def test_mnist_s_recipes_train_on_the_device() -> None:
    rng = np.random.default_rng(0)
    images = mnist.Images(rng.random((64, 784), np.float32), np.arange(64, dtype=np.int32) % 10)
    record = mnist.measure(mnist.Recipe((8,), 32, 1e-2, 2), "cuda", images, images, seeds=(1, 1))
    assert record["engine"] == "cuda"
    assert record["test_accuracy"][0] == record["test_accuracy"][1]
    assert len(record["seconds"]) == 2


def test_the_study_s_estimator_trains_on_the_device() -> None:
    workload = Workload((6, 9, 4), 32, "random", FAITHFUL, 96)
    problem = make_problem(workload)
    work = Work(workload, 1, problem.X, problem.labels, problem.coefs, problem.intercepts)
    row = estimator.Cuda()
    row.setup(work)
    row.run_epoch(np.arange(96))
    assert row.estimator.engine_ == "cuda"
    assert np.isfinite(row.result().loss)
