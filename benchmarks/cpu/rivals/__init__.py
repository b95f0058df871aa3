"""The competitors: one file each, all with the interface of `base.Rival`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A competitor in one mode.

    ``target`` is ``module:Class``, imported in the competitor's own process; ``venv`` names the
    environment it needs (a ``requirements-<venv>.txt`` beside this file), None for our own.
    """

    name: str
    target: str
    venv: str | None
    by_default: bool = True

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("parmlp")


_HERE = "benchmarks.cpu.rivals"

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("parmlp", f"{_HERE}.parmlp:Epochs", None),
        Entry("parmlp_fit", f"{_HERE}.parmlp:Fit", None),
        Entry("parmlp_float32", f"{_HERE}.parmlp:Float32Epochs", None),
        Entry("parmlp_dense", f"{_HERE}.parmlp:DenseEpochs", None),
        Entry("parmlp_openmp", f"{_HERE}.parmlp:OpenmpEpochs", None, by_default=False),
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
