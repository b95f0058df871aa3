"""What barriers and launches cost: the kernels that measure it do what they are measured for."""

from __future__ import annotations

from typing import Any

import pytest
from simulated_gpu import Simulator

from benchmarks.gpu.ceilings import load_kernels, synchronization
from parmlp.engines.cuda.compiler import Nvrtc
from parmlp.engines.cuda.device import Device
from parmlp.engines.errors import EngineUnavailableError


def test_kernels_pass_as_many_barriers_as_they_are_told(
    simulator: Simulator, device: Device
) -> None:
    out = device.allocate(4 * 64)
    for blocks, counter in ((1, "block_barriers"), (4, "cluster_barriers")):
        kernel = load_kernels(device, blocks).kernel(counter)
        simulator.reset()
        device.launch(kernel, (blocks, 1), 256, [out, 7], cluster=blocks)
        device.stream.synchronize()
        assert getattr(simulator.counters(), counter) == 7


def test_reads_are_all_of_shared_memory(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator.compiler, "counts_accesses", True)
    device = Device(simulator.driver, simulator.compiler)
    kernel = load_kernels(device, 1).kernel("shared_reads")
    out = device.allocate(4 * 256)
    simulator.reset()
    device.launch(kernel, (1, 1), 256, [out, 3])
    device.stream.synchronize()
    # 32 numbers a turn and thread, which is what bytes a second are computed from
    assert simulator.counters().shared_bytes == 3 * 32 * 256 * 4


def test_everything_is_measured(device: Device) -> None:
    found = synchronization(device, count=2, launches=3)
    assert set(found) == {
        "launch_seconds",
        "graph_launch_seconds",
        "block_barrier_seconds",
        "cluster_barrier_seconds",
        "shared_bytes_per_second",
    }
    sizes = ["2", "4", "8", "16"] if device.capability >= (9, 0) else []
    assert list(found["cluster_barrier_seconds"]) == sizes
    assert found["launch_seconds"] > 0
    assert found["graph_launch_seconds"] > 0


@pytest.mark.parametrize(("architecture", "blocks"), [("sm_80", 1), ("sm_90a", 1), ("sm_90a", 16)])
def test_kernels_compile(architecture: str, blocks: int) -> None:
    try:
        nvrtc = Nvrtc()
    except EngineUnavailableError as error:
        pytest.skip(f"pip install the extra test-cuda: {error}")
    texts: list[str] = []

    class Asked:
        def load(self, source: str, kernels: Any, told: Any) -> None:
            texts.append(source)

    load_kernels(Asked(), blocks)  # type: ignore[arg-type]
    assert nvrtc.cubin(texts[0], architecture).startswith(b"\x7fELF")
