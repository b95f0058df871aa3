"""PyTorch without autograd: hand-written backward, updates by ``addmm_`` straight into weights."""

from __future__ import annotations

from typing import Any

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.rivals.torch_eager import prepare, torch_versions
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class TorchAddmm:
    """All parameters in one flat tensor, so that Adam is one fused call."""

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
        self.one_hot = torch.from_numpy(work.one_hot())
        self.labels = torch.from_numpy(work.labels)
        sizes = [p.size for p in work.coefs + work.intercepts]
        self.flat = torch.empty(sum(sizes))
        self.grad = torch.zeros(sum(sizes))
        shapes = [p.shape for p in work.coefs + work.intercepts]
        params = [p.view(s) for p, s in zip(self.flat.split(sizes), shapes, strict=True)]
        grads = [p.view(s) for p, s in zip(self.grad.split(sizes), shapes, strict=True)]
        for p, initial in zip(params, work.coefs + work.intercepts, strict=True):
            p.copy_(torch.from_numpy(initial))
        layers = len(work.coefs)
        self.W, self.b = params[:layers], params[layers:]
        self.dW, self.db = grads[:layers], grads[layers:]
        n = work.batch
        self.a = [torch.empty(n, units) for units in work.layers]
        self.d = [torch.empty(n, units) for units in work.layers[1:]]
        self.y = torch.empty(n, work.layers[-1])
        self.total = torch.zeros(())
        if c.solver == "adam":
            self.flat.grad = self.grad
            self.optimizer = torch.optim.Adam(
                [self.flat], lr=c.learning_rate, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True
            )
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        self.total.zero_()
        for rows in self.torch.split(self.torch.from_numpy(order), self.work.batch):
            n = len(rows)
            full = n == self.work.batch
            self._step(
                rows,
                n,
                self.a if full else [x[:n] for x in self.a],
                self.d if full else [x[:n] for x in self.d],
                self.y if full else self.y[:n],
            )
        self.loss = float(self.total) / len(order)

    def _step(self, rows: Any, n: int, a: list[Any], d: list[Any], y: Any) -> None:
        torch, c = self.torch, self.work.configuration
        torch.index_select(self.X, 0, rows, out=a[0])
        torch.index_select(self.one_hot, 0, rows, out=y)
        last = len(self.W) - 1
        for layer, (w, b) in enumerate(zip(self.W, self.b, strict=True)):
            z = torch.addmm(b, a[layer], w, out=a[layer + 1])
            if self.work.is_faithful:
                z.sigmoid_()
            elif layer < last:
                z.relu_()
        if self.work.is_faithful:
            torch.sub(a[-1], y, out=d[-1])
            self.total.add_(torch.dot(d[-1].view(-1), d[-1].view(-1)), alpha=0.5)
            torch.ops.aten.sigmoid_backward(d[-1], a[-1], grad_input=d[-1])
        else:
            log_p = torch.log_softmax(a[-1], 1)
            self.total.sub_(torch.dot(log_p.view(-1), y.view(-1)))
            torch.sub(log_p.exp_(), y, out=d[-1])
        if c.alpha:
            squares = sum(torch.dot(w.view(-1), w.view(-1)) for w in self.W)
            self.total.add_(squares, alpha=0.5 * c.alpha)
        for layer in range(last, -1, -1):
            if layer:
                below = torch.mm(d[layer], self.W[layer].t(), out=d[layer - 1])
                if self.work.is_faithful:
                    torch.ops.aten.sigmoid_backward(below, a[layer], grad_input=below)
                else:
                    torch.ops.aten.threshold_backward(below, a[layer], 0, grad_input=below)
            if c.solver == "sgd":
                step = -c.learning_rate / n
                self.W[layer].addmm_(a[layer].t(), d[layer], alpha=step)
                self.b[layer].add_(d[layer].sum(0), alpha=step)
            else:
                torch.addmm(
                    self.W[layer], a[layer].t(), d[layer],
                    beta=c.alpha / n, alpha=1.0 / n, out=self.dW[layer],
                )  # fmt: skip
                torch.sum(d[layer], 0, out=self.db[layer]).div_(n)
        if c.solver == "adam":
            self.optimizer.step()

    def result(self) -> Result:
        return Result(
            self.loss,
            [w.numpy().copy() for w in self.W],
            [b.numpy().copy() for b in self.b],
        )
