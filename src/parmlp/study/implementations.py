"""The implementations that are compared: the authors' rows, ours, and today's libraries."""

from dataclasses import dataclass

from parmlp.study.errors import StudyError
from parmlp.study.measure.rivals import GPU_RIVALS, RIVALS, Entry


@dataclass(frozen=True)
class Implementation:
    """One row of the tables.

    Attributes
    ----------
    name : str
    modes : tuple of Entry
        Ways to run it; the one that is fastest in a cell is timed.
    serial : bool
        Whether it knows one thread only.
    reason : str or None
        Why it cannot be measured anywhere, where that is so.
    """

    name: str
    modes: tuple[Entry, ...]
    serial: bool = False
    reason: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it needs a GPU."""
        return any(mode.device == "gpu" for mode in self.modes)

    @property
    def venv(self) -> str | None:
        """The environment that it needs; None for our own."""
        return self.modes[0].venv if self.modes else None


_RIVALS = "parmlp.study.measure.rivals"


def _own(name: str, file: str, kind: str, serial: bool = False) -> Implementation:
    return Implementation(name, (Entry(name, f"{_RIVALS}.{file}:{kind}", None),), serial)


def _own_on_gpu(name: str, file: str, kind: str) -> Implementation:
    entry = Entry(name, f"{_RIVALS}.{file}:{kind}", None, device="gpu")
    return Implementation(name, (entry,), serial=True)


def _rival(name: str, *modes: str) -> Implementation:
    return Implementation(name, tuple(RIVALS[mode] for mode in modes))


def _rival_on_gpu(name: str, *modes: str) -> Implementation:
    return Implementation(name, tuple(GPU_RIVALS[mode] for mode in modes), serial=True)


IMPLEMENTATIONS: dict[str, Implementation] = {
    i.name: i
    for i in (
        _own("naive_serial", "baselines", "NaiveSerial", serial=True),
        _own("naive_pthreads", "baselines", "NaivePthreads"),
        _own("blas_serial", "baselines", "BlasSerial", serial=True),
        _own("blas_parallel", "baselines", "BlasParallel"),
        _own_on_gpu("cuda", "cuda_rungs", "Cuda"),
        _own_on_gpu("cuda_optimized", "cuda_rungs", "CudaOptimized"),
        _own("parmlp_serial", "estimator", "Serial", serial=True),
        _own("parmlp_threads", "estimator", "Threads"),
        _own("parmlp_openmp", "estimator", "Openmp"),
        _own_on_gpu("parmlp_cuda", "estimator", "Cuda"),
        _own("parmlp_partial_gradients", "estimator", "PartialGradients"),
        _own("parmlp_fork_join", "estimator", "ForkJoin"),
        _rival("theano", "theano"),
        _rival("pytensor", "pytensor_c", "pytensor_numba", "pytensor_jax"),
        _rival("torch", "torch_eager", "torch_addmm", "torch_compile"),
        _rival("jax", "jax_scan", "jax_gathered"),
        _rival("numpy", "numpy"),
        _rival("sklearn", "sklearn"),
        Implementation(
            "theano_gpu",
            (),
            serial=True,
            reason="not measurable: Theano's GPU back end (libgpuarray) is dead upstream and does "
            "not run with today's CUDA",
        ),
        _rival_on_gpu("pytensor_gpu", "pytensor_jax_gpu"),
        _rival_on_gpu("torch_gpu", "torch_graph", "torch_compiled_graph"),
        _rival_on_gpu("jax_gpu", "jax_scan_gpu"),
    )
}


def select(names: list[str]) -> list[Implementation]:
    """The implementations of these names.

    Raises
    ------
    StudyError
        For an unknown one; the message lists those there are.
    """
    unknown = [n for n in names if n not in IMPLEMENTATIONS]
    if unknown:
        raise StudyError(
            f"no implementation {', '.join(unknown)}; there are {', '.join(IMPLEMENTATIONS)}"
        )
    return [IMPLEMENTATIONS[n] for n in names]
