"""The machine's own limits, measured beside the competitors: FMA peak and memory bandwidth.

The kernels are in ``ceiling.c``, compiled at run time with the system's C compiler ($CC, or cc).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FLAGS = ("-O2", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")


@dataclass(frozen=True)
class Peak:
    """FLOP/s of `len(cpus)` cores together, and which kernel gave it."""

    cpus: tuple[int, ...]
    flops: float
    kernel: str
    by_kernel: dict[str, float]


class Ceiling:
    """Compiled peak kernels.

    Raises
    ------
    RuntimeError
        If no C compiler is found or it fails; a fraction of peak needs a measured peak.
    """

    def __init__(self) -> None:
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError(
                "the FMA peak is measured with a small C kernel and no C compiler was found; "
                "install one or name it in $CC"
            )
        source = Path(__file__).with_name("ceiling.c")
        with tempfile.TemporaryDirectory(prefix="parmlp-ceiling-") as folder:
            library = Path(folder, "ceiling.so")
            done = subprocess.run(
                [compiler, *FLAGS, str(source), "-o", str(library)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{compiler} could not compile {source.name}:\n{done.stderr}")
            self._library = ctypes.CDLL(str(library))
        self.compiler = f"{compiler} {' '.join(FLAGS)}"
        self.kernels = tuple(k for k in ("fma_256", "fma_512") if hasattr(self._library, k))
        for name in (*self.kernels, "read_memory"):
            getattr(self._library, name).restype = ctypes.c_double

    def peak(self, cpus: tuple[int, ...], seconds: float = 0.04) -> Peak:
        """Best FLOP/s over the kernels, one pinned thread on each of `cpus` at the same time."""
        rates = {}
        for kernel in self.kernels:
            trial = 200_000
            work, took = self._together(kernel, cpus, (ctypes.c_long(trial),))
            repeats = max(trial, int(trial * seconds / took))
            work, took = self._together(kernel, cpus, (ctypes.c_long(repeats),))
            rates[kernel] = work / took
        best = max(rates, key=lambda k: rates[k])
        return Peak(cpus, rates[best], best, rates)

    def bandwidth(self, cpus: tuple[int, ...], mebibytes: int = 192) -> float:
        """Bytes read a second by one pinned thread on each of `cpus`, each from its own array."""
        arrays = [np.ones(mebibytes * 2**18, np.float32) for _ in cpus]
        starts = [x.ctypes.data + (-x.ctypes.data) % 64 for x in arrays]
        floats = ctypes.c_long(arrays[0].size - 16)
        best = 0.0
        for _ in range(3):
            work, took = self._together(
                "read_memory", cpus, (floats,), [ctypes.c_void_p(s) for s in starts]
            )
            best = max(best, work / took)
        return best

    def _together(
        self,
        kernel: str,
        cpus: tuple[int, ...],
        arguments: tuple[ctypes.c_long, ...],
        first: list[ctypes.c_void_p] | None = None,
    ) -> tuple[float, float]:
        """Work done by all threads, and seconds from the first begin to the last end."""
        barrier = threading.Barrier(len(cpus))
        function = getattr(self._library, kernel)
        results: dict[int, tuple[float, float, float]] = {}
        failures: list[BaseException] = []

        def run(index: int) -> None:
            begin, end, sink = ctypes.c_double(), ctypes.c_double(), ctypes.c_float()
            try:
                os.sched_setaffinity(0, {cpus[index]})  # 0 is the calling thread, on Linux
                head = (first[index],) if first else ()
                barrier.wait()
                work = function(
                    *head, *arguments, ctypes.byref(begin), ctypes.byref(end), ctypes.byref(sink)
                )
                results[index] = (float(work), begin.value, end.value)
            except BaseException as error:
                barrier.abort()
                failures.append(error)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(cpus))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        work = sum(w for w, _, _ in results.values())
        return work, max(e for _, _, e in results.values()) - min(b for _, b, _ in results.values())
