"""Engines: who runs a training step."""

from parmlp.engines.choice import (
    ENGINES,
    engine_statuses,
    make_network,
    make_team,
    runs_on_gpu,
)
from parmlp.engines.cpu import (
    SCHEDULES,
    EngineStatus,
    count_threads,
    default_n_threads,
    flops_per_step,
    threads_side_by_side,
    warn_of_threads,
)
from parmlp.engines.errors import EngineUnavailableError
from parmlp.engines.surface import Network, Team

__all__ = [
    "ENGINES",
    "SCHEDULES",
    "EngineStatus",
    "EngineUnavailableError",
    "Network",
    "Team",
    "count_threads",
    "default_n_threads",
    "engine_statuses",
    "flops_per_step",
    "make_network",
    "make_team",
    "runs_on_gpu",
    "threads_side_by_side",
    "warn_of_threads",
]
