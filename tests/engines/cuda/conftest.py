"""The GPU of the tests: the simulated one of simulated_gpu.py, or the real one.

With PARMLP_TEST_GPU=1 what asks for ``device`` alone runs on this machine's GPU, and what needs the
simulator is skipped.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated_gpu import Simulator

from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.team import find_device

# `benchmarks`, whose kernels are tested here too, is not installed
sys.path.append(str(Path(__file__).resolve().parents[3]))

ON_GPU = os.environ.get("PARMLP_TEST_GPU") == "1"


@pytest.fixture(scope="session")
def built_simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    return Simulator(tmp_path_factory.mktemp("simulator"))


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    if ON_GPU:
        pytest.skip("needs the simulator, and PARMLP_TEST_GPU asks for the real GPU")
    built_simulator: Simulator = request.getfixturevalue("built_simulator")
    built_simulator.reset()
    yield built_simulator
    built_simulator.reset()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Device:
    """The GPU; a simulated one runs its threads in the same orders each time a test is run."""
    if ON_GPU:
        return find_device()
    simulator: Simulator = request.getfixturevalue("simulator")
    return Device(simulator.driver, simulator.compiler)
