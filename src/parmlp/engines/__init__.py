"""Engines: who runs the tiles of a training step."""

from parmlp.engines.cpu import (
    ENGINES,
    SCHEDULES,
    EngineStatus,
    EngineUnavailableError,
    default_n_threads,
    engine_statuses,
    make_team,
)

__all__ = [
    "ENGINES",
    "SCHEDULES",
    "EngineStatus",
    "EngineUnavailableError",
    "default_n_threads",
    "engine_statuses",
    "make_team",
]
