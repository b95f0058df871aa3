"""Accuracy of parameters on held-out rows, computed alike for every competitor, by NumPy."""

from __future__ import annotations

import numpy as np

from parmlp.study.measure.problem import Rows
from parmlp.study.measure.rivals.base import Array, Result

_PIECE = 4096  # rows at a time, so that wide layers of many rows need little memory


def accuracy(result: Result, hidden_activation: str, rows: Rows | None) -> float | None:
    """Share of `rows` whose largest output is their label's; None without rows.

    Every output activation grows with its input, so the last one need not be computed.
    """
    if rows is None:
        return None
    right = 0
    for start in range(0, len(rows.X), _PIECE):
        outputs = _outputs(result, hidden_activation, rows.X[start : start + _PIECE])
        right += int((outputs.argmax(axis=1) == rows.labels[start : start + _PIECE]).sum())
    return right / len(rows.X)


def _outputs(result: Result, hidden_activation: str, X: Array) -> Array:
    a = X
    last = len(result.coefs) - 1
    for layer, (w, b) in enumerate(zip(result.coefs, result.intercepts, strict=True)):
        a = a @ w + b
        if layer == last:
            break
        if hidden_activation == "relu":
            a = np.maximum(a, 0.0)
        elif hidden_activation == "sigmoid":
            with np.errstate(over="ignore"):  # exp of a large number is inf, and 1/inf is right
                a = 1.0 / (1.0 + np.exp(-a))
        else:
            raise ValueError(f"hidden activations are relu and sigmoid, not {hidden_activation!r}")
    return a
