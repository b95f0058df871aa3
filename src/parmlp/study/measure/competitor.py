"""The driver's end of a competitor: start its process, send a command, read the answer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from parmlp.study.measure.rivals import Entry
from parmlp.study.measure.rivals.base import Result
from parmlp.study.measure.workload import Workload

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


class CompetitorTimeout(CompetitorError):
    """It gave no answer in time and was killed."""


class Competitor:
    """One entry with one number of threads, pinned to as many CPUs, in a process of its own.

    Parameters
    ----------
    python : str
        Interpreter to run it with; any but our own need not have parmlp.
    log : path
        Gets what the process writes to stdout and stderr.
    patience : float
        Seconds a command may take.
    path : tuple of str
        Folders that its interpreter looks for modules in first.

    Raises
    ------
    CompetitorError
        If the process cannot be started.
    """

    def __init__(
        self,
        entry: Entry,
        threads: int,
        cpus: tuple[int, ...],
        *,
        python: str,
        log: Path,
        patience: float = PATIENCE,
        path: tuple[str, ...] = (),
    ) -> None:
        self.entry, self.threads, self.cpus = entry, threads, cpus
        self._log, self._patience = log, patience
        environment = dict(os.environ)
        environment.update({name: str(threads) for name in _THREAD_VARIABLES})
        # XLA sizes its pool by the affinity; the flag keeps it from handing work over at all.
        eigen = "true" if threads > 1 else "false"
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen}"
        environment["JAX_PLATFORMS"] = "cpu" if entry.device == "cpu" else "cuda"
        folders = [*path, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(folders)
        # -P: neither the working directory nor the script's folder is looked in for modules.
        worker = ["-P", "-m", "parmlp.study.measure.worker"]
        if python != sys.executable:
            worker = ["-P", str(Path(__file__).with_name("bare_start.py"))]
        with log.open("w") as stream:
            try:
                self._process = subprocess.Popen(
                    [python, *worker, entry.target, ",".join(map(str, cpus))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    env=environment,
                    text=True,
                    bufsize=1,
                )
            except OSError as error:
                raise CompetitorError(f"{self.label} could not be started: {error}") from error

    @property
    def label(self) -> str:
        return f"{self.entry.name}@{self.threads}"

    def setup(self, workload: Workload, folder: Path) -> dict[str, Any]:
        """Hand over a workload; the answer has "unavailable" with a reason, or "versions"."""
        return self._ask(
            "setup", workload=workload.to_dict(), threads=self.threads, folder=str(folder)
        )

    def check(self, order: Path, result: Path, layers: int) -> tuple[Result, dict[str, Any]]:
        """The result after the rows of `order`; its seconds include compilation."""
        answer = self._ask("check", order=str(order), result=str(result))
        with np.load(result) as arrays:
            coefs = [arrays[f"coef{i}"] for i in range(layers)]
            intercepts = [arrays[f"intercept{i}"] for i in range(layers)]
        return Result(answer["loss"], coefs, intercepts), answer

    def warm_up(self, order: Path, target: float, minibatches: int = 1) -> dict[str, Any]:
        """Settle how many rows a round of about `target` seconds has; at least `minibatches`."""
        return self._ask("warm_up", order=str(order), target=target, minibatches=minibatches)

    def round(self) -> dict[str, Any]:
        """Time one round."""
        return self._ask("round")

    def train(self, epochs: int) -> dict[str, Any]:
        """Train from the initial parameters; curves of loss, accuracies and seconds by epoch."""
        return self._ask("train", epochs=epochs)

    def profile(self) -> dict[str, Any]:
        """Where a step's time goes."""
        return self._ask("profile")

    def release(self) -> None:
        """Let it forget the workload."""
        self._ask("release")

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
            line = self._read_line(do)
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise CompetitorError(f"{self.label} ended with status {code}:\n{self._tail()}")
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:  # it died while it wrote
            raise CompetitorError(
                f"{self.label} in {do} answered {line!r}\n{self._tail()}"
            ) from None
        if "error" in answer:
            raise CompetitorError(f"{self.label} in {do}: {answer['error']}\n{self._tail()}")
        return answer

    def _read_line(self, do: str) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + self._patience
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(deadline - time.monotonic()):
                self._process.kill()
                raise CompetitorTimeout(
                    f"{self.label} gave no answer to {do} in {self._patience:.0f} s; killed"
                )
        # Answers are one short line each, written whole.
        return stdout.readline()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])
