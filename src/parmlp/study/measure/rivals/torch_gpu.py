"""PyTorch on a GPU: the step written out by hand, eagerly, compiled, or as a CUDA graph of either.

Rows lie on the GPU before the clock starts, and minibatches are gathered there by index.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.rivals.torch_compile import handwritten_step
from parmlp.study.measure.workload import Workload

MODES = ("eager", "compile", "graph", "compiled-graph")


class Torch:
    """One mode, on one device.

    Parameters
    ----------
    mode : {"eager", "compile", "graph", "compiled-graph"}
    device : {"cuda", "cpu"}, default="cuda"
        Graphs are CUDA's.
    """

    def __init__(self, mode: str, device: str = "cuda") -> None:
        self._mode, self._device = mode, device

    def available(self, workload: Workload) -> str | None:
        """PyTorch, with the device."""
        reason = missing("torch")
        if reason:
            return reason
        import torch

        if self._device == "cuda" and not torch.cuda.is_available():
            return "torch has no GPU here"
        return None

    def versions(self) -> dict[str, str]:
        """PyTorch's, and the CUDA that it was built with."""
        import torch

        return {"torch": torch.__version__, "torch cuda": str(torch.version.cuda)}

    def setup(self, work: Work) -> None:
        """Copy everything to the device; compilation and capture come with the first epochs."""
        import torch

        self.torch, self.work = torch, work
        c = work.configuration
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("high" if c.precision == "tf32" else "highest")

        def put(array: Array) -> Any:
            return torch.from_numpy(array.copy()).to(self._device)

        self.X, self.y = put(work.X), put(work.one_hot())
        self.W, self.b = [put(w) for w in work.coefs], [put(v) for v in work.intercepts]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.W + self.b]
        self.total, self.t = (torch.zeros((), device=self._device) for _ in range(2))
        self.loss = 0.0
        self.step = self._make_step()
        self._graph: Any = None

    def _make_step(self) -> Any:
        c = self.work.configuration
        return self._compiled(
            functools.partial(
                handwritten_step, self.torch, self.work.is_faithful, c.learning_rate, c.alpha
            )
        )

    def _compiled(self, step: Any) -> Any:
        if self._mode in ("compile", "compiled-graph"):
            # each cell's shapes count as a recompilation of the same function
            config = self.torch._dynamo.config
            for name in ("recompile_limit", "cache_size_limit"):  # newer and older PyTorch
                if hasattr(config, name):
                    setattr(config, name, 1000)
            return self.torch.compile(step, fullgraph=True, dynamic=False)
        return step

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.work.configuration.precision == "bf16":
            rounding: contextlib.AbstractContextManager[Any] = self.torch.autocast(
                self._device, dtype=self.torch.bfloat16, cache_enabled=False
            )
            return rounding
        return contextlib.nullcontext()

    def product_error(self) -> float:
        """Root mean square of the errors of a product as this setting computes it, relative."""
        rng = np.random.default_rng(1)
        a, b = (rng.standard_normal((512, 512)) for _ in range(2))
        put = [self.torch.from_numpy(x.astype(np.float32)).to(self._device) for x in (a, b)]
        exact = a.astype(np.float32).astype(np.float64) @ b.astype(np.float32).astype(np.float64)
        with self._autocast():
            found = (put[0] @ put[1]).float().cpu().numpy()
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    def _state(self) -> list[Any]:
        moments = [moment for pair in self.moments for moment in pair]
        return [*self.W, *self.b, *moments, self.total, self.t]

    def _arguments(self, rows: Any) -> tuple[Any, ...]:
        return self.X, self.y, rows, self.W, self.b, self.moments, self.total, self.t

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``; a graph's short last minibatch is taken without it."""
        batches = self._batches(self.torch.from_numpy(order).to(self._device))
        self.total.zero_()
        with self._autocast():
            if self._mode in ("graph", "compiled-graph"):
                self._replay(batches)
            else:
                for rows in batches:
                    self.step(*self._arguments(rows))
        self.loss = float(self.total) / order.size  # waits

    def _batches(self, order: Any) -> Any:
        return order.split(self.work.batch)

    def _replay(self, batches: Any) -> None:
        if self._graph is None and batches[0].shape[-1] == self.work.batch:
            self._rows = batches[0].clone()
            self._graph = self._capture()
        for rows in batches:
            if self._graph is None or rows.shape != self._rows.shape:
                self.step(*self._arguments(rows))
                continue
            self._rows.copy_(rows)
            self._graph.replay()

    def _capture(self) -> Any:
        torch = self.torch
        before = [tensor.clone() for tensor in self._state()]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # compiles, and warms up what a capture must not allocate
                self.step(*self._arguments(self._rows))
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(*self._arguments(self._rows))
        for tensor, value in zip(self._state(), before, strict=True):
            tensor.copy_(value)
        return graph

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""
        return Result(
            self.loss,
            [w.cpu().numpy().copy() for w in self.W],
            [b.cpu().numpy().copy() for b in self.b],
        )


class TorchGraph(Torch):
    """The hand-written step as a CUDA graph."""

    def __init__(self) -> None:
        super().__init__("graph")


class TorchCompiledGraph(Torch):
    """The compiled step as a CUDA graph."""

    def __init__(self) -> None:
        super().__init__("compiled-graph")
