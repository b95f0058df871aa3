"""The driver's interface: the same as in NVIDIA's header, and its refusals in words that help."""

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_gpu import CXX, SIMULATOR, Simulator

from parmlp import MLPClassifier
from parmlp.engines import EngineUnavailableError, engine_statuses
from parmlp.engines.cuda import compiler, driver, team
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.driver import CudaError, CudaOutOfMemoryError
from parmlp.engines.cuda.network import Network, Rows
from parmlp.engines.cuda.programs import Model

MODEL = Model((4, 300, 2), "relu", "softmax", "log_loss", "float32", 0.01, "full")


@pytest.fixture
def cuda_h() -> Path:
    pytest.importorskip("nvidia", reason="pip install the extra test-cuda: NVIDIA's cuda.h")
    import nvidia

    for folder in nvidia.__path__:
        for header in Path(folder).glob("*/include/cuda.h"):
            return header
    pytest.skip("pip install the extra test-cuda: NVIDIA's cuda.h")


def test_the_simulator_has_the_functions_of_cuda_h(cuda_h: Path, tmp_path: Path) -> None:
    # a definition that differs from its declaration in the header does not compile
    subprocess.run(
        [*CXX, "-DSIMULATOR_USES_CUDA_H", "-I", cuda_h.parent, SIMULATOR / "driver.cpp",
         "-o", tmp_path / "driver.so", "-ldl"],
        check=True,
    )  # fmt: skip


def test_structures_and_constants_are_those_of_cuda_h(cuda_h: Path, tmp_path: Path) -> None:
    pairs = {
        "sizeof(CUlaunchConfig)": ctypes.sizeof(driver.LaunchConfig),
        "offsetof(CUlaunchConfig, hStream)": driver.LaunchConfig.stream.offset,
        "offsetof(CUlaunchConfig, attrs)": driver.LaunchConfig.attributes.offset,
        "offsetof(CUlaunchConfig, numAttrs)": driver.LaunchConfig.n_attributes.offset,
        "sizeof(CUlaunchAttribute)": ctypes.sizeof(driver.LaunchAttribute),
        "offsetof(CUlaunchAttribute, value)": driver.LaunchAttribute.value.offset,
        "CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION": driver.CLUSTER_DIMENSION,
        "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES": driver.MAX_DYNAMIC_SHARED,
        "CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED": driver.WIDE_CLUSTERS,
        "CU_STREAM_NON_BLOCKING": driver.NON_BLOCKING,
        "CU_EVENT_DISABLE_TIMING": driver.DISABLE_TIMING,
        "CU_STREAM_CAPTURE_MODE_RELAXED": driver.CAPTURE_RELAXED,
        "CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT": 16,
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        "CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 97,
        "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL": 9,
        "CUDA_ERROR_OUT_OF_MEMORY": 2,
        "CUDA_ERROR_NO_DEVICE": 100,
        "CUDA_ERROR_NO_BINARY_FOR_GPU": 209,
        "CUDA_ERROR_ILLEGAL_ADDRESS": 700,
        "CUDA_ERROR_LAUNCH_FAILED": 719,
    }
    checks = "".join(f'static_assert({name} == {value}, "");\n' for name, value in pairs.items())
    source = tmp_path / "checks.cpp"
    source.write_text(f"#include <cstddef>\n#include <cuda.h>\n{checks}")
    subprocess.run([*CXX, "-I", cuda_h.parent, source, "-o", tmp_path / "checks.so"], check=True)


# ------------------------------------------------------------------------------- no GPU, no driver


@pytest.fixture
def nothing_found_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not looked for a GPU."""
    driver.load_driver.cache_clear()
    team._find_device.cache_clear()


class _Library:
    """A driver library whose few functions return what a test says."""

    def __init__(self, version: int = 13000, init: int = 0) -> None:
        self._version, self._init = version, init

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(*arguments: Any) -> int:
            if name == "cuDriverGetVersion":
                arguments[0]._obj.value = self._version
            return self._init if name == "cuInit" else 0

        return function


@pytest.mark.parametrize(
    ("library", "message"),
    [
        (None, "no NVIDIA driver .*Install the driver of your NVIDIA GPU"),
        (_Library(version=11040), "speaks CUDA 11.4, and parmlp needs 12.0. Install driver 525"),
        (_Library(init=100), "finds no GPU. Look at 'nvidia-smi' and at CUDA_VISIBLE_DEVICES"),
        (_Library(init=999), "could not be started .cuInit returned 999"),
    ],
)
@pytest.mark.usefixtures("nothing_found_yet")
def test_what_is_missing_is_said_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, library: Any, message: str
) -> None:
    def load(name: str) -> Any:
        if library is None:
            raise OSError(name)
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(EngineUnavailableError, match=message):
        MLPClassifier(engine="cuda").fit([[0.0], [1.0]], [0, 1])
    status = engine_statuses()[-1]
    assert (status.name, status.available) == ("cuda", False)
    assert status.reason
    assert status.remedy


@pytest.mark.usefixtures("nothing_found_yet")
def test_a_missing_compiler_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator
) -> None:
    monkeypatch.setattr(team, "load_driver", lambda: simulator.driver)
    monkeypatch.setattr(compiler, "_candidates", lambda: iter(["libnvrtc-that-is-not.so"]))
    with pytest.raises(EngineUnavailableError, match=r"pip install parmlp\[cuda13\]"):
        team.find_device()


@pytest.mark.usefixtures("nothing_found_yet")
def test_a_compiler_that_is_too_new_for_the_driver(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator
) -> None:
    class Library:
        nvrtcGetErrorString = staticmethod(lambda status: b"")

        @staticmethod
        def nvrtcVersion(major: Any, minor: Any) -> int:
            major._obj.value, minor._obj.value = 13, 5
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda path: Library)
    monkeypatch.setattr(compiler, "_candidates", lambda: iter(["libnvrtc.so.13"]))
    assert compiler.Nvrtc(newest=13).version == (13, 5)
    monkeypatch.setattr(team, "load_driver", lambda: simulator.driver)
    monkeypatch.setattr(simulator.driver, "version", 12040)
    with pytest.raises(EngineUnavailableError, match=r"CUDA 12, and .* 13\.5.*parmlp\[cuda12\]"):
        team.find_device()


def test_a_forked_child_is_told_to_spawn(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    monkeypatch.setattr(team, "_find_device", lambda: (-1, device))
    with pytest.raises(EngineUnavailableError, match=r"forked.*spawn"):
        team.find_device()


# -------------------------------------------------------------------------------- on the device


def start(device: Device, model: Model = MODEL) -> Network:
    network = Network(device, model)
    shapes = [model.shape(layer) for layer in range(model.layers)]
    network.set_parameters(
        [np.zeros(shape, np.float32) for shape in shapes],
        [np.zeros(shape[1], np.float32) for shape in shapes],
    )
    return network


def test_too_little_memory(simulator: Simulator, device: Device) -> None:
    simulator.reset(memory=simulator.counters().memory_used + 1000)
    with pytest.raises(CudaOutOfMemoryError, match=r"memory does not suffice.*smaller batch_size"):
        start(device)
    with pytest.raises(MemoryError):
        start(device)


def test_memory_is_given_back(simulator: Simulator, device: Device) -> None:
    before = simulator.counters().memory_used
    network = start(device)
    network.predict(None, Rows(np.zeros((5, 4), np.float32)))
    assert simulator.counters().memory_used > before
    del network
    assert simulator.counters().memory_used == before


def test_a_fault_ends_the_gpu_for_this_process(simulator: Simulator, device: Device) -> None:
    network = start(device)
    program = network._predicting(1)
    device.launch(program.kernel("find_nonfinite"), (1, 1), 256, [ctypes.c_ulonglong(16), None])
    with pytest.raises(CudaError, match=r"kernel failed.*start a new one.*parmlp info"):
        device.stream.synchronize()
    with pytest.raises(CudaError, match="start a new one"):  # and every later call
        start(device)


def test_a_launch_that_no_device_takes(device: Device) -> None:
    program = start(device)._predicting(1)
    with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_VALUE"):
        device.launch(program.kernel("find_nonfinite"), (1, 1), 2048, [None, None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": Rows(np.zeros((6, 5), np.float32))}, "5 features"),
        ({"X": Rows(np.zeros((6, 4)))}, "of float64 where"),
        ({"y": np.array([0, 1, 2, 0, 0, 0], np.int32)}, "classes 0 to 1"),
        ({"y": np.zeros(5, np.int32)}, "6 class indices"),
        ({"y": np.zeros((6, 3), np.float32)}, "are needed"),
        ({"order": np.array([0, 6])}, "rows 0 to 5"),
        ({"order": np.array([], np.int64)}, "at least one row"),
        ({"sample_weight": np.ones(3, np.float32)}, "6 numbers"),
        ({"batch_size": 0}, "batch_size"),
        ({"schedule": "fork-join"}, "two-phase"),
    ],
)
def test_samples_that_do_not_fit(device: Device, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "X": Rows(np.zeros((6, 4), np.float32)),
        "y": np.zeros(6, np.int32),
        "order": None,
        "sample_weight": None,
        "batch_size": 2,
        "learning_rate": 0.1,
        "schedule": "two-phase",
    }
    with pytest.raises(ValueError, match=message):
        start(device).train_epoch(None, **{**arguments, **change})


def test_slots(device: Device) -> None:
    network = start(device)
    with pytest.raises(ValueError, match="nothing was remembered as 'best'"):
        network.recall("best")
    network.remember("best")
    changed = [np.ones(MODEL.shape(layer), np.float32) for layer in range(2)]
    network.set_parameters(changed, [np.ones(300, np.float32), np.ones(2, np.float32)])
    assert network.parameters_finite()
    network.recall("best")
    assert not any(W.any() for W in network.get_parameters()[0])
    changed[1][-1, -1] = np.inf
    network.set_parameters(changed, [np.ones(300, np.float32), np.ones(2, np.float32)])
    assert not network.parameters_finite()


def test_importing_parmlp_loads_nothing_of_cuda() -> None:
    code = (
        "import sys, parmlp, parmlp.estimators; maps = open('/proc/self/maps').read();"
        "assert 'libcuda' not in maps and 'nvrtc' not in maps; assert 'nvidia' not in sys.modules"
    )
    import sys

    subprocess.run([sys.executable, "-c", code], check=True)
