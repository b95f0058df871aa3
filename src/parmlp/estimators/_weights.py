"""The weights of a network as arrays: ``coefs[l]`` (n_in, n_out) and ``intercepts[l]`` (n_out,)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

# "small random values near zero": the standard deviation of weights and biases of the paper's
# initialization, the value its source (Stanford's UFLDL tutorial) suggests
_SMALL = 0.01


@dataclass(frozen=True)
class Weights:
    """Weights of one dtype whose shapes form a network."""

    coefs: list[NDArray[Any]]
    intercepts: list[NDArray[Any]]

    @property
    def layer_units(self) -> list[int]:
        """Units of each layer, inputs first."""
        return [self.coefs[0].shape[0], *(int(b.shape[0]) for b in self.intercepts)]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.coefs[0].dtype


def draw_weights(
    layer_units: Sequence[int],
    weight_init: str,
    activation: str,
    dtype: np.dtype[Any],
    random_state: np.random.RandomState,
) -> Weights:
    """Draw initial weights.

    ========================  ============================================  ===============
    weight_init               weights                                       biases
    ========================  ============================================  ===============
    scikit-learn              uniform(-r, r), r = sqrt(6 / (n_in + n_out)),  uniform(-r, r)
                              with 2 for 6 under sigmoid
    glorot_uniform            uniform(-r, r), r = sqrt(6 / (n_in + n_out))  0
    he                        normal, standard deviation sqrt(2 / n_in)     0
    small_random              normal, standard deviation 0.01               likewise
    ========================  ============================================  ===============

    Values are drawn in float64 layer by layer, weights before biases, and rounded to ``dtype``, so
    that "scikit-learn" consumes ``random_state`` exactly as scikit-learn does.
    """
    coefs: list[NDArray[Any]] = []
    intercepts: list[NDArray[Any]] = []
    for n_in, n_out in pairwise(layer_units):
        if weight_init == "scikit-learn":
            factor = 2.0 if activation in ("logistic", "sigmoid") else 6.0
            bound = np.sqrt(factor / (n_in + n_out))
            W = random_state.uniform(-bound, bound, (n_in, n_out))
            b = random_state.uniform(-bound, bound, n_out)
        elif weight_init == "glorot_uniform":
            bound = np.sqrt(6.0 / (n_in + n_out))
            W = random_state.uniform(-bound, bound, (n_in, n_out))
            b = np.zeros(n_out)
        elif weight_init == "he":
            W = random_state.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))
            b = np.zeros(n_out)
        elif weight_init == "small_random":
            W = random_state.normal(0.0, _SMALL, (n_in, n_out))
            b = random_state.normal(0.0, _SMALL, n_out)
        else:
            raise ValueError(f"unknown weight_init {weight_init!r}")
        coefs.append(W.astype(dtype, copy=False))
        intercepts.append(b.astype(dtype, copy=False))
    return Weights(coefs, intercepts)


def check_weights(
    coefs: Sequence[Any],
    intercepts: Sequence[Any],
    n_features: int,
    n_outputs: int,
    dtype: str = "auto",
) -> Weights:
    """Return ``coefs_`` and ``intercepts_``, which anyone may have assigned or edited, as weights.

    Parameters
    ----------
    coefs, intercepts : sequence of array-like
    n_features, n_outputs : int
        What the estimator was fitted for.
    dtype : {"auto", "float32", "float64"}
        "auto": float32 if every array is, else float64.

    Raises
    ------
    ValueError
        When the arrays do not form a network from ``n_features`` inputs to ``n_outputs`` outputs,
        or hold NaN or infinity.
    """
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        if not isinstance(arrays, list | tuple):
            raise ValueError(f"{name} is {arrays!r}: it must be a list of arrays, one a layer.")
    if len(coefs) != len(intercepts) or len(coefs) == 0:
        raise ValueError(
            f"coefs_ holds {len(coefs)} arrays and intercepts_ {len(intercepts)}: a network has "
            "one of each for every layer after the inputs."
        )
    Ws = [np.asarray(W) for W in coefs]
    bs = [np.asarray(b) for b in intercepts]
    if dtype == "auto":
        dtype = "float32" if all(a.dtype == np.float32 for a in Ws + bs) else "float64"
    n_in = n_features
    for layer, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        if W.ndim != 2 or W.shape[0] != n_in or W.shape[1] == 0:
            raise ValueError(
                f"coefs_[{layer}] has shape {W.shape}, but layer {layer} has {n_in} units: "
                f"the shape must be ({n_in}, units of layer {layer + 1})."
            )
        if b.shape != (W.shape[1],):
            raise ValueError(
                f"intercepts_[{layer}] has shape {b.shape}, but coefs_[{layer}] has shape "
                f"{W.shape}: the shape must be ({W.shape[1]},)."
            )
        n_in = W.shape[1]
    if n_in != n_outputs:
        raise ValueError(
            f"coefs_[{len(Ws) - 1}] has shape {Ws[-1].shape}, but the network has {n_outputs} "
            f"outputs: the shape must be ({Ws[-1].shape[0]}, {n_outputs})."
        )
    weights = Weights(
        [np.ascontiguousarray(W, dtype=dtype) for W in Ws],
        [np.ascontiguousarray(b, dtype=dtype) for b in bs],
    )
    for name, arrays in (("coefs_", weights.coefs), ("intercepts_", weights.intercepts)):
        for layer, array in enumerate(arrays):
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name}[{layer}] contains NaN, infinity or a value too large for {dtype}: "
                    "assign finite weights, or fit anew with warm_start=False."
                )
    return weights
