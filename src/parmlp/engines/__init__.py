"""Engines: who runs the tiles of a training step."""

from parmlp.engines.cpu import (
    ENGINES,
    SCHEDULES,
    EngineStatus,
    EngineUnavailableError,
    count_threads,
    default_n_threads,
    engine_statuses,
    flops_per_step,
    make_team,
    threads_side_by_side,
    warn_of_threads,
)

__all__ = [
    "ENGINES",
    "SCHEDULES",
    "EngineStatus",
    "EngineUnavailableError",
    "count_threads",
    "default_n_threads",
    "engine_statuses",
    "flops_per_step",
    "make_team",
    "threads_side_by_side",
    "warn_of_threads",
]
