"""The GPU benchmark's tables and figures, from made-up results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import figures
from benchmarks.gpu.floors import binding, floors
from benchmarks.gpu.report import best_rival, done_tasks, failed_tasks, table

CEILINGS = {
    "name_of_task": "ceilings",
    "task": "ceilings",
    "multiprocessors": 100,
    "flops_per_second": {"float32": 50e12, "tf32": 400e12},
    "copy_bytes_per_second": 4e12,
    "cached_copy_bytes_per_second": 8e12,
    "cache_bytes": 50e6,
    "launch_seconds": 2e-6,
    "graph_launch_seconds": 1e-6,
    "block_barrier_seconds": 20e-9,
    "cluster_barrier_seconds": {"16": 200e-9},
    "shared_bytes_per_second": 200e9,
    "products_seconds": {"784-100-10/b64/float32": 5e-6},
}
STEP = {
    "launches": 0.001, "barriers": 5.0, "cluster_barriers": 4.0, "block_barriers": 80.0,
    "loaded_bytes": 210e3, "stored_bytes": 500.0, "shared_bytes": 16e6, "remote_bytes": 1e6,
    "once_bytes": 202e3, "fresh_bytes": 200e3,
}  # fmt: skip
ACCOUNT = {
    "rung": "persistent", "cluster_blocks": 16, "launches_are_a_graph": False,
    "arena_bytes": 950e3, "step": STEP,
}  # fmt: skip
BY_LAYERS = {
    "rung": "naive", "launches_are_a_graph": True, "arena_bytes": 950e3,
    "step": {**STEP, "launches": 7.0, "cluster_barriers": 0.0, "shared_bytes": 0.0},
}  # fmt: skip


def cell(part: str, competitors: dict[str, Any], **more: Any) -> dict[str, Any]:
    name = "784-100-10/b64/float32"
    return {
        "name_of_task": f"{part} {name}", "task": "cell", "cell": name, "part": part,
        "precision": "float32", "steps": 1000, "flops_per_step": 20e6,
        "goal_microseconds": 12, "goal_ratio": 3.0, "competitors": competitors, **more,
    }  # fmt: skip


def competitor(*seconds: float, **more: Any) -> dict[str, Any]:
    check = {"passed": True, "loss_error": 1e-7, "change_error": 1e-4}
    return {"seconds": list(seconds), "left_out": None, "check": check, **more}


RUN = [
    {"name_of_task": "platform", "task": "platform", "gpu": {"name": "Made Up 100"}},
    CEILINGS,
    cell(
        "goal",
        {
            "parmlp": competitor(0.010, 0.010, 0.011, account=ACCOUNT),
            "torch-graph": competitor(0.040, 0.044, 0.040),
            "jax-scan": {"seconds": [], "left_out": "jax has no gpu, only cpu"},
        },
    ),
    cell(
        "compiled",
        {
            "parmlp": competitor(0.010, 0.020, 0.010),
            "torch-compiled-graph": competitor(0.025, 0.050, 0.025),
        },
    ),
    cell(
        "ladder",
        {
            "parmlp": competitor(0.010),
            "parmlp-naive": competitor(0.5, account=BY_LAYERS),
        },
    ),
    {
        "name_of_task": "many", "task": "many", "name": "128 x 784-100-10/b64", "networks": 128,
        "net_steps": 32768, "flops_per_net_step": 20e6, "goal_share": 0.5,
        "competitors": {
            "parmlp-fit_many": competitor(0.020, 0.021),
            "jax-vmap": competitor(0.1, 0.105),
            "torch-bmm-graph": competitor(-0.1, 0.1),
        },
    },
    {
        "name_of_task": "mnist a", "task": "mnist", "name": "784-9-10", "engine": "cuda",
        "simd": "sm_90", "workers": 1, "precision": "full", "seeds": [0, 1, 2],
        "seconds": [0.1, 0.12, 0.2], "test_accuracy": [0.979, 0.981, 0.982],
        "first_seconds": 3.0, "goal_seconds": 0.15, "goal_accuracy": 0.98,
    },
    {"name_of_task": "goal x", "task": "failed", "left_out": "crashed, exit code -11"},
    {"task": "left out", "names": ["ladder y"]},
]  # fmt: skip


def line_of(text: str, *parts: str) -> str:
    found = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert found, f"no line has {parts} in\n{text}"
    return found[0]


def test_floors_are_numbers_times_costs() -> None:
    found = floors(ACCOUNT, 20e6, "float32", CEILINGS)
    assert found == pytest.approx(
        {
            "arithmetic": 20e6 / (50e12 * 0.16),  # of 16 of 100 multiprocessors
            "memory": 200e3 / 4e12,
            "launches": 0.001 * 2e-6,
            "barriers": 5 * 20e-9 + 4 * 200e-9,
            "shared memory": 16e6 / (16 * 200e9),
        }
    )
    assert binding(found) == ("shared memory", pytest.approx(5e-6))


def test_weights_that_no_cache_holds_come_from_memory() -> None:
    step = {**BY_LAYERS["step"], "shared_bytes": 16e6}  # type: ignore[dict-item]
    found = floors({**BY_LAYERS, "arena_bytes": 60e6, "step": step}, 20e6, "tf32", CEILINGS)
    assert found["memory"] == pytest.approx(202e3 / 4e12)
    assert found["arithmetic"] == pytest.approx(20e6 / 400e12)
    assert found["launches"] == pytest.approx(7 * 1e-6)
    assert found["shared memory"] == pytest.approx(16e6 / (100 * 200e9))


def test_what_was_not_measured_has_no_floor() -> None:
    assert floors(ACCOUNT, 20e6, "bf16", {}) == {}
    assert binding({}) is None
    assert set(floors(None, 20e6, "float32", CEILINGS)) == {"arithmetic"}


def test_the_best_rival_is_compared_round_by_round_in_its_own_record() -> None:
    name, seconds, ratio = best_rival(RUN[2:5])  # type: ignore[misc]
    assert name == "torch-compiled-graph"
    assert seconds.median == 0.025
    assert (ratio.median, ratio.minimum, ratio.maximum) == (2.5, 2.5, 2.5)


def test_the_table() -> None:
    text = table(RUN)
    goal = line_of(text, "784-100-10/b64/float32", "<= 12 us")
    assert "10.00 [10.00, 11.00]" in goal
    assert "shared memory, 5.00 us" in goal
    assert "torch-compiled-graph: 2.50" in goal
    assert "50 %" in goal  # of cuBLAS's products
    assert "missed" in goal  # fast enough, and not 3 times the rival
    assert "jax has no gpu" in line_of(text, "jax-scan")
    assert "| launches, 1 % |" in line_of(text, "parmlp-naive", "| naive |")
    assert "shared memory" not in line_of(text, "parmlp-naive", "| naive |")
    assert "persistent, 16 blocks" in line_of(text, "shared memory, 50 %")
    assert "64.0 %" in line_of(text, "parmlp-fit_many")
    assert "5.00 [5.00, 5.00]" in line_of(text, "jax-vmap")
    assert "too short to tell" in line_of(text, "torch-bmm-graph")
    assert "Goal, under 0.15 s: met" in line_of(text, "784-9-10")
    assert "crashed, exit code -11" in line_of(text, "goal x")
    assert "no time left" in line_of(text, "ladder y")


def test_swapped_times_swap_the_verdict() -> None:
    goal = RUN[2]
    faster = {**goal["competitors"], "parmlp": competitor(0.001, 0.001, 0.001, account=ACCOUNT)}
    text = table([CEILINGS, {**goal, "competitors": faster}])
    assert line_of(text, "<= 12 us").endswith("| met |")
    assert "on a cpu" not in text.lower()


def test_a_run_that_was_killed_at_once_has_a_table() -> None:
    assert table([]).startswith("# GPU benchmark")
    assert "to try out the programs" in table([{"name_of_task": "platform", "task": "platform"}])


def test_a_later_record_of_a_task_takes_the_place_of_an_earlier_one() -> None:
    again = cell("goal", {"parmlp": competitor(0.005, account=ACCOUNT)})
    assert "5.00 [5.00, 5.00]" in line_of(table([*RUN, again]), "<= 12 us")


def test_what_failed_or_ran_out_of_time_is_not_done() -> None:
    short = cell("goal", {"numpy": {"seconds": [], "left_out": "no time left"}})
    assert done_tasks([short]) == set()
    assert failed_tasks([short]) == set()
    assert failed_tasks(RUN) == {"goal x"}
    assert "goal x" not in done_tasks(RUN)
    assert {"many", "ceilings", "mnist a"} <= done_tasks(RUN)
    assert done_tasks([RUN[-2], {**RUN[3], "name_of_task": "goal x"}]) == {"goal x"}


def test_figures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures.draw(RUN, tmp_path)
    for name in ("floors.png", "ladder.png", "rivals.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_without_cells_there_are_no_figures(tmp_path: Path) -> None:
    assert figures.draw([CEILINGS], tmp_path) == ["no figures: no cell was measured"]
    assert list(tmp_path.iterdir()) == []
