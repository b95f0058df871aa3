"""Plain NumPy backpropagation: what every competitor must agree with before it is timed."""

# ruff: noqa: PLW2901 (arrays are updated in place)
from __future__ import annotations

import math

import numpy as np

from parmlp.study.measure.problem import Problem
from parmlp.study.measure.rivals.base import Array, Result
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


def train(workload: Workload, problem: Problem, order: Array, dtype: type = np.float64) -> Result:
    """Train one pass over the rows in `order`, minibatch by minibatch.

    Parameters
    ----------
    problem : data and initial parameters; not changed
    order : (m,) row indices; the last minibatch may be short
    dtype : float64; float32 shows what rounding does to the result

    Returns
    -------
    Result
        Loss of the epoch (sum of minibatch losses weighted by their rows, over m) and parameters.
    """
    c = workload.configuration
    W: list[Array] = [np.array(w, dtype=dtype) for w in problem.coefs]
    b: list[Array] = [np.array(v, dtype=dtype) for v in problem.intercepts]
    m = [np.zeros_like(p) for p in W + b]
    v = [np.zeros_like(p) for p in W + b]
    one_hot: Array = np.eye(workload.layers[-1], dtype=dtype)
    total = 0.0
    for t, start in enumerate(range(0, len(order), workload.batch), 1):
        rows = order[start : start + workload.batch]
        n = len(rows)
        y = one_hot[problem.labels[rows]]
        a: list[Array] = [np.asarray(problem.X[rows], dtype=dtype)]
        for layer, (w, bias) in enumerate(zip(W, b, strict=True)):
            z = a[-1] @ w + bias
            last = layer == len(W) - 1
            a.append(_activate(c.out_activation if last else c.hidden_activation, z))
        if c.loss == "mse":
            loss = 0.5 * np.sum((y - a[-1]) ** 2) / n
            delta = (a[-1] - y) * _derivative(c.out_activation, a[-1])
        else:
            loss = -np.sum(y * np.log(np.maximum(a[-1], np.finfo(dtype).tiny))) / n
            delta = a[-1] - y
        loss += 0.5 * c.alpha * sum(float(np.sum(w * w)) for w in W) / n
        total += loss * n
        dW: list[Array] = [np.empty(0)] * len(W)
        db: list[Array] = [np.empty(0)] * len(W)
        for layer in reversed(range(len(W))):
            dW[layer] = (a[layer].T @ delta + c.alpha * W[layer]) / n
            db[layer] = delta.sum(axis=0) / n
            if layer > 0:
                delta = (delta @ W[layer].T) * _derivative(c.hidden_activation, a[layer])
        rate = c.learning_rate * math.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        for i, (p, g) in enumerate(zip(W + b, dW + db, strict=True)):
            if c.solver == "sgd":
                p -= c.learning_rate * g
            else:
                m[i] = BETA_1 * m[i] + (1 - BETA_1) * g
                v[i] = BETA_2 * v[i] + (1 - BETA_2) * g * g
                p -= rate * m[i] / (np.sqrt(v[i]) + EPSILON)
    return Result(total / len(order), W, b)


def _activate(name: str, z: Array) -> Array:
    if name == "sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(-z)))
    if name == "relu":
        return np.asarray(np.maximum(z, 0.0))
    if name == "softmax":
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))
    raise ValueError(f"the reference knows sigmoid, relu and softmax, not {name!r}")


def _derivative(name: str, a: Array) -> Array:
    """f'(z) written in a = f(z)."""
    if name == "sigmoid":
        return np.asarray(a * (1.0 - a))
    if name == "relu":
        return np.asarray((a > 0).astype(a.dtype))
    raise ValueError(f"the reference knows f' of sigmoid and relu, not {name!r}")
