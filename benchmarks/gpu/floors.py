"""The least time that a step can take, by each of the machine's measured limits."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.records import Record


def floors(
    account: Record | None, flops: float, precision: str, ceilings: Record
) -> dict[str, float]:
    """Return the seconds that each limit alone would take for a step; only what was measured.

    Parameters
    ----------
    account : dict or None
        As ``Parmlp.account`` gives it; None, of a rival, leaves arithmetic alone.
    flops : float
        Of a step.
    precision : {"float32", "tf32", "bf16"}
    ceilings : dict
        As ``tasks.measured_ceilings`` gives it; what is missing has no floor.

    Returns
    -------
    dict of str to float
        ``arithmetic``: operations over the rate of a large product; on rung 4, whose cluster has
        that many multiprocessors, over their share of it. ``memory``: bytes over the rate of a
        copy; where weights and moments fit into the cache, those of fresh rows alone, else of each
        launch's operands. ``launches`` and ``barriers``: their number times what one costs.
        ``shared memory``: what threads read of it over what all multiprocessors, or those of the
        cluster, can read. A warp takes a turn of it whether its threads read 32 numbers or one.
    """
    found: dict[str, float] = {}
    share = 1.0
    multiprocessors = ceilings.get("multiprocessors")
    blocks = account.get("cluster_blocks") if account else None
    if blocks and multiprocessors:
        share = blocks / multiprocessors
    peak = ceilings.get("flops_per_second", {}).get(precision)
    if peak:
        found["arithmetic"] = flops / (peak * share)
    if account is None:
        return found
    step: dict[str, Any] = account["step"]
    bandwidth = ceilings.get("copy_bytes_per_second")
    if bandwidth:
        cached = account["arena_bytes"] <= ceilings.get("cache_bytes", 0)
        found["memory"] = step["fresh_bytes" if cached else "once_bytes"] / bandwidth
    launch = ceilings.get(
        "graph_launch_seconds" if account["launches_are_a_graph"] else "launch_seconds"
    )
    if launch:
        found["launches"] = step["launches"] * launch
    barrier = ceilings.get("block_barrier_seconds")
    if barrier:
        found["barriers"] = step["barriers"] * barrier
        of_cluster = ceilings.get("cluster_barrier_seconds", {}).get(str(blocks))
        if step["cluster_barriers"] and of_cluster:
            found["barriers"] += step["cluster_barriers"] * of_cluster
    rate = ceilings.get("shared_bytes_per_second")
    if rate and multiprocessors and step["shared_bytes"]:
        found["shared memory"] = step["shared_bytes"] / (rate * (blocks or multiprocessors))
    return found


def binding(found: dict[str, float]) -> tuple[str, float] | None:
    """Return the highest floor and its seconds; None where nothing was measured."""
    return max(found.items(), key=lambda item: item[1]) if found else None
