"""What a competitor gets and what it must offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parmlp.study.measure.workload import Workload
from parmlp.study.records import Configuration

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Work:
    """The same training problem for everybody; arrays are read-only.

    X : (n, N0) float32, labels : (n,) int64 class indices,
    coefs : list of (N_l, N_{l+1}) float32, intercepts : list of (N_{l+1},) float32.
    """

    workload: Workload
    threads: int
    X: Array
    labels: Array
    coefs: list[Array]
    intercepts: list[Array]

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each layer."""
        return self.workload.layers

    @property
    def batch(self) -> int:
        """Rows of a minibatch."""
        return self.workload.batch

    @property
    def configuration(self) -> Configuration:
        """Activations, loss, solver."""
        return self.workload.configuration

    def one_hot(self) -> Array:
        """(n, N_last) float32 targets, for the mean squared error."""
        return np.eye(self.layers[-1], dtype=np.float32)[self.labels]

    @property
    def is_faithful(self) -> bool:
        """Sigmoid with mse and sgd; else relu, softmax, log_loss, adam."""
        return self.configuration.loss == "mse"


@dataclass
class Result:
    """Loss of the last epoch, and the parameters in canonical shapes after it."""

    loss: float
    coefs: list[Array]
    intercepts: list[Array]


class Rival(Protocol):
    """One competitor in one mode, inside its own process.

    ``run_epoch`` does what a fit does for the rows in `order` (m,) int64: gather each minibatch by
    index (the last may be short), forward, loss, L2 where the configuration has it, backward,
    update. It returns when the work is done, not when it is queued.
    """

    def available(self, workload: Workload) -> str | None:
        """None when it can train the workload here, else the reason why not."""

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that do the work."""

    def setup(self, work: Work) -> None:
        """Take data and initial parameters; compile what can be compiled."""

    def run_epoch(self, order: Array) -> None:
        """One pass over `order`, starting from where the last one ended."""

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""


class SelfClocked(Protocol):
    """What a competitor offers besides when it trains through a whole fit.

    A fit draws its own orders, so the driver asks for a number of rows instead of giving one.
    """

    def run_fit(self, rows: int) -> tuple[int, dict[str, float]]:
        """Train on about `rows` rows; return how many, and seconds by its own clock by name.

        "seconds" among them is the round's time, where not the whole fit is to be timed.
        """


class FitsEpochs(Protocol):
    """What a competitor offers besides whose fit draws its own orders and tells of each epoch."""

    def fit_epochs(self, epochs: int, seed: int, after: Callable[[Result, float], None]) -> None:
        """Train `epochs` epochs from the initial parameters.

        ``after(result, seconds)`` is called after each one, with the seconds of that epoch.
        """


def only_in_bf16(workload: Workload) -> str | None:
    """The reason why a competitor that is made for bfloat16 leaves a workload out."""
    return None if workload.configuration.precision == "bf16" else "only in bfloat16"


def openblas_flags() -> tuple[str, str] | str:
    """Linker and compiler flags for ``scipy-openblas32``, or the reason why there are none.

    Its symbols are prefixed (``scipy_sgemm_``), hence the macros for the routines that Theano and
    PyTensor call.
    """
    reason = missing("scipy_openblas32")
    if reason:
        return reason
    import scipy_openblas32

    lib = scipy_openblas32.get_lib_dir()
    routines = [k + r for k in "sd" for r in ("gemm_", "gemv_", "ger_", "dot_", "axpy_", "scal_")]
    # Both add an rpath for every -L themselves; -Wl,-rpath here would be split at its commas.
    return f"-L{lib} -lscipy_openblas", " ".join(f"-D{r}=scipy_{r}" for r in routines)


def missing(module: str) -> str | None:
    """The reason when a module cannot be imported, None when it can.

    A rival's own breakage (a wrong NumPy beside it) is an availability reason as well, so any
    exception counts.
    """
    import importlib

    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{module} cannot be imported: {type(error).__name__}: {error}"
    return None
