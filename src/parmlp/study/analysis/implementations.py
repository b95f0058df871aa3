"""What is measured, by name: whose it is, where it runs, and how it spreads a step over threads."""

from dataclasses import dataclass
from typing import Literal

Family = Literal["authors", "ours", "rival", "other"]

#: When threads are woken: never, once for each phase of a step, made and joined once a minibatch,
#: or woken for each product of each example.
Handover = Literal["none", "phase", "minibatch", "example"]


@dataclass(frozen=True)
class Implementation:
    """One row of the tables.

    Attributes
    ----------
    name : str
        As in the results.
    label : str
        As in the report.
    family : str
        ``authors``: a row of the authors' table written anew; ``ours``; ``rival``: a library.
    device : str
        ``cpu`` or ``gpu``.
    skips_zeros : bool
        Whether its first layer may leave out products with zeros of the rows.
    hand_over : str
        When work passes to other threads; see `Handover`. Rivals' own is not known: ``none``.
    """

    name: str
    label: str
    family: Family
    device: Literal["cpu", "gpu"] = "cpu"
    hand_over: Handover = "none"
    skips_zeros: bool = False


def _ours(name: str, label: str, hand_over: Handover = "none") -> Implementation:
    return Implementation(name, label, "ours", hand_over=hand_over, skips_zeros=True)


#: In the order of the tables: the authors' rows, ours, the rivals.
IMPLEMENTATIONS = {
    i.name: i
    for i in (
        Implementation("naive_serial", "naive serial", "authors"),
        Implementation("naive_pthreads", "naive Pthreads", "authors", hand_over="minibatch"),
        Implementation("blas_serial", "BLAS serial", "authors"),
        Implementation("blas_parallel", "BLAS parallel", "authors", hand_over="example"),
        Implementation("cuda", "CUDA", "authors", "gpu"),
        Implementation("cuda_optimized", "CUDA optimized", "authors", "gpu"),
        _ours("parmlp_serial", "parmlp serial"),
        _ours("parmlp_threads", "parmlp threads", "phase"),
        _ours("parmlp_openmp", "parmlp OpenMP", "phase"),
        _ours("parmlp_partial_gradients", "parmlp partial gradients", "phase"),
        _ours("parmlp_fork_join", "parmlp fork-join", "minibatch"),
        Implementation("parmlp_cuda", "parmlp CUDA", "ours", "gpu"),
        Implementation("theano", "Theano", "rival"),
        Implementation("pytensor", "PyTensor", "rival"),
        Implementation("torch", "PyTorch", "rival"),
        Implementation("jax", "JAX", "rival"),
        Implementation("numpy", "NumPy", "rival"),
        Implementation("sklearn", "scikit-learn", "rival"),
        Implementation("theano_gpu", "Theano, GPU", "rival", "gpu"),
        Implementation("pytensor_gpu", "PyTensor, GPU", "rival", "gpu"),
        Implementation("torch_gpu", "PyTorch, GPU", "rival", "gpu"),
        Implementation("jax_gpu", "JAX, GPU", "rival", "gpu"),
    )
}


def implementation(name: str) -> Implementation:
    """The implementation of that name; one that is not in the table stands for itself."""
    return IMPLEMENTATIONS.get(name) or Implementation(name, name.replace("_", " "), "other")


def order(name: str) -> tuple[int, str]:
    """Sorts names as the tables have them; unknown ones come last, by name."""
    names = list(IMPLEMENTATIONS)
    return (names.index(name) if name in IMPLEMENTATIONS else len(names), name)
