"""Losses: what is reported, and the delta of the output layer that training uses.

Notation: N rows, K outputs, w_i the weight of row i (1 where none is given), S = sum_i w_i of the
minibatch, a the output activations, y the targets, both of shape (N, K).

Every function returns ``(loss, delta)``: the loss of the minibatch without its L2 term, and
``delta[i, k] = w_i * dl_i/dz_ik`` **not yet divided by S** (the network divides once, where
gradients are formed). The L2 term stands in ``network.py``.

| loss          | reported                                                | delta / w            |
| ------------- | ------------------------------------------------------- | -------------------- |
| log_loss      | -1/S sum_i w_i sum_k y log a (softmax)                  | a - y                |
|               | -1/S sum_i w_i sum_k y log a + (1-y) log(1-a) (sigmoid) | a - y                |
| mse           | 1/(2S) sum_i w_i sum_k (y - a)^2                        | (a - y) * f'(z)      |
| squared_error | 1/(2SK) sum_i w_i sum_k (y - a)^2                       | a - y                |
| poisson       | 1/S sum_i w_i sum_k y log(y/a) - y + a                  | a - y                |

``mse`` is the paper's equation 1 with the 1/2 that its gradient implies: L = 1/(2N) sum_i
||y_i - a_i||^2, summed over outputs, so that delta = (a - y) * f'(z) is its exact gradient.
``squared_error`` is scikit-learn's: the reported loss is averaged over the K outputs and the
gradient is not, so **the gradient is that of K times the reported loss**. Every other delta is the
exact gradient of what is reported.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import xlogy

from .activations import Array, sigmoid_derivative

Loss = Callable[[Array, Array, Array, Array], tuple[float, Array]]


def _mean_over_rows(per_row: Array, w: Array) -> float:
    return float((w * per_row).sum() / w.sum())


def _clipped(a: Array) -> Array:
    # scikit-learn's: a probability is kept this far from 0 and 1 inside the logarithm only.
    # np.clip hands NaN on.
    eps = np.finfo(np.float64).eps
    return np.clip(a, eps, 1.0 - eps)


def log_loss_softmax(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    per_row = -xlogy(y, _clipped(a)).sum(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y)


def log_loss_sigmoid(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    p = _clipped(a)
    per_row = -(xlogy(y, p) + xlogy(1.0 - y, 1.0 - p)).sum(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y)


def mse_identity(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    per_row = 0.5 * ((y - a) ** 2).sum(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y)


def mse_sigmoid(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    per_row = 0.5 * ((y - a) ** 2).sum(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y) * sigmoid_derivative(z, 0.0)


def squared_error(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    per_row = 0.5 * ((y - a) ** 2).mean(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y)


def poisson(z: Array, a: Array, y: Array, w: Array) -> tuple[float, Array]:
    per_row = (xlogy(y, y / a) - y + a).sum(axis=1)
    return _mean_over_rows(per_row, w), w[:, None] * (a - y)


#: (loss, output activation) -> function
LOSSES: dict[tuple[str, str], Loss] = {
    ("log_loss", "softmax"): log_loss_softmax,
    ("log_loss", "sigmoid"): log_loss_sigmoid,
    ("mse", "identity"): mse_identity,
    ("mse", "sigmoid"): mse_sigmoid,
    ("squared_error", "identity"): squared_error,
    ("poisson", "exp"): poisson,
}

LEGAL_PAIRS = tuple(LOSSES)
