"""A GPU for the tests: the engine's own code over simulator/driver.cpp in libcuda.so's place."""

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parmlp.engines.cuda import compiler as nvrtc
from parmlp.engines.cuda.driver import Driver

SIMULATOR = Path(__file__).parent / "simulator"
CXX = (*os.environ.get("CXX", "g++").split(), "-std=c++20", "-O1", "-g1", "-fPIC", "-shared")
WARNINGS = ("-Wall", "-Wextra", "-Wno-unknown-pragmas")
MEMORY = 1 << 30


class Counters(ctypes.Structure):
    """SimulatorCounters."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "launches",
            "kernels_run",
            "graph_launches",
            "memory_used",
            "bytes_to_device",
            "bytes_to_host",
            "bytes_on_device",
            "block_barriers",
            "cluster_barriers",
            "async_bytes",
            "loaded_bytes",
            "stored_bytes",
            "shared_bytes",
            "remote_bytes",
        )
    )


@dataclass
class SimulatedCompiler:
    """g++ in NVRTC's place. ``headers`` are the kernels' texts, by file name.

    With ``counts_accesses`` the kernels tell the driver of each load and store of memory.
    """

    folder: Path
    headers: dict[str, str] = field(default_factory=nvrtc.kernel_sources)
    counts_accesses: bool = False

    def compile(self, source: str, kernels: Sequence[str], capability: tuple[int, int]) -> bytes:
        """Return the path of a shared library."""
        del capability
        entries = "".join(f"SIMULATED_ENTRY({name})\n" for name in kernels)
        text = f"#define PARMLP_SIMULATED\n{source}{entries}"
        flags = ["-fsanitize=thread"] if self.counts_accesses else []
        parts = [text, *flags, *self.headers.values()]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        library = self.folder / f"{key}.so"
        if not library.exists():
            folder = self.folder / key
            folder.mkdir()
            for name, header in self.headers.items():
                (folder / name).write_text(header)
            (folder / "main.cpp").write_text(text)
            shim = SIMULATOR / "cuda_shim.h"
            sources, compiled = folder / "main.cpp", folder / "main.o"
            subprocess.run(
                [*CXX, *WARNINGS, *flags, "-include", shim, "-c", sources, "-o", compiled],
                check=True,
            )
            # by itself: the flag would bring the sanitizer's library
            subprocess.run([*CXX, compiled, "-o", library], check=True)
        return bytes(library)


class Simulator:
    """The simulated driver, with its controls."""

    def __init__(self, folder: Path) -> None:
        library = folder / "driver.so"
        subprocess.run([*CXX, SIMULATOR / "driver.cpp", "-o", library, "-ldl"], check=True)
        self._library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self._library.simulator_error.restype = ctypes.c_char_p
        self.driver = Driver(self._library)
        self.compiler = SimulatedCompiler(folder)

    def reset(self, seed: int = 0, memory: int = MEMORY) -> None:
        """Start the random orders anew, and forget faults."""
        self._library.simulator_reset(ctypes.c_uint(seed), ctypes.c_size_t(memory))

    def counters(self) -> Counters:
        """Return what was launched since the last reset."""
        counters = Counters()
        self._library.simulator_counters(ctypes.byref(counters))
        return counters
