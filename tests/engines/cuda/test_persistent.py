"""Rung 4 on clusters of several sizes."""

import numpy as np
import pytest
from test_cuda_ladder import check_training

from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.programs import LADDER, Model, Persistent

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


def test_blocks_follow_from_room_and_work(device: Device) -> None:
    def blocks(units: tuple[int, ...], rows: int) -> int | None:
        model = Model(units, "relu", "softmax", "log_loss", "float32", 0.01, "full")
        return Persistent.cluster_blocks(device, model, "Adam<false>", rows)

    assert blocks((41, 64, 23), 64) == 1
    assert blocks((784, 100, 10), 64) == 16
    assert blocks((784, 2048, 2048, 10), 128) is None
    device.capability = (8, 0)
    assert blocks((41, 64, 23), 64) == 1
    assert blocks((784, 100, 10), 64) is None
