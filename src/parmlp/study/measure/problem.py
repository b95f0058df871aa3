"""Data and initial weights of a workload, the same for every competitor."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from parmlp.study.measure.rivals.base import Array, Work
from parmlp.study.measure.workload import Workload

SEED = 20160501


@dataclass(frozen=True)
class Rows:
    """X (n, N0) float32 and labels (n,) int64; -1 is a label that does not occur in training."""

    X: Array
    labels: Array


@dataclass(frozen=True)
class Problem:
    """X (n, N0) float32, labels (n,) int64, glorot-uniform coefs and zero intercepts, float32."""

    X: Array
    labels: Array
    coefs: list[Array]
    intercepts: list[Array]
    description: str
    zero_fraction: float
    test: Rows | None = None
    validation: Rows | None = None


def make_problem(workload: Workload) -> Problem:
    """Random data, or the real data set that the workload names; both seeded.

    Raises
    ------
    ValueError
        If the data is unknown or does not fit the net.
    parmlp's own errors
        If a real data set cannot be had; they say what to do.
    """
    return _make_problem(workload.layers, workload.data, workload.rows, workload.seed)


@functools.lru_cache(maxsize=1)  # the next workload is often the same net and data
def _make_problem(layers: tuple[int, ...], name: str, rows: int | None, seed: int) -> Problem:
    from parmlp.study.measure import data

    rng = np.random.default_rng(SEED + seed)
    n_in, n_out = layers[0], layers[-1]
    if name == "random":
        assert rows is not None
        # Normal values: nothing is zero, so no kernel can skip work. The labels are those of a
        # random linear teacher, so that there is something to learn.
        X = rng.standard_normal((rows, n_in), dtype=np.float32)
        teacher = rng.standard_normal((n_in, n_out), dtype=np.float32)
        labels = np.argmax(X @ teacher, axis=1)
        description = "random: standard normal, no zeros, labels of a random linear teacher"
        test = validation = None
    else:
        found = data.take_rows(data.load_data(name), rows)
        X, labels, description = found.train.X, found.train.labels, found.description
        test, validation = found.test, found.validation
    if X.shape[1] != n_in or int(labels.max()) != n_out - 1:
        raise ValueError(
            f"a net {layers} does not fit {name}: it has {X.shape[1]} features and "
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
        test=test,
        validation=validation,
    )


def save(problem: Problem, folder: Path) -> None:
    """Write the arrays where the competitors' processes read them."""
    np.save(folder / "X.npy", problem.X)
    np.save(folder / "labels.npy", problem.labels)
    for i, (w, b) in enumerate(zip(problem.coefs, problem.intercepts, strict=True)):
        np.save(folder / f"coef{i}.npy", w)
        np.save(folder / f"intercept{i}.npy", b)
    for name in ("test", "validation"):
        held_out: Rows | None = getattr(problem, name)
        if held_out is not None:
            np.savez(folder / f"{name}.npz", X=held_out.X, labels=held_out.labels)


def load(workload: Workload, threads: int, folder: Path) -> Work:
    """The inverse of `save`; every array is the caller's own memory."""
    layers = range(len(workload.layers) - 1)
    return Work(
        workload,
        threads,
        np.load(folder / "X.npy"),
        np.load(folder / "labels.npy"),
        [np.load(folder / f"coef{i}.npy") for i in layers],
        [np.load(folder / f"intercept{i}.npy") for i in layers],
    )


def load_held_out(name: str, folder: Path) -> Rows | None:
    """The rows saved as `name`, "test" or "validation"; None where the problem has none."""
    file = folder / f"{name}.npz"
    if not file.exists():
        return None
    with np.load(file) as arrays:
        return Rows(arrays["X"], arrays["labels"])
