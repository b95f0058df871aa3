"""PyTorch through ``torch.compile``: the whole step, update included, is one compiled graph."""

from __future__ import annotations

import functools
from typing import Any

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.rivals.torch_eager import prepare, torch_versions
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class TorchCompile:
    """Gradients written out, so that Inductor fuses everything around the matrix products."""

    def available(self, workload: Workload) -> str | None:
        return missing("torch")

    def versions(self) -> dict[str, str]:
        return torch_versions()

    def setup(self, work: Work) -> None:
        self.work = work
        torch = self.torch = prepare(work.threads)
        torch.set_grad_enabled(False)
        c = work.configuration
        self.X = torch.from_numpy(work.X)
        self.y = torch.from_numpy(work.one_hot())
        self.W = [torch.from_numpy(w.copy()) for w in work.coefs]
        self.b = [torch.from_numpy(v.copy()) for v in work.intercepts]
        self.moments = []
        if c.solver == "adam":
            self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.W + self.b]
        self.total = torch.zeros(())
        self.t = torch.zeros(())
        step = functools.partial(
            handwritten_step, torch, work.is_faithful, c.learning_rate, c.alpha
        )
        self.step = torch.compile(step, fullgraph=True, dynamic=False)
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        self.total.zero_()
        for rows in self.torch.split(self.torch.from_numpy(order), self.work.batch):
            self.step(self.X, self.y, rows, self.W, self.b, self.moments, self.total, self.t)
        self.loss = float(self.total) / len(order)

    def result(self) -> Result:
        return Result(
            self.loss,
            [w.numpy().copy() for w in self.W],
            [b.numpy().copy() for b in self.b],
        )


def handwritten_step(  # noqa: PLR0917 (called by position, once a minibatch)
    torch: Any,
    faithful: bool,
    learning_rate: float,
    alpha: float,
    X: Any,
    Y: Any,
    rows: Any,
    W: list[Any],
    b: list[Any],
    moments: list[tuple[Any, Any]],
    total: Any,
    t: Any,
) -> None:
    """Train one minibatch: change W, b, moments and t in place, and add the loss to total."""
    n = rows.shape[0]
    y = Y[rows]
    a = [X[rows]]
    last = len(W) - 1
    for layer in range(len(W)):
        z = torch.addmm(b[layer], a[layer], W[layer])
        if faithful:
            z = torch.sigmoid(z)
        elif layer < last:
            z = torch.relu(z)
        a.append(z)
    if faithful:
        error = a[-1] - y
        total.add_(0.5 * (error * error).sum())
        delta = error * a[-1] * (1.0 - a[-1])
    else:
        log_p = torch.log_softmax(a[-1], 1)
        total.sub_((log_p * y).sum())
        delta = log_p.exp() - y
        for w in W:
            total.add_(0.5 * alpha * (w * w).sum())
    dW, db = [], []
    for layer in range(last, -1, -1):
        dW.append(a[layer].t() @ delta)
        db.append(delta.sum(0))
        if layer:
            delta = delta @ W[layer].t()
            if faithful:
                delta = delta * a[layer] * (1.0 - a[layer])
            else:
                delta = torch.where(a[layer] > 0, delta, 0.0)
    if faithful:
        for p, g in zip(W + b, dW[::-1] + db[::-1], strict=True):
            p.sub_(g, alpha=learning_rate / n)
        return
    grads = [(g + alpha * w) / n for g, w in zip(dW[::-1], W, strict=True)]
    grads += [g / n for g in db[::-1]]
    adam(torch, learning_rate, W + b, grads, moments, t)


def adam(  # noqa: PLR0917 (called by position, once a minibatch)
    torch: Any,
    learning_rate: float,
    params: list[Any],
    grads: list[Any],
    moments: list[tuple[Any, Any]],
    t: Any,
) -> None:
    """Take a step of Adam: change params, moments and t in place."""
    t.add_(1.0)
    rate = learning_rate * torch.sqrt(1.0 - BETA_2**t) / (1.0 - BETA_1**t)
    for p, g, (m, v) in zip(params, grads, moments, strict=True):
        m.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
        v.mul_(BETA_2).add_(g * g, alpha=1 - BETA_2)
        p.sub_(rate * m / (torch.sqrt(v) + EPSILON))
