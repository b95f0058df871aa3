"""JAX: a jitted epoch that scans over minibatches, so Python is called once an epoch."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class JaxScan:
    """Gradients by ``jax.value_and_grad``; parameters and moments are donated to the next epoch.

    Each minibatch is gathered by index inside the scan.
    """

    gathers_inside = True

    def available(self, workload: Workload) -> str | None:
        return missing("jax")

    def versions(self) -> dict[str, str]:
        import jax
        import jaxlib

        return {
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        }

    def setup(self, work: Work) -> None:
        import jax

        self.jax = jax
        self.work = work
        put = jax.numpy.asarray
        self.X, self.y = work.X, self._targets()
        if self.gathers_inside:
            self.X, self.y = put(self.X), put(self.y)
        params = [(put(w), put(b)) for w, b in zip(work.coefs, work.intercepts, strict=True)]
        zeros = jax.tree.map(jax.numpy.zeros_like, params)
        more = () if work.is_faithful else (zeros, jax.tree.map(jax.numpy.copy, zeros))
        self.state: Any = (params, more, jax.numpy.zeros((), jax.numpy.float32))
        self.epoch = jax.jit(
            _make_epoch(jax, work, self.gathers_inside, self.matmul), donate_argnums=0
        )
        self.loss = 0.0

    def matmul(self, a: Any, b: Any) -> Any:
        """The product of a layer."""
        return a @ b

    def _targets(self) -> Array:
        if self.work.is_faithful:
            return self.work.one_hot()
        return self.work.labels.astype(np.int32)

    def run_epoch(self, order: Array) -> None:
        batch = self.work.batch
        full = len(order) // batch * batch
        total = 0.0
        for rows, steps in ((order[:full], full // batch), (order[full:], 1)):
            if len(rows):
                self.state, loss = self.epoch(self.state, *self._batches(rows, steps))
                total += float(loss)
        self.jax.block_until_ready(self.state)
        self.loss = total / len(order)

    def _batches(self, rows: Array, steps: int) -> tuple[Any, Any, Any]:
        return self.X, self.y, rows.astype(np.int32).reshape(steps, -1)

    def result(self) -> Result:
        params = self.state[0]
        return Result(self.loss, [np.array(w) for w, _ in params], [np.array(b) for _, b in params])


class JaxGathered(JaxScan):
    """Rows are gathered by NumPy for the whole pass; the scan then slices minibatches.

    XLA's gather costs a quarter of a step where rows are short: measured at 41-64-23, batch 64, one
    core, 2.0 against 1.6 M samples/s. Where they are long it is the other way round.
    """

    gathers_inside = False

    def _batches(self, rows: Array, steps: int) -> tuple[Any, Any, Any]:
        x = np.take(self.X, rows, axis=0).reshape(steps, -1, self.X.shape[1])
        y = np.take(self.y, rows, axis=0)
        return x, y.reshape(steps, -1, *y.shape[1:]), np.empty((steps, 0), np.int32)


def _make_epoch(jax: Any, work: Work, gathers_inside: bool, matmul: Any) -> Any:
    jnp = jax.numpy
    c = work.configuration
    faithful = work.is_faithful

    def data_loss(params: Any, x: Any, y: Any) -> Any:
        for layer, (w, b) in enumerate(params):
            x = matmul(x, w) + b
            if faithful:
                x = jax.nn.sigmoid(x)
            elif layer < len(params) - 1:
                x = jax.nn.relu(x)
        if faithful:
            return 0.5 * jnp.sum((x - y) ** 2)
        log_p = jax.nn.log_softmax(x)
        return -jnp.sum(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def step(state: Any, x: Any, y: Any) -> Any:
        params, moments, t = state
        n = x.shape[0]
        loss, grads = jax.value_and_grad(data_loss)(params, x, y)
        if faithful:
            scale = c.learning_rate / n
            params = jax.tree.map(lambda p, g: p - scale * g, params, grads)
            return (params, moments, t), loss
        loss = loss + 0.5 * c.alpha * sum(jnp.sum(w * w) for w, _ in params)
        grads = [
            ((dw + c.alpha * w) / n, db / n) for (dw, db), (w, _) in zip(grads, params, strict=True)
        ]
        t = t + 1.0
        rate = c.learning_rate * jnp.sqrt(1.0 - BETA_2**t) / (1.0 - BETA_1**t)
        m, v = moments
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, grads)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        return (params, (m, v), t), loss

    def gather_and_step(state: Any, rows: Any, X: Any, Y: Any) -> Any:
        x = X.at[rows].get(mode="promise_in_bounds")
        y = Y.at[rows].get(mode="promise_in_bounds")
        return step(state, x, y)

    def epoch(state: Any, X: Any, Y: Any, order: Any) -> Any:
        if gathers_inside:
            state, losses = jax.lax.scan(lambda s, r: gather_and_step(s, r, X, Y), state, order)
        else:
            state, losses = jax.lax.scan(lambda s, xy: step(s, *xy), state, (X, Y))
        return state, jnp.sum(losses)

    return epoch
