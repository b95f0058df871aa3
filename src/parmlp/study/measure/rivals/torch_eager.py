"""PyTorch, eager: autograd and torch.optim with the fused CPU optimizers."""

from __future__ import annotations

from typing import Any

from parmlp.study.measure.rivals.base import Array, Result, Work, missing, only_in_bf16
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


def prepare(threads: int) -> Any:
    """Import torch with its pool set to `threads`; returns the module."""
    import torch

    torch.set_num_threads(threads)
    # torch takes this number once; a process prepares for each workload that it gets.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)
    return torch


def torch_versions() -> dict[str, str]:
    """Version, and which BLAS it was built with."""
    import torch

    lines = [s.strip(" -") for s in torch.__config__.show().splitlines()]
    built = [s for s in lines if s.startswith(("Intel(R) oneAPI", "Intel(R) MKL-DNN", "OpenMP"))]
    return {
        "torch": torch.__version__,
        "mkl": str(torch.backends.mkl.is_available()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "built_with": "; ".join(built),
    }


class TorchEager:
    """Weights as torch keeps them, (out, in); the loss is summed on the device."""

    def available(self, workload: Workload) -> str | None:
        return missing("torch")

    def versions(self) -> dict[str, str]:
        return torch_versions()

    def setup(self, work: Work) -> None:
        self.work = work
        torch = self.torch = prepare(work.threads)
        c = work.configuration
        self.X = torch.from_numpy(work.X)
        targets = work.one_hot() if work.is_faithful else work.labels
        self.y = torch.from_numpy(targets)
        self.W = [torch.nn.Parameter(torch.from_numpy(w.T.copy())) for w in work.coefs]
        self.b = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in work.intercepts]
        if c.solver == "sgd":
            self.optimizer = torch.optim.SGD(self.W + self.b, lr=c.learning_rate, fused=True)
        else:
            # scikit-learn's alpha/n is torch's weight_decay, on weights only.
            groups = [
                {"params": self.W, "weight_decay": c.alpha / work.batch},
                {"params": self.b, "weight_decay": 0.0},
            ]
            self.optimizer = torch.optim.Adam(
                groups, lr=c.learning_rate, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True
            )
        self.loss = 0.0

    def run_epoch(self, order: Array) -> None:
        torch, batch = self.torch, self.work.batch
        c = self.work.configuration
        index = torch.from_numpy(order)
        total = torch.zeros(())
        for rows in torch.split(index, batch):
            n = len(rows)
            x = torch.index_select(self.X, 0, rows)
            y = torch.index_select(self.y, 0, rows)
            loss = self._loss(x, y, n)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            with torch.no_grad():
                total += loss.detach() * n
                if c.alpha:
                    squares = sum(torch.sum(w * w) for w in self.W)
                    total += 0.5 * c.alpha * squares
                    if n != batch:
                        self.optimizer.param_groups[0]["weight_decay"] = c.alpha / n
            self.optimizer.step()
        if c.alpha:
            self.optimizer.param_groups[0]["weight_decay"] = c.alpha / batch
        self.loss = float(total) / len(order)

    def _loss(self, x: Any, y: Any, n: int) -> Any:
        functional = self.torch.nn.functional
        last = len(self.W) - 1
        for layer, (w, b) in enumerate(zip(self.W, self.b, strict=True)):
            x = functional.linear(x, w, b)
            if self.work.is_faithful:
                x = self.torch.sigmoid(x)
            elif layer < last:
                x = self.torch.relu(x)
        if self.work.is_faithful:
            return functional.mse_loss(x, y, reduction="sum") * (0.5 / n)
        return functional.cross_entropy(x, y)

    def result(self) -> Result:
        return Result(
            self.loss,
            [w.detach().numpy().T.copy() for w in self.W],
            [b.detach().numpy().copy() for b in self.b],
        )


class TorchEagerBf16(TorchEager):
    """Autocast: float32 parameters, forward and backward products of bfloat16 operands."""

    def available(self, workload: Workload) -> str | None:
        return only_in_bf16(workload) or super().available(workload)

    def _loss(self, x: Any, y: Any, n: int) -> Any:
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16):
            return super()._loss(x, y, n)
