"""Rung 4 on clusters of several sizes."""

import numpy as np
import pytest
from simulated_gpu import Simulator
from test_cuda_ladder import DEFAULTS, check_training

from parmlp.engines.cuda import programs
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.network import Network
from parmlp.engines.cuda.programs import (
    LADDER,
    Model,
    Persistent,
    TensorCores,
    TiledWithoutConflicts,
)

UNITS = (19, 33, 18, 5)


@pytest.mark.parametrize("blocks", [1, 2, 4, 16])
@pytest.mark.parametrize("hidden_activation", ["relu", "silu"])
def test_clusters(
    device: Device,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    blocks: int,
    hidden_activation: str,
) -> None:
    monkeypatch.setattr(Persistent, "blocks", blocks)
    check_training(
        device, rng, "persistent", units=UNITS, hidden_activation=hidden_activation,
        solver_case="adam", weighted=True,
    )  # fmt: skip


@pytest.mark.parametrize("units", [(5, 2), (40, 70), (3, 1, 2)])
@pytest.mark.parametrize("rung", LADDER)
def test_networks_of_odd_shapes(
    device: Device, rng: np.random.Generator, rung: str, units: tuple[int, ...]
) -> None:
    check_training(device, rng, rung, units=units)


@pytest.mark.parametrize("blocks", [1, 2, 16])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("solver", ["Sgd", "SgdMomentum<true>", "Adam<true>"])
def test_the_size_of_its_shared_memory_is_known_beforehand(
    device: Device, monkeypatch: pytest.MonkeyPatch, blocks: int, activation: str, solver: str
) -> None:
    monkeypatch.setattr(Persistent, "blocks", blocks)
    model = Model(UNITS, activation, "softmax", "log_loss", "float32", 0.01, "full")
    program = Persistent(device, model, solver, 33)
    expected = Persistent.shared_bytes(model, solver, 33, blocks)
    assert program.kernel("train_steps").shared_bytes == expected


def test_blocks_follow_from_room_and_work(
    simulator: Simulator, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes(units: tuple[int, ...], rows: int) -> list[int]:
        model = Model(units, "relu", "softmax", "log_loss", "float32", 0.01, "full")
        return Persistent.cluster_sizes(device, model, "Adam<false>", rows)

    assert sizes((41, 64, 23), 64) == [1, 16, 8, 4, 2]
    assert sizes((784, 100, 10), 64) == [16]
    assert sizes((784, 100, 10), 32) == [8, 16]
    assert sizes((784, 2048, 2048, 10), 128) == []
    monkeypatch.setattr(device, "capability", (8, 0))
    assert sizes((41, 64, 23), 64) == [1]
    assert sizes((784, 100, 10), 64) == []


def test_a_gpu_without_room_for_a_wide_cluster_takes_a_smaller_one(
    device: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "clusters_at_once", lambda kernel, threads, blocks: blocks <= 2)
    model = Model((20, 9, 3), "relu", "softmax", "log_loss", "float32", 0.01, "full")
    monkeypatch.setattr(programs, "_FLOPS_PER_BLOCK", 5e3)
    assert Persistent.cluster_sizes(device, model, "Sgd", 16)[0] == 4
    assert Persistent(device, model, "Sgd", 16).constants()["CLUSTER_BLOCKS"] in (1, 2)
    check_training(device, rng, "persistent", units=(20, 9, 3))


def test_the_rung_follows_from_size_precision_and_room(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rung(units: tuple[int, ...], rows: int, dtype: str = "float32", precision: str = "full"):
        model = Model(units, "relu", "softmax", "log_loss", dtype, 0.01, precision)
        network = Network(device, model)
        network.set_solver("sgd", alpha=0.0, **DEFAULTS)
        return type(network._training(rows))

    assert rung((41, 64, 23), 64) is Persistent
    assert rung((41, 64, 23), 64, dtype="float64") is Persistent
    assert rung((41, 64, 23), 64, precision="bf16") is Persistent
    assert rung((200, 3000, 10), 64, precision="bf16") is TensorCores
    assert rung((200, 3000, 10), 64) is TensorCores  # a step is too large
    assert rung((200, 3000, 10), 64, dtype="float64") is TiledWithoutConflicts
    assert rung((3000, 40, 2), 256) is TensorCores  # small enough, and no room
    monkeypatch.setattr(device, "clusters_at_once", lambda *_: 0)
    monkeypatch.setattr(programs, "_FLOPS_PER_BLOCK", 1.0)
    assert rung((41, 64, 23), 32) is Persistent  # one block needs no cluster
    assert rung((784, 100, 10), 16) is TensorCores
