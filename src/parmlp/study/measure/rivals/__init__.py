"""The competitors: one file each, all with the interface of `base.Rival`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A competitor in one mode.

    ``target`` is ``module:Class``, imported in the competitor's own process; ``venv`` names the
    environment it needs (a ``requirements-<venv>.txt`` beside this file), None for our own.
    ``device`` is "cpu" or "gpu".
    """

    name: str
    target: str
    venv: str | None
    by_default: bool = True
    device: str = "cpu"


_HERE = "parmlp.study.measure.rivals"

RIVALS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("numpy", f"{_HERE}.numpy:Numpy", "numpy"),
        Entry("sklearn", f"{_HERE}.sklearn:Sklearn", "numpy"),
        Entry("torch_eager", f"{_HERE}.torch_eager:TorchEager", "torch"),
        Entry("torch_eager_bf16", f"{_HERE}.torch_eager:TorchEagerBf16", "torch"),
        Entry("torch_addmm", f"{_HERE}.torch_addmm:TorchAddmm", "torch"),
        Entry("torch_compile", f"{_HERE}.torch_compile:TorchCompile", "torch"),
        Entry("jax_scan", f"{_HERE}.jax_scan:JaxScan", "jax"),
        Entry("jax_gathered", f"{_HERE}.jax_scan:JaxGathered", "jax"),
        Entry("pytensor_c", f"{_HERE}.pytensor:PytensorC", "pytensor"),
        Entry("pytensor_numba", f"{_HERE}.pytensor:PytensorNumba", "pytensor"),
        Entry("pytensor_jax", f"{_HERE}.pytensor:PytensorJax", "pytensor"),
        Entry("theano", f"{_HERE}.theano:Theano", "theano"),
    )
}

#: The same libraries on a GPU.
GPU_RIVALS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("torch_graph", f"{_HERE}.torch_gpu:TorchGraph", "torch_gpu", device="gpu"),
        Entry(
            "torch_compiled_graph",
            f"{_HERE}.torch_gpu:TorchCompiledGraph",
            "torch_gpu",
            device="gpu",
        ),
        Entry("jax_scan_gpu", f"{_HERE}.jax_gpu:Jax", "jax_gpu", device="gpu"),
        Entry("pytensor_jax_gpu", f"{_HERE}.pytensor:PytensorJaxGpu", "pytensor_gpu", device="gpu"),
    )
}
