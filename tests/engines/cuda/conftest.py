"""The simulated GPU of simulated_gpu.py, built once a session."""

from collections.abc import Iterator

import pytest
from simulated_gpu import Simulator

from parmlp.engines.cuda.device import Device


@pytest.fixture(scope="session")
def built_simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    return Simulator(tmp_path_factory.mktemp("simulator"))


@pytest.fixture
def simulator(built_simulator: Simulator) -> Iterator[Simulator]:
    built_simulator.reset()
    yield built_simulator
    built_simulator.reset()


@pytest.fixture
def device(simulator: Simulator) -> Device:
    """A simulated device; its kernels run in other orders in every test."""
    return Device(simulator.driver, simulator.compiler)
