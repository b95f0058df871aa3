"""The driver's end of a competitor: start its process, send a command, read the answer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.cells import Cell
from benchmarks.cpu.machine import ROOT
from benchmarks.cpu.rivals import Entry
from benchmarks.cpu.rivals.base import Result

#: Seconds a command may take; torch.compile needs most of a minute on a slow machine.
PATIENCE = 600.0

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",
)


class CompetitorError(Exception):
    """The competitor failed; the message has its own words."""


class Competitor:
    """One entry with one number of threads, pinned to as many CPUs, in a process of its own."""

    def __init__(self, entry: Entry, threads: int, cpus: tuple[int, ...], python: str, log: Path):
        self.entry, self.threads, self.cpus = entry, threads, cpus
        self._log = log
        environment = dict(os.environ)
        environment.update({name: str(threads) for name in _THREAD_VARIABLES})
        # XLA sizes its pool by the affinity; the flag keeps it from handing work over at all.
        eigen = "true" if threads > 1 else "false"
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen}"
        environment["JAX_PLATFORMS"] = "cpu"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.cpu.worker", entry.target, ",".join(map(str, cpus))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=environment,
                text=True,
                bufsize=1,
            )

    @property
    def label(self) -> str:
        return f"{self.entry.name}@{self.threads}"

    def setup(self, cell: Cell, folder: Path) -> dict[str, Any]:
        return self._ask("setup", cell=cell.to_dict(), threads=self.threads, folder=str(folder))

    def check(self, order: Path, result: Path, layers: int) -> tuple[Result, float]:
        """The result after the rows of `order`, and the seconds it took, compilation included."""
        answer = self._ask("check", order=str(order), result=str(result))
        with np.load(result) as arrays:
            coefs = [arrays[f"coef{i}"] for i in range(layers)]
            intercepts = [arrays[f"intercept{i}"] for i in range(layers)]
        return Result(answer["loss"], coefs, intercepts), answer["seconds"]

    def warm_up(self, order: Path, target: float) -> dict[str, Any]:
        return self._ask("warm_up", order=str(order), target=target)

    def round(self) -> dict[str, Any]:
        return self._ask("round")

    def close(self) -> None:
        """End the process; it reads end-of-file and returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may be gone already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._read_line()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise CompetitorError(f"{self.label} ended with status {code}:\n{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CompetitorError(f"{self.label} in {do}: {answer['error']}\n{self._tail()}")
        return answer

    def _read_line(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(deadline - time.monotonic()):
                self._process.kill()
                raise CompetitorError(f"{self.label} gave no answer in {PATIENCE:.0f} s; killed")
        # Answers are one short line each, written whole.
        return stdout.readline()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])
