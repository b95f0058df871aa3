"""How PyTorch is prepared, seen by a stand-in: the library itself is not installed for tests."""

import sys
from types import SimpleNamespace

import pytest

from parmlp.study.measure.rivals.torch_eager import prepare


class Pools:
    """Like torch, takes the number of threads between operations once a process."""

    def __init__(self) -> None:
        self.intra, self.inter, self.told = 4, 4, False

    def set_inter(self, count: int) -> None:
        if self.told:
            raise RuntimeError("cannot set number of interop threads after set was called")
        self.inter, self.told = count, True

    def set_intra(self, count: int) -> None:
        self.intra = count


def test_a_process_is_prepared_for_one_workload_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = Pools()
    torch = SimpleNamespace(
        set_num_threads=pools.set_intra,
        get_num_interop_threads=lambda: pools.inter,
        set_num_interop_threads=pools.set_inter,
        set_flush_denormal=lambda on: on,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    for threads in (1, 2):
        assert prepare(threads) is torch
        assert (pools.intra, pools.inter) == (threads, 1)
