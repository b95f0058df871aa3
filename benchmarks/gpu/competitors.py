"""Who is measured in a cell: parmlp's rungs, and its rivals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.ours import Cpu, Parmlp
from parmlp.study.measure.rivals.jax_gpu import Jax
from parmlp.study.measure.rivals.torch_gpu import Torch

Make = Callable[[], Any]

#: The rung that the estimators take.
OURS: dict[str, Make] = {"parmlp": Parmlp}

LADDER: dict[str, Make] = {
    f"parmlp-{rung}": functools.partial(Parmlp, rung)
    for rung in (
        "naive",
        "tiled",
        "tiled-without-conflicts",
        "fused",
        "persistent",
        "tensor-cores",
    )
}

#: Rivals that are ready within seconds, and those that PyTorch compiles for half a minute.
QUICK_RIVALS: dict[str, Make] = {
    "torch-eager": functools.partial(Torch, "eager"),
    "torch-graph": functools.partial(Torch, "graph"),
    "jax-scan": Jax,
}
COMPILED_RIVALS: dict[str, Make] = {
    "torch-compile": functools.partial(Torch, "compile"),
    "torch-compiled-graph": functools.partial(Torch, "compiled-graph"),
}

#: The same on a CPU, to try the programs out.
ON_CPU: dict[str, Make] = {
    "parmlp": Cpu,
    "torch-eager": functools.partial(Torch, "eager", "cpu"),
    "torch-compile": functools.partial(Torch, "compile", "cpu"),
    "jax-scan": functools.partial(Jax, "cpu"),
}
