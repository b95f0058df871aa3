"""The competitors of the CPU benchmark: our own rows, and the rivals of the study."""

from __future__ import annotations

from parmlp.study.measure.rivals import RIVALS, Entry

_OWN = "benchmarks.cpu.own_rows"

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("parmlp", f"{_OWN}:Epochs", None),
        Entry("parmlp_fit", f"{_OWN}:Fit", None),
        Entry("parmlp_float32", f"{_OWN}:Float32Epochs", None),
        Entry("parmlp_dense", f"{_OWN}:DenseEpochs", None),
        Entry("parmlp_openmp", f"{_OWN}:OpenmpEpochs", None, by_default=False),
        *RIVALS.values(),
    )
}
