"""What the GPU reaches at its best, measured in the run whose figures are set against it.

Arithmetic and bandwidth by PyTorch (cuBLAS and a copy); launches, barriers and shared memory by the
kernels of ``ceilings.cu``, compiled and launched by the engine itself.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.statistics import summarize
from benchmarks.gpu.records import Record
from parmlp.engines.cuda.device import Device, Kernel, Module

ROUNDS = 7
_KERNELS = ("empty_launch", "block_barriers", "cluster_barriers", "shared_reads")
_THREADS, _READS = 256, 32  # kThreads and kReads of ceilings.cu
_BLOCKS_OF_A_MULTIPROCESSOR = 4  # of shared_reads: 32 warps hide each other's latency


def median_seconds(work: Callable[[], object], wait: Callable[[], object]) -> float:
    """Return the median time of ``work`` and of waiting for it, after three runs to warm up."""
    times = []
    for number in range(3 + ROUNDS):
        wait()
        start = time.perf_counter()
        work()
        wait()
        if number >= 3:
            times.append(time.perf_counter() - start)
    return summarize(times).median


# ---------------------------------------------------------------------------- by the engine itself


def load_kernels(device: Device, cluster_blocks: int) -> Module:
    """Compile ceilings.cu for clusters of so many blocks."""
    text = Path(__file__).with_name("ceilings.cu").read_text(encoding="utf-8")
    told = [f"{name}_shared" for name in _KERNELS]
    lines = [f"  values[{i}] = {name};" for i, name in enumerate(told)]
    source = "\n".join(
        [
            "#define PARMLP_REAL float",
            f"#define PARMLP_CLUSTER_BLOCKS {cluster_blocks}",
            text,
            'extern "C" __global__ void host_constants(int* values) {',
            *lines,
            "}",
            "",
        ]
    )
    return device.load(source, _KERNELS, told)


def synchronization(device: Device, count: int = 100_000, launches: int = 1000) -> Record:
    """Return the seconds of a launch, alone and in a graph, and of barriers; bytes a second.

    Parameters
    ----------
    device : Device
    count : int
        Barriers that one launch passes: the cost is the difference to a launch with half of them.
    launches : int
        Empty launches in a row.

    Returns
    -------
    dict
        ``launch_seconds``, ``graph_launch_seconds``, ``block_barrier_seconds``,
        ``shared_bytes_per_second`` of one multiprocessor, and ``cluster_barrier_seconds`` by number
        of blocks, for those that this device runs.
    """
    module = load_kernels(device, 1)
    device.make_current()
    done = device.allocate(4 * 64)
    wait = device.stream.synchronize
    empty = module.kernel("empty_launch")

    def launch_all() -> None:
        for _ in range(launches):
            device.launch(empty, (1, 1), _THREADS, [None])

    with device.capture() as captured:
        launch_all()
    graph = captured[0]
    found: Record = {
        "launch_seconds": median_seconds(launch_all, wait) / launches,
        "graph_launch_seconds": median_seconds(lambda: graph.launch(device.stream), wait)
        / launches,
        "block_barrier_seconds": _slope(
            device, module.kernel("block_barriers"), done, count, blocks=1, cluster=1
        ),
        "cluster_barrier_seconds": {},
    }
    for blocks in (2, 4, 8, 16) if device.capability >= (9, 0) else ():
        kernel = load_kernels(device, blocks).kernel("cluster_barriers")
        if blocks > 8:
            kernel.allow_wide_clusters(device.driver)
        if device.clusters_at_once(kernel, _THREADS, blocks):
            found["cluster_barrier_seconds"][str(blocks)] = _slope(
                device, kernel, done, count, blocks=blocks, cluster=blocks
            )
    blocks = device.multiprocessors * _BLOCKS_OF_A_MULTIPROCESSOR
    sums = device.allocate(4 * _THREADS * blocks)
    turns = max(2, count // 100)
    seconds = _slope(device, module.kernel("shared_reads"), sums, turns, blocks=blocks, cluster=1)
    read = 4.0 * _THREADS * _READS * _BLOCKS_OF_A_MULTIPROCESSOR
    found["shared_bytes_per_second"] = read / seconds
    return found


def _slope(
    device: Device, kernel: Kernel, out: Any, count: int, *, blocks: int, cluster: int
) -> float:
    """Seconds that one turn more takes a launch."""

    def run(turns: int) -> float:
        return median_seconds(
            lambda: device.launch(kernel, (blocks, 1), _THREADS, [out, turns], cluster=cluster),
            device.stream.synchronize,
        )

    return (run(count) - run(count // 2)) / (count - count // 2)


# -------------------------------------------------------------------------------------- by PyTorch


def arithmetic_and_bandwidth() -> Record:
    """Return FLOP/s of a large product by precision, bytes/s of copies, and the cache's size."""
    import torch

    found: Record = {"flops_per_second": {}}
    n = 8192
    for precision in ("float32", "tf32", "bf16"):
        dtype = _set_precision(torch, precision)
        a, b = (torch.randn(n, n, device="cuda").to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        seconds = median_seconds(
            functools.partial(torch.matmul, a, b, out=out), torch.cuda.synchronize
        )
        found["flops_per_second"][precision] = 2.0 * n**3 / seconds
    properties = torch.cuda.get_device_properties(0)
    found["cache_bytes"] = int(getattr(properties, "L2_cache_size", 0))
    for name, numbers, times in (("copy", 1 << 28, 1), ("cached_copy", 1 << 21, 200)):
        source = torch.randn(numbers, device="cuda")
        target = torch.empty_like(source)
        work = graph_of(torch, functools.partial(target.copy_, source), times)
        seconds = median_seconds(work, torch.cuda.synchronize) / times
        found[f"{name}_bytes_per_second"] = 2.0 * source.nbytes / seconds
    return found


def _set_precision(torch: Any, precision: str) -> Any:
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def graph_of(torch: Any, work: Callable[[], object], times: int) -> Callable[[], None]:
    """Return a call that replays ``work``, so many times over, as one CUDA graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            work()
    replay: Callable[[], None] = graph.replay
    return replay


def products_of(torch: Any, layers: Sequence[int], batch: int, precision: str, device: str) -> Any:
    """Return a call that does a step's matrix products and nothing else, as cuBLAS does them.

    Forward with bias, weights' gradients, and deltas of each layer but the first.
    """
    dtype = _set_precision(torch, precision)

    def random(*shape: int) -> Any:
        return torch.randn(*shape, device=device).to(dtype)

    jobs: list[Callable[[], object]] = []
    for layer, (n_in, n_out) in enumerate(pairwise(layers)):
        a, d, W, b = random(batch, n_in), random(batch, n_out), random(n_in, n_out), random(n_out)
        outs = [torch.empty_like(x) for x in (d, W, a)]
        jobs.append(functools.partial(torch.addmm, b, a, W, out=outs[0]))
        jobs.append(functools.partial(torch.mm, a.t(), d, out=outs[1]))
        if layer:
            jobs.append(functools.partial(torch.mm, d, W.t(), out=outs[2]))

    def run() -> None:
        for job in jobs:
            job()

    return run


def products_seconds(layers: Sequence[int], batch: int, precision: str) -> float:
    """Return the seconds that cuBLAS takes for a step's products, without the cost of launches.

    Many steps' products are one CUDA graph.
    """
    import torch

    run = products_of(torch, layers, batch, precision, "cuda")
    flops = 6.0 * batch * float(np.sum([a * b for a, b in pairwise(layers)]))
    times = int(np.clip(2e11 / flops, 2, 200))
    return median_seconds(graph_of(torch, run, times), torch.cuda.synchronize) / times
