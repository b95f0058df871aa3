"""Every barrier and wait in the kernels is needed: without any one of them a test turns red."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from simulated_gpu import SimulatedCompiler, Simulator

from parmlp.engines.cuda.compiler import kernel_sources
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.driver import CudaError
from parmlp.engines.cuda.network import Network, Rows
from parmlp.engines.cuda.programs import Model, Persistent

WAITS = re.compile(
    r"^ *(__syncthreads|cluster_sync<kBlocks>|copy_async_wait<[^>]*>|simulated_cluster_sync)"
    r"\(\);.*\n",
    re.MULTILINE,
)

#: file -> the trainings, as (rung, blocks of a cluster), in one of which each of its waits counts
TRAININGS = {
    "sums.cuh": [("tiled", 1)],
    "2_tiled.cuh": [("tiled", 1), ("tiled-without-conflicts", 1)],
    "3_fused.cuh": [("fused", 1)],
    "cluster.cuh": [("persistent", 1), ("persistent", 2)],
    "4_persistent.cuh": [("persistent", 1), ("persistent", 2)],
    "5_tensor_cores.cuh": [("tensor-cores", 1)],
}
# deep enough for every stage of rung 5 to be used twice, and for two deltas to be handed on
UNITS = (133, 40, 37, 3)
ROWS, BATCH_SIZE = 70, 35


def sites() -> Iterator[object]:
    for file, text in kernel_sources().items():
        for match in WAITS.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(file, match.span(), id=f"{file}-{line}")


def train(device: Device, rung: str) -> list[np.ndarray]:
    """Return the losses and weights of two epochs."""
    rng = np.random.default_rng(3)
    model = Model(UNITS, "tanh", "softmax", "log_loss", "float32", 0.01, "full")
    network = Network(device, model, rung)
    shapes = [model.shape(layer) for layer in range(model.layers)]
    network.set_parameters(
        [rng.normal(scale=0.2, size=shape).astype(np.float32) for shape in shapes],
        [rng.normal(scale=0.2, size=shape[1]).astype(np.float32) for shape in shapes],
    )
    network.set_solver(
        "sgd",
        alpha=0.5,
        momentum=0.9,
        nesterov=True,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    X = Rows(rng.normal(size=(ROWS, UNITS[0])).astype(np.float32))
    y = rng.integers(UNITS[-1], size=ROWS).astype(np.int32)
    losses = [
        network.train_epoch(None, X, y, None, None, BATCH_SIZE, 0.05, "two-phase").loss
        for _ in range(2)
    ]
    coefs, intercepts = network.get_parameters()
    return [np.array(losses), *coefs, *intercepts]


def test_all_waits_are_found() -> None:
    text = "".join(kernel_sources().values())
    calls = text.count("__syncthreads()") + text.count("cluster_sync<kBlocks>()")
    calls += len(re.findall(r"copy_async_wait<[^>]*>\(\)", text)) + text.count("cluster_sync();")
    # the declarations copy_async_wait() and cluster_sync() have no template arguments, so no match
    assert len(list(sites())) == calls > 20


@pytest.mark.parametrize(("file", "span"), list(sites()))
def test_a_missing_wait_shows(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file: str,
    span: tuple[int, int],
) -> None:
    headers = kernel_sources()
    text = headers[file]
    # the line goes, its number stays
    mutated = {**headers, file: text[: span[0]] + "\n" + text[span[1] :]}
    outcomes = []
    for rung, blocks in TRAININGS[file]:
        monkeypatch.setattr(Persistent, "blocks", blocks)
        right = train(Device(simulator.driver, simulator.compiler), rung)
        for seed in range(3):
            simulator.reset(seed)
            try:
                device = Device(simulator.driver, SimulatedCompiler(tmp_path, mutated))
                ours = train(device, rung)
            except CudaError:
                outcomes.append("failed")
                simulator.reset()
                break
            same = all(np.array_equal(a, b) for a, b in zip(right, ours, strict=True))
            outcomes.append("same" if same else "different")
            if not same:
                break
    assert {"failed", "different"} & set(outcomes), outcomes
