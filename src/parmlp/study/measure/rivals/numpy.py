"""NumPy, written as a careful user would: preallocated buffers, BLAS for the products."""

# ruff: noqa: PLW2901 (arrays are updated in place)
from __future__ import annotations

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class Numpy:
    """Hand-written backpropagation over NumPy's own BLAS."""

    def available(self, workload: Workload) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}

    def setup(self, work: Work) -> None:
        self.work = work
        self.W = [w.copy() for w in work.coefs]
        self.b = [v.copy() for v in work.intercepts]
        n = work.batch
        self.a = [np.empty((n, units), np.float32) for units in work.layers]
        self.d = [np.empty((n, units), np.float32) for units in work.layers[1:]]
        self.s = [np.empty_like(d) for d in self.d]
        self.dW = [np.empty_like(w) for w in self.W]
        self.db = [np.empty_like(v) for v in self.b]
        self.y = np.empty((n, work.layers[-1]), np.float32)
        self.moments = [
            (np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for p in self.W + self.b
        ]
        self.one_hot = work.one_hot()
        self.t = 0
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        batch = self.work.batch
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            total += self._step(rows, len(rows))
        self.loss = total / len(order)

    def _step(self, rows: Array, n: int) -> float:
        c = self.work.configuration
        a = [x[:n] for x in self.a]
        d = [x[:n] for x in self.d]
        s = [x[:n] for x in self.s]
        y = self.y[:n]
        # mode="clip" writes straight into `out`; the default mode goes through a second buffer.
        np.take(self.work.X, rows, axis=0, out=a[0], mode="clip")
        np.take(self.one_hot, rows, axis=0, out=y, mode="clip")
        last = len(self.W) - 1
        for layer, (w, bias) in enumerate(zip(self.W, self.b, strict=True)):
            z = a[layer + 1]
            np.dot(a[layer], w, out=z)
            z += bias
            name = c.out_activation if layer == last else c.hidden_activation
            if name == "sigmoid":
                np.negative(z, out=z)
                np.exp(z, out=z)
                z += 1.0
                np.reciprocal(z, out=z)
            elif name == "relu":
                np.maximum(z, 0.0, out=z)
            else:
                z -= z.max(axis=1, keepdims=True)
                np.exp(z, out=z)
                z /= z.sum(axis=1, keepdims=True)
        if c.loss == "mse":
            np.subtract(a[-1], y, out=d[-1])
            loss = 0.5 * float(np.vdot(d[-1], d[-1]))
            self._times_derivative(c.out_activation, d[-1], a[-1], s[-1])
        else:
            p = np.take(a[-1].ravel(), self.work.labels[rows] + np.arange(n) * a[-1].shape[1])
            loss = -float(np.log(np.maximum(p, np.finfo(np.float32).tiny)).sum())
            np.subtract(a[-1], y, out=d[-1])
        if c.alpha:
            loss += 0.5 * c.alpha * sum(float(np.vdot(w, w)) for w in self.W)
        for layer in range(last, -1, -1):
            g = self.dW[layer]
            np.dot(a[layer].T, d[layer], out=g)
            np.sum(d[layer], axis=0, out=self.db[layer])
            if layer:
                np.dot(d[layer], self.W[layer].T, out=d[layer - 1])
                self._times_derivative(c.hidden_activation, d[layer - 1], a[layer], s[layer - 1])
        self._update(n)
        return loss

    @staticmethod
    def _times_derivative(name: str, d: Array, a: Array, scratch: Array) -> None:
        if name == "sigmoid":
            np.subtract(1.0, a, out=scratch)
            d *= a
            d *= scratch
        else:
            d *= a > 0

    def _update(self, n: int) -> None:
        c = self.work.configuration
        if c.solver == "sgd":
            scale = np.float32(c.learning_rate / n)
            for p, g in zip(self.W + self.b, self.dW + self.db, strict=True):
                g *= scale
                p -= g
            return
        self.t += 1
        rate = np.float32(c.learning_rate * np.sqrt(1 - BETA_2**self.t) / (1 - BETA_1**self.t))
        b1, b2 = np.float32(BETA_1), np.float32(BETA_2)
        one_b1, one_b2 = np.float32(1 - BETA_1), np.float32(1 - BETA_2)
        params = zip(self.W + self.b, self.dW + self.db, self.moments, strict=True)
        for i, (p, g, (m, v, s)) in enumerate(params):
            if i < len(self.W):
                np.multiply(p, np.float32(c.alpha), out=s)
                g += s
            g *= np.float32(1.0 / n)
            m *= b1
            np.multiply(g, one_b1, out=s)
            m += s
            v *= b2
            np.multiply(g, g, out=s)
            s *= one_b2
            v += s
            np.sqrt(v, out=s)
            s += np.float32(EPSILON)
            np.divide(m, s, out=s)
            s *= rate
            p -= s

    def result(self) -> Result:
        return Result(self.loss, self.W, self.b)
