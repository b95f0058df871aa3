"""Engines: who runs a training step."""

from parmlp.engines.choice import ENGINES, engine_statuses, make_network, make_team
from parmlp.engines.cpu import SCHEDULES, EngineStatus, default_n_threads
from parmlp.engines.errors import EngineUnavailableError
from parmlp.engines.surface import Network, Team

__all__ = [
    "ENGINES",
    "SCHEDULES",
    "EngineStatus",
    "EngineUnavailableError",
    "Network",
    "Team",
    "default_n_threads",
    "engine_statuses",
    "make_network",
    "make_team",
]
