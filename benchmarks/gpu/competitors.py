"""Who is measured: parmlp's rungs, PyTorch in three modes, JAX. ``benchmarks.cpu``'s Rival each.

Everybody has the rows on the GPU before the clock starts, gathers minibatches there by index, and
trains in the cell's precision: float32 products in float32, not in TF32.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

import numpy as np

from parmlp.study.measure.rivals.base import Array, Result, Work, missing
from parmlp.study.measure.rivals.jax_scan import JaxScan
from parmlp.study.measure.rivals.torch_compile import TorchCompile, handwritten_step
from parmlp.study.measure.workload import BETA_1, BETA_2, EPSILON, Workload


class Parmlp:
    """The network behind the estimators, on the rung they would take or on a given one."""

    def __init__(self, rung: str | None = None) -> None:
        self._rung = rung

    def available(self, workload: Workload) -> str | None:
        """The reason why the rung does not take the cell."""
        if workload.configuration.precision != "float32" and self._rung not in (
            None,
            "tensor-cores",
        ):
            return "computes in float32"
        return None

    def versions(self) -> dict[str, str]:
        """Nothing but parmlp, which the platform record has."""
        return {}

    def setup(self, work: Work) -> None:
        """Compile, and copy rows and weights to the GPU."""
        from parmlp.engines.cuda.network import Network, Rows
        from parmlp.engines.cuda.programs import Model
        from parmlp.engines.cuda.team import find_device

        c = work.configuration
        precision = "full" if c.precision == "float32" else c.precision
        model = Model(
            work.layers, c.hidden_activation, c.out_activation, c.loss, "float32", 0.01,
            precision,
        )  # fmt: skip
        self._network = Network(find_device(), model, self._rung)
        self._network.set_parameters(work.coefs, work.intercepts)
        self._network.set_solver(
            c.solver,
            alpha=c.alpha,
            momentum=0.0,
            nesterov=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            weight_decay=0.0,
        )
        self._rows, self._labels = Rows(work.X), work.labels.astype(np.int32)
        self._batch, self._learning_rate = work.batch, c.learning_rate
        self._loss = 0.0

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``."""
        self._loss = self._network.train_epoch(
            None, self._rows, self._labels, order, None, self._batch, self._learning_rate,
            "two-phase",
        ).loss  # fmt: skip

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""
        return Result(self._loss, *self._network.get_parameters())


class Torch(TorchCompile):
    """A hand-written step: as it stands, through ``torch.compile``, or as a CUDA graph of that."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def setup(self, work: Work) -> None:
        """Copy everything to the GPU; compile and capture."""
        import torch

        self.torch, self.work = torch, work
        c = work.configuration
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("high" if c.precision == "tf32" else "highest")

        def put(array: Array) -> Any:
            return torch.from_numpy(array.copy()).cuda()

        self.X, self.y = put(work.X), put(work.one_hot())
        self.W, self.b = [put(w) for w in work.coefs], [put(v) for v in work.intercepts]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.W + self.b]
        self.total, self.t = (torch.zeros((), device="cuda") for _ in range(2))
        self.loss = 0.0
        step = functools.partial(
            handwritten_step, torch, work.is_faithful, c.learning_rate, c.alpha
        )
        if self._mode != "eager":
            step = torch.compile(step, fullgraph=True, dynamic=False)
        self.step = step
        self._graph: Any = None

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.work.configuration.precision == "bf16":
            return self.torch.autocast("cuda", dtype=self.torch.bfloat16, cache_enabled=False)
        return contextlib.nullcontext()

    def _arguments(self, rows: Any) -> tuple[Any, ...]:
        return self.X, self.y, rows, self.W, self.b, self.moments, self.total, self.t

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``, whose length is a multiple of the batch."""
        torch = self.torch
        batches = torch.from_numpy(order).cuda().split(self.work.batch)
        self.total.zero_()
        with self._autocast():
            if self._mode == "graph":
                self._replay(batches)
            else:
                for rows in batches:
                    self.step(*self._arguments(rows))
        self.loss = float(self.total) / len(order)  # waits

    def _replay(self, batches: Any) -> None:
        torch = self.torch
        if self._graph is None:
            self._rows = batches[0].clone()
            state = [*self.W, *self.b, *(m for pair in self.moments for m in pair), self.total]
            state.append(self.t)
            before = [tensor.clone() for tensor in state]
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):  # compiles, and warms up what a capture must not allocate
                    self.step(*self._arguments(self._rows))
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self.step(*self._arguments(self._rows))
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        for rows in batches:
            self._rows.copy_(rows)
            self._graph.replay()

    def result(self) -> Result:
        """Loss of the last pass and the parameters now."""
        return Result(
            self.loss,
            [w.cpu().numpy() for w in self.W],
            [b.cpu().numpy() for b in self.b],
        )


class Jax(JaxScan):
    """A jitted epoch, with the precision of products said outright: the default would be TF32."""

    def available(self, workload: Workload) -> str | None:
        """JAX, with a GPU."""
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        reason = missing("jax")
        if reason:
            return reason
        import jax

        platform = jax.default_backend()
        return None if platform == "gpu" else f"jax has no GPU here, only {platform}"

    def setup(self, work: Work) -> None:
        """Compile at the first epoch; products as the cell's precision says."""
        import jax

        self._precision = work.configuration.precision
        self._jax = jax
        super().setup(work)

    def matmul(self, a: Any, b: Any) -> Any:
        """The product of a layer."""
        jnp = self._jax.numpy
        if self._precision == "bf16":
            a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
            return jnp.matmul(a, b, preferred_element_type=jnp.float32)
        return jnp.matmul(a, b)

    def run_epoch(self, order: Array) -> None:
        """One pass over ``order``."""
        name = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default"}[self._precision]
        with self._jax.default_matmul_precision(name):
            super().run_epoch(order)


#: name -> competitor; ours first
OURS = {
    "parmlp": Parmlp,
    "parmlp-naive": lambda: Parmlp("naive"),
    "parmlp-tiled": lambda: Parmlp("tiled"),
    "parmlp-tiled-without-conflicts": lambda: Parmlp("tiled-without-conflicts"),
    "parmlp-fused": lambda: Parmlp("fused"),
    "parmlp-tensor-cores": lambda: Parmlp("tensor-cores"),
}
RIVALS = {
    "torch-eager": lambda: Torch("eager"),
    "torch-compile": lambda: Torch("compile"),
    "torch-graph": lambda: Torch("graph"),
    "jax-scan": Jax,
}
