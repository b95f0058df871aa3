"""Tasks that crash, hang or raise cost themselves alone."""

from __future__ import annotations

import time
from typing import Any

import fake_tasks

from benchmarks.gpu.worker import run_tasks


def run(make: Any, names: list[str], seconds: float, task_seconds: float = 5.0) -> Any:
    kept: list[tuple[str, dict[str, Any]]] = []
    left = run_tasks(
        make, names, time.time() + seconds, lambda *record: kept.append(record), task_seconds
    )
    return kept, left


def test_the_next_task_follows_whatever_happens() -> None:
    kept, left = run(fake_tasks.tasks, ["crashes", "raises", "hangs", "good"], 100)
    assert left == []
    assert [name for name, _ in kept] == ["crashes", "raises", "hangs", "good"]
    found = dict(kept)
    assert found["crashes"] == {"task": "failed", "left_out": "crashed, exit code 7"}
    assert found["raises"] == {"task": "failed", "left_out": "RuntimeError: out of order"}
    assert found["hangs"]["left_out"].startswith("ended after")
    assert found["good"] == {"task": "cell", "value": 1}


def test_without_time_nothing_is_begun() -> None:
    assert run(fake_tasks.tasks, ["good", "raises"], -1) == ([], ["good", "raises"])


def test_a_worker_that_cannot_begin_is_not_tried_for_ever() -> None:
    kept, left = run(fake_tasks.broken, ["good", "raises"], 100)
    assert left == []
    assert [record["left_out"] for _, record in kept] == ["the process ended with 5"] * 2
