"""What accounting.py says of a step, against what the simulated device counts in running it."""

from itertools import pairwise

import numpy as np
import pytest
from simulated_gpu import Counters, Simulator
from test_cuda_ladder import DEFAULTS

from parmlp.engines.cuda.accounting import Cost, count_epoch, count_step, fresh_bytes
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.network import Network, Rows
from parmlp.engines.cuda.programs import LADDER, LayerwiseProgram, Model, Persistent, Program

SMALL, DEEP = (20, 36, 12), (19, 33, 18, 5)


@pytest.fixture
def counting_device(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(simulator.compiler, "counts_accesses", True)
    return Device(simulator.driver, simulator.compiler)


def train(
    simulator: Simulator,
    device: Device,
    rng: np.random.Generator,
    rung: str,
    *,
    units: tuple[int, ...] = SMALL,
    batch_size: int = 32,
    rows: int = 61,
    activation: str = "relu",
    solver: str = "adam",
    alpha: float = 0.01,
    precision: str = "full",
) -> tuple[Cost, Counters, Program]:
    """Return what an epoch should ask for and what it did; its last minibatch is short."""
    model = Model(units, activation, "softmax", "log_loss", "float32", 0.01, precision)
    network = Network(device, model, rung)
    network.set_parameters(
        [rng.normal(size=shape).astype(np.float32) for shape in pairwise(units)],
        [np.zeros(n, np.float32) for n in units[1:]],
    )
    network.set_solver(solver, alpha=alpha, **DEFAULTS)
    X = Rows(rng.normal(size=(rows, units[0])).astype(np.float32))
    y = rng.integers(units[-1], size=rows).astype(np.int32)
    for _ in range(2):  # the first epoch compiles, and asks programs for their constants
        simulator.reset()
        network.train_epoch(None, X, y, rng.permutation(rows), None, batch_size, 0.1, "two-phase")
    program = network.trainer
    assert program is not None
    return (
        count_epoch(program, rows, batch_size, has_penalty=alpha != 0),
        simulator.counters(),
        program,
    )


def check(cost: Cost, counted: Counters) -> None:
    assert cost.launches == counted.launches
    assert cost.block_barriers == counted.block_barriers
    assert cost.cluster_barriers == counted.cluster_barriers
    assert cost.loaded_bytes == counted.loaded_bytes + counted.async_bytes
    assert cost.stored_bytes == counted.stored_bytes
    # rows that a short minibatch does not have are left out by some loops and not by others
    assert cost.shared_bytes == pytest.approx(counted.shared_bytes, rel=0.005)
    assert cost.remote_bytes == pytest.approx(counted.remote_bytes, rel=0.01)


@pytest.mark.parametrize("rung", LADDER)
def test_every_rung_asks_for_what_is_counted(
    simulator: Simulator, counting_device: Device, rng: np.random.Generator, rung: str
) -> None:
    cost, counted, _ = train(simulator, counting_device, rng, rung)
    check(cost, counted)


@pytest.mark.parametrize("rung", LADDER)
def test_deep_networks_without_moments_or_penalty(
    simulator: Simulator, counting_device: Device, rng: np.random.Generator, rung: str
) -> None:
    cost, counted, _ = train(
        simulator, counting_device, rng, rung, units=DEEP, batch_size=33, activation="gelu",
        solver="sgd", alpha=0.0,
    )  # fmt: skip
    check(cost, counted)


@pytest.mark.parametrize("blocks", [2, 16])
@pytest.mark.parametrize("precision", ["full", "tf32"])
def test_clusters(  # noqa: PLR0917 (a fixture or a parameter each)
    simulator: Simulator,
    counting_device: Device,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
    precision: str,
) -> None:
    monkeypatch.setattr(Persistent, "blocks", blocks)
    cost, counted, _ = train(
        simulator, counting_device, rng, "persistent", units=DEEP, precision=precision
    )
    assert counted.remote_bytes > 0
    check(cost, counted)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_several_large_tiles(
    simulator: Simulator, counting_device: Device, rng: np.random.Generator, precision: str
) -> None:
    cost, counted, program = train(
        simulator, counting_device, rng, "tensor-cores", units=(70, 130, 12), batch_size=70,
        rows=70, precision=precision,
    )  # fmt: skip
    assert isinstance(program, LayerwiseProgram)
    assert program.tile == (64, 64)
    check(cost, counted)


def test_an_epoch_is_its_steps_and_what_is_needed_once(
    simulator: Simulator, counting_device: Device, rng: np.random.Generator
) -> None:
    epoch, _, program = train(simulator, counting_device, rng, "fused")
    steps = [count_step(program, rows, has_penalty=True) for rows in (32, 29)]
    assert epoch.launches == sum(step.launches for step in steps) + 1
    assert steps[0].fresh_bytes == fresh_bytes(program.model, 32) == 32 * (4 * 20 + 16)
    # what a launch touches once is no more than what its threads ask for
    assert epoch.once_bytes < epoch.loaded_bytes + epoch.stored_bytes
    assert epoch.fresh_bytes < epoch.once_bytes


def test_weights_on_chip_are_not_read_from_memory_each_step(
    simulator: Simulator, counting_device: Device, rng: np.random.Generator
) -> None:
    _, _, program = train(simulator, counting_device, rng, "persistent")
    step = count_step(program, 32, has_penalty=False)
    assert step.once_bytes == step.fresh_bytes
    _, _, by_layers = train(simulator, counting_device, rng, "tensor-cores")
    assert count_step(by_layers, 32, has_penalty=False).once_bytes > 3 * step.once_bytes


def test_an_epoch_in_parts_is_as_many_launches(
    simulator: Simulator,
    counting_device: Device,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Program, "steps_at_once", 1)
    cost, counted, _ = train(simulator, counting_device, rng, "persistent")
    assert cost.launches == 2 + 1  # two steps, and the sum of losses
    check(cost, counted)
