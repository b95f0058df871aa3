"""Theano 1.0.5, the paper's peer: one compiled function a minibatch, C code and OpenBLAS."""

# ruff: noqa: PLW2901 (g is first the sum, then the mean)
from __future__ import annotations

import os
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing, openblas_flags
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class Theano:
    """Data and parameters in shared variables; each call gets the rows' numbers only."""

    def available(self, workload: Workload) -> str | None:
        flags = openblas_flags()
        if isinstance(flags, str):
            # With blas.ldflags empty it is three times slower, which is no fair row.
            return f"theano is only timed with a BLAS: {flags}"
        ldflags, cxxflags = flags
        # Theano reads them once, when it is imported.
        os.environ["THEANO_FLAGS"] = (
            f"device=cpu,floatX=float32,blas.ldflags={ldflags},"
            f"gcc.cxxflags=-O3 -march=native -fno-math-errno -Wno-write-strings {cxxflags}"
        )
        return missing("theano")

    def versions(self) -> dict[str, str]:
        import scipy_openblas32
        import theano

        return {
            "theano": theano.__version__,
            "numpy": np.__version__,
            "scipy_openblas32": scipy_openblas32.get_openblas_config(),
        }

    def setup(self, work: Work) -> None:
        import theano
        import theano.tensor as T

        self.work = work
        c = work.configuration

        def shared(x: Any) -> Any:
            return theano.shared(np.asarray(x, dtype=np.float32))

        X = shared(work.X)
        self.W = [shared(w) for w in work.coefs]
        self.b = [shared(v) for v in work.intercepts]
        rows = T.lvector("rows")
        n = T.cast(rows.shape[0], "float32")
        a = X[rows]
        last = len(self.W) - 1
        for layer, (w, b) in enumerate(zip(self.W, self.b)):  # noqa: B905 (same length)
            a = T.dot(a, w) + b
            if work.is_faithful:
                a = T.nnet.sigmoid(a)
            elif layer < last:
                a = T.nnet.relu(a)
        if work.is_faithful:
            Y = shared(work.one_hot())
            loss = np.float32(0.5) * T.sum((Y[rows] - a) ** 2)
        else:
            labels = theano.shared(work.labels.astype(np.int32))
            p = T.nnet.softmax(a)
            loss = T.sum(T.nnet.categorical_crossentropy(p, labels[rows]))
        params = self.W + self.b
        grads = T.grad(loss, params)
        alpha = np.float32(c.alpha)
        if c.alpha:
            penalty = np.float32(0.5) * alpha * sum(T.sum(w * w) for w in self.W)
            grads = [g + alpha * p for g, p in zip(grads, self.W)] + grads[len(self.W) :]  # noqa: B905
            loss = loss + penalty
        updates = []
        if c.solver == "sgd":
            rate = np.float32(c.learning_rate) / n
            updates = [(p, p - rate * g) for p, g in zip(params, grads)]  # noqa: B905
        else:
            t = shared(0.0)
            t1 = t + np.float32(1)
            b1, b2 = np.float32(BETA_1), np.float32(BETA_2)
            rate = np.float32(c.learning_rate) * T.sqrt(1 - b2**t1) / (1 - b1**t1)
            updates.append((t, t1))
            for p, g in zip(params, grads):  # noqa: B905
                g = g / n
                m, v = shared(np.zeros(p.get_value().shape)), shared(np.zeros(p.get_value().shape))
                m1 = b1 * m + np.float32(1 - BETA_1) * g
                v1 = b2 * v + np.float32(1 - BETA_2) * g * g
                updates += [
                    (m, m1),
                    (v, v1),
                    (p, p - rate * m1 / (T.sqrt(v1) + np.float32(EPSILON))),
                ]
        # The sum stays in a shared variable, so that nothing is handed back a minibatch.
        self.total = shared(0.0)
        updates.append((self.total, self.total + loss))
        self.step = theano.function([rows], [], updates=updates)
        self.step.trust_input = True
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        batch = self.work.batch
        self.total.set_value(np.float32(0))
        for start in range(0, len(order), batch):
            self.step(order[start : start + batch])
        self.loss = float(self.total.get_value()) / len(order)

    def result(self) -> Result:
        return Result(self.loss, [w.get_value() for w in self.W], [b.get_value() for b in self.b])
