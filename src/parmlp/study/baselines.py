"""The implementations of the paper's authors, rebuilt to be timed beside parmlp's own.

All train minibatch gradient descent as the paper has it: every example of a minibatch goes forward
and backward by itself, its gradient is added to the minibatch's, then the parameters move. In the
paper's notation, with L layers and a minibatch of m examples:

    z_l = W_l^T a_{l-1} + b_l,   a_l = f(z_l)
    delta_L = (a_L - y) * f'(z_L),   delta_{l-1} = (W_l delta_l) * f'(z_{l-1})
    W_l <- W_l - learning_rate / m * sum over examples of a_{l-1} delta_l^T,   b_l alike

==================  ================================================================================
``naive_serial``    "Naive Serial": three nested loops in C++, one thread.
``naive_pthreads``  "Multicore Parallel": the same loops; the examples of each minibatch are split
                    over POSIX threads that are created and joined for it, each with a partial
                    gradient of its own, and these are added up afterwards.
``blas_serial``     "Fast Serial": matrix-vector products (sgemv) and rank-1 updates (sger) by BLAS,
                    one thread.
``blas_parallel``   "Fast Parallel": the same with the BLAS's own threads inside each product.
==================  ================================================================================

The loops are compiled with ``-O3`` for the processor family's least instruction set (SSE2 on
x86-64) and without ``-ffast-math``; they walk all matrices in the order they lie in memory. The
BLAS is SciPy's, taken from :mod:`scipy.linalg.cython_blas`.

Source: "Parallel Backpropagation for Multilayer Neural Networks" (Kamra, Goyal, Seo, Zois, 2016).
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_blas
from threadpoolctl import ThreadpoolController

from parmlp import _baselines
from parmlp.engines.cpu import MOST_THREADS

__all__ = ["ACTIVATIONS", "IMPLEMENTATIONS", "BlasInfo", "blas_info", "train_epoch"]

#: The authors' rows, as ``implementation=`` takes them.
IMPLEMENTATIONS = ("naive_serial", "naive_pthreads", "blas_serial", "blas_parallel")

#: The paper's activation functions.
ACTIVATIONS = ("sigmoid", "identity")

_SERIAL = ("naive_serial", "blas_serial")

# sgemv as Fortran compilers and SciPy's own OpenBLAS name it
_SGEMV_NAMES = ("scipy_sgemv_", "sgemv_")


@dataclass(frozen=True)
class BlasInfo:
    """The BLAS that SciPy calls.

    Attributes
    ----------
    library : str
        Such as "openblas".
    version : str or None
    threading_layer : str or None
        What its threads are, such as "pthreads".
    n_threads : int
        Threads it now uses.
    """

    library: str
    version: str | None
    threading_layer: str | None
    n_threads: int


def blas_info() -> BlasInfo:
    """Return what is known of SciPy's BLAS.

    Raises
    ------
    RuntimeError
        When the threads of SciPy's BLAS cannot be controlled.
    """
    blas = _blas().lib_controllers[0]
    return BlasInfo(
        blas.internal_api, blas.version, getattr(blas, "threading_layer", None), blas.num_threads
    )


def train_epoch(
    implementation: str,
    coefs: Sequence[NDArray[np.float32]],
    intercepts: Sequence[NDArray[np.float32]],
    X: NDArray[np.float32],
    y: NDArray[np.float32],
    *,
    order: NDArray[np.int64] | None = None,
    batch_size: int,
    learning_rate: float,
    n_threads: int = 1,
    hidden_activation: str = "sigmoid",
    out_activation: str = "sigmoid",
) -> float:
    """Train one epoch; ``coefs`` and ``intercepts`` are updated in place.

    Parameters
    ----------
    implementation : {"naive_serial", "naive_pthreads", "blas_serial", "blas_parallel"}
    coefs : sequence of ndarray of shape (n_in, n_out), float32, C-contiguous and writable
        Weights of each layer.
    intercepts : sequence of ndarray of shape (n_out,), float32, C-contiguous and writable
        Biases of each layer.
    X : ndarray of shape (n_samples, n_features), float32, C-contiguous
    y : ndarray of shape (n_samples, n_outputs), float32, C-contiguous
        Targets; of classes, one-hot rows.
    order : ndarray of shape (n_visited,), int64, or None
        Rows in the order in which they are visited; None for each once, as they stand.
    batch_size : int
        Examples of a minibatch; the last one may be shorter.
    learning_rate : float
    n_threads : int, default=1
        Of ``naive_pthreads`` and ``blas_parallel``; the others have one.
    hidden_activation, out_activation : {"sigmoid", "identity"}

    Returns
    -------
    float
        Loss of the epoch: the mean over its examples of 1/2 ||y - a||^2, with the parameters that
        their minibatch met.

    Raises
    ------
    TypeError, ValueError
        For arrays of another dtype, shape or layout, and for settings out of range.
    RuntimeError
        When a thread cannot be started, or when the BLAS cannot be set to ``n_threads``.
    KeyboardInterrupt
        Between minibatches; the parameters are then those after the last whole one.
    """
    _check_choice("implementation", implementation, IMPLEMENTATIONS)
    _check_choice("hidden_activation", hidden_activation, ACTIVATIONS)
    _check_choice("out_activation", out_activation, ACTIVATIONS)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    _check_threads(implementation, n_threads)
    _check_arrays(coefs, intercepts, X, y)
    epoch = _baselines.Epoch(
        list(coefs),
        list(intercepts),
        X,
        y,
        _checked_order(order, len(X)),
        batch_size,
        learning_rate,
        hidden_activation == "sigmoid",
        out_activation == "sigmoid",
    )
    if implementation == "naive_serial":
        return epoch.naive_serial()
    if implementation == "naive_pthreads":
        return epoch.naive_pthreads(n_threads)
    functions = cython_blas.__pyx_capi__
    blas = _blas()
    with blas.limit(limits=n_threads):
        granted = blas.lib_controllers[0].num_threads
        if granted != n_threads:
            raise RuntimeError(
                f"SciPy's BLAS runs {granted} threads where n_threads={n_threads} was asked for: "
                "use at most as many, or another BLAS."
            )
        return epoch.blas(functions["sgemv"], functions["sger"])


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Return the control over the threads of the one BLAS that SciPy calls; NumPy has its own."""
    functions = ctypes.CDLL(cython_blas.__file__)  # finds what it is linked with, too
    loaded = ThreadpoolController()
    for symbol in _SGEMV_NAMES:
        address = _address(functions, symbol)
        for library in loaded.lib_controllers:
            if address is not None and _address(library.dynlib, symbol) == address:
                return loaded.select(filepath=library.filepath)
    raise RuntimeError(
        "the BLAS that SciPy is linked with is none whose threads threadpoolctl can set, so it "
        "cannot be timed on a known number of them: install SciPy from PyPI, which brings OpenBLAS."
    )


def _address(library: ctypes.CDLL, symbol: str) -> int | None:
    try:
        return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
    except AttributeError:
        return None


def _check_choice(parameter: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {parameter} {value!r}; known: {', '.join(known)}")


def _check_threads(implementation: str, n_threads: int) -> None:
    if not 1 <= n_threads <= MOST_THREADS:
        raise ValueError(f"n_threads must be 1 to {MOST_THREADS}, got {n_threads}")
    if implementation in _SERIAL and n_threads != 1:
        raise ValueError(f"{implementation} has one thread, got n_threads={n_threads}")


def _check_arrays(
    coefs: Sequence[NDArray[np.float32]],
    intercepts: Sequence[NDArray[np.float32]],
    X: NDArray[np.float32],
    y: NDArray[np.float32],
) -> None:
    if not coefs or len(coefs) != len(intercepts):
        raise ValueError(
            "coefs and intercepts need one array a layer each, "
            f"got {len(coefs)} and {len(intercepts)}"
        )
    _check_array("X", X, (None, None))
    n_in = X.shape[1]
    for layer, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        _check_array(f"coefs[{layer}]", W, (n_in, None), writable=True)
        n_in = W.shape[1]
        _check_array(f"intercepts[{layer}]", b, (n_in,), writable=True)
    _check_array("y", y, (len(X), n_in))
    units = [X.shape[1], *(W.shape[1] for W in coefs)]
    if 0 in units:
        raise ValueError(f"every layer needs at least one unit, got {units}")


def _check_array(
    name: str, array: Any, shape: tuple[int | None, ...], *, writable: bool = False
) -> None:
    """Raise unless ``array`` is what the native code takes as it is; None is any size."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} must be an array of float32, got {kind}")
    if array.ndim != len(shape) or any(
        wanted is not None and n != wanted for n, wanted in zip(array.shape, shape, strict=True)
    ):
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{name} has shape {array.shape} where {wanted} is needed")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned; pass a copy")
    if writable and not array.flags.writeable:
        raise ValueError(f"{name} is updated in place, but it is read-only; pass a copy")


def _checked_order(order: NDArray[np.int64] | None, n_samples: int) -> NDArray[np.int64]:
    if order is None:
        order = np.arange(n_samples, dtype=np.int64)
    if order.dtype != np.int64 or order.ndim != 1:
        raise TypeError(
            f"order must be an int64 array of shape (n_visited,), got {order.dtype} {order.shape}"
        )
    if len(order) == 0:
        raise ValueError("an epoch needs at least one row, got none")
    if order.min() < 0 or order.max() >= n_samples:
        outside = order[(order < 0) | (order >= n_samples)][0]
        raise ValueError(f"order holds {outside}, X has rows 0 to {n_samples - 1}")
    return np.ascontiguousarray(order)
