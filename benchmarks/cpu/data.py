"""Data and initial weights of a cell, the same for every competitor."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.cpu.cells import Cell
from benchmarks.cpu.rivals.base import Array, Work

SEED = 20160501


@dataclass(frozen=True)
class Problem:
    """X (n, N0) float32, labels (n,) int64, glorot-uniform coefs and zero intercepts, float32."""

    X: Array
    labels: Array
    coefs: list[Array]
    intercepts: list[Array]
    description: str
    zero_fraction: float


def make_problem(cell: Cell) -> Problem:
    """Random dense data, or the real data set that the cell names; both seeded.

    Raises
    ------
    ValueError
        If the cell's data is unknown or does not fit its net.
    parmlp's own errors
        If a real data set cannot be had; they say what to do.
    """
    return _make_problem(cell.layers, cell.data, cell.n_rows)


@functools.lru_cache(maxsize=1)  # the next cell is often the same net and data
def _make_problem(layers: tuple[int, ...], kind: str, n_rows: int | None) -> Problem:
    rng = np.random.default_rng(SEED)
    n_in, n_out = layers[0], layers[-1]
    if kind == "dense":
        assert n_rows is not None
        # Normal values: nothing is zero, so no kernel can skip work. The labels are those of a
        # random linear teacher, so that there is something to learn.
        X = rng.standard_normal((n_rows, n_in), dtype=np.float32)
        teacher = rng.standard_normal((n_in, n_out), dtype=np.float32)
        labels = np.argmax(X @ teacher, axis=1)
        description = "random: standard normal, no zeros, labels of a random linear teacher"
    elif kind == "mnist":
        from parmlp.datasets import load_mnist

        data = load_mnist(subset="train")
        X, description = data.X, "real: MNIST training set, pixels / 255"
        labels = np.unique(data.y, return_inverse=True)[1]
    elif kind == "kddcup99":
        from parmlp.datasets import load_kddcup99

        data = load_kddcup99(subset="10_percent", target="label")
        X, description = data.X, "real: KDD Cup 1999, 10 percent, one-hot, 23 labels"
        labels = np.unique(data.y, return_inverse=True)[1]
    else:
        raise ValueError(f"unknown data {kind!r}; known are dense, mnist, kddcup99")
    if X.shape[1] != n_in or int(labels.max()) != n_out - 1:
        raise ValueError(
            f"a net {layers} does not fit {kind}: it has {X.shape[1]} features and "
            f"{int(labels.max()) + 1} classes"
        )
    coefs = []
    for a, b in pairwise(layers):
        bound = np.sqrt(6.0 / (a + b))
        coefs.append(rng.uniform(-bound, bound, (a, b)).astype(np.float32))
    return Problem(
        X=np.ascontiguousarray(X, dtype=np.float32),
        labels=labels.astype(np.int64),
        coefs=coefs,
        intercepts=[np.zeros(b, np.float32) for b in layers[1:]],
        description=description,
        zero_fraction=float(np.mean(X[:: max(1, len(X) // 4096)] == 0)),
    )


def save(problem: Problem, folder: Path) -> None:
    """Write the arrays where the competitors' processes read them."""
    np.save(folder / "X.npy", problem.X)
    np.save(folder / "labels.npy", problem.labels)
    for i, (w, b) in enumerate(zip(problem.coefs, problem.intercepts, strict=True)):
        np.save(folder / f"coef{i}.npy", w)
        np.save(folder / f"intercept{i}.npy", b)


def load(cell: Cell, threads: int, folder: Path) -> Work:
    """The inverse of `save`; every array is the caller's own memory."""
    layers = range(len(cell.layers) - 1)
    return Work(
        cell,
        threads,
        np.load(folder / "X.npy"),
        np.load(folder / "labels.npy"),
        [np.load(folder / f"coef{i}.npy") for i in layers],
        [np.load(folder / f"intercept{i}.npy") for i in layers],
    )
