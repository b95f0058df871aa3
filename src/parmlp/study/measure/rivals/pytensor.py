"""PyTensor, Theano's successor, by each of its back ends: C, Numba and JAX."""

# ruff: noqa: PLW2901 (g is first the sum, then the mean)
from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing, openblas_flags
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class _Pytensor:
    """One compiled function a minibatch; parameters in shared variables."""

    mode: str
    needs: str | None = None
    # JAX mode wants the minibatch as inputs; the others gather inside the compiled function.
    gathers_inside = True

    def available(self, workload: Workload) -> str | None:
        flags = f"floatX=float32,base_compiledir={tempfile.gettempdir()}/parmlp-pytensor"
        if self.mode == "CVM":
            blas = openblas_flags()
            if isinstance(blas, str):
                return f"pytensor's C mode is only timed with a BLAS: {blas}"
            flags += f",blas__ldflags={blas[0]},gcc__cxxflags=-O3 -march=native {blas[1]}"
        os.environ["PYTENSOR_FLAGS"] = flags
        return (missing(self.needs) if self.needs else None) or missing("pytensor")

    def versions(self) -> dict[str, str]:
        import importlib.metadata

        names = ["pytensor", "numpy", self.needs or "scipy_openblas32"]
        return {n: importlib.metadata.version(n) for n in names}

    def setup(self, work: Work) -> None:
        import pytensor
        import pytensor.tensor as pt
        from pytensor.tensor.special import log_softmax

        self.work = work
        c = work.configuration

        def shared(x: Any) -> Any:
            return pytensor.shared(np.asarray(x, dtype=np.float32))

        self.W = [shared(w) for w in work.coefs]
        self.b = [shared(v) for v in work.intercepts]
        self.one_hot = work.one_hot()
        inputs: list[Any]
        if self.gathers_inside:
            rows = pt.lvector("rows")
            X, Y = shared(work.X), shared(self.one_hot)
            x, y, inputs = X[rows], Y[rows], [rows]
        else:
            x, y = pt.fmatrix("x"), pt.fmatrix("y")
            inputs = [x, y]
        n = pt.cast(x.shape[0], "float32")
        a = x
        last = len(self.W) - 1
        for layer, (w, b) in enumerate(zip(self.W, self.b, strict=True)):
            a = pt.dot(a, w) + b
            if work.is_faithful:
                a = pt.sigmoid(a)
            elif layer < last:
                a = pt.maximum(a, np.float32(0))
        if work.is_faithful:
            loss = np.float32(0.5) * pt.sum((y - a) ** 2)
        else:
            loss = -pt.sum(log_softmax(a, axis=1) * y)
        params = self.W + self.b
        grads = pytensor.grad(loss, params)
        alpha = np.float32(c.alpha)
        if c.alpha:
            decayed = [g + alpha * w for g, w in zip(grads, self.W, strict=False)]
            grads = decayed + grads[len(self.W) :]
            loss = loss + np.float32(0.5) * alpha * sum(pt.sum(w * w) for w in self.W)
        updates: list[tuple[Any, Any]] = []
        if c.solver == "sgd":
            rate = np.float32(c.learning_rate) / n
            updates = [(p, p - rate * g) for p, g in zip(params, grads, strict=True)]
        else:
            t = shared(0.0)
            t1 = t + np.float32(1)
            b1, b2 = np.float32(BETA_1), np.float32(BETA_2)
            one = np.float32(1)
            rate = np.float32(c.learning_rate) * pt.sqrt(one - b2**t1) / (one - b1**t1)
            updates.append((t, t1))
            for p, g in zip(params, grads, strict=True):
                g = g / n
                zeros = np.zeros(p.get_value().shape)
                m, v = shared(zeros), shared(zeros)
                m1 = b1 * m + np.float32(1 - BETA_1) * g
                v1 = b2 * v + np.float32(1 - BETA_2) * g * g
                step = rate * m1 / (pt.sqrt(v1) + np.float32(EPSILON))
                updates += [(m, m1), (v, v1), (p, p - step)]
        self.total = shared(0.0)
        updates.append((self.total, self.total + loss))
        self.step = pytensor.function(inputs, [], updates=updates, mode=self.mode)
        self.step.trust_input = True
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        batch = self.work.batch
        self.total.set_value(np.asarray(0, np.float32))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            if self.gathers_inside:
                self.step(rows)
            else:
                self.step(self.work.X[rows], self.one_hot[rows])
        self.loss = float(self.total.get_value()) / len(order)

    def result(self) -> Result:
        return Result(
            self.loss,
            [np.asarray(w.get_value()) for w in self.W],
            [np.asarray(b.get_value()) for b in self.b],
        )


class PytensorC(_Pytensor):
    """The C back end with OpenBLAS, as Theano had it."""

    mode = "CVM"


class PytensorNumba(_Pytensor):
    """The Numba back end, the default of PyTensor 3."""

    mode = "NUMBA"
    needs = "numba"


class PytensorJax(_Pytensor):
    """The JAX back end."""

    mode = "JAX"
    needs = "jax"
    gathers_inside = False


class PytensorJaxGpu(PytensorJax):
    """The JAX back end on a GPU, with float32 products in float32, not in TF32."""

    def available(self, workload: Workload) -> str | None:
        from parmlp.study.measure.rivals.jax_gpu import no_jax_on

        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        return super().available(workload) or no_jax_on("gpu")

    def setup(self, work: Work) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        super().setup(work)
